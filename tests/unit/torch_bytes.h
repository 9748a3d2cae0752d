/**
 * PyTorch files byte by byte, right ones and wrong ones, the same every time: for tests and for the seeds of the
 * fuzzers.
 *
 *   bytes b = { 0 };
 *   pickle_begin(&b);
 *   pickle_raw(&b, "}(");  pickle_text(&b, "w");  pickle_tensor(&b, &(tensor_told){ ... });  pickle_raw(&b, "u.");
 */
#ifndef DMQ_TESTS_TORCH_BYTES_H
#define DMQ_TESTS_TORCH_BYTES_H

#include "io/zip_stored.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>

typedef struct bytes {
    unsigned char data[1 << 17];
    size_t n;
} bytes;

static inline void bytes_add(bytes *b, const void *data, size_t n)
{
    assert(b->n + n <= sizeof b->data);
    if (n > 0)
        memcpy(b->data + b->n, data, n);
    b->n += n;
}

/** A little-endian number; beyond 8 bytes zeros. */
static inline void bytes_le(bytes *b, uint64_t value, int width)
{
    for (int i = 0; i < width; i++) {
        unsigned char c = (unsigned char)(i < 8 ? value >> 8 * i & 255U : 0);

        bytes_add(b, &c, 1);
    }
}

/* ------------------------------------------------------------------ pickles */

/** Opcodes as they stand in a string without NUL. */
static inline void pickle_raw(bytes *b, const char *opcodes)
{
    bytes_add(b, opcodes, strlen(opcodes));
}

static inline void pickle_begin(bytes *b)
{
    pickle_raw(b, "\x80\x02");
}

static inline void pickle_text(bytes *b, const char *text)
{
    pickle_raw(b, "X");
    bytes_le(b, strlen(text), 4);
    pickle_raw(b, text);
}

/** LONG1 of 8 bytes: any 64-bit number. */
static inline void pickle_int(bytes *b, int64_t value)
{
    pickle_raw(b, "\x8a\x08");
    bytes_le(b, (uint64_t)value, 8);
}

static inline void pickle_global(bytes *b, const char *module, const char *name)
{
    pickle_raw(b, "c");
    pickle_raw(b, module);
    pickle_raw(b, "\n");
    pickle_raw(b, name);
    pickle_raw(b, "\n");
}

/** What a pickle says about a tensor; zero and NULL stand for what is usual. */
typedef struct tensor_told {
    const char *storage; /**< class; NULL: FloatStorage */
    const char *key;     /**< NULL: "0" */
    int64_t numel;
    int64_t first;
    int rank;
    int64_t size[10], stride[10];
    int strides; /**< how many, beyond rank */
    int view;    /**< 1: with a sixth member, view_first and view_size */
    int64_t view_first, view_size;
} tensor_told;

static inline void pickle_storage(bytes *b, const tensor_told *t)
{
    pickle_raw(b, "(");
    pickle_text(b, "storage");
    pickle_global(b, "torch", t->storage ? t->storage : "FloatStorage");
    pickle_text(b, t->key ? t->key : "0");
    pickle_text(b, "cpu");
    pickle_int(b, t->numel);
    if (t->view) {
        pickle_text(b, "view");
        pickle_int(b, t->view_first);
        pickle_int(b, t->view_size);
        pickle_raw(b, "\x87");
    }
    pickle_raw(b, "tQ");
}

static inline void pickle_tensor(bytes *b, const tensor_told *t)
{
    pickle_global(b, "torch._utils", "_rebuild_tensor_v2");
    pickle_raw(b, "(");
    pickle_storage(b, t);
    pickle_int(b, t->first);
    pickle_raw(b, "(");
    for (int i = 0; i < t->rank; i++)
        pickle_int(b, t->size[i]);
    pickle_raw(b, "t(");
    for (int i = 0; i < t->rank + t->strides; i++)
        pickle_int(b, t->stride[i]);
    pickle_raw(b, "t\x89");
    pickle_global(b, "collections", "OrderedDict");
    pickle_raw(b, ")RtR");
}

/** {"w": tensor}, the whole pickle. */
static inline void pickle_of_tensor(bytes *b, const tensor_told *t)
{
    pickle_begin(b);
    pickle_raw(b, "}");
    pickle_text(b, "w");
    pickle_tensor(b, t);
    pickle_raw(b, "s.");
}

/* ------------------------------------------------------------------ ZIP */

/** A member, and what is wrong with it. */
typedef struct zip_member {
    const char *name;
    const void *data;
    size_t size;
    const char *local_name; /**< in its own header; NULL: name */
    uint16_t method, flags, local_method;
    uint32_t crc_flip, signature_flip;
    int64_t size_add, packed_add, header_add; /**< to what the directory says */
    int zip64; /**< 1: its sizes stand in the extra field; 2: field left out */
} zip_member;

/** What is wrong with the end of an archive. */
typedef struct zip_end {
    uint16_t disk;
    int64_t count_add, size_add, first_add;
    int zip64; /**< 1: a 64-bit record, and saturated fields; 2: the old fields say the same; 3: something else */
    int64_t record_add;
    uint32_t disks; /**< in the locator, instead of 1 */
    const char *comment, *behind;
} zip_end;

