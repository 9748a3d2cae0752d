#include "io/file.h"

#include "base/memory.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

bool dmq_file_exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

bool dmq_folder_exists(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

dmq_status dmq_file_failed(const char *path, bool writing, int error)
{
    uint64_t bytes = 0;

    if (!writing && (error == ENOENT || error == ENOTDIR))
        return dmq_fail(DMQ_ENOINPUT, "%s: no such file", path);
    if (error == ENOSPC || error == EDQUOT) {
        (void)dmq_disk_free(&bytes, path);
        return dmq_fail(DMQ_EIO,
                        "%s: disk full (%llu bytes free)\n  hint: make room or write elsewhere "
                        "with -o, then run again: complete files are kept",
                        path, (unsigned long long)bytes);
    }
    if (error == EFBIG) {
        return dmq_fail(
            DMQ_EIO, "%s: the file would be larger than this system allows\n  hint: see ulimit -f",
            path);
    }
    return dmq_fail(DMQ_EIO, "%s: cannot be %s (%s)", path, writing ? "written" : "read",
                    strerror(error));
}

dmq_status dmq_file_size(uint64_t *out, const char *path)
{
    struct stat info;

    *out = 0;
    if (stat(path, &info) != 0)
        return dmq_file_failed(path, false, errno);
    *out = (uint64_t)info.st_size;
    return DMQ_OK;
}

static dmq_status open_regular(int *fd, uint64_t *size, const char *path)
{
    struct stat info;

    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0)
        return dmq_file_failed(path, false, errno);
    if (fstat(*fd, &info) != 0 || S_ISDIR(info.st_mode))
        return dmq_fail(DMQ_ENOINPUT, "%s: is a folder, a file was expected", path);
    *size = (uint64_t)info.st_size;
    return DMQ_OK;
}

dmq_status dmq_file_read(char **out, size_t *size, const char *path, size_t limit)
{
    dmq_status st = DMQ_OK;
    char *text = NULL;
    uint64_t bytes = 0;
    size_t got = 0;
    int fd = -1;

    *out = NULL;
    DMQ_TRY(open_regular(&fd, &bytes, path));
    if (bytes > limit) {
        st = dmq_fail(DMQ_EDATA, "%s: has %llu bytes, at most %zu were expected", path,
                      (unsigned long long)bytes, limit);
        goto done;
    }
    DMQ_TRY(dmq_alloc((void **)&text, (size_t)bytes + 1, 1));
    while (got < bytes) {
        ssize_t n = read(fd, text + got, (size_t)bytes - got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            st = dmq_file_failed(path, false, errno);
            goto done;
        }
        if (n == 0)
            break;
        got += (size_t)n;
    }
    text[got] = '\0';
    if (size)
        *size = got;
    *out = text;
    text = NULL;
done:
    dmq_free(text);
    if (fd >= 0)
        (void)close(fd);
    return st;
}

static dmq_status write_all(int fd, const char *path, const void *data, size_t size)
{
    const char *from = data;

    while (size > 0) {
        ssize_t n = write(fd, from, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dmq_file_failed(path, true, errno);
        from += n;
        size -= (size_t)n;
    }
    return DMQ_OK;
}

dmq_status dmq_file_write(const char *path, const void *data, size_t size)
{
    dmq_status st = DMQ_OK;
    char *temp = NULL;
    int fd = -1;

    DMQ_TRY(dmq_file_temp(&temp, path));
    fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        st = dmq_file_failed(path, true, errno);
        goto done;
    }
    st = write_all(fd, path, data, size);
    if (close(fd) != 0 && st == DMQ_OK)
        st = dmq_file_failed(path, true, errno);
    if (st == DMQ_OK) {
        st = dmq_file_commit(temp, path);
    } else {
        (void)unlink(temp);
    }
done:
    dmq_free(temp);
    return st;
}

dmq_status dmq_file_write_text(const char *path, const char *text)
{
    return dmq_file_write(path, text, strlen(text));
}

dmq_status dmq_file_append(const char *path, const void *data, size_t size)
{
    dmq_status st;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);

    if (fd < 0)
        return dmq_file_failed(path, true, errno);
    st = write_all(fd, path, data, size);
    if (close(fd) != 0 && st == DMQ_OK)
        st = dmq_file_failed(path, true, errno);
    return st;
}

dmq_status dmq_file_remove(const char *path)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return dmq_fail(DMQ_EIO, "%s: cannot be removed (%s)", path, strerror(errno));
    return DMQ_OK;
}

dmq_status dmq_folder_create(const char *path)
{
    dmq_status st = DMQ_OK;
    char *copy = NULL;

    DMQ_TRY(dmq_strdup(&copy, path));
    for (char *p = copy + (copy[0] == '/'); st == DMQ_OK; p++) {
        char c = *p;

        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        if (copy[0] && mkdir(copy, 0777) != 0 && !dmq_folder_exists(copy)) {
            st = errno == EEXIST
                     ? dmq_fail(DMQ_EEXIST, "%s: is a file, a folder was to be made", copy)
                     : dmq_file_failed(copy, true, errno);
        }
        *p = c;
        if (c == '\0')
            break;
    }
done:
    dmq_free(copy);
    return st;
}

