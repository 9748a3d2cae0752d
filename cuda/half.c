#include "cuda/half.h"

#include "base/memory.h"
#include "cuda/device.h"

enum { OPERAND_A, OPERAND_B, RESULT, ROOMS };
enum { FACTOR = 2, PART = 4, NUMBERS = PART + DMQ_HALF_PARTS };

typedef struct block {
    void *memory;
    struct block *next;
} block;

struct dmq_cuda_halves_room {
    void *now[ROOMS];
    size_t bytes[ROOMS];
    float *numbers; /* two scales, the factor, then the room that scales are found in */
    block *blocks;  /* all memory that was ever given out */
};

dmq_status dmq_half_scale_cuda(dmq_queue *queue, const dmq_half_args *a);
dmq_status dmq_half_cast_cuda(dmq_queue *queue, const dmq_half_args *a);
dmq_status dmq_half_factor_cuda(dmq_queue *queue, const dmq_half_factor_args *a);

static dmq_status add_block(void **out, dmq_cuda_halves_room *r, size_t bytes)
{
    block *b = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&b, 1, sizeof *b));
    DMQ_TRY(dmq_cuda_alloc(&b->memory, bytes));
    b->next = r->blocks;
    r->blocks = b;
    *out = b->memory;
    b = NULL;
done:
    dmq_free(b);
    return st;
}

static dmq_status room_of(dmq_cuda_halves_room **out, dmq_queue *q)
{
    dmq_cuda_halves_room *r = q->halves;
    void *numbers = NULL;
    dmq_status st = DMQ_OK;

    if (!r) {
        DMQ_TRY(dmq_alloc((void **)&r, 1, sizeof *r));
        q->halves = r;
    }
    if (!r->numbers) {
        DMQ_TRY(add_block(&numbers, r, NUMBERS * sizeof(float)));
        r->numbers = numbers;
    }
done:
    *out = r;
    return st;
}

static dmq_status need(void **out, dmq_queue *q, int which, size_t bytes)
{
    dmq_cuda_halves_room *r;
    size_t more;
    dmq_status st = DMQ_OK;

    DMQ_TRY(room_of(&r, q));
    if (bytes > r->bytes[which]) {
        if (q->captures) {
            return dmq_fail(DMQ_EDEVICE, "cuda: a capture meets a product of halves that was not "
                                         "asked for before it");
        }
        more = 2 * r->bytes[which] > bytes ? 2 * r->bytes[which] : bytes;
        DMQ_TRY(add_block(&r->now[which], r, more));
        r->bytes[which] = more;
    }
    *out = r->now[which];
done:
    return st;
}

static dmq_status make_one(const uint16_t **out, dmq_queue *q, const dmq_half_args *args, int which,
                           float *scale)
{
    dmq_half_args a = *args;
    void *memory = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(need(&memory, q, which, a.batch * a.rows * a.cols * sizeof *a.y));
    a.scale = scale;
    a.part = q->halves->numbers + PART;
    a.y = memory;
    DMQ_TRY(dmq_half_scale_cuda(q, &a));
    DMQ_TRY(dmq_half_cast_cuda(q, &a));
    *out = a.y;
done:
    return st;
}

dmq_status dmq_cuda_halves_make(dmq_cuda_halves *out, dmq_queue *q, const dmq_half_args *a,
                                const dmq_half_args *b, float alpha, float beta)
{
    dmq_cuda_halves_room *r;
    float *numbers;
    dmq_status st = DMQ_OK;

    DMQ_TRY(room_of(&r, q));
    numbers = r->numbers;
    DMQ_TRY(make_one(&out->a, q, a, OPERAND_A, &numbers[0]));
    DMQ_TRY(make_one(&out->b, q, b, OPERAND_B, &numbers[1]));
    DMQ_TRY(dmq_half_factor_cuda(q, &(dmq_half_factor_args){ .a = &numbers[0],
                                                             .b = &numbers[1],
                                                             .factor = &numbers[FACTOR],
                                                             .alpha = alpha,
                                                             .beta = beta }));
    out->factor = &numbers[FACTOR];
done:
    return st;
}

dmq_status dmq_cuda_halves_result(float **out, dmq_queue *q, size_t bytes)
{
    void *memory = NULL;
    dmq_status st = need(&memory, q, RESULT, bytes);

    *out = memory;
    return st;
}

void dmq_cuda_halves_release(dmq_cuda_halves_room *r)
{
    block *next;

    if (!r)
        return;
    for (block *b = r->blocks; b; b = next) {
        next = b->next;
        dmq_cuda_free(b->memory);
        dmq_free(b);
    }
    dmq_free(r);
}
