/**
 * A file of numbers that nobody else sees: memory on a disk.
 *
 * It has no name once it is open, so that nothing is left of it when the program ends, however it ends.
 * Its room is taken when it is made: a disk that is too small is told then, and not in the middle of the
 * work. Several threads may read and write it at once, at places of their own.
 */
#ifndef DMQ_IO_SCRATCH_H
#define DMQ_IO_SCRATCH_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct dmq_scratch dmq_scratch;

/**
 * bytes of room in a folder, which is made if it is not there; what it holds is zeros.
 *
 * @return EIO when the folder cannot be written, or with both figures when the disk is too small
 */
dmq_status dmq_scratch_create(dmq_scratch **out, const char *folder, uint64_t bytes);

/** Gives the room back. Takes NULL. */
void dmq_scratch_destroy(dmq_scratch *scratch);

/** bytes at an offset; EIO. */
dmq_status dmq_scratch_write(dmq_scratch *scratch, uint64_t offset, const void *from, size_t bytes);
dmq_status dmq_scratch_read(const dmq_scratch *scratch, void *to, uint64_t offset, size_t bytes);

#endif
