#include "io/safetensors.h"

#include "base/half.h"
#include "base/memory.h"
#include "base/text.h"
#include "io/json.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_LIMIT = 100000000, TENSOR_LIMIT = 1000000, NAME_LIMIT = 1024, PIECE = 1 << 16 };

#define COUNT_LIMIT (INT64_C(1) << 40)
#define EXACT_LIMIT (INT64_C(1) << 53)

struct dmq_safetensors {
    dmq_input *input; /* its own, or borrowed */
    int borrowed;
    const char *path;
    uint64_t size;
    uint64_t start; /* of the buffer */
    dmq_st_tensor *tensor;
    int count;
    dmq_json *header;
};

static const struct {
    const char *name;
    int bits;
    dmq_st_type type;
} types[] = {
    { "BOOL", 8, DMQ_ST_BOOL },
    { "U8", 8, DMQ_ST_U8 },
    { "I8", 8, DMQ_ST_I8 },
    { "F16", 16, DMQ_ST_F16 },
    { "BF16", 16, DMQ_ST_BF16 },
    { "I32", 32, DMQ_ST_I32 },
    { "F32", 32, DMQ_ST_F32 },
    { "I64", 64, DMQ_ST_I64 },
    { "F64", 64, DMQ_ST_F64 },
    { "U16", 16, DMQ_ST_OTHER },
    { "I16", 16, DMQ_ST_OTHER },
    { "U32", 32, DMQ_ST_OTHER },
    { "U64", 64, DMQ_ST_OTHER },
    { "C64", 64, DMQ_ST_OTHER },
    { "F4", 4, DMQ_ST_OTHER },
    { "F6_E2M3", 6, DMQ_ST_OTHER },
    { "F6_E3M2", 6, DMQ_ST_OTHER },
    { "F8_E5M2", 8, DMQ_ST_OTHER },
    { "F8_E4M3", 8, DMQ_ST_OTHER },
    { "F8_E8M0", 8, DMQ_ST_OTHER },
    { "F8_E4M3FNUZ", 8, DMQ_ST_OTHER },
    { "F8_E5M2FNUZ", 8, DMQ_ST_OTHER },
};

enum { TYPES = sizeof types / sizeof types[0] };

/* ------------------------------------------------------------------ the header */

static dmq_status refuse(const dmq_safetensors *file, const char *what)
{
    return dmq_fail(DMQ_EDATA, "%s: not a safetensors file that can be read: %s", file->path, what);
}

static dmq_status refuse_tensor(const dmq_safetensors *file, const char *name, const char *what)
{
    return dmq_fail(DMQ_EDATA, "%s: tensor \"%.200s\": %s", file->path, name, what);
}

/*
 * What JSON allows and the format does not: outside texts there are only braces, brackets, separators and
 * digits (no sign, fraction, exponent, true or null), nested three deep, with only spaces behind the end.
 */
static const char *header_fault(const char *text, size_t size)
{
    bool in_text = false;
    int depth = 0;

    if (size == 0 || text[0] != '{')
        return "the header does not begin with {";
    if (memchr(text, 0, size))
        return "the header holds a NUL byte";
    if (!dmq_text_is_utf8(text))
        return "the header is not UTF-8";
    for (size_t i = 0; i < size; i++) {
        char c = text[i];

        if (in_text) {
            if (c == '\\') {
                i++;
            } else if (c == '"') {
                in_text = false;
            }
        } else if (c == '"') {
            in_text = true;
        } else if (c == '{' || c == '[') {
            if (++depth > 3)
                return "the header is nested more than three deep";
        } else if (c == '}' || c == ']') {
            if (--depth == 0 && strspn(text + i + 1, " ") != size - i - 1)
                return "something other than spaces stands behind the header";
        } else if (!strchr(":, \t\n\r0123456789", c)) {
            return "the header holds more than texts and whole numbers";
        }
    }
    return NULL;
}

static bool natural(int64_t *out, const dmq_json *value)
{
    *out = dmq_json_int(value, -1);
    return dmq_json_kind_of(value) == DMQ_JSON_INT && *out >= 0 && *out <= EXACT_LIMIT;
}

static dmq_status read_shape(dmq_st_tensor *t, const dmq_safetensors *file, const dmq_json *shape)
{
    size_t rank = dmq_json_count(shape);

    if (dmq_json_kind_of(shape) != DMQ_JSON_ARRAY || rank > DMQ_SAFETENSORS_RANK)
        return refuse_tensor(file, t->name, "its shape is not a list of at most 8 numbers");
    t->rank = (int)rank;
    t->count = 1;
    for (size_t i = 0; i < rank; i++) {
        if (!natural(&t->dims[i], dmq_json_at(shape, i)))
            return refuse_tensor(file, t->name, "its shape holds something that is no size");
        if (__builtin_mul_overflow(t->count, t->dims[i], &t->count) || t->count > COUNT_LIMIT)
            return refuse_tensor(file, t->name, "its shape has more than 2^40 elements");
    }
    return DMQ_OK;
}

