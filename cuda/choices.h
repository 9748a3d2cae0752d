/**
 * Which algorithm each convolution takes, so that two runs take the same.
 *
 * Without DMQ_CUDA_CHOICES the library's own rule decides: the first wanted engine (engines.h) or algorithm of its
 * heuristic, which depends on shape, device and version alone, is not timed, and so is the same in every run
 * and after every restart. With DMQ_CUDA_CHOICES=FILE the algorithms of the file are taken, and a shape that
 * it does not have is timed once and added to it: faster, and repeatable for as long as the file is kept.
 */
#ifndef DMQ_CUDA_CHOICES_H
#define DMQ_CUDA_CHOICES_H

#include "cuda/engines.h"

/* Instead of a number of the library's: our own kernel; an engine of a graph. */
enum { DMQ_CUDA_PLAIN = -1, DMQ_CUDA_GRAPH = -2, DMQ_CUDA_CHOICE_KEY = DMQ_ENGINE_KEY };

typedef struct dmq_cuda_choice {
    char key[DMQ_CUDA_CHOICE_KEY]; /* "forward 32 32 32 128 128 3 3 1 1 1 fp32 bias" */
    int algorithm;                 /* the library's number, DMQ_CUDA_PLAIN or DMQ_CUDA_GRAPH */
    char engine[DMQ_ENGINE_NAME];  /* of a graph: "67 2=0 13=0" */
    float time_ms;                 /* 0: not timed */
} dmq_cuda_choice;

/** Read the file that DMQ_CUDA_CHOICES names, if it names one; none yet is an empty one. EDATA with the line. */
dmq_status dmq_cuda_choices_open(void);

/** Whether new shapes are to be timed. */
int dmq_cuda_choices_timed(void);

/** 1 and the choice of that key, or 0. */
int dmq_cuda_choices_find(dmq_cuda_choice *out, const char *key);

/** Remember a choice, and write it to the file if there is one. A key that is there is left alone. */
dmq_status dmq_cuda_choices_add(const dmq_cuda_choice *choice);

/** Forget all: for tests. */
void dmq_cuda_choices_clear(void);

#endif
