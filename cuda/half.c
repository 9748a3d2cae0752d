#include "cuda/half.h"

#include "base/memory.h"
#include "cuda/device.h"

enum { OPERAND_A, OPERAND_B, GRADIENT, RESULT, ROOMS };
enum { FACTOR = 4, PART = 8, NUMBERS = PART + 2 * DMQ_HALF_PARTS };

/* Operands that are kept for a pass: so many at most, and so much memory. HEAD: before the halves, their scale. */
enum { KEPT = 64, HEAD = 256 };
static const size_t kept_bytes = (size_t)256 << 20;

typedef struct block {
    void *memory;
    struct block *next;
} block;

/* What halves are of. */
typedef struct origin {
    uint64_t same;       /* 0: of nothing that could be asked for */
    unsigned long turn;  /* of the queue: a recording, or what lies between two */
    dmq_half_args array; /* with scale and y, where the halves are */
} origin;

typedef struct kept {
    origin of;
    void *memory;
    size_t bytes;
} kept;

struct dmq_cuda_halves_room {
    void *now[ROOMS];
    size_t bytes[ROOMS];
    float *numbers;  /* scales of the rooms, the factor, then the room that scales are found in */
    origin gradient; /* what is in its room */
    kept kept[KEPT];
    int n_kept;
    size_t kept_bytes;
    block *blocks; /* all memory that was ever given out */
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

static int is_of(const origin *o, const dmq_cuda_half *h, const dmq_queue *q)
{
    const dmq_half_args *a = &h->array, *b = &o->array;

    return h->same != 0 && h->same == o->same && o->turn == q->turns && a->x == b->x &&
           a->batch == b->batch && a->rows == b->rows && a->cols == b->cols && a->ld == b->ld &&
           a->stride == b->stride;
}

static size_t bytes_of(const dmq_half_args *a)
{
    return a->batch * a->rows * a->cols * sizeof *a->y;
}

static dmq_status take_room(dmq_half_args *a, dmq_queue *q, int which)
{
    void *memory = NULL;
    dmq_status st = need(&memory, q, which, bytes_of(a));

    a->y = memory;
    a->scale = &q->halves->numbers[which];
    return st;
}

/* Memory for an operand that is to be kept: of another pass, the least that will do, or new. NULL: it is not. */
static kept *take_kept(dmq_queue *q, const dmq_cuda_half *h)
{
    dmq_cuda_halves_room *r = q->halves;
    size_t bytes = HEAD + bytes_of(&h->array);
    kept *best = NULL;

    for (int i = 0; i < r->n_kept; i++) {
        kept *k = &r->kept[i];

        if (k->of.same >> 20 != h->same >> 20 && k->bytes >= bytes &&
            (!best || k->bytes < best->bytes))
            best = k;
    }
    if (!best && !q->captures && r->n_kept < KEPT && r->kept_bytes + bytes <= kept_bytes &&
        add_block(&r->kept[r->n_kept].memory, r, bytes) == DMQ_OK) {
        best = &r->kept[r->n_kept++];
        best->bytes = bytes;
        r->kept_bytes += bytes;
    }
    return best;
}

/* Where the halves of an operand are, or are to be: scale, y and kept of `a`. */
static dmq_status place(dmq_half_args *a, dmq_queue *q, const dmq_cuda_half *h, int which)
{
    dmq_cuda_halves_room *r = q->halves;
    kept *k = NULL;
    dmq_status st = DMQ_OK;

    *a = h->array;
    if (h->as == DMQ_HALF_GRADIENT) {
        if (is_of(&r->gradient, h, q)) {
            *a = r->gradient.array;
            a->kept = 1;
            return DMQ_OK;
        }
        DMQ_TRY(take_room(a, q, GRADIENT));
        r->gradient = (origin){ h->same, q->turns, *a };
        return DMQ_OK;
    }
    for (int i = 0; i < r->n_kept; i++) {
        if (is_of(&r->kept[i].of, h, q)) {
            *a = r->kept[i].of.array;
            a->kept = h->as == DMQ_HALF_OPERAND;
            return DMQ_OK;
        }
    }
    /* also where it will not be used: a recording that finds no other memory has this one */
    DMQ_TRY(take_room(a, q, which));
    if (h->as == DMQ_HALF_KEPT && h->same != 0)
        k = take_kept(q, h);
    if (k) {
        a->scale = k->memory;
        a->y = (uint16_t *)((char *)k->memory + HEAD);
        k->of = (origin){ h->same, q->turns, *a };
    }
done:
    return st;
}

/* What was to be there is not. */
static void forget(dmq_cuda_halves_room *r, uint64_t same)
{
    for (int i = 0; i < r->n_kept; i++) {
        if (r->kept[i].of.same == same)
            r->kept[i].of.same = 0;
    }
    r->gradient.same = 0;
}

dmq_status dmq_cuda_halves_make(dmq_cuda_halves *out, dmq_queue *q, const dmq_cuda_half *a,
                                const dmq_cuda_half *b, float alpha, float beta)
{
    dmq_half_pair_args pair = { .alpha = alpha, .beta = beta };
    dmq_cuda_halves_room *r = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(room_of(&r, q));
    DMQ_TRY(place(&pair.of[0], q, a, OPERAND_A));
    DMQ_TRY(place(&pair.of[1], q, b, OPERAND_B));
    pair.factor = &r->numbers[FACTOR];
    pair.part = &r->numbers[PART];
    DMQ_TRY(dmq_half_pair_cuda(q, &pair));
    *out = (dmq_cuda_halves){ .a = pair.of[0].y, .b = pair.of[1].y, .factor = pair.factor };
done:
    if (st != DMQ_OK && r) {
        forget(r, a->same);
        forget(r, b->same);
    }
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
