#include "io/npz.h"

#include "base/memory.h"
#include "base/path.h"
#include "base/text.h"
#include "io/file.h"
#include "io/npz_inner.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

enum { HEADER_LIMIT = 1 << 16, MEMBER_LIMIT = 10000, PIECE = 1 << 16 };

/* Deflate makes no more of a byte. */
#define DEFLATE_LIMIT 1032

struct dmq_npz {
    char *path;
    zip_t *zip; /* NULL: a plain .npy */
    char **name;
    int count;
};

/* Bytes of one array, from its start: a member of the archive, or the file itself. */
typedef struct stream {
    zip_file_t *member;
    int fd;
    bool stored;  /* any place can be gone to */
    uint64_t at;  /* of the next byte */
    uint64_t all; /* bytes that the file says it has */
} stream;

static dmq_status refuse(const dmq_npz *file, const char *name, const char *what)
{
    return dmq_fail(DMQ_EDATA, "%s%s%s: %s", file->path, name[0] ? ": array " : "", name, what);
}

/* ------------------------------------------------------------------ streams */

static dmq_status stream_open(stream *s, const dmq_npz *file, const char *name)
{
    dmq_status st = DMQ_OK;
    char member[1100];
    zip_stat_t told;
    struct stat whole;

    *s = (stream){ .fd = -1, .stored = true };
    if (!file->zip) {
        if (name[0]) {
            return dmq_fail(DMQ_EDATA, "%s: is one array without a name, \"%s\" was asked",
                            file->path, name);
        }
        s->fd = open(file->path, O_RDONLY | O_CLOEXEC);
        if (s->fd < 0 || fstat(s->fd, &whole) != 0)
            return dmq_file_failed(file->path, false, errno);
        s->all = (uint64_t)whole.st_size;
        return DMQ_OK;
    }
    (void)snprintf(member, sizeof member, "%s.npy", name);
    s->member = zip_fopen(file->zip, member, 0);
    if (!s->member && zip_name_locate(file->zip, member, 0) < 0) {
        st = dmq_fail(DMQ_EDATA, "%s: has no array \"%s\"", file->path, name);
    } else if (!s->member || zip_stat(file->zip, member, 0, &told) != 0) {
        st = refuse(file, name, zip_strerror(file->zip));
    } else {
        s->stored = told.comp_method == ZIP_CM_STORE;
        s->all = told.size;
        if (!s->stored && told.size / DEFLATE_LIMIT > told.comp_size)
            st = refuse(file, name, "says that it unpacks to more than its bytes can");
    }
    return st;
}

static void stream_close(stream *s)
{
    if (s->member)
        (void)zip_fclose(s->member);
    if (s->fd >= 0)
        (void)close(s->fd);
}

static dmq_status stream_read(void *out, stream *s, const dmq_npz *file, const char *name,
                              size_t size)
{
    char *to = out;

    while (size > 0) {
        int64_t n = s->member ? zip_fread(s->member, to, size) : (int64_t)read(s->fd, to, size);

        if (n < 0 && !s->member && errno == EINTR)
            continue;
        if (n < 0)
            return refuse(file, name, s->member ? zip_file_strerror(s->member) : strerror(errno));
        if (n == 0)
            return refuse(file, name, "is cut short");
        to += n;
        s->at += (uint64_t)n;
        size -= (size_t)n;
    }
    return DMQ_OK;
}

/* Nothing may follow; a ZIP's checksum is compared when its end is read. */
static dmq_status stream_end(stream *s, const dmq_npz *file, const char *name)
{
    char more;
    int64_t n = s->member ? zip_fread(s->member, &more, 1) : (int64_t)read(s->fd, &more, 1);

    if (n < 0)
        return refuse(file, name, s->member ? zip_file_strerror(s->member) : strerror(errno));
    return n > 0 ? refuse(file, name, "has more bytes than its shape needs") : DMQ_OK;
}

static dmq_status read_header(dmq_npz_info *info, stream *s, const dmq_npz *file, const char *name)
{
    dmq_status st = DMQ_OK;
    unsigned char start[12];
    char *text = NULL;
    const char *fault;
    size_t n;

    memset(info, 0, sizeof *info);
    DMQ_TRY(stream_read(start, s, file, name, 10));
    if (memcmp(start, "\x93NUMPY", 6) != 0 || start[6] < 1 || start[6] > 3)
        return refuse(file, name, "is not a NumPy array");
    n = start[8] | (size_t)start[9] << 8;
    if (start[6] > 1) {
        DMQ_TRY(stream_read(start + 10, s, file, name, 2));
        n |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
    }
    if (n > HEADER_LIMIT)
        return refuse(file, name, "its header is larger than 64 KiB");
    DMQ_TRY(dmq_alloc((void **)&text, n + 1, 1));
    DMQ_TRY(stream_read(text, s, file, name, n));
    fault = memchr(text, 0, n) ? "its header holds a NUL byte" : dmq_npz_parse(info, text);
    if (fault)
        st = refuse(file, name, fault);
done:
    dmq_free(text);
    return st;
}

