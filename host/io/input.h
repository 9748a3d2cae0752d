/**
 * A file that nobody vouches for, opened once, or bytes in memory that stand for one: what the readers of
 * checkpoints read from.
 *
 * The length is asked once, when it is opened, and every read is held against it; a file that becomes shorter
 * while it is read is an error, not a signal, since nothing is mapped.
 */
#ifndef DMQ_IO_INPUT_H
#define DMQ_IO_INPUT_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct dmq_input dmq_input;

/** ENOINPUT; EDATA when it is not a regular file; EIO. */
dmq_status dmq_input_open(dmq_input **out, const char *path);

/** bytes stay the caller's and must outlive it; name is for messages. */
dmq_status dmq_input_memory(dmq_input **out, const char *name, const void *bytes, size_t size);

/** Takes NULL. */
void dmq_input_close(dmq_input *input);

/** As it was opened, or the name. */
const char *dmq_input_path(const dmq_input *input);

/** In bytes. */
uint64_t dmq_input_size(const dmq_input *input);

/** size bytes from offset. EDATA when there are not as many; EIO. Any thread may call. */
dmq_status dmq_input_read(void *out, const dmq_input *input, uint64_t size, uint64_t offset);

/** Little-endian numbers as files have them. */
uint16_t dmq_le16(const unsigned char *bytes);
uint32_t dmq_le32(const unsigned char *bytes);
uint64_t dmq_le64(const unsigned char *bytes);

#endif
