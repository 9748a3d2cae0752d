/* Writing safetensors. */
#include "base/half.h"
#include "base/memory.h"
#include "base/text.h"
#include "io/file.h"
#include "io/safetensors.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_LIMIT = 1024, PIECE = 1 << 14 };

static const struct {
    const char *name;
    unsigned width;
} types[] = { { "BOOL", 1 }, { "U8", 1 },  { "I8", 1 },  { "F16", 2 }, { "BF16", 2 },
              { "I32", 4 },  { "F32", 4 }, { "I64", 8 }, { "F64", 8 } };

static uint64_t count_of(const dmq_st_source *t)
{
    uint64_t n = 1;

    for (int i = 0; i < t->rank; i++)
        n *= (uint64_t)t->dims[i];
    return n;
}

/* Wide elements first, so that all are aligned; then by name. */
static int by_width_and_name(const void *a, const void *b)
{
    const dmq_st_source *x = *(const dmq_st_source *const *)a;
    const dmq_st_source *y = *(const dmq_st_source *const *)b;

    if (types[x->type].width != types[y->type].width)
        return types[x->type].width > types[y->type].width ? -1 : 1;
    return strcmp(x->name, y->name);
}

static dmq_status check_names(const char *path, const dmq_st_source *const *order, int count)
{
    for (int i = 0; i < count; i++) {
        const char *name = order[i]->name;

        if (!name[0] || strlen(name) > NAME_LIMIT || !dmq_text_is_utf8(name) ||
            strcmp(name, "__metadata__") == 0)
            return dmq_fail(DMQ_EINVAL, "%s: \"%.200s\" is no name for a tensor", path, name);
        for (int k = 0; k < i; k++) {
            if (strcmp(order[k]->name, name) == 0)
                return dmq_fail(DMQ_EINVAL, "%s: tensor \"%s\" is given twice", path, name);
        }
    }
    return DMQ_OK;
}

static void make_header(dmq_text *out, const dmq_st_source *const *order, int count,
                        const char *const (*metadata)[2], int n_metadata)
{
    uint64_t end = 0;

    dmq_text_add_bytes(out, "{", 1);
    if (n_metadata > 0) {
        dmq_text_add(out, "\"__metadata__\":{");
        for (int i = 0; i < n_metadata; i++) {
            dmq_text_add(out, "%s", i ? "," : "");
            dmq_text_add_quoted(out, metadata[i][0]);
            dmq_text_add_bytes(out, ":", 1);
            dmq_text_add_quoted(out, metadata[i][1]);
        }
        dmq_text_add(out, "}%s", count > 0 ? "," : "");
    }
    for (int i = 0; i < count; i++) {
        uint64_t bytes = count_of(order[i]) * types[order[i]->type].width;

        dmq_text_add(out, "%s", i ? "," : "");
        dmq_text_add_quoted(out, order[i]->name);
        dmq_text_add(out, ":{\"dtype\":\"%s\",\"shape\":[", types[order[i]->type].name);
        for (int k = 0; k < order[i]->rank; k++)
            dmq_text_add(out, "%s%lld", k ? "," : "", (long long)order[i]->dims[k]);
        dmq_text_add(out, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)end,
                     (unsigned long long)end + bytes);
        end += bytes;
    }
    dmq_text_add_bytes(out, "}", 1);
    while (out->status == DMQ_OK && out->size % 8 != 0)
        dmq_text_add_bytes(out, " ", 1);
}

static int write_tensor(FILE *f, const dmq_st_source *t)
{
    uint64_t n = count_of(t);
    const float *from = t->data;
    uint16_t piece[PIECE];

    if (t->type != DMQ_ST_F16 && t->type != DMQ_ST_BF16)
        return n == 0 || fwrite(t->data, types[t->type].width, n, f) == n;
    for (uint64_t i = 0; i < n; i += PIECE) {
        size_t m = n - i < PIECE ? (size_t)(n - i) : PIECE;

        for (size_t k = 0; k < m; k++) {
            piece[k] = t->type == DMQ_ST_F16 ? dmq_half_from_float(from[i + k])
                                             : dmq_bfloat16_from_float(from[i + k]);
        }
        if (fwrite(piece, 2, m, f) != m)
            return 0;
    }
    return 1;
}

static dmq_status write_all(const char *temp, const char *path, const char *header, size_t size,
                            const dmq_st_source *const *order, int count)
{
    unsigned char length[8];
    int ok, error;
    FILE *f = fopen(temp, "wb");

    if (!f)
        return dmq_file_failed(path, true, errno);
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)(size >> 8 * i & 255U);
    errno = 0;
    ok = fwrite(length, 1, 8, f) == 8 && fwrite(header, 1, size, f) == size;
    for (int i = 0; i < count && ok; i++)
        ok = write_tensor(f, order[i]);
    error = errno;
    if (fclose(f) != 0 && ok) {
        ok = 0;
        error = errno;
    }
    return ok ? DMQ_OK : dmq_file_failed(path, true, error);
}

dmq_status dmq_safetensors_save(const char *path, const dmq_st_source *tensors, int count,
                                const char *const (*metadata)[2], int n_metadata)
{
    dmq_status st = DMQ_OK;
    const dmq_st_source **order = NULL;
    dmq_text header = { 0 };
    char *temp = NULL, *text = NULL;
    size_t size;

    DMQ_TRY(dmq_alloc((void **)&order, (size_t)count, sizeof(dmq_st_source *)));
    for (int i = 0; i < count; i++) {
        assert(tensors[i].type < DMQ_ST_OTHER && tensors[i].rank <= DMQ_SAFETENSORS_RANK);
        order[i] = &tensors[i];
    }
    qsort(order, (size_t)count, sizeof(dmq_st_source *), by_width_and_name);
    DMQ_TRY(check_names(path, order, count));
    for (int i = 0; i < n_metadata; i++) {
        if (!dmq_text_is_utf8(metadata[i][0]) || !dmq_text_is_utf8(metadata[i][1])) {
            st = dmq_fail(DMQ_EINVAL, "%s: metadata %d is not UTF-8", path, i + 1);
            goto done;
        }
    }
    make_header(&header, order, count, metadata, n_metadata);
    size = header.size;
    DMQ_TRY(dmq_text_take(&text, &header));
    DMQ_TRY(dmq_file_temp(&temp, path));
    st = write_all(temp, path, text, size, order, count);
    if (st == DMQ_OK) {
        st = dmq_file_commit(temp, path);
    } else {
        (void)unlink(temp);
    }
done:
    dmq_text_release(&header);
    dmq_free(temp);
    dmq_free(text);
    dmq_free(order);
    return st;
}
