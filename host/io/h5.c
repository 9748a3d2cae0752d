#include "io/h5.h"

#include "base/memory.h"
#include "base/path.h"
#include "io/file.h"
#include "io/h5_handle.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME_SIZE = 1024, TEXT_LIMIT = 64 << 20, MEMBER_LIMIT = 1000000 };

/* ------------------------------------------------------------------ the lock and HDF5's own errors */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static bool hardened;

void dmq_h5_lock(void)
{
    pthread_mutex_lock(&mutex);
    if (!hardened) {
        /* Nothing is open at the end, and after a full disk HDF5's own tidying up crashes. This must
         * be the very first call of the library. */
        (void)H5dont_atexit();
        (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
        (void)H5PLset_loading_state(0);
        (void)H5Lunregister(H5L_TYPE_EXTERNAL);
        hardened = true;
    }
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

void dmq_h5_unlock(void)
{
    pthread_mutex_unlock(&mutex);
}

static herr_t take_first(unsigned n, const H5E_error2_t *error, void *data)
{
    char *text = data;

    if (n == 0 && error->desc)
        (void)snprintf(text, 256, "%s", error->desc);
    return 0;
}

dmq_status dmq_h5_failed(dmq_h5 *file, const char *what)
{
    char text[256] = "no reason given";
    const char *number;

    (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_first, text);
    (void)H5Eclear2(H5E_DEFAULT);
    if (file->temp)
        file->failed = true;
    number = strstr(text, "errno = ");
    if (number)
        return dmq_file_failed(file->path, file->temp != NULL, atoi(number + 8));
    return dmq_fail(file->temp ? DMQ_EIO : DMQ_EDATA, "%s: %s%s%s (HDF5: %s)%s", file->path,
                    what ? what : "", what ? " " : "",
                    file->temp ? "cannot be written" : "is damaged or cut short", text,
                    file->temp ? "" : "\n  hint: make or copy the file again");
}

/* ------------------------------------------------------------------ open, commit, close */

static dmq_status refuse_foreign(const char *path)
{
    static const unsigned char signature[8] = { 0x89, 'H', 'D', 'F', '\r', '\n', 0x1A, '\n' };
    unsigned char start[8] = { 0 };
    FILE *f;
    size_t n;

    if (dmq_folder_exists(path))
        return dmq_fail(DMQ_EDATA, "%s: is a folder, an HDF5 file was expected", path);
    f = fopen(path, "rb");
    if (!f)
        return dmq_file_failed(path, false, errno);
    n = fread(start, 1, sizeof start, f);
    (void)fclose(f);
    if (n < sizeof start || memcmp(start, signature, sizeof start) != 0) {
        return dmq_fail(DMQ_EDATA,
                        "%s: %s, an HDF5 file was expected\n  hint: make or copy the file again",
                        path, n == 0 ? "is empty" : "does not begin as an HDF5 file");
    }
    return DMQ_OK;
}

static hid_t file_access(void)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);

    /* From 1.8 on metadata has checksums; beyond 1.10 old readers fail. Locks fail on some shared
     * disks, and a file that has its final name does not change. */
    (void)H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V110);
    (void)H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
    (void)H5Pset_file_locking(access, 0, 1);
    return access;
}

