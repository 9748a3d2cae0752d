/* Writing HDF5 arrays. */
#include "base/half.h"
#include "base/memory.h"
#include "io/file.h"
#include "io/h5_handle.h"

#include <assert.h>
#include <string.h>

static hid_t stored_type(const dmq_h5 *file, dmq_h5_type type)
{
    switch (type) {
    case DMQ_H5_F16:
        return file->half;
    case DMQ_H5_F32:
        return H5T_IEEE_F32LE;
    case DMQ_H5_F64:
        return H5T_IEEE_F64LE;
    case DMQ_H5_U8:
        return H5T_STD_U8LE;
    case DMQ_H5_I8:
        return H5T_STD_I8LE;
    case DMQ_H5_I32:
        return H5T_STD_I32LE;
    case DMQ_H5_I64:
        return H5T_STD_I64LE;
    case DMQ_H5_TEXT:
        break;
    }
    return -1;
}

/* A new contiguous array; *id is the caller's to close. zeroed: space and zeros now, for rows later. */
static dmq_status make_array(hid_t *id, dmq_h5 *file, const char *name, hid_t type, int rank,
                             const int64_t *dims, bool zeroed)
{
    dmq_status st = DMQ_OK;
    hsize_t size[DMQ_H5_RANK];
    uint64_t bytes = H5Tget_size(type);
    hid_t space = -1, create = -1;

    assert(file->temp && rank >= 0 && rank <= DMQ_H5_RANK);
    *id = -1;
    for (int i = 0; i < rank; i++) {
        assert(dims[i] >= 0);
        size[i] = (hsize_t)dims[i];
        bytes *= size[i];
    }
    DMQ_TRY(dmq_h5_parents(file, name));
    DMQ_TRY(dmq_disk_check(file->path, bytes));
    space = rank ? H5Screate_simple(rank, size, NULL) : H5Screate(H5S_SCALAR);
    create = H5Pcreate(H5P_DATASET_CREATE);
    (void)H5Pset_obj_track_times(create, 0);
    if (zeroed) {
        (void)H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY);
        (void)H5Pset_fill_time(create, H5D_FILL_TIME_ALLOC);
    }
    *id = H5Dcreate2(file->id, name, type, space, H5P_DEFAULT, create, H5P_DEFAULT);
    if (*id < 0)
        st = dmq_h5_failed(file, name);
done:
    if (space >= 0)
        (void)H5Sclose(space);
    if (create >= 0)
        (void)H5Pclose(create);
    if (st != DMQ_OK)
        file->failed = true;
    return st;
}

static dmq_status put(dmq_h5 *file, const char *name, hid_t stored, hid_t memory, int rank,
                      const int64_t *dims, const void *data)
{
    bool empty = false;
    dmq_status st;
    hid_t id;

    st = make_array(&id, file, name, stored, rank, dims, false);
    for (int i = 0; i < rank; i++)
        empty = empty || dims[i] == 0;
    if (st == DMQ_OK && !empty && H5Dwrite(id, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) < 0)
        st = dmq_h5_failed(file, name);
    if (id >= 0)
        (void)H5Dclose(id);
    return st;
}

static dmq_status put_as(dmq_h5 *file, const char *name, dmq_h5_type stored, dmq_h5_type memory,
                         int rank, const int64_t *dims, const void *data)
{
    dmq_status st;

    dmq_h5_lock();
    st = put(file, name, stored_type(file, stored), dmq_h5_memory_type(file, memory), rank, dims,
             data);
    dmq_h5_unlock();
    return st;
}

dmq_status dmq_h5_write_f32(dmq_h5 *file, const char *name, int rank, const int64_t *dims,
                            const float *data)
{
    return put_as(file, name, DMQ_H5_F32, DMQ_H5_F32, rank, dims, data);
}

dmq_status dmq_h5_write_f16(dmq_h5 *file, const char *name, int rank, const int64_t *dims,
                            const float *data)
{
    dmq_status st = DMQ_OK;
    uint16_t *bits = NULL;
    size_t n = 1;

    for (int i = 0; i < rank; i++)
        n *= (size_t)dims[i];
    DMQ_TRY(dmq_alloc((void **)&bits, n, sizeof *bits));
    dmq_half_from_floats(bits, data, n);
    DMQ_TRY(put_as(file, name, DMQ_H5_F16, DMQ_H5_F16, rank, dims, bits));
done:
    dmq_free(bits);
    return st;
}

dmq_status dmq_h5_write_f64(dmq_h5 *file, const char *name, int rank, const int64_t *dims,
                            const double *data)
{
    return put_as(file, name, DMQ_H5_F64, DMQ_H5_F64, rank, dims, data);
}

