/* Minimum and maximum, range search: plain loops. */
#include "kernels/observe.h"
#include "kernels/observe_math.h"

#include <assert.h>

/* Minimum and maximum of one channel; a NaN sticks. */
static void ends(dmq_real *lo, dmq_real *hi, const dmq_real *x, int c, int outer, int c_count,
                 int inner)
{
    dmq_real a = x[(size_t)c * (size_t)inner], b = a;

    for (int o = 0; o < outer; o++) {
        const dmq_real *p = x + ((size_t)o * (size_t)c_count + (size_t)c) * (size_t)inner;

        for (int k = 0; k < inner; k++) {
            if (p[k] != p[k])
                a = b = p[k];
            a = p[k] < a ? p[k] : a;
            b = p[k] > b ? p[k] : b;
        }
    }
    *lo = a;
    *hi = b;
}

dmq_status dmq_minmax_ref(dmq_queue *queue, const dmq_minmax_args *a)
{
    (void)queue;
    assert(a->outer > 0 && a->inner > 0);
    for (int c = 0; c < a->c; c++)
        ends(&a->lo[c], &a->hi[c], a->x, c, a->outer, a->c, a->inner);
    return DMQ_OK;
}

/* Mean of |x - fq(x)|^p over one channel. */
static double score_of(const dmq_range_search_args *a, int c, dmq_range r, dmq_real top)
{
    double sum = 0.0;

    for (int o = 0; o < a->outer; o++) {
        const dmq_real *p = a->x + ((size_t)o * (size_t)a->c + (size_t)c) * (size_t)a->inner;

        for (int k = 0; k < a->inner; k++)
            sum += (double)dmq_range_term(p[k], r, top, a->power);
    }
    return sum / ((double)a->outer * (double)a->inner);
}

dmq_status dmq_range_search_ref(dmq_queue *queue, const dmq_range_search_args *a)
{
    dmq_real top = (dmq_real)((1 << a->bits) - 1);

    (void)queue;
    assert(a->bits >= 1 && a->bits <= 16 && a->candidates >= 1 && a->candidates <= 100);
    for (int c = 0; c < a->c; c++) {
        dmq_real lo, hi;
        dmq_range best;
        double best_score;
        int winner = 0;

        ends(&lo, &hi, a->x, c, a->outer, a->c, a->inner);
        best = dmq_range_closed(lo, hi, a->always_zero);
        if (dmq_range_is_open(lo, hi, a->always_zero))
            best = dmq_range_candidate(lo, hi, 0, top, a->always_zero);
        best_score = score_of(a, c, best, top);
        for (int i = 1; i < a->candidates && dmq_range_is_open(lo, hi, a->always_zero); i++) {
            dmq_range r = dmq_range_candidate(lo, hi, i, top, a->always_zero);
            double score = score_of(a, c, r, top);

            if (score < best_score) {
                best = r;
                best_score = score;
                winner = i;
            }
        }
        a->scale[c] = best.scale;
        a->zero[c] = best.zero;
        if (a->score)
            a->score[c] = (dmq_real)best_score;
        if (a->winner)
            a->winner[c] = winner;
    }
    return DMQ_OK;
}
