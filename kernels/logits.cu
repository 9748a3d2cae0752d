/* A step of the logits of sample weights on the device: one block, all sums in double. */
#include "kernels/reduce.cuh"

extern "C" {
#include "kernels/logits_math.h"
}

enum { BLOCK = 256 };

static __global__ void take(dmq_logits_args a)
{
    __shared__ dmq_real tops[DMQ_WARPS_MOST];
    __shared__ double sums[DMQ_WARPS_MOST];
    dmq_real top = a.s[a.pick[0]];
    double sum = 0;

    for (int i = (int)threadIdx.x; i < a.n; i += BLOCK)
        top = dmq_max_of()(top, a.s[a.pick[i]]);
    top = dmq_block_join(top, tops, dmq_max_of());
    for (int i = (int)threadIdx.x; i < a.n; i += BLOCK)
        sum += dmq_logits_power(&a, a.s[a.pick[i]], top);
    sum = dmq_block_sum(sum, sums);
    for (int i = (int)threadIdx.x; i < a.n; i += BLOCK)
        a.w[i] = (dmq_real)(dmq_logits_power(&a, a.s[a.pick[i]], top) / sum);
}

/* A sum over the block behind those before it in time: the slot is used again. */
static __device__ double again(double value, double *slot)
{
    __syncthreads();
    return dmq_block_sum(value, slot);
}

static __device__ double centre_of(const dmq_logits_args &a, const dmq_real *x, double *slot)
{
    double sum = 0, mass = 0;

    for (int i = (int)threadIdx.x; i < a.n; i += BLOCK) {
        sum += (double)a.w[i] * (double)x[i];
        mass += (double)a.w[i];
    }
    sum = again(sum, slot);
    mass = again(mass, slot);
    return mass > 0 ? sum / mass : 0;
}

static __device__ double ess_of(const dmq_logits_args &a, dmq_real *tops, double *slot)
{
    dmq_real top = a.s[0];
    double sum = 0, squares = 0;

    for (int i = (int)threadIdx.x; i < a.total; i += BLOCK)
        top = dmq_max_of()(top, a.s[i]);
    top = dmq_block_join(top, tops, dmq_max_of());
    for (int i = (int)threadIdx.x; i < a.total; i += BLOCK) {
        double e = dmq_logits_power(&a, a.s[i], top);

        sum += e;
        squares += e * e;
    }
    sum = again(sum, slot);
    squares = again(squares, slot);
    return sum * sum / (squares * a.total);
}

static __global__ void step(dmq_logits_args a)
{
    __shared__ dmq_real tops[DMQ_WARPS_MOST];
    __shared__ double slot[DMQ_WARPS_MOST];
    __shared__ double divisor;
    double cm, cg, squares = 0, mean = 0, ess;
    dmq_gm_sums s = { 0, 0, 0 };
    dmq_gm_join j;

    if (a.state->stopped)
        return; /* all of them */
    cm = centre_of(a, a.d_mse, slot);
    cg = centre_of(a, a.d_gm, slot);
    for (int i = (int)threadIdx.x; i < a.n; i += BLOCK) {
        double m = (double)a.d_mse[i] - cm, g = (double)a.d_gm[i] - cg;

        s.mm += m * m;
        s.gg += g * g;
        s.mg += m * g;
    }
    s.mm = again(s.mm, slot);
    s.gg = again(s.gg, slot);
    s.mg = again(s.mg, slot);
    j = dmq_gm_join_of(s, a.policy, a.rho_0, a.state->lambda);
    for (int i = (int)threadIdx.x; i < a.n; i += BLOCK) {
        double m = (double)a.d_mse[i] - cm, g = (double)a.d_gm[i] - cg;

        a.d[i] = (dmq_real)(m + j.factor * (g - j.along * m));
        squares += (double)a.d[i] * (double)a.d[i];
    }
    squares = again(squares, slot);
    if (threadIdx.x == 0)
        divisor = dmq_logits_note(a.state, &j, sqrt(squares / a.n));
    __syncthreads();
    for (int i = (int)threadIdx.x; i < a.n; i += BLOCK)
        mean += (double)a.w[i] * (double)a.d[i] / divisor;
    mean = again(mean, slot);
    for (int i = (int)threadIdx.x; i < a.n; i += BLOCK) {
        double ds = (double)a.w[i] / a.tau * ((double)a.d[i] / divisor - mean);

        a.s_old[i] = a.s[a.pick[i]];
        dmq_logits_move(&a, a.pick[i], ds * a.n); /* at the scale of d, whatever the batch */
    }
    __syncthreads();
    ess = ess_of(a, tops, slot);
    if (threadIdx.x == 0)
        a.state->ess = ess;
    if (!(ess < a.ess_stop))
        return; /* all of them */
    for (int i = (int)threadIdx.x; i < a.n; i += BLOCK)
        a.s[a.pick[i]] = a.s_old[i];
    if (threadIdx.x == 0)
        a.state->stopped = 1;
}

DMQ_DEVICE(dmq_logits_take)(dmq_queue *queue, const dmq_logits_args *a)
{
    return DMQ_LAUNCH(take, 1, BLOCK, 0, queue, *a);
}

DMQ_DEVICE(dmq_logits_step)(dmq_queue *queue, const dmq_logits_args *a)
{
    return DMQ_LAUNCH(step, 1, BLOCK, 0, queue, *a);
}