/* ------------------------------------------------------------------ the archive */

static dmq_status list_members(dmq_npz *file)
{
    dmq_status st = DMQ_OK;
    int64_t n = zip_get_num_entries(file->zip, 0);

    if (n < 0 || n > MEMBER_LIMIT)
        return refuse(file, "", "has more than 10000 members");
    DMQ_TRY(dmq_alloc((void **)&file->name, (size_t)n, sizeof *file->name));
    for (int64_t i = 0; i < n; i++) {
        const char *name = zip_get_name(file->zip, (zip_uint64_t)i, 0);

        if (!name || !dmq_path_has_suffix(name, ".npy") || strlen(name) > 1028)
            return refuse(file, "", "has a member that is not an array");
        DMQ_TRY(dmq_strdup(&file->name[file->count], name));
        file->name[file->count][strlen(name) - 4] = '\0';
        file->count++;
    }
done:
    return st;
}

static dmq_status open_archive(dmq_npz *file)
{
    zip_error_t error;
    int code = 0;

    file->zip = zip_open(file->path, ZIP_RDONLY | ZIP_CHECKCONS, &code);
    if (!file->zip) {
        dmq_status st;

        zip_error_init_with_code(&error, code);
        st = refuse(file, "", zip_error_strerror(&error));
        zip_error_fini(&error);
        return st;
    }
    return list_members(file);
}

dmq_status dmq_npz_open(dmq_npz **out, const char *path)
{
    dmq_status st = DMQ_OK;
    dmq_npz *file = NULL;
    unsigned char start[6] = { 0 };
    ssize_t n;
    int fd = -1;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&file, 1, sizeof *file));
    DMQ_TRY(dmq_strdup(&file->path, path));
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        st = dmq_file_failed(path, false, errno);
        goto done;
    }
    n = read(fd, start, sizeof start);
    (void)close(fd);
    if (n == (ssize_t)sizeof start && memcmp(start, "\x93NUMPY", 6) == 0) {
        DMQ_TRY(dmq_alloc((void **)&file->name, 1, sizeof *file->name));
        DMQ_TRY(dmq_strdup(&file->name[0], ""));
        file->count = 1;
    } else if (n >= 4 && memcmp(start, "PK\3\4", 4) == 0) {
        DMQ_TRY(open_archive(file));
    } else {
        st = refuse(file, "", "is neither a .npz nor a .npy file");
        goto done;
    }
    *out = file;
    file = NULL;
done:
    dmq_npz_close(file);
    return st;
}

void dmq_npz_close(dmq_npz *file)
{
    if (!file)
        return;
    if (file->zip)
        zip_discard(file->zip);
    for (int i = 0; i < file->count; i++)
        dmq_free(file->name[i]);
    dmq_free(file->name);
    dmq_free(file->path);
    dmq_free(file);
}

int dmq_npz_count(const dmq_npz *file)
{
    return file->count;
}

const char *dmq_npz_name(const dmq_npz *file, int i)
{
    return i >= 0 && i < file->count ? file->name[i] : NULL;
}

/* The header, and whether the bytes behind it are as many as it says: then a caller may allocate by it. */
static dmq_status open_array(dmq_npz_info *info, stream *s, const dmq_npz *file, const char *name)
{
    uint64_t needed, there;
    dmq_status st = DMQ_OK;

    memset(info, 0, sizeof *info);
    DMQ_TRY(stream_open(s, file, name));
    DMQ_TRY(read_header(info, s, file, name));
    needed = (uint64_t)info->count * dmq_npz_kinds[info->type].size;
    there = s->all > s->at ? s->all - s->at : 0;
    if (there < needed) {
        st = refuse(file, name, "is cut short");
        st = dmq_fail_note(st,
                           "  hint: its shape needs %llu bytes, the file has %llu: copy it again",
                           (unsigned long long)needed, (unsigned long long)there);
    } else if (there > needed) {
        st = refuse(file, name, "has more bytes than its shape needs");
    }
done:
    return st;
}

dmq_status dmq_npz_shape(dmq_npz_info *out, dmq_npz *file, const char *name)
{
    stream s;
    dmq_status st = open_array(out, &s, file, name);

    stream_close(&s);
    return st;
}

/* ------------------------------------------------------------------ data */