/* Bits of the element; 0 for a name that the format does not have. */
static int read_type(dmq_st_tensor *t, const char *name)
{
    for (int i = 0; i < TYPES; i++) {
        if (strcmp(types[i].name, name) == 0) {
            t->type = types[i].type;
            t->type_name = types[i].name;
            return types[i].bits;
        }
    }
    return 0;
}

static dmq_status read_entry(dmq_st_tensor *t, const dmq_safetensors *file, const dmq_json *entry)
{
    const dmq_json *offsets = dmq_json_get(entry, "data_offsets");
    const char *type = dmq_json_text(dmq_json_get(entry, "dtype"), NULL);
    dmq_status st = DMQ_OK;
    int64_t begin, end, bits;
    char text[160];

    if (dmq_json_kind_of(entry) != DMQ_JSON_OBJECT || dmq_json_count(entry) != 3 || !type ||
        dmq_json_count(offsets) != 2 || dmq_json_kind_of(offsets) != DMQ_JSON_ARRAY) {
        return refuse_tensor(file, t->name,
                             "it must have dtype, shape and two data_offsets, nothing else");
    }
    bits = read_type(t, type);
    if (bits == 0)
        return refuse_tensor(file, t->name, "its dtype is not one of the format");
    DMQ_TRY(read_shape(t, file, dmq_json_get(entry, "shape")));
    if (!natural(&begin, dmq_json_at(offsets, 0)) || !natural(&end, dmq_json_at(offsets, 1)) ||
        begin > end)
        return refuse_tensor(file, t->name, "its data_offsets are not begin and end");
    bits *= t->count; /* at most 2^46 */
    if (bits % 8 != 0 || end - begin != bits / 8) {
        (void)snprintf(text, sizeof text,
                       "%s and its shape need %lld bits, its data_offsets hold "
                       "%lld bytes",
                       t->type_name, (long long)bits, (long long)(end - begin));
        return refuse_tensor(file, t->name, text);
    }
    t->offset = (uint64_t)begin;
    t->bytes = (uint64_t)(end - begin);
done:
    return st;
}

static int by_place(const void *a, const void *b)
{
    const dmq_st_tensor *x = a, *y = b;

    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return x->bytes < y->bytes ? -1 : x->bytes > y->bytes;
}

static int by_name(const void *a, const void *b)
{
    const dmq_st_tensor *x = a, *y = b;

    return strcmp(x->name, y->name);
}

/* Side by side from the buffer's start to the file's end; offsets become those of the file. */
static dmq_status check_places(dmq_safetensors *file)
{
    uint64_t end = 0;

    qsort(file->tensor, (size_t)file->count, sizeof *file->tensor, by_place);
    for (int i = 0; i < file->count; i++) {
        dmq_st_tensor *t = &file->tensor[i];

        if (t->offset != end) {
            return refuse_tensor(file, t->name,
                                 t->offset < end ? "it overlaps the tensor before it"
                                                 : "there is a hole before it");
        }
        end += t->bytes;
        t->offset += file->start;
    }
    if (end != file->size - file->start) {
        return dmq_fail(DMQ_EDATA, "%s: the tensors need %llu bytes, the file has %llu%s",
                        file->path, (unsigned long long)end,
                        (unsigned long long)(file->size - file->start),
                        end > file->size - file->start ? ": it is cut short" : "");
    }
    qsort(file->tensor, (size_t)file->count, sizeof *file->tensor, by_name);
    return DMQ_OK;
}

static dmq_status check_metadata(const dmq_safetensors *file, const dmq_json *metadata)
{
    if (dmq_json_kind_of(metadata) != DMQ_JSON_OBJECT)
        return refuse(file, "__metadata__ is not a map");
    for (void *m = dmq_json_first(metadata); m; m = dmq_json_next(metadata, m)) {
        if (dmq_json_kind_of(dmq_json_member_value(m)) != DMQ_JSON_TEXT)
            return refuse(file, "__metadata__ holds something that is not a text");
    }
    return DMQ_OK;
}

/* Written as \u001b, say: names are shown on terminals. */
static bool has_control(const char *name)
{
    for (; *name; name++) {
        if ((unsigned char)*name < 0x20 || *name == 0x7f)
            return true;
    }
    return false;
}

