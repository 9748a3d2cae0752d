#include "io/tensor_table.h"

#include "base/half.h"
#include "base/memory.h"
#include "base/text.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = 1 << 16 };

static const struct {
    const char *name;
    int width;
} types[] = {
    [DMQ_DTYPE_BOOL] = { "BOOL", 1 }, [DMQ_DTYPE_U8] = { "U8", 1 },
    [DMQ_DTYPE_I8] = { "I8", 1 },     [DMQ_DTYPE_I16] = { "I16", 2 },
    [DMQ_DTYPE_I32] = { "I32", 4 },   [DMQ_DTYPE_I64] = { "I64", 8 },
    [DMQ_DTYPE_F16] = { "F16", 2 },   [DMQ_DTYPE_BF16] = { "BF16", 2 },
    [DMQ_DTYPE_F32] = { "F32", 4 },   [DMQ_DTYPE_F64] = { "F64", 8 },
    [DMQ_DTYPE_OTHER] = { "?", 0 },
};

int dmq_dtype_width(dmq_dtype type)
{
    return types[type].width;
}

const char *dmq_dtype_name(dmq_dtype type)
{
    return types[type].name;
}

dmq_dtype dmq_dtype_find(const char *name)
{
    int i = 0;

    while (i < DMQ_DTYPE_OTHER && strcmp(types[i].name, name) != 0)
        i++;
    return (dmq_dtype)i;
}

/* ------------------------------------------------------------------ filling */

void dmq_table_release(dmq_table *t)
{
    dmq_free(t->tensor);
    dmq_free(t->by_name);
    dmq_arena_release(&t->names);
    memset(t, 0, sizeof *t);
}

static dmq_status refuse(const char *path, const char *name, const char *what)
{
    return dmq_fail(DMQ_EDATA, "%s: tensor \"%.200s\": %s", path, name, what);
}

/* Sizes, strides and the span; NULL when all is within bounds. */
static const char *measure(dmq_stored *t, int c_order)
{
    uint64_t last = 0, width = (uint64_t)dmq_dtype_width(t->type);
    int64_t step = 1;

    if (t->rank < 0 || t->rank > DMQ_TABLE_RANK)
        return "it has more than 8 dimensions";
    t->count = 1;
    for (int i = 0; i < t->rank; i++) {
        if (t->dims[i] < 0)
            return "one of its sizes is negative";
        if (__builtin_mul_overflow(t->count, t->dims[i], &t->count) || t->count > DMQ_TABLE_COUNT)
            return "it has more than 2^40 elements";
    }
    for (int i = t->rank - 1; i >= 0; i--) {
        uint64_t reach;

        if (t->strides[i] < 0)
            return "one of its strides is negative";
        if (c_order ||
            t->dims[i] == 1) /* of one element the stride says nothing, and may be anything */
            t->strides[i] = step;
        if (t->count == 0)
            continue;
        step *= t->dims[i];
        if (__builtin_mul_overflow((uint64_t)t->dims[i] - 1, (uint64_t)t->strides[i], &reach) ||
            __builtin_add_overflow(last, reach, &last))
            return "its strides reach beyond 2^64 elements";
    }
    if (__builtin_mul_overflow(last + 1, width, &t->bytes) || last == UINT64_MAX)
        return "its strides reach beyond 2^64 bytes";
    if (t->count == 0)
        t->bytes = 0;
    return NULL;
}

/* Names are shown on terminals. */
static bool has_control(const char *name, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return true;
    }
    return false;
}

dmq_status dmq_table_add(dmq_table *table, const dmq_stored *tensor, size_t size, int c_order,
                         const char *path)
{
    dmq_status st = DMQ_OK;
    dmq_stored t = *tensor;
    void *name = NULL;
    const char *fault;

    if (size == 0 || size > DMQ_TABLE_NAME) {
        return dmq_fail(DMQ_EDATA, "%s: the name of tensor %d has %zu bytes: must be 1..%d", path,
                        table->count, size, DMQ_TABLE_NAME);
    }
    if (table->count == DMQ_TABLE_LIMIT)
        return dmq_fail(DMQ_EDATA, "%s: has more than %d tensors", path, DMQ_TABLE_LIMIT);
    if (table->count == table->room) {
        int room = table->room ? 2 * table->room : 64;

        DMQ_TRY(dmq_grow((void **)&table->tensor, (size_t)table->count, (size_t)room,
                         sizeof *table->tensor));
        table->room = room;
    }
    DMQ_TRY(dmq_arena_alloc(&name, &table->names, size + 1));
    memcpy(name, tensor->name, size);
    t.name = name;
    if (has_control(name, size) || !dmq_text_is_utf8(name))
        return refuse(path, "?", "its name is not UTF-8, or holds a control character");
    DMQ_TRY(dmq_arena_strdup(&t.type_name, &table->names, tensor->type_name));
    fault = measure(&t, c_order);
    if (fault)
        return refuse(path, name, fault);
    table->tensor[table->count++] = t;
done:
    return st;
}

typedef struct ordered {
    const char *name;
    int number;
} ordered;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const ordered *)a)->name, ((const ordered *)b)->name);
}