static dmq_status check(const dmq_npz_info *info, const dmq_npz *file, const char *name,
                        unsigned accepted, const char *kind, int rank, const int64_t *dims)
{
    dmq_text text = { 0 };
    char *told = NULL;
    bool same = rank == info->rank;
    dmq_status st;

    for (int i = 0; i < rank && same; i++)
        same = dims[i] < 0 || dims[i] == info->dims[i];
    if (same && (accepted >> info->type & 1U))
        return DMQ_OK;
    dmq_text_add(&text, "%s [", dmq_npz_kinds[info->type].word);
    for (int i = 0; i < info->rank; i++)
        dmq_text_add(&text, "%s%lld", i ? "," : "", (long long)info->dims[i]);
    dmq_text_add(&text, "], %s [", kind);
    for (int i = 0; i < rank; i++)
        dmq_text_add(&text, dims[i] < 0 ? "%s*" : "%s%lld", i ? "," : "", (long long)dims[i]);
    st = dmq_text_take(&told, &text);
    if (st == DMQ_OK)
        st = dmq_fail(DMQ_ESHAPE, "%s: array \"%s\" is %s] was expected", file->path, name, told);
    dmq_free(told);
    return st;
}

static double number_at(const unsigned char *bytes, dmq_npz_type type)
{
    double d;
    float f;

    if (type == DMQ_NPZ_F8) {
        memcpy(&d, bytes, 8);
        return d;
    }
    memcpy(&f, bytes, 4);
    return (double)f;
}

static int64_t integer_at(const unsigned char *bytes, dmq_npz_type type)
{
    int64_t i8;
    int32_t i4;

    if (type == DMQ_NPZ_I8) {
        memcpy(&i8, bytes, 8);
        return i8;
    }
    if (type == DMQ_NPZ_I4) {
        memcpy(&i4, bytes, 4);
        return i4;
    }
    return bytes[0];
}

typedef enum target { TO_F32, TO_F64, TO_I64, TO_U8 } target;

static void convert(void *out, size_t at, const unsigned char *bytes, size_t n, dmq_npz_type type,
                    target to)
{
    size_t size = dmq_npz_kinds[type].size;

    for (size_t i = 0; i < n; i++) {
        if (to == TO_F32) {
            ((float *)out)[at + i] = (float)number_at(bytes + i * size, type);
        } else if (to == TO_F64) {
            ((double *)out)[at + i] = number_at(bytes + i * size, type);
        } else if (to == TO_I64) {
            ((int64_t *)out)[at + i] = integer_at(bytes + i * size, type);
        } else {
            ((uint8_t *)out)[at + i] = bytes[i];
        }
    }
}

static dmq_status get(void *out, dmq_npz *file, const char *name, target to, int rank,
                      const int64_t *dims)
{
    static const unsigned floats = 1U << DMQ_NPZ_F4 | 1U << DMQ_NPZ_F8;
    static const unsigned wholes = 1U << DMQ_NPZ_I4 | 1U << DMQ_NPZ_I8 | 1U << DMQ_NPZ_U1;
    unsigned char piece[PIECE];
    dmq_status st = DMQ_OK;
    dmq_npz_info info;
    stream s;
    size_t n, width;

    DMQ_TRY(open_array(&info, &s, file, name));
    DMQ_TRY(check(&info, file, name,
                  to == TO_U8    ? 1U << DMQ_NPZ_U1
                  : to == TO_I64 ? wholes
                                 : floats,
                  to == TO_U8    ? "u1"
                  : to == TO_I64 ? "i8"
                                 : "f4",
                  rank, dims));
    width = dmq_npz_kinds[info.type].size;
    for (size_t at = 0; at < (size_t)info.count; at += n) {
        n = (size_t)info.count - at;
        n = n < PIECE / width ? n : PIECE / width;
        DMQ_TRY(stream_read(piece, &s, file, name, n * width));
        convert(out, at, piece, n, info.type, to);
    }
    DMQ_TRY(stream_end(&s, file, name));
done:
    stream_close(&s);
    return st;
}

dmq_status dmq_npz_read_f32(float *out, dmq_npz *file, const char *name, int rank,
                            const int64_t *dims)
{
    return get(out, file, name, TO_F32, rank, dims);
}

dmq_status dmq_npz_read_f64(double *out, dmq_npz *file, const char *name, int rank,
                            const int64_t *dims)
{
    return get(out, file, name, TO_F64, rank, dims);
}

dmq_status dmq_npz_read_i64(int64_t *out, dmq_npz *file, const char *name, int rank,
                            const int64_t *dims)
{
    return get(out, file, name, TO_I64, rank, dims);
}

dmq_status dmq_npz_read_u8(uint8_t *out, dmq_npz *file, const char *name, int rank,
                           const int64_t *dims)
{
    return get(out, file, name, TO_U8, rank, dims);
}