static dmq_status read_tensors(dmq_safetensors *file)
{
    dmq_status st = DMQ_OK;
    size_t n = dmq_json_count(file->header);

    if (n > TENSOR_LIMIT)
        return refuse(file, "it has more than a million tensors");
    DMQ_TRY(dmq_alloc((void **)&file->tensor, n, sizeof *file->tensor));
    for (void *m = dmq_json_first(file->header); m; m = dmq_json_next(file->header, m)) {
        const char *name = dmq_json_member_key(m);
        dmq_st_tensor *t = &file->tensor[file->count];

        if (strcmp(name, "__metadata__") == 0) {
            DMQ_TRY(check_metadata(file, dmq_json_member_value(m)));
            continue;
        }
        if (strlen(name) > NAME_LIMIT)
            return refuse(file, "the name of a tensor is longer than 1024 bytes");
        if (has_control(name))
            return refuse(file, "the name of a tensor holds a control character");
        DMQ_TRY(dmq_strdup(&t->name, name));
        file->count++;
        DMQ_TRY(read_entry(t, file, dmq_json_member_value(m)));
    }
    DMQ_TRY(check_places(file));
done:
    return st;
}

static dmq_status read_header(dmq_safetensors *file)
{
    dmq_status st = DMQ_OK;
    unsigned char length[8];
    uint64_t n = 0;
    char *text = NULL;
    const char *fault;

    if (file->size < 8)
        return refuse(file, "it is shorter than 8 bytes");
    DMQ_TRY(dmq_input_read(length, file->input, 8, 0));
    n = dmq_le64(length);
    if (n > HEADER_LIMIT || n > file->size - 8) {
        st = refuse(file, n > HEADER_LIMIT ? "its header claims more than 100 MB"
                                           : "its header claims more bytes than the file has");
        goto done;
    }
    DMQ_TRY(dmq_alloc((void **)&text, (size_t)n + 1, 1));
    DMQ_TRY(dmq_input_read(text, file->input, n, 8));
    fault = header_fault(text, (size_t)n);
    if (fault) {
        st = refuse(file, fault);
        goto done;
    }
    file->start = 8 + n;
    DMQ_TRY(dmq_json_parse(&file->header, text, (size_t)n, file->path));
    DMQ_TRY(read_tensors(file));
done:
    dmq_free(text);
    return st;
}

dmq_status dmq_safetensors_read(dmq_safetensors **out, dmq_input *input)
{
    dmq_status st = DMQ_OK;
    dmq_safetensors *file = NULL;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&file, 1, sizeof *file));
    file->input = input;
    file->borrowed = 1;
    file->path = dmq_input_path(input);
    file->size = dmq_input_size(input);
    DMQ_TRY(read_header(file));
    *out = file;
    file = NULL;
done:
    dmq_safetensors_close(file);
    return st;
}

dmq_status dmq_safetensors_open(dmq_safetensors **out, const char *path)
{
    dmq_status st = DMQ_OK;
    dmq_input *input = NULL;

    *out = NULL;
    DMQ_TRY(dmq_input_open(&input, path));
    DMQ_TRY(dmq_safetensors_read(out, input));
    (*out)->borrowed = 0;
    input = NULL;
done:
    dmq_input_close(input);
    return st;
}

void dmq_safetensors_close(dmq_safetensors *file)
{
    if (!file)
        return;
    for (int i = 0; i < file->count; i++)
        dmq_free(file->tensor[i].name);
    dmq_free(file->tensor);
    dmq_json_destroy(file->header);
    if (!file->borrowed)
        dmq_input_close(file->input);
    dmq_free(file);
}

int dmq_safetensors_count(const dmq_safetensors *file)
{
    return file->count;
}

const dmq_st_tensor *dmq_safetensors_at(const dmq_safetensors *file, int i)
{
    assert(i >= 0 && i < file->count);
    return &file->tensor[i];
}