dmq_status dmq_h5_write_real(dmq_h5 *file, const char *name, int rank, const int64_t *dims,
                             const dmq_real *data)
{
    return put_as(file, name, DMQ_H5_F32, sizeof(dmq_real) == 8 ? DMQ_H5_F64 : DMQ_H5_F32, rank,
                  dims, data);
}

dmq_status dmq_h5_write_u8(dmq_h5 *file, const char *name, int rank, const int64_t *dims,
                           const uint8_t *data)
{
    return put_as(file, name, DMQ_H5_U8, DMQ_H5_U8, rank, dims, data);
}

dmq_status dmq_h5_write_i8(dmq_h5 *file, const char *name, int rank, const int64_t *dims,
                           const int8_t *data)
{
    return put_as(file, name, DMQ_H5_I8, DMQ_H5_I8, rank, dims, data);
}

dmq_status dmq_h5_write_i32(dmq_h5 *file, const char *name, int rank, const int64_t *dims,
                            const int32_t *data)
{
    return put_as(file, name, DMQ_H5_I32, DMQ_H5_I32, rank, dims, data);
}

dmq_status dmq_h5_write_i64(dmq_h5 *file, const char *name, int rank, const int64_t *dims,
                            const int64_t *data)
{
    return put_as(file, name, DMQ_H5_I64, DMQ_H5_I64, rank, dims, data);
}

dmq_status dmq_h5_write_text(dmq_h5 *file, const char *name, const char *text)
{
    dmq_status st;
    hid_t type;

    dmq_h5_lock();
    type = H5Tcopy(H5T_C_S1);
    (void)H5Tset_size(type, text[0] ? strlen(text) : 1);
    (void)H5Tset_strpad(type, H5T_STR_NULLPAD);
    (void)H5Tset_cset(type, H5T_CSET_UTF8);
    st = put(file, name, type, type, 0, NULL, text);
    (void)H5Tclose(type);
    dmq_h5_unlock();
    return st;
}

dmq_status dmq_h5_create(dmq_h5 *file, const char *name, dmq_h5_type stored, int rank,
                         const int64_t *dims)
{
    dmq_status st;
    hid_t id;

    assert(stored != DMQ_H5_TEXT && rank > 0);
    dmq_h5_lock();
    st = make_array(&id, file, name, stored_type(file, stored), rank, dims, true);
    if (id >= 0)
        (void)H5Dclose(id);
    dmq_h5_unlock();
    return st;
}

/* Floats for an f16 array are rounded here, because HDF5 rounds ties up. */
static dmq_status write_selected(dmq_h5 *file, const char *name, hid_t id, hid_t space, size_t n,
                                 dmq_h5_type stored, dmq_h5_type memory, const void *data)
{
    hsize_t count = n;
    hid_t flat = H5Screate_simple(1, &count, NULL);
    hid_t type = dmq_h5_memory_type(file, memory);
    dmq_status st = DMQ_OK;
    uint16_t *bits = NULL;

    if (stored == DMQ_H5_F16) {
        DMQ_TRY(dmq_alloc((void **)&bits, n, sizeof *bits));
        dmq_half_from_floats(bits, data, n);
        type = file->half;
    }
    if (H5Dwrite(id, type, flat, space, H5P_DEFAULT, bits ? bits : data) < 0)
        st = dmq_h5_failed(file, name);
done:
    dmq_free(bits);
    (void)H5Sclose(flat);
    return st;
}

dmq_status dmq_h5_write_rows(dmq_h5 *file, const char *name, int64_t first, int64_t count,
                             dmq_h5_type memory, const void *data)
{
    dmq_status st = DMQ_OK;
    dmq_h5_info info;
    hid_t id = -1, space = -1;

    dmq_h5_lock();
    DMQ_TRY(dmq_h5_open_array(&id, &info, file, name));
    assert(info.rank > 0 && first >= 0 && count >= 0 && first + count <= info.dims[0]);
    assert(dmq_h5_is_float(info.type)
               ? info.type == memory || (info.type == DMQ_H5_F16 && memory == DMQ_H5_F32)
               : info.type == memory);
    if (count == 0 || info.count == 0)
        goto done;
    space = dmq_h5_rows_space(id, &info, first, count);
    DMQ_TRY(write_selected(file, name, id, space, (size_t)(info.count / info.dims[0] * count),
                           info.type, memory, data));
done:
    if (space >= 0)
        (void)H5Sclose(space);
    if (id >= 0)
        (void)H5Dclose(id);
    dmq_h5_unlock();
    return st;
}