static inline void zip_build(bytes *b, const zip_member *m, int n, const zip_end *end)
{
    uint64_t header[16], first, size, record;
    int wide = end->zip64;

    assert(n <= 16);
    for (int i = 0; i < n; i++) {
        const char *name = m[i].local_name ? m[i].local_name : m[i].name;

        header[i] = b->n;
        bytes_le(b, 0x04034b50U ^ m[i].signature_flip, 4);
        bytes_le(b, 45, 2);
        bytes_le(b, 0, 2);
        bytes_le(b, m[i].local_method, 2);
        bytes_le(b, 0, 4);
        bytes_le(b, 0, 12); /* nobody reads checksum and sizes here */
        bytes_le(b, strlen(name), 2);
        bytes_le(b, 6, 2); /* an extra field, as PyTorch pads with */
        pickle_raw(b, name);
        bytes_add(b, "FB\2\0ZZ", 6);
        bytes_add(b, m[i].data, m[i].size);
    }
    first = b->n;
    for (int i = 0; i < n; i++) {
        uint64_t told = m[i].size + (uint64_t)m[i].size_add;
        uint64_t packed = m[i].size + (uint64_t)m[i].packed_add;

        bytes_le(b, 0x02014b50U, 4);
        bytes_le(b, 45, 2);
        bytes_le(b, 45, 2);
        bytes_le(b, m[i].flags, 2);
        bytes_le(b, m[i].method, 2);
        bytes_le(b, 0, 4);
        bytes_le(b, dmq_crc32(0, m[i].data, m[i].size) ^ m[i].crc_flip, 4);
        bytes_le(b, m[i].zip64 ? UINT32_MAX : packed, 4);
        bytes_le(b, m[i].zip64 ? UINT32_MAX : told, 4);
        bytes_le(b, strlen(m[i].name), 2);
        bytes_le(b, m[i].zip64 == 1 ? 28 : 0, 2);
        bytes_le(b, 0, 10);
        bytes_le(b, m[i].zip64 ? UINT32_MAX : header[i] + (uint64_t)m[i].header_add, 4);
        pickle_raw(b, m[i].name);
        if (m[i].zip64 == 1) {
            bytes_le(b, 1, 2);
            bytes_le(b, 24, 2);
            bytes_le(b, told, 8);
            bytes_le(b, packed, 8);
            bytes_le(b, header[i] + (uint64_t)m[i].header_add, 8);
        }
    }
    size = b->n - first + (uint64_t)end->size_add;
    first += (uint64_t)end->first_add;
    record = b->n;
    if (wide) {
        bytes_le(b, 0x06064b50U, 4);
        bytes_le(b, 44, 8);
        bytes_le(b, 45, 4);
        bytes_le(b, 0, 8);
        bytes_le(b, (uint64_t)n + (uint64_t)end->count_add, 8);
        bytes_le(b, (uint64_t)n + (uint64_t)end->count_add, 8);
        bytes_le(b, size, 8);
        bytes_le(b, first, 8);
        bytes_le(b, 0x07064b50U, 4);
        bytes_le(b, 0, 4);
        bytes_le(b, record + (uint64_t)end->record_add, 8);
        bytes_le(b, end->disks ? end->disks : 1, 4);
    }
    bytes_le(b, 0x06054b50U, 4);
    bytes_le(b, end->disk, 2);
    bytes_le(b, end->disk, 2);
    for (int i = 0; i < 2; i++)
        bytes_le(b, wide == 1 ? UINT16_MAX : (uint64_t)n + (uint64_t)end->count_add + (wide == 3),
                 2);
    bytes_le(b, wide == 1 ? UINT32_MAX : size, 4);
    bytes_le(b, wide == 1 ? UINT32_MAX : first, 4);
    bytes_le(b, end->comment ? strlen(end->comment) : 0, 2);
    pickle_raw(b, end->comment ? end->comment : "");
    pickle_raw(b, end->behind ? end->behind : "");
}

static const float torch_numbers[8] = { 0, 0.5F, 1, 1.5F, 2, 2.5F, 3, 3.5F };

/** A file of one pickle and a storage "0" of n numbers. */
static inline void torch_zip(bytes *b, const bytes *pickle, size_t n)
{
    const zip_member member[] = {
        { .name = "archive/data.pkl", .data = pickle->data, .size = pickle->n },
        { .name = "archive/data/0", .data = torch_numbers, .size = n * sizeof(float) },
        { .name = "archive/version", .data = "3\n", .size = 2 },
    };

    zip_build(b, member, 3, &(zip_end){ 0 });
}

/* ------------------------------------------------------------------ legacy */

/** What is wrong with a legacy file; zero and NULL stand for what is usual. */
typedef struct legacy_told {
    int magic_flip, version_add, big_endian;
    const char *keys; /**< opcodes of the list of keys; NULL: ["0"] */
    int64_t numel_add;
    size_t numbers; /**< that follow */
    const char *behind;
} legacy_told;

static inline void torch_legacy(bytes *b, const bytes *object, const legacy_told *t, int64_t numel)
{
    static const unsigned char magic[] = { 0x80, 2,    0x8a, 10,   0x6c, 0xfc, 0x9c, 0x46,
                                           0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.' };

    bytes_add(b, magic, sizeof magic);
    b->data[10] = (unsigned char)(b->data[10] ^ t->magic_flip);
    pickle_begin(b);
    pickle_raw(b, "M");
    bytes_le(b, (uint64_t)(1001 + t->version_add), 2);
    pickle_raw(b, ".");
    pickle_begin(b);
    pickle_raw(b, "}");
    pickle_text(b, "little_endian");
    pickle_raw(b, t->big_endian ? "\x89s." : "\x88s.");
    bytes_add(b, object->data, object->n);
    pickle_begin(b);
    if (t->keys) {
        pickle_raw(b, t->keys);
    } else {
        pickle_raw(b, "]");
        pickle_text(b, "0");
        pickle_raw(b, "a");
    }
    pickle_raw(b, ".");
    bytes_le(b, (uint64_t)numel + (uint64_t)t->numel_add, 8);
    bytes_add(b, torch_numbers, t->numbers * sizeof(float));
    pickle_raw(b, t->behind ? t->behind : "");
}

#endif
