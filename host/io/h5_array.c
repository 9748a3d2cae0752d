/* HDF5 arrays: what they are, and reading them. */
#include "base/half.h"
#include "base/memory.h"
#include "io/h5_handle.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Deflate cannot do better than this; a file that claims more lies. */
enum { INFLATE_LIMIT = 1100 };

static const struct {
    const char *word;
    size_t size;
} types[] = { { "f16", 2 }, { "f32", 4 }, { "f64", 8 }, { "u8", 1 },
              { "i8", 1 },  { "i32", 4 }, { "i64", 8 }, { "text", 1 } };

hid_t dmq_h5_memory_type(const dmq_h5 *file, dmq_h5_type type)
{
    switch (type) {
    case DMQ_H5_F16:
        return file->half;
    case DMQ_H5_F32:
        return H5T_NATIVE_FLOAT;
    case DMQ_H5_F64:
        return H5T_NATIVE_DOUBLE;
    case DMQ_H5_U8:
        return H5T_NATIVE_UINT8;
    case DMQ_H5_I8:
        return H5T_NATIVE_INT8;
    case DMQ_H5_I32:
        return H5T_NATIVE_INT32;
    case DMQ_H5_I64:
        return H5T_NATIVE_INT64;
    case DMQ_H5_TEXT:
        break;
    }
    return -1;
}

static void dims_text(char *out, size_t size, int rank, const int64_t *dims)
{
    size_t n = (size_t)snprintf(out, size, "[");

    for (int i = 0; i < rank && n < size; i++) {
        n += (size_t)snprintf(out + n, size - n, dims[i] < 0 ? "%s*" : "%s%lld", i ? "," : "",
                              (long long)dims[i]);
    }
    if (n < size)
        (void)snprintf(out + n, size - n, "]");
}

void dmq_h5_info_text(char *out, size_t size, const dmq_h5_info *info)
{
    int n = snprintf(out, size, "%s ", types[info->type].word);

    if (n > 0 && (size_t)n < size)
        dims_text(out + n, size - (size_t)n, info->rank, info->dims);
}

/* ------------------------------------------------------------------ what an array is */

static int classify(const dmq_h5 *file, hid_t type)
{
    size_t size = H5Tget_size(type);

    switch (H5Tget_class(type)) {
    case H5T_FLOAT:
        if (size == 2 && H5Tequal(type, file->half) > 0)
            return DMQ_H5_F16;
        return size == 4 ? DMQ_H5_F32 : size == 8 ? DMQ_H5_F64 : -1;
    case H5T_INTEGER:
        if (H5Tget_sign(type) == H5T_SGN_NONE)
            return size == 1 ? DMQ_H5_U8 : -1;
        return size == 1 ? DMQ_H5_I8 : size == 4 ? DMQ_H5_I32 : size == 8 ? DMQ_H5_I64 : -1;
    case H5T_STRING:
        return H5Tis_variable_str(type) > 0 ? -1 : DMQ_H5_TEXT;
    default:
        return -1;
    }
}

/* How the bytes are stored: in this very file, with filters that the library has built in. */
static bool storage_is_plain(hid_t id)
{
    hid_t create = H5Dget_create_plist(id);
    H5D_layout_t layout = H5Pget_layout(create);
    int filters = H5Pget_nfilters(create);
    bool plain = layout != H5D_VIRTUAL && H5Pget_external_count(create) == 0;

    for (int i = 0; i < filters && plain; i++) {
        unsigned flags;
        size_t n = 0;
        H5Z_filter_t filter = H5Pget_filter2(create, (unsigned)i, &flags, &n, NULL, 0, NULL, NULL);

        plain = filter == H5Z_FILTER_DEFLATE || filter == H5Z_FILTER_SHUFFLE ||
                filter == H5Z_FILTER_FLETCHER32;
    }
    (void)H5Pclose(create);
    return plain;
}