const dmq_st_tensor *dmq_safetensors_find(const dmq_safetensors *file, const char *name)
{
    int lo = 0, hi = file->count;

    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        int c = strcmp(file->tensor[mid].name, name);

        if (c == 0)
            return &file->tensor[mid];
        if (c < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return NULL;
}

const char *dmq_safetensors_metadata(const dmq_safetensors *file, const char *key)
{
    return dmq_json_text(dmq_json_get(dmq_json_get(file->header, "__metadata__"), key), NULL);
}

/* ------------------------------------------------------------------ data */

static dmq_status expect(const dmq_st_tensor **out, const dmq_safetensors *file, const char *name,
                         unsigned accepted, const char *kind, int rank, const int64_t *dims)
{
    const dmq_st_tensor *t = dmq_safetensors_find(file, name);
    dmq_text found = { 0 };
    char *text = NULL;
    dmq_status st;
    bool same;

    *out = t;
    if (!t)
        return dmq_fail(DMQ_EDATA, "%s: has no tensor \"%s\"", file->path, name);
    same = !dims || rank == t->rank;
    for (int i = 0; dims && same && i < rank; i++)
        same = dims[i] < 0 || dims[i] == t->dims[i];
    if (same && (accepted >> t->type & 1U))
        return DMQ_OK;
    dmq_text_add(&found, "%s [", t->type_name);
    for (int i = 0; i < t->rank; i++)
        dmq_text_add(&found, "%s%lld", i ? "," : "", (long long)t->dims[i]);
    dmq_text_add(&found, "], %s", kind);
    for (int i = 0; dims && i < rank; i++)
        dmq_text_add(&found, "%s%lld", i ? "," : " [", (long long)dims[i]);
    dmq_text_add(&found, "%s was expected", dims && rank ? "]" : "");
    st = dmq_text_take(&text, &found);
    if (st == DMQ_OK)
        st = dmq_fail(DMQ_ESHAPE, "%s: tensor \"%s\" is %s", file->path, name, text);
    dmq_free(text);
    return st;
}

/* n elements from the bytes as they lie in the file. */
static void to_floats(float *out, const unsigned char *bytes, size_t n, dmq_st_type type)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        double d;

        if (type == DMQ_ST_F32) {
            memcpy(out + i, bytes + 4 * i, 4);
        } else if (type == DMQ_ST_F64) {
            memcpy(&d, bytes + 8 * i, 8);
            out[i] = (float)d;
        } else {
            memcpy(&h, bytes + 2 * i, 2);
            out[i] = type == DMQ_ST_F16 ? dmq_half_to_float(h) : dmq_bfloat16_to_float(h);
        }
    }
}

static void to_ints(int64_t *out, const unsigned char *bytes, size_t n, dmq_st_type type)
{
    for (size_t i = 0; i < n; i++) {
        int32_t i32;
        int8_t i8;

        if (type == DMQ_ST_I64) {
            memcpy(out + i, bytes + 8 * i, 8);
        } else if (type == DMQ_ST_I32) {
            memcpy(&i32, bytes + 4 * i, 4);
            out[i] = i32;
        } else if (type == DMQ_ST_I8) {
            memcpy(&i8, bytes + i, 1);
            out[i] = (int64_t)i8;
        } else {
            out[i] = bytes[i]; /* NOLINT(clang-analyzer-core.uninitialized.Assign): it was read */
        }
    }
}

dmq_status dmq_safetensors_read_f32(float *out, const dmq_safetensors *file, const char *name,
                                    int rank, const int64_t *dims)
{
    unsigned char piece[PIECE];
    const dmq_st_tensor *t;
    dmq_status st = DMQ_OK;
    size_t width, done_count = 0;

    DMQ_TRY(expect(&t, file, name,
                   1U << DMQ_ST_F32 | 1U << DMQ_ST_F16 | 1U << DMQ_ST_BF16 | 1U << DMQ_ST_F64,
                   "a float tensor", rank, dims));
    width = t->count ? (size_t)(t->bytes / (uint64_t)t->count) : 1;
    while (done_count < (size_t)t->count) {
        size_t n = (size_t)t->count - done_count;

        n = n < PIECE / width ? n : PIECE / width;
        DMQ_TRY(dmq_input_read(piece, file->input, n * width, t->offset + done_count * width));
        to_floats(out + done_count, piece, n, t->type);
        done_count += n;
    }
done:
    return st;
}

dmq_status dmq_safetensors_read_i64(int64_t *out, const dmq_safetensors *file, const char *name,
                                    int rank, const int64_t *dims)
{
    unsigned char piece[PIECE];
    const dmq_st_tensor *t;
    dmq_status st = DMQ_OK;
    size_t width, done_count = 0;

    DMQ_TRY(expect(&t, file, name,
                   1U << DMQ_ST_I64 | 1U << DMQ_ST_I32 | 1U << DMQ_ST_I8 | 1U << DMQ_ST_U8 |
                       1U << DMQ_ST_BOOL,
                   "a tensor of whole numbers", rank, dims));
    width = t->count ? (size_t)(t->bytes / (uint64_t)t->count) : 1;
    while (done_count < (size_t)t->count) {
        size_t n = (size_t)t->count - done_count;

        n = n < PIECE / width ? n : PIECE / width;
        DMQ_TRY(dmq_input_read(piece, file->input, n * width, t->offset + done_count * width));
        to_ints(out + done_count, piece, n, t->type);
        done_count += n;
    }
done:
    return st;
}
