#include "io/zip_stored.h"

#include "base/arena.h"
#include "base/memory.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    END_SIZE = 22,     /* of the end record, without its comment */
    END_REACH = 65557, /* the end record and the longest comment */
    LOCATOR_SIZE = 20, /* ZIP64 */
    END64_SIZE = 56,   /* ZIP64 */
    CENTRAL_SIZE = 46, /* of a member, without name, extra field and comment */
    LOCAL_SIZE = 30,   /* without name and extra field */
    EXTRA64 = 1,       /* the extra field of ZIP64 */
    NAME_LIMIT = 1024,
    ENTRY_LIMIT = 1100000, /* a million tensors, and what stands beside them */
    PIECE = 1 << 16
};

#define SIGNATURE_LOCAL   0x04034b50U
#define SIGNATURE_CENTRAL 0x02014b50U
#define SIGNATURE_END     0x06054b50U
#define SIGNATURE_LOCATOR 0x07064b50U
#define SIGNATURE_END64   0x06064b50U

struct dmq_zip {
    const dmq_input *input;
    const char *path;
    dmq_zip_entry *entry;
    int count;
    uint64_t first, size, n; /* of the directory: where it begins, its bytes, its members */
    dmq_arena names;
};

static dmq_status refuse(const dmq_zip *zip, const char *what)
{
    return dmq_fail(DMQ_EDATA, "%s: not a ZIP archive that can be read: %s", zip->path, what);
}

static dmq_status refuse_entry(const dmq_zip *zip, const char *name, const char *what)
{
    return dmq_fail(DMQ_EDATA, "%s: member \"%.200s\": %s", zip->path, name, what);
}

/* ------------------------------------------------------------------ the end of the archive */

/* A field that is saturated in the old record, or that says the same in both. */
static bool agree(uint64_t narrow, uint64_t wide, uint64_t saturated)
{
    return narrow == saturated || narrow == wide;
}

/* The 64-bit record that stands before the locator at `locator`. *end: where the directory must have ended. */
static dmq_status read_end64(dmq_zip *zip, const unsigned char *end, uint64_t locator,
                             uint64_t *directory_end)
{
    unsigned char l[LOCATOR_SIZE], r[END64_SIZE];
    dmq_status st = DMQ_OK;
    uint64_t at;

    DMQ_TRY(dmq_input_read(l, zip->input, sizeof l, locator));
    at = dmq_le64(l + 8);
    if (dmq_le32(l + 4) != 0 || dmq_le32(l + 16) > 1)
        return refuse(zip, "it is one of several disks");
    if (at > locator || locator - at < END64_SIZE)
        return refuse(zip, "its ZIP64 record is not where the locator says");
    DMQ_TRY(dmq_input_read(r, zip->input, sizeof r, at));
    if (dmq_le32(r) != SIGNATURE_END64 || dmq_le64(r + 4) < END64_SIZE - 12 ||
        dmq_le64(r + 4) > locator - at - 12)
        return refuse(zip, "its ZIP64 record is not where the locator says");
    if (dmq_le32(r + 16) != 0 || dmq_le32(r + 20) != 0 || dmq_le64(r + 24) != dmq_le64(r + 32))
        return refuse(zip, "it is one of several disks");
    zip->n = dmq_le64(r + 32);
    zip->size = dmq_le64(r + 40);
    zip->first = dmq_le64(r + 48);
    if (!agree(dmq_le16(end + 10), zip->n, UINT16_MAX) ||
        !agree(dmq_le32(end + 12), zip->size, UINT32_MAX) ||
        !agree(dmq_le32(end + 16), zip->first, UINT32_MAX))
        return refuse(zip, "its ZIP64 record and its old one disagree");
    *directory_end = at;
done:
    return st;
}

static dmq_status read_end(dmq_zip *zip)
{
    uint64_t size = dmq_input_size(zip->input), directory_end;
    size_t reach = size < END_REACH ? (size_t)size : END_REACH, at;
    unsigned char *tail = NULL, *end, locator[LOCATOR_SIZE];
    dmq_status st = DMQ_OK;
    uint64_t end_at;

    if (size < END_SIZE)
        return refuse(zip, "it is shorter than an empty one");
    DMQ_TRY(dmq_alloc((void **)&tail, reach, 1));
    DMQ_TRY(dmq_input_read(tail, zip->input, reach, size - reach));
    for (at = reach - END_SIZE + 1; at > 0; at--) {
        end = tail + at - 1;
        if (dmq_le32(end) == SIGNATURE_END && dmq_le16(end + 20) == reach - (at - 1) - END_SIZE)
            break;
    }
    if (at == 0) {
        st = refuse(zip, "its directory is not at the end: it is cut short, or something follows");
        goto done;
    }
    end = tail + at - 1;
    end_at = size - reach + at - 1;
    if ((dmq_le16(end + 4) != 0 && dmq_le16(end + 4) != UINT16_MAX) ||
        (dmq_le16(end + 6) != 0 && dmq_le16(end + 6) != UINT16_MAX) ||
        dmq_le16(end + 8) != dmq_le16(end + 10)) {
        st = refuse(zip, "it is one of several disks");
        goto done;
    }
    zip->n = dmq_le16(end + 10);
    zip->size = dmq_le32(end + 12);
    zip->first = dmq_le32(end + 16);
    directory_end = end_at;
    if (end_at >= LOCATOR_SIZE) {
        DMQ_TRY(dmq_input_read(locator, zip->input, sizeof locator, end_at - LOCATOR_SIZE));
        if (dmq_le32(locator) == SIGNATURE_LOCATOR)
            DMQ_TRY(read_end64(zip, end, end_at - LOCATOR_SIZE, &directory_end));
    }
    if (zip->size > directory_end || zip->first > directory_end - zip->size) {
        st = refuse(zip, "its directory reaches beyond where it must end");
        goto done;
    }
    if (zip->n > ENTRY_LIMIT || zip->n > zip->size / CENTRAL_SIZE)
        st = refuse(zip, "it claims more members than its directory has room for");
done:
    dmq_free(tail);
    return st;
}

