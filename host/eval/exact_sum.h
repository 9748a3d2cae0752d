/**
 * Sums that do not depend on the order of what is added: numbers in FP64 are cut into three parts, whole multiples of
 * 2^4, 2^-32 and 2^-68,
 *
 *   v = h + m + l + what is left, below 2^-69
 *
 * and each part is added to its own sum. Those sums are whole numbers of their unit, and exact below 2^53 of them: for
 * up to 2^24 numbers below 2^54 whose sum is below 2^57. So any split of what is added, joined in any order, gives the
 * same bits.
 *
 * @see Demmel and Nguyen, Parallel reproducible summation, IEEE Trans. Comput. 64 (2015)
 */
#ifndef DMQ_EVAL_EXACT_SUM_H
#define DMQ_EVAL_EXACT_SUM_H

#include "backend/cpu_math.h"

/** Most numbers of one sum. */
#define DMQ_EXACT_COUNT ((size_t)1 << 24)

/** Added to a number and taken away again, these round it to a multiple of a part's unit. */
#define DMQ_EXACT_HIGH  (0x1.8p52 * 0x1p4)
#define DMQ_EXACT_LOW   (0x1.8p52 * 0x1p-32)
#define DMQ_EXACT_LEAST (0x1.8p52 * 0x1p-68)

/** The parts of v to theirs. */
DMQ_INLINE void dmq_exact_add(double *high, double *low, double *least, double v)
{
    double a = (v + DMQ_EXACT_HIGH) - DMQ_EXACT_HIGH, rest = v - a;
    double b = (rest + DMQ_EXACT_LOW) - DMQ_EXACT_LOW, last = rest - b;

    *high += a;
    *low += b;
    *least += (last + DMQ_EXACT_LEAST) - DMQ_EXACT_LEAST;
}

/** The sum, rounded. */
DMQ_INLINE double dmq_exact_sum(double high, double low, double least)
{
    return (least + low) + high;
}

#endif
