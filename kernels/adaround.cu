/*
 * AdaRound on the device: all layers of a block in one launch, up to LAYERS of them.
 *
 * Bytes an element: init 8, forward 12 (w, alpha in, w_soft out), backward and jvp 16, curve 20,
 * regularize 8 (12 with add), step 36 (w, dw, alpha, m, v in; alpha, m, v, w_soft out), each number once:
 * the floor. Step and channel count 4 bytes in thousands. Two 3x3 layers of 128 are 10.6 MB a step, which
 * is in the cache and takes a launch; two of 960 are 597 MB. The regularizer's power is the longest part
 * of the arithmetic, some 170 instructions an element in all, two thirds of the time of the bytes.
 *
 * A block has a tile of one layer; a table of first tiles goes by value into the kernel. A thread has
 * PACKS packs of 4 where per is a multiple of 4 and all is aligned, else 1 at a time.
 */
#include "kernels/map.cuh"
#include "kernels/reduce.cuh"

extern "C" {
#include "kernels/adaround_math.h"
#include "kernels/optim_math.h"
}

#ifdef DMQ_SIMT /* small, so that tests have several launches, tiles and a tail */
enum { LAYERS = 2, BLOCK = 32, PACKS = 2 };
#else
enum { LAYERS = 28, BLOCK = 256, PACKS = 2 };
#endif

enum pass { INIT, SOFT, HARD, BACKWARD, JVP, CURVE, REGULARIZE, STEP };

struct layer {
    dmq_adaround_layer l;
    size_t moment;   /* where its moments begin */
    unsigned tile;   /* its first */
    unsigned count;  /* elements */
    dmq_divider per; /* packs of a channel */
    int wide;
};

/* By value: within the 4 KiB of a kernel's parameters. */
struct work {
    layer of[LAYERS];
    int n;
    int add;
    dmq_step_scalars now;
    const dmq_step_scalars *later; /* device memory, read instead of `now`; or NULL */
    float *m, *v;
    double *part; /* of the regularizer's value, one a tile; or NULL */
};

/* One element between load and store. */
struct element {
    float w, alpha, dw, tan, old, m, v; /* in */
    float out, value;                   /* out; value: of the regularizer */
};

/* ------------------------------------------------------------------ one element */

/* The codes' floor(w/scale), and the same bits as dmq_ada_code without a division. */
static __device__ float soft_of(float w, float h, const layer &at, dmq_fq_step s)
{
    float code = dmq_floor(dmq_fq_quotient(w, s)) + h + s.zero;

    return dmq_fq_clip(code, at.l.lo, at.l.hi);
}

/* D, from s = sigmoid(alpha). */
static __device__ float d_of(float w, float sigmoid, const layer &at, dmq_fq_step s)
{
    float h = dmq_fq_clip(dmq_ada_stretch(sigmoid), 0, 1);
    float code = dmq_floor(dmq_fq_quotient(w, s)) + h + s.zero;

    return code <= at.l.lo || code >= at.l.hi ? 0 : s.scale * dmq_ada_slope(sigmoid);
}

/* dR/dalpha over the weight; value becomes 1 - |2h - 1|^beta, from the same power. */
static __device__ float regularize(float *value, float sigmoid, float beta)
{
    float t = 2 * dmq_fq_clip(dmq_ada_stretch(sigmoid), 0, 1) - 1;
    float power = dmq_pow(dmq_fabs(t), beta - 1);
    float d = 2 * beta * power * dmq_ada_slope(sigmoid);

    *value = 1 - power * dmq_fabs(t);
    return t < 0 ? d : -d;
}

template <pass P>
static __device__ void run(element &e, const dmq_step_scalars &now, int add, const layer &at,
                           dmq_fq_step s)
{
    float sigmoid = P == INIT || P == HARD ? 0 : dmq_ada_sigmoid(e.alpha);

    e.value = 0;
    switch (P) {
    case INIT:
        e.out = dmq_ada_init(e.w, s.scale);
        break;
    case SOFT:
        e.out = dmq_fq_value(soft_of(e.w, dmq_fq_clip(dmq_ada_stretch(sigmoid), 0, 1), at, s),
                             s.scale, s.zero);
        break;
    case HARD:
        e.value = soft_of(e.w, dmq_ada_up(e.alpha), at, s);
        e.out = dmq_fq_value(e.value, s.scale, s.zero);
        break;
    case BACKWARD:
        e.out = d_of(e.w, sigmoid, at, s) * e.dw;
        break;
    case JVP:
        e.out = d_of(e.w, sigmoid, at, s) * e.tan;
        break;
    case CURVE:
        e.out = d_of(e.w, sigmoid, at, s) * (1 - 2 * sigmoid) * e.tan * e.dw;
        break;
    case REGULARIZE:
        e.out =
            now.reg_weight == 0 ? 0 : now.reg_weight * regularize(&e.value, sigmoid, now.reg_beta);
        break;
    case STEP: {
        float g = d_of(e.w, sigmoid, at, s) * e.dw;

        if (now.reg_weight != 0)
            g += now.reg_weight * regularize(&e.value, sigmoid, now.reg_beta);
        e.alpha = dmq_adam_move(e.alpha, g, &e.m, &e.v, now.adam);
        e.out = dmq_fq_value(soft_of(e.w, dmq_ada_h(e.alpha), at, s), s.scale, s.zero);
        break;
    }
    }
    if (P == BACKWARD || P == CURVE || P == REGULARIZE)
        e.out = add ? e.old + e.out : e.out;
}