dmq_status dmq_table_finish(dmq_table *table, const char *path)
{
    dmq_status st = DMQ_OK;
    size_t n = (size_t)table->count;
    ordered *o = NULL;

    dmq_free(table->by_name);
    table->by_name = NULL;
    DMQ_TRY(dmq_alloc((void **)&o, n, sizeof *o));
    DMQ_TRY(dmq_alloc((void **)&table->by_name, n, sizeof *table->by_name));
    for (size_t i = 0; i < n; i++)
        o[i] = (ordered){ table->tensor[i].name, (int)i };
    qsort(o, n, sizeof *o, by_name);
    for (size_t i = 0; i < n; i++) {
        table->by_name[i] = o[i].number;
        if (i > 0 && strcmp(o[i - 1].name, o[i].name) == 0) {
            st = refuse(path, o[i].name, "it is there twice");
            goto done;
        }
    }
done:
    dmq_free(o);
    return st;
}

const dmq_stored *dmq_table_find(const dmq_table *table, const char *name)
{
    int lo = 0, hi = table->count;

    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        const dmq_stored *t = &table->tensor[table->by_name[mid]];
        int c = strcmp(t->name, name);

        if (c == 0)
            return t;
        if (c < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return NULL;
}

/* ------------------------------------------------------------------ asking */

bool dmq_stored_is_c_order(const dmq_stored *t)
{
    int64_t step = 1;

    for (int i = t->rank - 1; i >= 0 && t->count > 1; i--) {
        if (t->strides[i] != step)
            return false;
        step *= t->dims[i];
    }
    return true;
}

bool dmq_stored_is_expanded(const dmq_stored *t)
{
    for (int i = 0; i < t->rank; i++) {
        if (t->count > 1 && t->dims[i] > 1 && t->strides[i] == 0)
            return true;
    }
    return false;
}

void dmq_stored_text(char *out, size_t size, const dmq_stored *t)
{
    size_t n = (size_t)snprintf(out, size, "%.64s [", t->type_name);

    for (int i = 0; i < t->rank && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%lld", i ? "," : "", (long long)t->dims[i]);
    if (n < size)
        (void)snprintf(out + n, size - n, "]");
}

/* ------------------------------------------------------------------ reading */

/* The element that lies at bytes. */
static float number(const unsigned char *bytes, dmq_dtype type)
{
    uint16_t h;
    double d;
    float f;

    switch (type) {
    case DMQ_DTYPE_F32:
        memcpy(&f, bytes, sizeof f);
        return f;
    case DMQ_DTYPE_F64:
        memcpy(&d, bytes, sizeof d);
        return (float)d;
    case DMQ_DTYPE_F16:
        memcpy(&h, bytes, sizeof h);
        return dmq_half_to_float(h);
    default:
        memcpy(&h, bytes, sizeof h);
        return dmq_bfloat16_to_float(h);
    }
}

static dmq_status read_side_by_side(float *out, const dmq_stored *t, const dmq_input *input)
{
    unsigned char piece[PIECE];
    dmq_status st = DMQ_OK;
    size_t width = (size_t)dmq_dtype_width(t->type), all = (size_t)t->count;

    if (t->type == DMQ_DTYPE_F32)
        return dmq_input_read(out, input, t->bytes, t->offset);
    for (size_t i = 0; i < all; i += PIECE / width) {
        size_t n = all - i < PIECE / width ? all - i : PIECE / width;

        DMQ_TRY(dmq_input_read(piece, input, n * width, t->offset + i * width));
        for (size_t k = 0; k < n; k++)
            out[i + k] = number(piece + k * width, t->type);
    }
done:
    return st;
}

/* Through a copy of the bytes between the first and the last element: no more than the file has. */
static dmq_status gather(float *out, const dmq_stored *t, const dmq_input *input)
{
    dmq_status st = DMQ_OK;
    int64_t at[DMQ_TABLE_RANK] = { 0 }, element = 0;
    int width = dmq_dtype_width(t->type);
    unsigned char *span = NULL;

    if (t->bytes > dmq_input_size(input))
        return refuse(dmq_input_path(input), t->name, "it reaches beyond the end of the file");
    DMQ_TRY(dmq_alloc((void **)&span, (size_t)t->bytes, 1));
    DMQ_TRY(dmq_input_read(span, input, t->bytes, t->offset));
    for (int64_t i = 0; i < t->count; i++) {
        out[i] = number(span + element * width, t->type);
        for (int d = t->rank - 1; d >= 0; d--) { /* the next index in C order */
            element += t->strides[d];
            if (++at[d] < t->dims[d])
                break;
            element -= at[d] * t->strides[d];
            at[d] = 0;
        }
    }
done:
    dmq_free(span);
    return st;
}

dmq_status dmq_stored_read_f32(float *out, const dmq_stored *t, const dmq_input *input)
{
    char text[256];

    if (t->type != DMQ_DTYPE_F16 && t->type != DMQ_DTYPE_BF16 && t->type != DMQ_DTYPE_F32 &&
        t->type != DMQ_DTYPE_F64) {
        dmq_stored_text(text, sizeof text, t);
        return dmq_fail(DMQ_EDATA,
                        "%s: tensor \"%.200s\" is %s: floating-point numbers were expected",
                        dmq_input_path(input), t->name, text);
    }
    if (t->count == 0)
        return DMQ_OK;
    return dmq_stored_is_c_order(t) ? read_side_by_side(out, t, input) : gather(out, t, input);
}
