#include "eval/numpy_random.h"

#include <assert.h>

enum { WORDS = 624, SHIFT = 397 };

void dmq_numpy_random_init(dmq_numpy_random *r, uint32_t seed)
{
    r->state[0] = seed;
    for (uint32_t i = 1; i < WORDS; i++) {
        uint32_t last = r->state[i - 1];

        r->state[i] = UINT32_C(1812433253) * (last ^ last >> 30) + i;
    }
    r->at = WORDS;
}

/* All words of the state anew: a word is made of its upper bit, the lower bits of the next, and the word
   397 places on. */
static void turn(dmq_numpy_random *r)
{
    for (int i = 0; i < WORDS; i++) {
        uint32_t y = (r->state[i] & UINT32_C(0x80000000)) |
                     (r->state[(i + 1) % WORDS] & UINT32_C(0x7fffffff));

        r->state[i] = r->state[(i + SHIFT) % WORDS] ^ y >> 1 ^ (y & 1 ? UINT32_C(0x9908b0df) : 0);
    }
    r->at = 0;
}

uint32_t dmq_numpy_random_word(dmq_numpy_random *r)
{
    uint32_t y;

    if (r->at == WORDS)
        turn(r);
    y = r->state[r->at++];
    y ^= y >> 11;
    y ^= y << 7 & UINT32_C(0x9d2c5680);
    y ^= y << 15 & UINT32_C(0xefc60000);
    return y ^ y >> 18;
}

static uint32_t up_to(dmq_numpy_random *r, uint32_t top)
{
    uint32_t mask = top, value;

    for (int s = 1; s < 32; s *= 2)
        mask |= mask >> s;
    do {
        value = dmq_numpy_random_word(r) & mask;
    } while (value > top);
    return value;
}

void dmq_numpy_permutation(uint32_t *out, size_t n, dmq_numpy_random *r)
{
    assert(n <= UINT32_MAX);
    for (size_t i = 0; i < n; i++)
        out[i] = (uint32_t)i;
    for (size_t i = n; i-- > 1;) {
        uint32_t j = up_to(r, (uint32_t)i), swap = out[i];

        out[i] = out[j];
        out[j] = swap;
    }
}
