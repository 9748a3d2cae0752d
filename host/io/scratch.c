#include "io/scratch.h"

#include "base/memory.h"
#include "io/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct dmq_scratch {
    int fd;
    uint64_t bytes;
    char *folder; /* for messages */
};

/* A file of its own in the folder, its name taken away at once. */
static dmq_status open_nameless(dmq_scratch *s)
{
    static const char name[] = "scratch-XXXXXX";
    char *path = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_path_join(&path, s->folder, name));
    s->fd = mkstemp(path);
    if (s->fd < 0) {
        st = dmq_file_failed(path, true, errno);
        goto done;
    }
    (void)unlink(path);
    (void)fcntl(s->fd, F_SETFD, FD_CLOEXEC);
done:
    dmq_free(path);
    return st;
}

static dmq_status too_small(const dmq_scratch *s)
{
    uint64_t bytes = 0;

    (void)dmq_disk_free(&bytes, s->folder);
    return dmq_fail(DMQ_EIO,
                    "%s: disk full: %.1f MiB are needed for a while, %.1f MiB are free\n"
                    "  hint: make room, or name a folder on a larger disk by DMQ_SCRATCH",
                    s->folder, (double)s->bytes / 1048576, (double)bytes / 1048576);
}

/* The room is taken now, or ENOSPC would come in the middle of the work. */
static dmq_status take_room(const dmq_scratch *s)
{
    int error;

    do {
        error = posix_fallocate(s->fd, 0, (off_t)s->bytes);
    } while (error == EINTR);
    if (error == ENOSPC || error == EDQUOT)
        return too_small(s);
    return error ? dmq_file_failed(s->folder, true, error) : DMQ_OK;
}

dmq_status dmq_scratch_create(dmq_scratch **out, const char *folder, uint64_t bytes)
{
    dmq_scratch *s = NULL;
    uint64_t have = 0;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&s, 1, sizeof *s));
    s->fd = -1;
    s->bytes = bytes > 0 ? bytes : 1;
    DMQ_TRY(dmq_strdup(&s->folder, folder));
    DMQ_TRY(dmq_folder_create(s->folder));
    DMQ_TRY(dmq_disk_free(&have, s->folder));
    if (have < s->bytes)
        DMQ_TRY(too_small(s)); /* told before the disk is filled */
    DMQ_TRY(open_nameless(s));
    DMQ_TRY(take_room(s));
    *out = s;
    s = NULL;
done:
    dmq_scratch_destroy(s);
    return st;
}

void dmq_scratch_destroy(dmq_scratch *s)
{
    if (!s)
        return;
    if (s->fd >= 0)
        (void)close(s->fd);
    dmq_free(s->folder);
    dmq_free(s);
}

dmq_status dmq_scratch_write(dmq_scratch *s, uint64_t offset, const void *from, size_t bytes)
{
    const char *at = from;

    assert(offset <= s->bytes && bytes <= s->bytes - offset);
    while (bytes > 0) {
        ssize_t n = pwrite(s->fd, at, bytes, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT))
            return too_small(s);
        if (n < 0)
            return dmq_file_failed(s->folder, true, errno);
        at += n;
        offset += (uint64_t)n;
        bytes -= (size_t)n;
    }
    return DMQ_OK;
}

dmq_status dmq_scratch_read(const dmq_scratch *s, void *to, uint64_t offset, size_t bytes)
{
    char *at = to;

    assert(offset <= s->bytes && bytes <= s->bytes - offset);
    while (bytes > 0) {
        ssize_t n = pread(s->fd, at, bytes, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return dmq_file_failed(s->folder, false, n < 0 ? errno : EIO);
        at += n;
        offset += (uint64_t)n;
        bytes -= (size_t)n;
    }
    return DMQ_OK;
}