static hid_t file_creation(void)
{
    hid_t create = H5Pcreate(H5P_FILE_CREATE);

    (void)H5Pset_link_creation_order(create, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
    (void)H5Pset_attr_creation_order(create, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
    (void)H5Pset_obj_track_times(create, 0);
    return create;
}

/* The reason of a failure is asked for first: every call of HDF5 forgets it. */
static dmq_status open_id(dmq_h5 *file)
{
    hid_t access = file_access(), create = file_creation();
    dmq_status st = DMQ_OK;

    file->id = file->temp ? H5Fcreate(file->temp, H5F_ACC_TRUNC, create, access)
                          : H5Fopen(file->path, H5F_ACC_RDONLY, access);
    if (file->id < 0)
        st = dmq_h5_failed(file, NULL);
    (void)H5Pclose(create);
    (void)H5Pclose(access);
    return st;
}

/* IEEE binary16: HDF5 1.10 has no name for it. */
static hid_t make_half(void)
{
    hid_t type = H5Tcopy(H5T_IEEE_F32LE);

    (void)H5Tset_fields(type, 15, 10, 5, 0, 10);
    (void)H5Tset_size(type, 2);
    (void)H5Tset_ebias(type, 15);
    return type;
}

dmq_status dmq_h5_open(dmq_h5 **out, const char *path, dmq_h5_mode mode)
{
    dmq_status st = DMQ_OK;
    dmq_h5 *file = NULL;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&file, 1, sizeof *file));
    file->id = file->half = -1;
    DMQ_TRY(dmq_strdup(&file->path, path));
    if (mode == DMQ_H5_WRITE) {
        DMQ_TRY(dmq_file_temp(&file->temp, path));
    } else {
        DMQ_TRY(refuse_foreign(path));
        DMQ_TRY(dmq_file_size(&file->size_bytes, path));
    }
    dmq_h5_lock();
    file->half = make_half();
    st = open_id(file);
    dmq_h5_unlock();
    if (st == DMQ_OK) {
        *out = file;
        file = NULL;
    }
done:
    dmq_h5_close(file);
    return st;
}

dmq_status dmq_h5_commit(dmq_h5 *file)
{
    dmq_status st = DMQ_OK;

    if (file->failed)
        return dmq_fail(DMQ_EIO, "%s: not kept, because writing to it failed before", file->path);
    dmq_h5_lock();
    if (H5Fflush(file->id, H5F_SCOPE_GLOBAL) < 0)
        st = dmq_h5_failed(file, NULL);
    if (H5Fclose(file->id) < 0 && st == DMQ_OK)
        st = dmq_h5_failed(file, NULL);
    file->id = -1;
    dmq_h5_unlock();
    if (st == DMQ_OK)
        st = dmq_file_commit(file->temp, file->path);
    if (st == DMQ_OK) {
        dmq_free(file->temp);
        file->temp = NULL;
    }
    return st;
}

void dmq_h5_close(dmq_h5 *file)
{
    if (!file)
        return;
    dmq_h5_lock();
    if (file->id >= 0)
        (void)H5Fclose(file->id);
    if (file->half >= 0)
        (void)H5Tclose(file->half);
    (void)H5Eclear2(H5E_DEFAULT);
    dmq_h5_unlock();
    if (file->temp)
        (void)unlink(file->temp);
    dmq_free(file->temp);
    dmq_free(file->path);
    dmq_free(file);
}

const char *dmq_h5_path(const dmq_h5 *file)
{
    return file->path;
}

dmq_status dmq_h5_format_set(dmq_h5 *file, const char *format, int version)
{
    dmq_status st = dmq_h5_attr_set_text(file, "", "format", format);

    if (st == DMQ_OK)
        st = dmq_h5_attr_set_i64(file, "", "format_version", version);
    if (st == DMQ_OK)
        st = dmq_h5_attr_set_text(file, "", "creator", "dmq " DMQ_VERSION);
    return st;
}

dmq_status dmq_h5_format_check(dmq_h5 *file, const char *format, int version)
{
    dmq_status st = DMQ_OK;
    char *found = NULL;
    int64_t v = 0;

    if (!dmq_h5_attr_has(file, "", "format")) {
        return dmq_fail(DMQ_EDATA,
                        "%s: does not say its format, a %s file was expected\n"
                        "  hint: it is damaged, or another tool made it; dmq inspect tells more",
                        file->path, format);
    }
    DMQ_TRY(dmq_h5_attr_text(&found, file, "", "format"));
    assert(found);
    if (strcmp(found, format) != 0) {
        st = dmq_fail(DMQ_EDATA, "%s: is a %s file, a %s file was expected", file->path, found,
                      format);
        st = dmq_fail_note(st, "  hint: dmq inspect tells what is in a file");
        goto done;
    }
    DMQ_TRY(dmq_h5_attr_i64(&v, file, "", "format_version"));
    if (v > version) {
        st = dmq_fail(DMQ_EDATA,
                      "%s: is %s version %lld, this dmq reads up to version %d\n"
                      "  hint: read it with the dmq that made it, or a later one",
                      file->path, format, (long long)v, version);
    }
done:
    dmq_free(found);
    return st;
}