/* ------------------------------------------------------------------ a pack of them */

template <pass P, int W> struct held {
    dmq_pack<W> w, alpha, dw, tan, old, m, v;
};

template <pass P, int W>
static __device__ void load(held<P, W> &h, const work &k, const layer &at, size_t i)
{
    if (P != REGULARIZE)
        h.w = dmq_load<W>(at.l.w, i);
    if (P != INIT)
        h.alpha = dmq_load<W>(at.l.alpha, i);
    if (P == BACKWARD || P == CURVE || P == STEP)
        h.dw = dmq_load<W>(at.l.dw, i);
    if (P == CURVE || (P == JVP && at.l.alpha_tan)) {
        h.tan = dmq_load<W>(at.l.alpha_tan, i);
    } else if (P == JVP) {
        for (int j = 0; j < W; j++)
            h.tan.at[j] = 1;
    }
    if ((P == BACKWARD || P == CURVE || P == REGULARIZE) && k.add)
        h.old = dmq_load<W>(at.l.dalpha, i);
    if (P == STEP) {
        h.m = dmq_load<W>(k.m + at.moment, i);
        h.v = dmq_load<W>(k.v + at.moment, i);
    }
}

/* Compute and store; the regularizer's value comes back. */
template <pass P, int W>
static __device__ float store(held<P, W> &h, const work &k, const dmq_step_scalars &now,
                              const layer &at, size_t i)
{
    dmq_pack<W> out;
    dmq_fq_step s = dmq_fq_step_of(1, 0);
    float value = 0;

    if (P != REGULARIZE) {
        unsigned rest, channel = dmq_divide((unsigned)i, &rest, at.per);

        s = dmq_fq_step_of(at.l.scale[channel], at.l.zero[channel]);
    }
    for (int j = 0; j < W; j++) {
        element e = {
            h.w.at[j], h.alpha.at[j], h.dw.at[j], h.tan.at[j], h.old.at[j], h.m.at[j], h.v.at[j], 0,
            0
        };

        run<P>(e, now, k.add, at, s);
        out.at[j] = e.out;
        h.alpha.at[j] = e.alpha;
        h.m.at[j] = e.m;
        h.v.at[j] = e.v;
        if (P == HARD && at.l.code)
            at.l.code[i * W + j] = dmq_fq_store(e.value);
        else
            value += e.value;
    }
    if (P == STEP) {
        dmq_store(at.l.alpha, i, h.alpha);
        dmq_store(k.m + at.moment, i, h.m);
        dmq_store(k.v + at.moment, i, h.v);
    }
    dmq_store(P == INIT                ? at.l.alpha
              : P == JVP               ? at.l.w_tan
              : P <= HARD || P == STEP ? at.l.w_soft
                                       : at.l.dalpha,
              i, out);
    return value;
}

template <pass P, int W>
static __device__ double tile_of(const work &k, const dmq_step_scalars &now, const layer &at,
                                 unsigned tile)
{
    const unsigned packs = at.count / W, first = tile * BLOCK * PACKS + threadIdx.x;
    held<P, W> h[PACKS] = {};
    double value = 0;

#pragma unroll
    for (unsigned j = 0; j < PACKS; j++) {
        if (first + j * BLOCK < packs)
            load<P, W>(h[j], k, at, first + j * BLOCK);
    }
#pragma unroll
    for (unsigned j = 0; j < PACKS; j++) {
        if (first + j * BLOCK < packs)
            value += (double)store<P, W>(h[j], k, now, at, first + j * BLOCK);
    }
    return value;
}

template <pass P>
static __global__ void __launch_bounds__(BLOCK) every(const __grid_constant__ work k)
{
    __shared__ double slot[DMQ_WARPS_MOST];
    const dmq_step_scalars now = P == STEP && k.later ? *k.later : k.now;
    int i = 0;
    double value;

    while (i + 1 < k.n && k.of[i + 1].tile <= blockIdx.x)
        i++;
    if (k.of[i].wide)
        value = tile_of<P, 4>(k, now, k.of[i], blockIdx.x - k.of[i].tile);
    else
        value = tile_of<P, 1>(k, now, k.of[i], blockIdx.x - k.of[i].tile);
    if ((P == REGULARIZE || P == STEP) && k.part) {
        value = dmq_block_sum(value, slot);
        if (threadIdx.x == 0)
            k.part[blockIdx.x] = value;
    }
}