static dmq_status read_extent(dmq_h5_info *out, dmq_h5 *file, const char *name, hid_t space)
{
    hsize_t dims[H5S_MAX_RANK];
    int rank = H5Sget_simple_extent_ndims(space);

    if (rank < 0 || rank > DMQ_H5_RANK || H5Sget_simple_extent_dims(space, dims, NULL) < 0 ||
        H5Sget_simple_extent_type(space) == H5S_NULL) {
        return dmq_fail(DMQ_EDATA, "%s: array \"%s\" has %d dims, at most %d are read", file->path,
                        name, rank, DMQ_H5_RANK);
    }
    out->rank = rank;
    out->count = 1;
    for (int i = 0; i < rank; i++) {
        if (dims[i] > (1ULL << 40) ||
            __builtin_mul_overflow(out->count, (int64_t)dims[i], &out->count) ||
            out->count > (1LL << 40)) {
            return dmq_fail(DMQ_EDATA, "%s: array \"%s\" claims more than 2^40 elements",
                            file->path, name);
        }
        out->dims[i] = (int64_t)dims[i];
    }
    return DMQ_OK;
}

dmq_status dmq_h5_open_array(hid_t *id, dmq_h5_info *info, dmq_h5 *file, const char *name)
{
    dmq_status st = DMQ_OK;
    hid_t type = -1, space = -1;
    uint64_t bytes;
    int kind;

    *id = -1;
    memset(info, 0, sizeof *info);
    if (!dmq_h5_found(file, name))
        return dmq_fail(DMQ_EDATA, "%s: has no array \"%s\"", file->path, name);
    *id = H5Dopen2(file->id, name, H5P_DEFAULT);
    if (*id < 0)
        return dmq_h5_failed(file, name);
    type = H5Dget_type(*id);
    space = H5Dget_space(*id);
    kind = classify(file, type);
    DMQ_TRY(read_extent(info, file, name, space));
    if (kind < 0 || !storage_is_plain(*id)) {
        st = dmq_fail(DMQ_EDATA, "%s: array \"%s\" is of a kind that dmq does not read", file->path,
                      name);
        goto done;
    }
    info->type = (dmq_h5_type)kind;
    bytes = (uint64_t)info->count * H5Tget_size(type);
    if (!file->temp && bytes / INFLATE_LIMIT > H5Dget_storage_size(*id)) {
        st =
            dmq_fail(DMQ_EDATA, "%s: array \"%s\" claims %llu bytes, the file has %llu", file->path,
                     name, (unsigned long long)bytes, (unsigned long long)file->size_bytes);
    }
done:
    (void)H5Tclose(type);
    (void)H5Sclose(space);
    return st;
}

dmq_status dmq_h5_shape(dmq_h5_info *out, dmq_h5 *file, const char *name)
{
    dmq_status st;
    hid_t id;

    dmq_h5_lock();
    st = dmq_h5_open_array(&id, out, file, name);
    if (id >= 0)
        (void)H5Dclose(id);
    dmq_h5_unlock();
    return st;
}

/* ------------------------------------------------------------------ reading */

static bool readable(dmq_h5_type stored, dmq_h5_type memory, bool narrow)
{
    if (dmq_h5_is_float(memory))
        return dmq_h5_is_float(stored) && (stored <= memory || narrow);
    if (memory == DMQ_H5_I32 || memory == DMQ_H5_I64)
        return !dmq_h5_is_float(stored) && stored != DMQ_H5_TEXT;
    return stored == memory;
}

static dmq_status check_shape(const dmq_h5 *file, const char *name, const dmq_h5_info *info,
                              dmq_h5_type memory, bool narrow, int rank, const int64_t *dims)
{
    char found[128], wanted[128];
    bool same = rank == info->rank;

    for (int i = 0; i < rank && same; i++)
        same = dims[i] < 0 || dims[i] == info->dims[i];
    if (same && readable(info->type, memory, narrow))
        return DMQ_OK;
    dmq_h5_info_text(found, sizeof found, info);
    dims_text(wanted, sizeof wanted, rank, dims);
    return dmq_fail(DMQ_ESHAPE, "%s: array \"%s\" is %s, %s %s was expected", file->path, name,
                    found, types[memory].word, wanted);
}

