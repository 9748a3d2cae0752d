#include "cuda/half.h"

#include "base/memory.h"
#include "cuda/device.h"

enum { OPERAND_A, OPERAND_B, RESULT, ROOMS };
enum { FACTOR = 2, PART = 4, NUMBERS = PART + 2 * DMQ_HALF_PARTS };

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

dmq_status dmq_half_pair_cuda(dmq_queue *queue, const dmq_half_pair_args *a);

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

static dmq_status take_room(dmq_half_args *a, dmq_queue *q, int which)
{
    void *memory = NULL;
    dmq_status st = need(&memory, q, which, a->batch * a->rows * a->cols * sizeof *a->y);

    a->y = memory;
    a->scale = &q->halves->numbers[which];
    return st;
}

dmq_status dmq_cuda_halves_make(dmq_cuda_halves *out, dmq_queue *q, const dmq_half_args *a,
                                const dmq_half_args *b, float alpha, float beta)
{
    dmq_half_pair_args pair = { .of = { *a, *b }, .alpha = alpha, .beta = beta };
    dmq_cuda_halves_room *r;
    dmq_status st = DMQ_OK;

    DMQ_TRY(room_of(&r, q));
    DMQ_TRY(take_room(&pair.of[0], q, OPERAND_A));
    DMQ_TRY(take_room(&pair.of[1], q, OPERAND_B));
    pair.factor = &r->numbers[FACTOR];
    pair.part = &r->numbers[PART];
    DMQ_TRY(dmq_half_pair_cuda(q, &pair));
    *out = (dmq_cuda_halves){ .a = pair.of[0].y, .b = pair.of[1].y, .factor = pair.factor };
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
