/**
 * The backend "simt": the kernels of the device, run thread by thread on the host (simt.h), in host
 * memory; ref where the device calls a library. For tests only.
 */
#ifndef DMQ_TESTS_BACKEND_SIMT_H
#define DMQ_TESTS_BACKEND_SIMT_H

#include "backend/backend.h"

const dmq_backend *dmq_backend_simt(void);

/** 1 when the slot is a kernel of ours, 0 when it is ref's. slot: as in DMQ_BACKEND_OPS. */
int dmq_simt_has(const char *slot);

#endif