/* Halves become floats from the back, in place: out has room for twice the bytes. */
static void widen(float *out, size_t n)
{
    const uint16_t *bits = (const uint16_t *)(const void *)out;

    for (size_t i = n; i-- > 0;) {
        uint16_t b;

        memcpy(&b, bits + i, sizeof b);
        out[i] = dmq_half_to_float(b);
    }
}

/* Whole numbers that do not fit would be clipped by HDF5 without a word. */
static dmq_status narrow_i64(int32_t *out, const int64_t *from, size_t n, const dmq_h5 *file,
                             const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (from[i] < INT32_MIN || from[i] > INT32_MAX) {
            return dmq_fail(DMQ_EDATA, "%s: array \"%s\" holds %lld, which does not fit an i32",
                            file->path, name, (long long)from[i]);
        }
        out[i] = (int32_t)from[i];
    }
    return DMQ_OK;
}

/* n elements of the selection space (H5S_ALL: the whole) in the type asked. */
static dmq_status read_selected(void *out, dmq_h5 *file, const char *name, hid_t id, hid_t space,
                                size_t n, dmq_h5_type stored, dmq_h5_type memory)
{
    hsize_t count = n;
    hid_t flat = H5Screate_simple(1, &count, NULL);
    dmq_status st = DMQ_OK;
    void *wide = NULL;
    hid_t type = dmq_h5_memory_type(file, memory);

    if (stored == DMQ_H5_F16 && memory == DMQ_H5_F32)
        type = file->half;
    if (stored == DMQ_H5_I64 && memory == DMQ_H5_I32) {
        DMQ_TRY(dmq_alloc(&wide, n, sizeof(int64_t)));
        type = H5T_NATIVE_INT64;
    }
    if (H5Dread(id, type, flat, space, H5P_DEFAULT, wide ? wide : out) < 0) {
        st = dmq_h5_failed(file, name);
        goto done;
    }
    if (stored == DMQ_H5_F16 && memory == DMQ_H5_F32)
        widen(out, n);
    if (wide)
        st = narrow_i64(out, wide, n, file, name);
done:
    dmq_free(wide);
    (void)H5Sclose(flat);
    return st;
}

hid_t dmq_h5_rows_space(hid_t id, const dmq_h5_info *info, int64_t first, int64_t count)
{
    hsize_t start[DMQ_H5_RANK] = { 0 }, size[DMQ_H5_RANK];
    hid_t space = H5Dget_space(id);

    for (int i = 0; i < info->rank; i++)
        size[i] = (hsize_t)info->dims[i];
    start[0] = (hsize_t)first;
    size[0] = (hsize_t)count;
    (void)H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, size, NULL);
    return space;
}

/* count < 0: all of it. */
static dmq_status get(void *out, dmq_h5 *file, const char *name, int64_t first, int64_t count,
                      dmq_h5_type memory, bool narrow, int rank, const int64_t *dims)
{
    dmq_status st = DMQ_OK;
    dmq_h5_info info;
    hid_t id = -1, space = -1;
    int64_t n;

    dmq_h5_lock();
    DMQ_TRY(dmq_h5_open_array(&id, &info, file, name));
    DMQ_TRY(check_shape(file, name, &info, memory, narrow, rank, dims));
    n = info.count;
    if (count >= 0) {
        assert(rank > 0 && first >= 0);
        if (first + count > info.dims[0]) {
            st = dmq_fail(DMQ_ESHAPE, "%s: array \"%s\" has %lld rows, %lld..%lld were asked",
                          file->path, name, (long long)info.dims[0], (long long)first,
                          (long long)(first + count - 1));
            goto done;
        }
        n = info.dims[0] ? info.count / info.dims[0] * count : 0;
    }
    if (n == 0)
        goto done;
    space = count >= 0 ? dmq_h5_rows_space(id, &info, first, count) : H5Dget_space(id);
    DMQ_TRY(read_selected(out, file, name, id, space, (size_t)n, info.type, memory));
done:
    if (space >= 0)
        (void)H5Sclose(space);
    if (id >= 0)
        (void)H5Dclose(id);
    dmq_h5_unlock();
    return st;
}

