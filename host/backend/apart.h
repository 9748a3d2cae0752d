/**
 * Memory that the host cannot touch: on a machine without a device, what a device's memory is like.
 *
 * All of it lies in one range of addresses that stays closed; an allocation is open to this process
 * only between dmq_apart_open and the dmq_apart_close that goes with it. Whoever touches it otherwise
 * dies by a segmentation fault that says so on stderr; so does who runs over the end, for an allocation
 * ends (as nearly as 64 bytes allow) where a page ends, and the next page is never open. Addresses are
 * not given out twice: memory that was freed faults too.
 *
 * What was not freed is told on stderr when the process ends. Safe to call from several threads.
 */
#ifndef DMQ_BACKEND_APART_H
#define DMQ_BACKEND_APART_H

#include "base/status.h"

#include <stddef.h>

/** 64-byte aligned, filled with NaN, closed; ENOMEM. */
dmq_status dmq_apart_alloc(void **out, size_t bytes);

/** Takes NULL. */
void dmq_apart_free(void *memory);

/** 1 for an address in an allocation that has not been freed. */
int dmq_apart_holds(const void *where);

/**
 * Open the allocation that holds an address, which may be open already; each call needs its close.
 *
 * @return EINVAL when no allocation holds it; ENOMEM
 */
dmq_status dmq_apart_open(const void *where);
void dmq_apart_close(const void *where);

#endif
