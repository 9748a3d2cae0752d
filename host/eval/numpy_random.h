/**
 * numpy.random.RandomState, as far as published metrics depend on it: the Mersenne Twister MT19937 and the permutation
 * that NumPy promises to keep.
 *
 *   seeded        state[0] = seed, state[i] = 1812433253 (state[i-1] ^ state[i-1] >> 30) + i
 *   whole number  in [0, top]: words of the generator under the smallest mask 2^k - 1 >= top, until one is <= top
 *   permutation   0 .. n-1, then for i = n-1 down to 1: swap with place j, drawn in [0, i]
 *
 * torch-fidelity shuffles images by RandomState(2020).permutation(n) before an inception score, and takes the subsets of
 * KID by choice(n, size, replace=False), which is the beginning of a permutation(n).
 *
 * @see Matsumoto and Nishimura, ACM TOMACS 8 (1998); NumPy's NEP 19
 */
#ifndef DMQ_EVAL_NUMPY_RANDOM_H
#define DMQ_EVAL_NUMPY_RANDOM_H

#include <stddef.h>
#include <stdint.h>

typedef struct dmq_numpy_random {
    uint32_t state[624];
    int at; /**< the next word of state; 624: make new ones */
} dmq_numpy_random;

/** RandomState(seed). */
void dmq_numpy_random_init(dmq_numpy_random *random, uint32_t seed);

/** The next 32 bits. */
uint32_t dmq_numpy_random_word(dmq_numpy_random *random);

/** random.permutation(n) into out (n), n < 2^32. */
void dmq_numpy_permutation(uint32_t *out, size_t n, dmq_numpy_random *random);

#endif