/* ------------------------------------------------------------------ rows */

struct dmq_npz_rows {
    const dmq_npz *file;
    char *name;
    dmq_npz_info info;
    stream stream;
    uint64_t start; /* of the first row */
    size_t row;     /* bytes of one */
};

dmq_status dmq_npz_rows_open(dmq_npz_rows **out, const dmq_npz *file, const char *name)
{
    dmq_status st = DMQ_OK;
    dmq_npz_rows *rows = NULL;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&rows, 1, sizeof *rows));
    rows->file = file;
    rows->stream.fd = -1;
    DMQ_TRY(dmq_strdup(&rows->name, name));
    DMQ_TRY(open_array(&rows->info, &rows->stream, file, name));
    if (rows->info.rank == 0 || rows->info.count == 0) {
        st = refuse(file, name, "has no rows");
        goto done;
    }
    rows->start = rows->stream.at;
    rows->row =
        (size_t)(rows->info.count / rows->info.dims[0]) * dmq_npz_kinds[rows->info.type].size;
    *out = rows;
    rows = NULL;
done:
    dmq_npz_rows_close(rows);
    return st;
}

void dmq_npz_rows_close(dmq_npz_rows *rows)
{
    if (!rows)
        return;
    stream_close(&rows->stream);
    dmq_free(rows->name);
    dmq_free(rows);
}

const dmq_npz_info *dmq_npz_rows_info(const dmq_npz_rows *rows)
{
    return &rows->info;
}

/* A compressed member knows no places: going back is beginning again, going on is unpacking what lies between. */
static dmq_status go_to(dmq_npz_rows *rows, uint64_t place)
{
    char piece[PIECE];
    stream *s = &rows->stream;
    dmq_npz_info info;
    dmq_status st = DMQ_OK;

    if (s->at == place)
        return DMQ_OK;
    if (s->stored) {
        if (s->member ? zip_fseek(s->member, (zip_int64_t)place, SEEK_SET) != 0
                      : lseek(s->fd, (off_t)place, SEEK_SET) < 0)
            return refuse(rows->file, rows->name, "cannot be read from the middle");
        s->at = place;
        return DMQ_OK;
    }
    if (place < s->at) {
        stream_close(s);
        DMQ_TRY(open_array(&info, s, rows->file, rows->name));
    }
    while (s->at < place) {
        uint64_t n = place - s->at < PIECE ? place - s->at : PIECE;

        DMQ_TRY(stream_read(piece, s, rows->file, rows->name, (size_t)n));
    }
done:
    return st;
}

dmq_status dmq_npz_rows_read(void *out, dmq_npz_rows *rows, int64_t first, int64_t count)
{
    dmq_status st = DMQ_OK;

    assert(first >= 0 && count >= 0 && first + count <= rows->info.dims[0]);
    DMQ_TRY(go_to(rows, rows->start + (uint64_t)first * rows->row));
    DMQ_TRY(stream_read(out, &rows->stream, rows->file, rows->name, (size_t)count * rows->row));
    if (first + count == rows->info.dims[0])
        DMQ_TRY(stream_end(&rows->stream, rows->file, rows->name));
done:
    return st;
}

/* ------------------------------------------------------------------ writing */

dmq_status dmq_npy_save(const char *path, dmq_npz_type type, int rank, const int64_t *dims,
                        const void *data)
{
    dmq_status st = DMQ_OK;
    dmq_text text = { 0 };
    char *bytes = NULL;
    uint64_t count = 1;
    size_t header;

    dmq_text_add_bytes(&text, "\x93NUMPY\1\0..", 10);
    dmq_text_add(&text, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                 dmq_npz_kinds[type].descr);
    for (int i = 0; i < rank; i++) {
        dmq_text_add(&text, i + 1 < rank ? "%lld, " : "%lld,", (long long)dims[i]);
        count *= (uint64_t)dims[i];
    }
    dmq_text_add(&text, "), }");
    while (text.status == DMQ_OK && text.size % 64 != 63)
        dmq_text_add_bytes(&text, " ", 1);
    dmq_text_add_bytes(&text, "\n", 1);
    header = text.size - 10;
    if (count > 0)
        dmq_text_add_bytes(&text, data, (size_t)count * dmq_npz_kinds[type].size);
    header = text.status == DMQ_OK ? header : 0;
    count = text.size;
    DMQ_TRY(dmq_text_take(&bytes, &text));
    bytes[8] = (char)(header & 255U);
    bytes[9] = (char)(header >> 8);
    DMQ_TRY(dmq_file_write(path, bytes, (size_t)count));
done:
    dmq_free(bytes);
    return st;
}