dmq_status dmq_h5_read_f32(float *out, dmq_h5 *file, const char *name, int rank,
                           const int64_t *dims)
{
    return get(out, file, name, 0, -1, DMQ_H5_F32, false, rank, dims);
}

dmq_status dmq_h5_read_f64(double *out, dmq_h5 *file, const char *name, int rank,
                           const int64_t *dims)
{
    return get(out, file, name, 0, -1, DMQ_H5_F64, false, rank, dims);
}

dmq_status dmq_h5_read_real(dmq_real *out, dmq_h5 *file, const char *name, int rank,
                            const int64_t *dims)
{
    return get(out, file, name, 0, -1, sizeof(dmq_real) == 8 ? DMQ_H5_F64 : DMQ_H5_F32, true, rank,
               dims);
}

dmq_status dmq_h5_read_u8(uint8_t *out, dmq_h5 *file, const char *name, int rank,
                          const int64_t *dims)
{
    return get(out, file, name, 0, -1, DMQ_H5_U8, false, rank, dims);
}

dmq_status dmq_h5_read_i8(int8_t *out, dmq_h5 *file, const char *name, int rank,
                          const int64_t *dims)
{
    return get(out, file, name, 0, -1, DMQ_H5_I8, false, rank, dims);
}

dmq_status dmq_h5_read_i32(int32_t *out, dmq_h5 *file, const char *name, int rank,
                           const int64_t *dims)
{
    return get(out, file, name, 0, -1, DMQ_H5_I32, false, rank, dims);
}

dmq_status dmq_h5_read_i64(int64_t *out, dmq_h5 *file, const char *name, int rank,
                           const int64_t *dims)
{
    return get(out, file, name, 0, -1, DMQ_H5_I64, false, rank, dims);
}

dmq_status dmq_h5_read_rows(void *out, dmq_h5 *file, const char *name, int64_t first, int64_t count,
                            dmq_h5_type memory, int rank, const int64_t *dims)
{
    assert(count >= 0);
    return get(out, file, name, first, count, memory, false, rank, dims);
}

dmq_status dmq_h5_read_text(char **out, dmq_h5 *file, const char *name)
{
    dmq_status st = DMQ_OK;
    dmq_h5_info info;
    hid_t id = -1, type = -1;

    *out = NULL;
    dmq_h5_lock();
    DMQ_TRY(dmq_h5_open_array(&id, &info, file, name));
    DMQ_TRY(check_shape(file, name, &info, DMQ_H5_TEXT, false, 0, NULL));
    type = H5Dget_type(id);
    if (!file->temp && H5Tget_size(type) > file->size_bytes) {
        st = dmq_fail(DMQ_EDATA, "%s: text \"%s\" claims more bytes than the file has", file->path,
                      name);
        goto done;
    }
    DMQ_TRY(dmq_alloc((void **)out, H5Tget_size(type) + 1, 1));
    if (H5Dread(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, *out) < 0)
        st = dmq_h5_failed(file, name);
done:
    if (type >= 0)
        (void)H5Tclose(type);
    if (id >= 0)
        (void)H5Dclose(id);
    dmq_h5_unlock();
    if (st != DMQ_OK) {
        dmq_free(*out);
        *out = NULL;
    }
    return st;
}