/* ------------------------------------------------------------------ the directory */

/* What does not fit into 32 bits stands in the extra field of ZIP64, in this order, only where it is needed. */
static dmq_status widen(dmq_zip_entry *e, const dmq_zip *zip, const unsigned char *extra,
                        size_t size)
{
    uint64_t *const field[] = { &e->size, &e->packed, &e->header };

    if (e->size != UINT32_MAX && e->packed != UINT32_MAX && e->header != UINT32_MAX)
        return DMQ_OK;
    for (size_t at = 0; at + 4 <= size;) {
        size_t n = dmq_le16(extra + at + 2), used = 0;

        if (n > size - at - 4)
            break;
        if (dmq_le16(extra + at) != EXTRA64) {
            at += 4 + n;
            continue;
        }
        for (int i = 0; i < 3; i++) {
            if (*field[i] != UINT32_MAX)
                continue;
            if (n - used < 8)
                return refuse_entry(zip, e->name, "its ZIP64 field is shorter than its sizes need");
            *field[i] = dmq_le64(extra + at + 4 + used);
            used += 8;
        }
        return DMQ_OK;
    }
    return refuse_entry(zip, e->name, "its sizes need a ZIP64 field, and it has none");
}

/* Names are told in messages. */
static bool is_plain(const unsigned char *name, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (name[i] < 0x20 || name[i] == 0x7f)
            return false;
    }
    return true;
}

/* One member of the directory at `at`; *next: behind it. */
static dmq_status read_member(dmq_zip *zip, const unsigned char *directory, size_t size, size_t at,
                              size_t *next)
{
    const unsigned char *c = directory + at;
    dmq_zip_entry *e = &zip->entry[zip->count];
    size_t name, extra, comment;
    void *text = NULL;
    dmq_status st = DMQ_OK;

    if (size - at < CENTRAL_SIZE || dmq_le32(c) != SIGNATURE_CENTRAL)
        return refuse(zip, "its directory holds something that is no member");
    name = dmq_le16(c + 28);
    extra = dmq_le16(c + 30);
    comment = dmq_le16(c + 32);
    if (name + extra + comment > size - at - CENTRAL_SIZE)
        return refuse(zip, "a member of its directory reaches beyond its end");
    if (name == 0 || name > NAME_LIMIT || !is_plain(c + CENTRAL_SIZE, name)) {
        return refuse(zip,
                      "a member's name is empty, longer than 1024 bytes, or has controls in it");
    }
    DMQ_TRY(dmq_arena_alloc(&text, &zip->names, name + 1));
    memcpy(text, c + CENTRAL_SIZE, name);
    *e = (dmq_zip_entry){ .name = text,
                          .flags = dmq_le16(c + 8),
                          .method = dmq_le16(c + 10),
                          .crc = dmq_le32(c + 16),
                          .packed = dmq_le32(c + 20),
                          .size = dmq_le32(c + 24),
                          .header = dmq_le32(c + 42) };
    DMQ_TRY(widen(e, zip, c + CENTRAL_SIZE + name, extra));
    zip->count++;
    *next = at + CENTRAL_SIZE + name + extra + comment;
done:
    return st;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const dmq_zip_entry *)a)->name, ((const dmq_zip_entry *)b)->name);
}

static dmq_status read_directory(dmq_zip *zip)
{
    unsigned char *directory = NULL;
    dmq_status st = DMQ_OK;
    size_t at = 0;

    DMQ_TRY(dmq_alloc((void **)&directory, (size_t)zip->size, 1));
    DMQ_TRY(dmq_input_read(directory, zip->input, zip->size, zip->first));
    DMQ_TRY(dmq_alloc((void **)&zip->entry, (size_t)zip->n, sizeof *zip->entry));
    for (uint64_t i = 0; i < zip->n; i++)
        DMQ_TRY(read_member(zip, directory, (size_t)zip->size, at, &at));
    if (at != zip->size) {
        st = refuse(zip, "its directory is longer than its members");
        goto done;
    }
    qsort(zip->entry, (size_t)zip->count, sizeof *zip->entry, by_name);
    for (int i = 1; i < zip->count; i++) {
        if (strcmp(zip->entry[i - 1].name, zip->entry[i].name) == 0) {
            st = refuse_entry(zip, zip->entry[i].name, "it is there twice");
            goto done;
        }
    }
done:
    dmq_free(directory);
    return st;
}

