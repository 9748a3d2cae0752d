/**
 * Between cpu_winograd.c, which lays out the work, and the code of it for an instruction set
 * (cpu_winograd_body.h, compiled by cpu_winograd_avx512.c and cpu_winograd_avx2.c).
 */
#ifndef DMQ_BACKEND_CPU_WINOGRAD_CODE_H
#define DMQ_BACKEND_CPU_WINOGRAD_CODE_H

#include <stddef.h>

enum {
    DMQ_TILE = 4,    /**< results of a tile, in both directions */
    DMQ_POINTS = 36, /**< of a tile, kernels of 3x3 */
    DMQ_POINTS_5X5 = 64,
    DMQ_ROWS = 8, /**< runs of tiles are multiples of it */
    DMQ_LINE = 16 /**< numbers of a cache line */
};

/**
 * A convolution of `in` (c channels) to `out` (k channels), or the correlation of `in` and `dy`.
 *
 * Planes of v and m, one for each point, are a cache line longer than their numbers: else all 36 would
 * meet in the same few lines of the first cache.
 */
typedef struct dmq_winograd_job {
    const float *in;      /**< (n, h, w, c) */
    const float *dy;      /**< (n, ho, wo, k); correlate */
    const float *bias;    /**< (k) or NULL; convolve */
    const float *weights; /**< at the points; convolve */
    float *out;           /**< (n, ho, wo, k); convolve */
    float *dw;            /**< (k, 3, 3, c); correlate */
    int h, w, c, k, ho, wo, add, relu;
    int top, left;           /**< padding */
    int across, down, tiles; /**< tiles in a row, in a column of an image, in all */
    int run;                 /**< tiles that are worked on at a time */
    size_t plane_v, plane_m; /**< run * c + DMQ_LINE, run * k + DMQ_LINE */
    float *u;                /**< (36, k, c) scratch; correlate */
    float *v, *m;            /**< scratch */
} dmq_winograd_job;

/**
 * A convolution of lines of pixels, each by itself: along x (kernel 1 x taps) or y (taps x 1). `lines` of an
 * image lie in_line apart, the pixels of one in_step; results likewise.
 */
typedef struct dmq_winograd_line_job {
    const float *in;      /**< (n, h, w, c) */
    const float *bias;    /**< (k) or NULL */
    const float *weights; /**< at the points */
    float *out;           /**< (n, ho, wo, k) */
    int c, k, taps, add, relu;
    int lines, length_in, length_out, pad;
    ptrdiff_t in_image, in_line, in_step, out_image, out_line, out_step;
    int tile, across, tiles; /**< results of a tile; tiles of a line, in all */
    int run;                 /**< tiles that are worked on at a time */
    size_t plane_v, plane_m; /**< run * c + DMQ_LINE, run * k + DMQ_LINE */
    float *v, *m;            /**< scratch */
} dmq_winograd_line_job;

typedef struct dmq_winograd_code {
    const char *name;
    void (*weights)(float *u, int k, int c, const float *w, int turned);
    void (*convolve)(const dmq_winograd_job *job);
    void (*correlate)(const dmq_winograd_job *job);
    void (*line_weights)(float *u, int k, int c, const float *w, int taps);
    void (*line_convolve)(const dmq_winograd_line_job *job);
    void (*five_weights)(float *u, int k, int c, const float *w);
    void (*five_convolve)(const dmq_winograd_job *job);
} dmq_winograd_code;

extern const dmq_winograd_code dmq_winograd_avx512, dmq_winograd_avx2;

/** For tests: the code to use from now on; NULL: the best that the machine has. No queue may be open. */
void dmq_cpu_winograd_use(const dmq_winograd_code *code);

#endif