/* ------------------------------------------------------------------ names */

bool dmq_h5_found(const dmq_h5 *file, const char *name)
{
    char prefix[NAME_SIZE];
    H5L_info_t info;
    size_t n;

    while (*name == '/')
        name++;
    n = strlen(name);
    if (n >= sizeof prefix)
        return false;
    /* Asking for a/b fails when there is no a; a soft link could lead in circles. */
    for (size_t i = 1; i <= n; i++) {
        if (name[i] != '/' && name[i] != '\0')
            continue;
        memcpy(prefix, name, i);
        prefix[i] = '\0';
        if (H5Lexists(file->id, prefix, H5P_DEFAULT) <= 0 ||
            H5Lget_info(file->id, prefix, &info, H5P_DEFAULT) < 0 || info.type != H5L_TYPE_HARD) {
            (void)H5Eclear2(H5E_DEFAULT);
            return false;
        }
    }
    return true;
}

bool dmq_h5_has(dmq_h5 *file, const char *name)
{
    bool found;

    dmq_h5_lock();
    found = dmq_h5_found(file, name);
    dmq_h5_unlock();
    return found;
}

dmq_status dmq_h5_parents(dmq_h5 *file, const char *name)
{
    char prefix[NAME_SIZE];
    const char *slash;
    hid_t create = -1, group;
    dmq_status st = DMQ_OK;

    if (strlen(name) >= sizeof prefix) {
        return dmq_fail(DMQ_EINVAL, "%s: a name of %zu bytes is too long", file->path,
                        strlen(name));
    }
    for (slash = strchr(name, '/'); slash && st == DMQ_OK; slash = strchr(slash + 1, '/')) {
        size_t n = (size_t)(slash - name);

        memcpy(prefix, name, n);
        prefix[n] = '\0';
        if (n == 0 || dmq_h5_found(file, prefix))
            continue;
        if (create < 0) {
            create = H5Pcreate(H5P_GROUP_CREATE);
            (void)H5Pset_link_creation_order(create, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
            (void)H5Pset_obj_track_times(create, 0);
        }
        group = H5Gcreate2(file->id, prefix, H5P_DEFAULT, create, H5P_DEFAULT);
        if (group < 0) {
            st = dmq_h5_failed(file, prefix);
        } else {
            (void)H5Gclose(group);
        }
    }
    if (create >= 0)
        (void)H5Pclose(create);
    return st;
}

/* One member's name, with "/" behind a group's. */
static dmq_status member_name(char **out, dmq_h5 *file, hid_t group, H5_index_t index, hsize_t i)
{
    char name[NAME_SIZE];
    H5O_info_t info;
    ssize_t n =
        H5Lget_name_by_idx(group, ".", index, H5_ITER_INC, i, name, sizeof name - 1, H5P_DEFAULT);

    if (n < 0 || n >= (ssize_t)sizeof name - 1 ||
        H5Oget_info_by_name2(group, name, &info, H5O_INFO_BASIC, H5P_DEFAULT) < 0)
        return dmq_h5_failed(file, "a member's name");
    return dmq_path_append(out, name, info.type == H5O_TYPE_GROUP ? "/" : "");
}

dmq_status dmq_h5_list(dmq_h5_names *out, dmq_h5 *file, const char *group)
{
    dmq_status st = DMQ_OK;
    H5G_info_t info;
    hid_t id = -1, create = -1;
    unsigned order = 0;

    out->name = NULL;
    out->count = 0;
    dmq_h5_lock();
    id = H5Gopen2(file->id, group[0] ? group : "/", H5P_DEFAULT);
    if (id < 0 || H5Gget_info(id, &info) < 0 || info.nlinks > MEMBER_LIMIT) {
        (void)H5Eclear2(H5E_DEFAULT);
        st = dmq_fail(DMQ_EDATA, "%s: has no group \"%s\"", file->path, group);
        goto done;
    }
    create = H5Gget_create_plist(id);
    (void)H5Pget_link_creation_order(create, &order);
    DMQ_TRY(dmq_alloc((void **)&out->name, (size_t)info.nlinks, sizeof *out->name));
    for (hsize_t i = 0; i < info.nlinks; i++) {
        DMQ_TRY(member_name(&out->name[i], file, id,
                            order & H5P_CRT_ORDER_TRACKED ? H5_INDEX_CRT_ORDER : H5_INDEX_NAME, i));
        out->count++;
    }
done:
    if (create >= 0)
        (void)H5Pclose(create);
    if (id >= 0)
        (void)H5Gclose(id);
    dmq_h5_unlock();
    if (st != DMQ_OK)
        dmq_h5_names_release(out);
    return st;
}

void dmq_h5_names_release(dmq_h5_names *names)
{
    for (int i = 0; i < names->count; i++)
        dmq_free(names->name[i]);
    dmq_free(names->name);
    names->name = NULL;
    names->count = 0;
}

/* ------------------------------------------------------------------ attributes */

static const char *object_name(const char *object)
{
    return object[0] ? object : "/";
}

static dmq_status set_attribute(dmq_h5 *file, const char *object, const char *name, hid_t stored,
                                hid_t memory, const void *value)
{
    const char *where = object_name(object);
    dmq_status st = DMQ_OK;
    hid_t space = H5Screate(H5S_SCALAR), id;

    if (H5Aexists_by_name(file->id, where, name, H5P_DEFAULT) > 0)
        (void)H5Adelete_by_name(file->id, where, name, H5P_DEFAULT);
    id = H5Acreate_by_name(file->id, where, name, stored, space, H5P_DEFAULT, H5P_DEFAULT,
                           H5P_DEFAULT);
    if (id < 0 || H5Awrite(id, memory, value) < 0)
        st = dmq_h5_failed(file, name);
    if (id >= 0)
        (void)H5Aclose(id);
    (void)H5Sclose(space);
    return st;
}

dmq_status dmq_h5_attr_set_text(dmq_h5 *file, const char *object, const char *name,
                                const char *text)
{
    dmq_status st;
    hid_t type;

    dmq_h5_lock();
    type = H5Tcopy(H5T_C_S1);
    (void)H5Tset_size(type, text[0] ? strlen(text) : 1);
    (void)H5Tset_strpad(type, H5T_STR_NULLPAD);
    (void)H5Tset_cset(type, H5T_CSET_UTF8);
    st = set_attribute(file, object, name, type, type, text);
    (void)H5Tclose(type);
    dmq_h5_unlock();
    return st;
}

dmq_status dmq_h5_attr_set_i64(dmq_h5 *file, const char *object, const char *name, int64_t value)
{
    dmq_status st;

    dmq_h5_lock();
    st = set_attribute(file, object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
    dmq_h5_unlock();
    return st;
}

dmq_status dmq_h5_attr_set_f64(dmq_h5 *file, const char *object, const char *name, double value)
{
    dmq_status st;

    dmq_h5_lock();
    st = set_attribute(file, object, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value);
    dmq_h5_unlock();
    return st;
}

bool dmq_h5_attr_has(dmq_h5 *file, const char *object, const char *name)
{
    bool found;

    dmq_h5_lock();
    found = dmq_h5_found(file, object) &&
            H5Aexists_by_name(file->id, object_name(object), name, H5P_DEFAULT) > 0;
    (void)H5Eclear2(H5E_DEFAULT);
    dmq_h5_unlock();
    return found;
}

/* The attribute, one value of the class wanted. */
static dmq_status open_attribute(hid_t *id, dmq_h5 *file, const char *object, const char *name,
                                 H5T_class_t wanted, const char *word)
{
    const char *where = object_name(object);
    hid_t type, space;
    bool fits;

    *id = -1;
    if (!dmq_h5_found(file, object) || H5Aexists_by_name(file->id, where, name, H5P_DEFAULT) <= 0) {
        (void)H5Eclear2(H5E_DEFAULT);
        return dmq_fail(DMQ_EDATA, "%s: %s has no attribute \"%s\"", file->path,
                        where[1] ? where : "the file", name);
    }
    *id = H5Aopen_by_name(file->id, where, name, H5P_DEFAULT, H5P_DEFAULT);
    if (*id < 0)
        return dmq_h5_failed(file, name);
    type = H5Aget_type(*id);
    space = H5Aget_space(*id);
    fits = H5Tget_class(type) == wanted && H5Sget_simple_extent_npoints(space) == 1;
    (void)H5Tclose(type);
    (void)H5Sclose(space);
    if (fits)
        return DMQ_OK;
    (void)H5Aclose(*id);
    *id = -1;
    return dmq_fail(DMQ_EDATA, "%s: attribute \"%s\" of %s is not %s", file->path, name,
                    where[1] ? where : "the file", word);
}

static dmq_status get_number(void *out, dmq_h5 *file, const char *object, const char *name,
                             H5T_class_t wanted, const char *word, hid_t memory)
{
    dmq_status st;
    hid_t id;

    st = open_attribute(&id, file, object, name, wanted, word);
    if (st == DMQ_OK && H5Aread(id, memory, out) < 0)
        st = dmq_h5_failed(file, name);
    if (id >= 0)
        (void)H5Aclose(id);
    return st;
}

dmq_status dmq_h5_attr_i64(int64_t *out, dmq_h5 *file, const char *object, const char *name)
{
    dmq_status st;

    *out = 0;
    dmq_h5_lock();
    st = get_number(out, file, object, name, H5T_INTEGER, "one whole number", H5T_NATIVE_INT64);
    dmq_h5_unlock();
    return st;
}

dmq_status dmq_h5_attr_f64(double *out, dmq_h5 *file, const char *object, const char *name)
{
    dmq_status st;

    *out = 0.0;
    dmq_h5_lock();
    st = get_number(out, file, object, name, H5T_FLOAT, "one real number", H5T_NATIVE_DOUBLE);
    dmq_h5_unlock();
    return st;
}

/* h5py writes texts of variable length, dmq fixed ones. */
static dmq_status read_string(char **out, dmq_h5 *file, const char *name, hid_t id)
{
    dmq_status st = DMQ_OK;
    hid_t type = H5Aget_type(id);
    size_t size = H5Tget_size(type);
    char *loose = NULL;

    if (H5Tis_variable_str(type) > 0) {
        hid_t memory = H5Tcopy(H5T_C_S1);

        (void)H5Tset_size(memory, H5T_VARIABLE);
        (void)H5Tset_cset(memory, H5Tget_cset(type));
        if (H5Aread(id, memory, &loose) < 0) {
            st = dmq_h5_failed(file, name);
        } else {
            st = dmq_strdup(out, loose ? loose : "");
        }
        (void)H5free_memory(loose);
        (void)H5Tclose(memory);
    } else if (size > TEXT_LIMIT || size > file->size_bytes) {
        st = dmq_fail(DMQ_EDATA, "%s: attribute \"%s\" claims %zu bytes", file->path, name, size);
    } else {
        st = dmq_alloc((void **)out, size + 1, 1);
        if (st == DMQ_OK && H5Aread(id, type, *out) < 0)
            st = dmq_h5_failed(file, name);
    }
    (void)H5Tclose(type);
    return st;
}

dmq_status dmq_h5_attr_text(char **out, dmq_h5 *file, const char *object, const char *name)
{
    dmq_status st;
    hid_t id;

    *out = NULL;
    dmq_h5_lock();
    st = open_attribute(&id, file, object, name, H5T_STRING, "a text");
    if (st == DMQ_OK)
        st = read_string(out, file, name, id);
    if (id >= 0)
        (void)H5Aclose(id);
    dmq_h5_unlock();
    if (st != DMQ_OK) {
        dmq_free(*out);
        *out = NULL;
    }
    return st;
}