dmq_status dmq_zip_open(dmq_zip **out, const dmq_input *input)
{
    dmq_status st = DMQ_OK;
    dmq_zip *zip = NULL;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&zip, 1, sizeof *zip));
    zip->input = input;
    zip->path = dmq_input_path(input);
    DMQ_TRY(read_end(zip));
    DMQ_TRY(read_directory(zip));
    *out = zip;
    zip = NULL;
done:
    dmq_zip_close(zip);
    return st;
}

void dmq_zip_close(dmq_zip *zip)
{
    if (!zip)
        return;
    dmq_free(zip->entry);
    dmq_arena_release(&zip->names);
    dmq_free(zip);
}

int dmq_zip_count(const dmq_zip *zip)
{
    return zip->count;
}

const dmq_zip_entry *dmq_zip_at(const dmq_zip *zip, int i)
{
    assert(i >= 0 && i < zip->count);
    return &zip->entry[i];
}

const dmq_zip_entry *dmq_zip_find(const dmq_zip *zip, const char *name)
{
    int lo = 0, hi = zip->count;

    while (lo < hi) {
        int mid = lo + (hi - lo) / 2;
        int c = strcmp(zip->entry[mid].name, name);

        if (c == 0)
            return &zip->entry[mid];
        if (c < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return NULL;
}

/* ------------------------------------------------------------------ contents */

dmq_status dmq_zip_place(uint64_t *offset, const dmq_zip *zip, const dmq_zip_entry *e)
{
    unsigned char local[LOCAL_SIZE + NAME_LIMIT];
    size_t name = strlen(e->name);
    dmq_status st = DMQ_OK;

    *offset = 0;
    if (e->flags & 1U)
        return refuse_entry(zip, e->name, "it is encrypted");
    if (e->method != 0)
        return refuse_entry(zip, e->name, "it is compressed; members must be stored");
    if (e->packed != e->size)
        return refuse_entry(zip, e->name, "it is stored, but its two sizes differ");
    if (e->header > zip->first || zip->first - e->header < LOCAL_SIZE + name)
        return refuse_entry(zip, e->name, "its header is not before the directory");
    DMQ_TRY(dmq_input_read(local, zip->input, LOCAL_SIZE + name, e->header));
    if (dmq_le32(local) != SIGNATURE_LOCAL || dmq_le16(local + 26) != name ||
        memcmp(local + LOCAL_SIZE, e->name, name) != 0)
        return refuse_entry(zip, e->name, "its header is not where the directory says");
    if ((dmq_le16(local + 6) & 1U) || dmq_le16(local + 8) != 0)
        return refuse_entry(zip, e->name, "its header and the directory disagree");
    *offset = e->header + LOCAL_SIZE + name + dmq_le16(local + 28);
    if (*offset > zip->first || e->size > zip->first - *offset)
        return refuse_entry(zip, e->name, "its contents reach into the directory");
done:
    return st;
}

uint32_t dmq_crc32(uint32_t crc, const void *bytes, size_t size)
{
    const unsigned char *p = bytes;
    uint32_t table[256];

    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;

        for (int k = 0; k < 8; k++)
            c = c & 1U ? c >> 1 ^ 0xEDB88320U : c >> 1;
        table[i] = c;
    }
    crc = ~crc;
    for (size_t i = 0; i < size; i++)
        crc = table[(crc ^ p[i]) & 255U] ^ crc >> 8;
    return ~crc;
}

dmq_status dmq_zip_check(const dmq_zip *zip, const dmq_zip_entry *e)
{
    unsigned char *piece = NULL;
    dmq_status st = DMQ_OK;
    uint32_t crc = 0;
    uint64_t at;

    DMQ_TRY(dmq_zip_place(&at, zip, e));
    DMQ_TRY(dmq_alloc((void **)&piece, PIECE, 1));
    for (uint64_t i = 0; i < e->size; i += PIECE) {
        size_t n = e->size - i < PIECE ? (size_t)(e->size - i) : PIECE;

        DMQ_TRY(dmq_input_read(piece, zip->input, n, at + i));
        crc = dmq_crc32(crc, piece, n);
    }
    if (crc != e->crc) {
        st = dmq_fail(
            DMQ_EDATA,
            "%s: member \"%.200s\" has CRC-32 %08x, the directory says %08x: it is damaged",
            zip->path, e->name, crc, e->crc);
    }
done:
    dmq_free(piece);
    return st;
}
