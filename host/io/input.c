#include "io/input.h"

#include "base/memory.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct dmq_input {
    char *path;
    int fd; /* -1: memory */
    const unsigned char *memory;
    uint64_t size;
};

static dmq_status make(dmq_input **out, const char *path)
{
    dmq_status st = DMQ_OK;
    dmq_input *input = NULL;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&input, 1, sizeof *input));
    input->fd = -1;
    DMQ_TRY(dmq_strdup(&input->path, path));
    *out = input;
    input = NULL;
done:
    dmq_input_close(input);
    return st;
}

dmq_status dmq_input_open(dmq_input **out, const char *path)
{
    dmq_status st = DMQ_OK;
    dmq_input *input = NULL;
    struct stat info;

    *out = NULL;
    DMQ_TRY(make(&input, path));
    input->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not make us wait */
    if (input->fd < 0 || fstat(input->fd, &info) != 0) {
        st = dmq_file_failed(path, false, errno);
        goto done;
    }
    if (!S_ISREG(info.st_mode)) {
        st = dmq_fail(DMQ_EDATA, "%s: is not a regular file", path);
        goto done;
    }
    input->size = (uint64_t)info.st_size;
    *out = input;
    input = NULL;
done:
    dmq_input_close(input);
    return st;
}

dmq_status dmq_input_memory(dmq_input **out, const char *name, const void *bytes, size_t size)
{
    dmq_status st = make(out, name);

    if (st == DMQ_OK) {
        (*out)->memory = bytes;
        (*out)->size = size;
    }
    return st;
}

void dmq_input_close(dmq_input *input)
{
    if (!input)
        return;
    if (input->fd >= 0)
        (void)close(input->fd);
    dmq_free(input->path);
    dmq_free(input);
}

const char *dmq_input_path(const dmq_input *input)
{
    return input->path;
}

uint64_t dmq_input_size(const dmq_input *input)
{
    return input->size;
}

dmq_status dmq_input_read(void *out, const dmq_input *input, uint64_t size, uint64_t offset)
{
    char *to = out;

    if (offset > input->size || size > input->size - offset) {
        return dmq_fail(DMQ_EDATA, "%s: is cut short: %llu bytes from byte %llu, it has %llu",
                        input->path, (unsigned long long)size, (unsigned long long)offset,
                        (unsigned long long)input->size);
    }
    if (input->fd < 0) {
        if (size > 0)
            memcpy(out, input->memory + offset, (size_t)size);
        return DMQ_OK;
    }
    while (size > 0) {
        size_t piece = size < (1U << 30) ? (size_t)size : 1U << 30;
        ssize_t n = pread(input->fd, to, piece, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dmq_file_failed(input->path, false, errno);
        if (n == 0)
            return dmq_fail(DMQ_EDATA, "%s: became shorter while it was read", input->path);
        to += n;
        size -= (uint64_t)n;
        offset += (uint64_t)n;
    }
    return DMQ_OK;
}

uint16_t dmq_le16(const unsigned char *b)
{
    return (uint16_t)(b[0] | b[1] << 8);
}

uint32_t dmq_le32(const unsigned char *b)
{
    return (uint32_t)dmq_le16(b) | (uint32_t)dmq_le16(b + 2) << 16;
}

uint64_t dmq_le64(const unsigned char *b)
{
    return dmq_le32(b) | (uint64_t)dmq_le32(b + 4) << 32;
}
