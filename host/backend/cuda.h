/**
 * What the CUDA device has beyond its table (backend.h). In a build without CUDA these say so.
 */
#ifndef DMQ_BACKEND_CUDA_H
#define DMQ_BACKEND_CUDA_H

#include "backend/backend.h"

#include <stdio.h>

/** How products of a matrix product or convolution are taken; sums are FP32 in all of them. */
typedef enum dmq_precision {
    DMQ_FP32, /**< the reference: operands as they are */
    DMQ_TF32, /**< operands rounded to 10 bits of mantissa: tensor cores */
    DMQ_FP16 /**< the same mantissa in half the bytes; operands are scaled by powers of two (kernels/half.h) */
} dmq_precision;

/**
 * Set the precision of a backend, before its first product; that of the config key device.precision.
 *
 * @return ENOTSUP for anything but fp32 where backend is not cuda
 */
dmq_status dmq_backend_precision(const dmq_backend *backend, dmq_precision precision);

/** That of cuda; only in a build with CUDA. */
dmq_status dmq_backend_cuda_precision(dmq_precision precision);

/**
 * The CUDA device of a number, if it can do the work: it is there, cuDNN and cuBLASLt load, and a product and a
 * convolution are right. text: which device and libraries. Only in a build with CUDA.
 *
 * @return ENOTSUP when something is not here, EDEVICE when it does not work; the message says what
 */
dmq_status dmq_backend_cuda_probe(const dmq_backend **out, int device, char *text, size_t room);

/**
 * Which algorithm each convolution takes, one line a shape and pass, for the manifest of a run:
 *
 *   forward 32 32 32 128 128 3 3 1 1 1 fp32: cudnn 1, 0.271 ms
 *
 * text: `room` bytes, ended by a zero, cut where it is full. Empty where nothing was chosen.
 */
void dmq_backend_cuda_choices(char *text, size_t room);

/** Build, driver, devices and libraries, one line each; with no device one line that says so. */
void dmq_backend_cuda_print(FILE *out);

/** Self-tests of the device's libraries and kernels, one line each; the number of those that failed. */
int dmq_backend_cuda_self_test(FILE *out);

#endif
