#include "run/store.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "base/signal.h"
#include "io/file.h"
#include "io/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

dmq_status dmq_store_path(char **out, const char *store, const char *key, const char *file)
{
    char name[128];

    (void)snprintf(name, sizeof name, "%.16s-%s", key, file);
    return dmq_path_join(out, store, name);
}

/*
 * A result of the store may be another run's, made on another day: its hash lies beside it.
 * A file without one (its maker was killed in between) is taken as it is.
 */
static dmq_status look(int *usable, const char *path)
{
    char hash[DMQ_HASH_TEXT], *beside = NULL, *want = NULL;
    dmq_status st = DMQ_OK;

    *usable = dmq_file_exists(path);
    DMQ_TRY(dmq_path_append(&beside, path, ".sha256"));
    if (!*usable || !dmq_file_exists(beside))
        goto done;
    DMQ_TRY(dmq_file_read(&want, NULL, beside, DMQ_HASH_TEXT));
    DMQ_TRY(dmq_hash_file(hash, path));
    if (strcmp(hash, want) != 0) {
        dmq_log_warn("store", "%s is damaged; it is made again", path);
        *usable = 0;
    }
done:
    dmq_free(beside);
    dmq_free(want);
    return st;
}

static dmq_status note_hash(const char *path)
{
    char hash[DMQ_HASH_TEXT], *beside = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_path_append(&beside, path, ".sha256"));
    DMQ_TRY(dmq_hash_file(hash, path));
    DMQ_TRY(dmq_file_write_text(beside, hash));
done:
    dmq_free(beside);
    return st;
}

/* Not F_SETLKW: a signal would not end its waiting. */
static dmq_status take_lock(int *out, const char *path)
{
    const struct timespec pause = { .tv_sec = 0, .tv_nsec = 200000000 };
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int fd = -1, told = 0;
    char *name = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_path_append(&name, path, ".lock"));
    fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        st = dmq_file_failed(name, true, errno);
        goto done;
    }
    while (fcntl(fd, F_SETLK, &lock) != 0) {
        if (errno != EACCES && errno != EAGAIN) {
            dmq_log_warn("store", "%s cannot be locked (%s): another run may make the same file",
                         name, strerror(errno));
            break;
        }
        if (dmq_stop_requested()) {
            st = dmq_fail(DMQ_ESTOP, "store: stopped by signal %d", dmq_stop_signal());
            goto done;
        }
        if (!told++)
            dmq_log_info("waiting for %s, which another run makes", path);
        (void)nanosleep(&pause, NULL);
    }
    *out = fd;
    fd = -1;
done:
    if (fd >= 0)
        (void)close(fd);
    dmq_free(name);
    return st;
}

dmq_status dmq_store_take(int *made, const char *store, const char *key, const char *file,
                          dmq_store_maker *make, void *context)
{
    char *path = NULL;
    int lock = -1, usable = 0;
    dmq_status st = DMQ_OK;

    if (made)
        *made = 0;
    DMQ_TRY(dmq_store_path(&path, store, key, file));
    DMQ_TRY(dmq_folder_create(store));
    DMQ_TRY(take_lock(&lock, path));
    DMQ_TRY(look(&usable, path));
    if (usable) {
        dmq_log_detail("taken from %s", path);
        goto done;
    }
    DMQ_TRY(make(path, context));
    if (!dmq_file_exists(path))
        goto done;
    DMQ_TRY(note_hash(path));
    if (made)
        *made = 1;
done:
    if (lock >= 0)
        (void)close(lock); /* and with it the lock */
    dmq_free(path);
    return st;
}

dmq_status dmq_store_link(const char *store, const char *key, const char *file, const char *to)
{
    char *from = NULL, *data = NULL;
    size_t size = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_store_path(&from, store, key, file));
    if (dmq_file_exists(to))
        DMQ_TRY(dmq_file_remove(to));
    if (link(from, to) == 0)
        goto done;
    DMQ_TRY(dmq_file_read(&data, &size, from, (size_t)1 << 40));
    DMQ_TRY(dmq_file_write(to, data, size));
done:
    dmq_free(from);
    dmq_free(data);
    return st;
}
