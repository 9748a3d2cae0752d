/**
 * The arithmetic of a pretended convolution: one pass over arrays of the device, as a piece of work of a
 * stream, from descriptors that were read when it was asked for.
 *
 *   result = alpha * pass(operands) + beta * result, then each step's operation
 *
 * with sums in FP32 whose order is the engine's own: it is not that of kernels/conv2d_ref.c. What an engine says
 * of itself shows in its numbers, so that a wrong choice shows in a test.
 */
#ifndef DMQ_TESTS_CONVOLVE_H
#define DMQ_TESTS_CONVOLVE_H

#include <stddef.h>
#include <stdint.h>

typedef enum conv_pass { CONV_FORWARD, CONV_BACKWARD_DATA, CONV_BACKWARD_FILTER } conv_pass;

/** Four dimensions, n c h w or k c r s, each with its distance in numbers. */
typedef struct conv_tensor {
    int64_t dim[4], stride[4];
    int half; /* numbers of 16 bits, else of 32 */
    int alignment;
} conv_tensor;

typedef struct conv_shape {
    int stride[2], dilation[2];
    int before[2], behind[2]; /* padding: rows, columns */
} conv_shape;

/** How an engine computes. */
typedef struct conv_manner {
    int bits;             /* of mantissa that an operand keeps */
    int reduced;          /* sums are halves */
    int nondeterministic; /* the order of a sum changes from call to call */
    int backwards;        /* the order of a sum, so that two engines have not the same bits */
} conv_manner;

enum { CONV_X, CONV_W, CONV_Y, CONV_TENSORS };

/** What is done to a result before it is written: a sum or a product with floats, repeated where a size is 1. */
typedef struct conv_step {
    int multiplies; /* else adds */
    conv_tensor tensor;
    const float *data;
} conv_step;

enum { CONV_STEPS = 4 };

/** All that a pass needs when its turn comes. */
typedef struct conv_work {
    conv_pass pass;
    conv_shape shape;
    conv_manner manner;
    conv_tensor tensor[CONV_TENSORS];
    void *data[CONV_TENSORS];
    float alpha, beta;
    conv_step step[CONV_STEPS];
    int steps;
    unsigned char *workspace;
    size_t workspace_bytes; /* written all over, as an engine may */
} conv_work;

/** Which of the three tensors a pass makes. */
static inline int conv_result(conv_pass pass)
{
    return pass == CONV_FORWARD ? CONV_Y : pass == CONV_BACKWARD_DATA ? CONV_X : CONV_W;
}

/** From the first number of a tensor to behind its last. */
size_t conv_tensor_bytes(const conv_tensor *tensor);

/** 1 if the size of y is what x, w and shape make of it, and channels agree. */
int conv_shapes_agree(const conv_tensor tensor[CONV_TENSORS], const conv_shape *shape);

/** Dies where an array is not device memory of its size and alignment, or the result overlaps another. */
void conv_judge(const conv_work *work, const char *call);

/** A piece of work's run and drop: context is a conv_work from judge_memory. */
void conv_run(void *context);
void conv_drop(void *context);

/** A number for a shape and pass, the same in every run of the program. */
uint64_t conv_hash(conv_pass pass, const conv_tensor tensor[CONV_TENSORS], const conv_shape *shape);

#endif