/* out (+)= weight sum part; the weight is that of `later` if there is one */
static __global__ void __launch_bounds__(BLOCK)
    add_up(double *out, const double *part, unsigned count, float weight,
           const dmq_step_scalars *later, int add)
{
    __shared__ double slot[DMQ_WARPS_MOST];
    double sum = 0;

    for (unsigned i = threadIdx.x; i < count; i += BLOCK)
        sum += part[i];
    sum = dmq_block_sum(sum, slot) * (double)(later ? later->reg_weight : weight);
    if (threadIdx.x == 0)
        *out = add ? *out + sum : sum;
}

/* ------------------------------------------------------------------ launches */

/* Up to LAYERS layers from `first` on. The number of their tiles comes back. */
static unsigned fill(work *k, const dmq_adaround_args *a, int first, size_t *moment)
{
    unsigned tiles = 0;

    k->n = a->n_layers - first < LAYERS ? a->n_layers - first : LAYERS;
    for (int i = 0; i < k->n; i++) {
        layer *at = &k->of[i];
        const dmq_adaround_layer *l = &a->layer[first + i];
        size_t count = (size_t)l->k * (size_t)l->per;
        int w;

        at->l = *l;
        at->count = (unsigned)count;
        at->moment = *moment;
        at->wide = dmq_by_four(l->per, *moment) &&
                   dmq_aligned(l->w, l->alpha, l->w_soft, l->dw, l->alpha_tan, l->w_tan) &&
                   dmq_aligned(l->dalpha, k->m, k->v);
        w = at->wide ? 4 : 1;
        at->per = dmq_divider_of((size_t)(l->per / w));
        at->tile = tiles;
        tiles += (unsigned)((count / w + BLOCK * PACKS - 1) / (BLOCK * PACKS));
        *moment += count;
    }
    return tiles;
}

template <pass P> static dmq_status launch(dmq_queue *queue, const dmq_adaround_args *a, work k)
{
    const bool valued = (P == REGULARIZE || P == STEP) && a->reg_value;
    dmq_status st = DMQ_OK;
    size_t moment = 0;

    k.add = a->add;
    k.now.reg_weight = a->reg_weight;
    k.now.reg_beta = a->reg_beta;
    for (int first = 0; first < a->n_layers; first += LAYERS) {
        unsigned tiles = fill(&k, a, first, &moment);
        void *scratch = NULL;

        if (tiles == 0)
            continue;
        if (valued)
            DMQ_TRY(dmq_cuda_scratch(&scratch, queue, tiles * sizeof(double)));
        k.part = static_cast<double *>(scratch);
        DMQ_TRY(DMQ_LAUNCH((every<P>), tiles, BLOCK, 0, queue, k));
        if (valued) {
            DMQ_TRY(DMQ_LAUNCH(add_up, 1, BLOCK, 0, queue, a->reg_value,
                               static_cast<const double *>(k.part), tiles, a->reg_weight, k.later,
                               first > 0));
        }
    }
done:
    return st;
}

DMQ_DEVICE(dmq_adaround_init)(dmq_queue *queue, const dmq_adaround_args *a)
{
    return launch<INIT>(queue, a, work());
}

DMQ_DEVICE(dmq_adaround_forward)(dmq_queue *queue, const dmq_adaround_args *a)
{
    return a->hard ? launch<HARD>(queue, a, work()) : launch<SOFT>(queue, a, work());
}

DMQ_DEVICE(dmq_adaround_backward)(dmq_queue *queue, const dmq_adaround_args *a)
{
    return launch<BACKWARD>(queue, a, work());
}

DMQ_DEVICE(dmq_adaround_jvp)(dmq_queue *queue, const dmq_adaround_args *a)
{
    return launch<JVP>(queue, a, work());
}

DMQ_DEVICE(dmq_adaround_curve)(dmq_queue *queue, const dmq_adaround_args *a)
{
    return launch<CURVE>(queue, a, work());
}

DMQ_DEVICE(dmq_adaround_regularize)(dmq_queue *queue, const dmq_adaround_args *a)
{
    return launch<REGULARIZE>(queue, a, work());
}

DMQ_DEVICE(dmq_adaround_step)(dmq_queue *queue, const dmq_adaround_step_args *a)
{
    work k = work();

    k.m = a->m;
    k.v = a->v;
    k.later = a->scalars;
    if (!a->scalars)
        k.now.adam = dmq_adam_begin(a->lr, a->beta1, a->beta2, a->eps, a->step);
    return launch<STEP>(queue, &a->round, k);
}