dmq_status dmq_disk_free(uint64_t *out, const char *path)
{
    struct statvfs info;
    dmq_status st = DMQ_OK;
    char *here = NULL, *above = NULL;

    *out = 0;
    DMQ_TRY(dmq_path_absolute(&here, path));
    while (statvfs(here, &info) != 0) {
        if (errno == EINTR)
            continue;
        if ((errno != ENOENT && errno != ENOTDIR) || strcmp(here, "/") == 0) {
            st = dmq_fail(DMQ_EIO, "%s: free space is not known (%s)", here, strerror(errno));
            goto done;
        }
        DMQ_TRY(dmq_path_folder(&above, here));
        dmq_free(here);
        here = above;
        above = NULL;
    }
    *out = (uint64_t)info.f_bavail * (uint64_t)info.f_frsize;
done:
    dmq_free(here);
    return st;
}

dmq_status dmq_disk_check(const char *path, uint64_t bytes)
{
    uint64_t have = 0;
    dmq_status st = dmq_disk_free(&have, path);

    if (st == DMQ_OK && have < bytes) {
        st = dmq_fail(DMQ_EIO,
                      "%s: disk full: %llu bytes are needed, %llu are free\n  hint: make room or "
                      "write elsewhere with -o, then run again: complete files are kept",
                      path, (unsigned long long)bytes, (unsigned long long)have);
    }
    return st;
}

/* FNV-1a of the host's name: folders on shared disks are written from many hosts. */
static unsigned host_number(void)
{
    char name[256] = "";
    unsigned h = 2166136261U;

    (void)gethostname(name, sizeof name - 1);
    for (const char *p = name; *p; p++)
        h = (h ^ (unsigned char)*p) * 16777619U;
    return h;
}

/* Only files that a dead process of this host left for the very same path. */
static void remove_stale(const char *folder, const char *name)
{
    size_t n = strlen(name);
    DIR *dir = opendir(folder);
    struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL) {
        unsigned host = 0, serial = 0;
        int pid = 0, end = 0;
        char *path = NULL;

        if (strncmp(entry->d_name, name, n) != 0 ||
            sscanf(entry->d_name + n, ".%8x-%d-%u.tmp%n", &host, &pid, &serial, &end) != 3 ||
            end == 0 || entry->d_name[n + (size_t)end] != '\0')
            continue;
        if (host != host_number() || pid == (int)getpid() || kill((pid_t)pid, 0) == 0 ||
            errno != ESRCH)
            continue;
        if (dmq_path_join(&path, folder, entry->d_name) == DMQ_OK)
            (void)unlink(path);
        dmq_free(path);
    }
    if (dir)
        (void)closedir(dir);
}

dmq_status dmq_file_clean(const char *path)
{
    char *folder = NULL;
    dmq_status st = dmq_path_folder(&folder, path);

    if (st == DMQ_OK)
        remove_stale(folder, dmq_path_name(path));
    dmq_free(folder);
    return st;
}

dmq_status dmq_file_temp(char **out, const char *path)
{
    static atomic_uint serial;
    dmq_status st = DMQ_OK;
    char *folder = NULL;
    size_t size = strlen(path) + 64;

    *out = NULL;
    DMQ_TRY(dmq_path_folder(&folder, path));
    remove_stale(folder, dmq_path_name(path));
    DMQ_TRY(dmq_alloc((void **)out, size, 1));
    (void)snprintf(*out, size, "%s.%08x-%d-%u.tmp", path, host_number(), (int)getpid(),
                   atomic_fetch_add(&serial, 1));
done:
    dmq_free(folder);
    return st;
}

static dmq_status sync_path(const char *path, int flags, const char *told)
{
    int fd = open(path, flags | O_CLOEXEC);
    int failed;

    if (fd < 0)
        return dmq_file_failed(told, true, errno);
    failed = fsync(fd) != 0 && errno != EINVAL ? errno : 0; /* EINVAL: a disk that cannot sync */
    (void)close(fd);
    return failed ? dmq_file_failed(told, true, failed) : DMQ_OK;
}

dmq_status dmq_file_commit(const char *temp, const char *path)
{
    dmq_status st = DMQ_OK;
    char *folder = NULL;

    DMQ_TRY(dmq_path_folder(&folder, path));
    DMQ_TRY(sync_path(temp, O_RDONLY, path));
    if (rename(temp, path) != 0) {
        st = dmq_file_failed(path, true, errno);
        goto done;
    }
    DMQ_TRY(sync_path(folder, O_RDONLY | O_DIRECTORY, path));
done:
    if (st != DMQ_OK)
        (void)unlink(temp);
    dmq_free(folder);
    return st;
}
