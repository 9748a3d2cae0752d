#include "io/checkpoint.h"

#include "base/memory.h"
#include "base/path.h"
#include "io/h5.h"
#include "io/json.h"
#include "io/npz.h"
#include "io/safetensors.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { SHARD_LIMIT = 1024, INDEX_LIMIT = 100000000, H5_DEPTH = 16 };

struct dmq_checkpoint {
    char *path;
    dmq_container container;
    dmq_input **file;
    dmq_zip **zip; /* of each file that is one, else NULL */
    int count;
    dmq_table table;
    dmq_torch_foreign foreign;
    dmq_npz *npz;
    dmq_h5 *h5;
};

/* ------------------------------------------------------------------ what a file is */

static bool is_text(const unsigned char *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (b[i] < 0x20 && b[i] != '\n' && b[i] != '\r' && b[i] != '\t')
            return false;
    }
    return true;
}

dmq_status dmq_container_of(dmq_container *out, const dmq_input *input)
{
    static const char pickle[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
    unsigned char b[512] = { 0 };
    dmq_status st = DMQ_OK;
    size_t n = dmq_input_size(input) < sizeof b ? (size_t)dmq_input_size(input) : sizeof b;

    *out = DMQ_CONTAINER_UNKNOWN;
    DMQ_TRY(dmq_input_read(b, input, n, 0));
    if (memcmp(b, "PK\3\4", 4) == 0 || memcmp(b, "PK\5\6", 4) == 0) {
        *out = DMQ_CONTAINER_ZIP;
    } else if (memcmp(b, pickle, sizeof pickle - 1) == 0) {
        *out = DMQ_CONTAINER_TORCH_LEGACY;
    } else if (memcmp(b, "\x89HDF\r\n\x1a\n", 8) == 0) {
        *out = DMQ_CONTAINER_HDF5;
    } else if (memcmp(b, "\x93NUMPY", 6) == 0) {
        *out = DMQ_CONTAINER_NPY;
    } else if (memcmp(b + 257, "ustar", 5) == 0) {
        *out = DMQ_CONTAINER_TORCH_TAR;
    } else if (b[0] == '{' && n > 0 && is_text(b, n < 8 ? n : 8)) {
        *out = DMQ_CONTAINER_JSON;
    } else if (b[8] == '{') {
        *out = DMQ_CONTAINER_SAFETENSORS;
    }
done:
    return st;
}

const char *dmq_container_name(dmq_container container)
{
    static const char *const name[] = {
        [DMQ_CONTAINER_UNKNOWN] = "unknown",
        [DMQ_CONTAINER_SAFETENSORS] = "safetensors",
        [DMQ_CONTAINER_TORCH_LEGACY] = "PyTorch, before 1.6",
        [DMQ_CONTAINER_TORCH_TAR] = "PyTorch, tar",
        [DMQ_CONTAINER_ZIP] = "ZIP",
        [DMQ_CONTAINER_NPY] = "NumPy array",
        [DMQ_CONTAINER_HDF5] = "HDF5",
        [DMQ_CONTAINER_JSON] = "JSON",
        [DMQ_CONTAINER_TORCH_ZIP] = "PyTorch, zip",
        [DMQ_CONTAINER_NPZ] = "NumPy archive",
    };
    return name[container];
}

/* ------------------------------------------------------------------ one file of each kind */

static dmq_status add_safetensors(dmq_checkpoint *c, dmq_input *input)
{
    dmq_status st = DMQ_OK;
    dmq_safetensors *file = NULL;

    DMQ_TRY(dmq_safetensors_read(&file, input));
    for (int i = 0; i < dmq_safetensors_count(file); i++) {
        const dmq_st_tensor *from = dmq_safetensors_at(file, i);
        dmq_stored t = { .name = from->name,
                         .type = dmq_dtype_find(from->type_name),
                         .type_name = from->type_name,
                         .rank = from->rank,
                         .file = c->count - 1,
                         .offset = from->offset };

        memcpy(t.dims, from->dims, sizeof t.dims);
        DMQ_TRY(dmq_table_add(&c->table, &t, strlen(t.name), 1, dmq_input_path(input)));
    }
done:
    dmq_safetensors_close(file);
    return st;
}

static dmq_status add_npz(dmq_checkpoint *c, const char *path)
{
    static const dmq_dtype type[] = { [DMQ_NPZ_U1] = DMQ_DTYPE_U8,
                                      [DMQ_NPZ_F4] = DMQ_DTYPE_F32,
                                      [DMQ_NPZ_F8] = DMQ_DTYPE_F64,
                                      [DMQ_NPZ_I4] = DMQ_DTYPE_I32,
                                      [DMQ_NPZ_I8] = DMQ_DTYPE_I64 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_npz_open(&c->npz, path));
    for (int i = 0; i < dmq_npz_count(c->npz); i++) {
        const char *name = dmq_npz_name(c->npz, i);
        dmq_npz_info info;
        dmq_stored t = { .name = *name ? name : "array" };

        DMQ_TRY(dmq_npz_shape(&info, c->npz, name));
        t.type = type[info.type];
        t.type_name = dmq_dtype_name(t.type);
        t.rank = info.rank;
        memcpy(t.dims, info.dims, sizeof t.dims);
        DMQ_TRY(dmq_table_add(&c->table, &t, strlen(t.name), 1, path));
    }
done:
    return st;
}

static dmq_status add_h5_group(dmq_checkpoint *c, const char *group, int depth)
{
    static const dmq_dtype type[] = {
        [DMQ_H5_F16] = DMQ_DTYPE_F16, [DMQ_H5_F32] = DMQ_DTYPE_F32,   [DMQ_H5_F64] = DMQ_DTYPE_F64,
        [DMQ_H5_U8] = DMQ_DTYPE_U8,   [DMQ_H5_I8] = DMQ_DTYPE_I8,     [DMQ_H5_I32] = DMQ_DTYPE_I32,
        [DMQ_H5_I64] = DMQ_DTYPE_I64, [DMQ_H5_TEXT] = DMQ_DTYPE_OTHER
    };
    dmq_h5_names names = { 0 };
    dmq_status st = DMQ_OK;

    if (depth == H5_DEPTH)
        return dmq_fail(DMQ_EDATA, "%s: its groups are nested more than 16 deep", c->path);
    DMQ_TRY(dmq_h5_list(&names, c->h5, group));
    for (int i = 0; i < names.count; i++) {
        char path[DMQ_TABLE_NAME + 2];
        dmq_h5_info info;
        dmq_stored t = { .name = path };
        int n = snprintf(path, sizeof path, "%s%s%s", group, *group ? "/" : "", names.name[i]);

        if (n > DMQ_TABLE_NAME) {
            st = dmq_fail(DMQ_EDATA, "%s: has a name of more than %d bytes", c->path,
                          DMQ_TABLE_NAME);
            goto done;
        }
        if (n > 0 && path[n - 1] == '/') {
            path[n - 1] = '\0';
            DMQ_TRY(add_h5_group(c, path, depth + 1));
            continue;
        }
        DMQ_TRY(dmq_h5_shape(&info, c->h5, path));
        t.type = type[info.type];
        t.type_name = t.type == DMQ_DTYPE_OTHER ? "text" : dmq_dtype_name(t.type);
        t.rank = info.rank;
        memcpy(t.dims, info.dims, sizeof t.dims);
        DMQ_TRY(dmq_table_add(&c->table, &t, (size_t)n, 1, c->path));
    }
done:
    dmq_h5_names_release(&names);
    return st;
}

static bool holds(const dmq_zip *zip, const char *end)
{
    for (int i = 0; i < dmq_zip_count(zip); i++) {
        if (dmq_path_has_suffix(dmq_zip_at(zip, i)->name, end))
            return true;
    }
    return false;
}

static dmq_status add_zip(dmq_checkpoint *c, dmq_input *input, int strict, dmq_container *found)
{
    const char *path = dmq_input_path(input);
    dmq_status st = DMQ_OK;
    dmq_zip *zip = NULL;

    DMQ_TRY(dmq_zip_open(&zip, input));
    if (holds(zip, "/data.pkl")) {
        *found = DMQ_CONTAINER_TORCH_ZIP;
        c->zip[c->count - 1] = zip;
        return dmq_torch_read_zip(&c->table, &c->foreign, input, zip, strict);
    }
    *found = DMQ_CONTAINER_NPZ;
    if (holds(zip, ".npy")) {
        st = add_npz(c, path);
    } else {
        st = dmq_fail(DMQ_EDATA,
                      "%s: is a ZIP archive, but neither of PyTorch nor of NumPy\n"
                      "  hint: if checkpoints are packed in it, unpack it first",
                      path);
    }
done:
    dmq_zip_close(zip);
    return st;
}

static dmq_status add_input(dmq_checkpoint *c, dmq_input *input, dmq_container kind, int strict)
{
    const char *path = dmq_input_path(input);
    int first = c->table.count;
    dmq_status st = DMQ_OK;

    switch (kind) {
    case DMQ_CONTAINER_SAFETENSORS:
        st = add_safetensors(c, input);
        break;
    case DMQ_CONTAINER_TORCH_LEGACY:
        st = dmq_torch_read_legacy(&c->table, &c->foreign, input, strict);
        break;
    case DMQ_CONTAINER_ZIP:
        st = add_zip(c, input, strict, &kind);
        break;
    case DMQ_CONTAINER_TORCH_TAR:
        return dmq_fail(
            DMQ_EDATA,
            "%s: is a tar archive, as PyTorch wrote before 0.1.10 (or any other program)\n"
            "  hint: load it in PyTorch and torch.save it again; or unpack it",
            path);
    default:
        return dmq_fail(DMQ_EDATA,
                        "%s: is no checkpoint that dmq knows: safetensors, PyTorch, NumPy, HDF5",
                        path);
    }
    for (int i = first; i < c->table.count; i++)
        c->table.tensor[i].file = c->count - 1;
    if (c->count == 1)
        c->container = kind;
    return st;
}

/* One more file; the checkpoint owns it. */
static dmq_status adopt(dmq_checkpoint *c, dmq_input *input)
{
    size_t n = (size_t)c->count;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_grow((void **)&c->zip, n, n + 1, sizeof *c->zip));
    DMQ_TRY(dmq_grow((void **)&c->file, n, n + 1, sizeof *c->file));
    c->file[c->count++] = input;
    input = NULL;
done:
    dmq_input_close(input);
    return st;
}

/* ------------------------------------------------------------------ shards */

/* A plain name: what lies beside the index, and nowhere else. */
static bool is_plain(const char *name)
{
    return name && *name && *name != '.' && !strpbrk(name, "/\\:") && !strstr(name, "..") &&
           strlen(name) < 256;
}

static dmq_status add_shard(dmq_checkpoint *c, const char *folder, const char *name, int strict)
{
    dmq_status st = DMQ_OK;
    dmq_input *input = NULL;
    dmq_container kind;
    char *path = NULL;

    if (c->count == SHARD_LIMIT)
        return dmq_fail(DMQ_EDATA, "%s: names more than %d files", c->path, SHARD_LIMIT);
    DMQ_TRY(dmq_path_join(&path, folder, name));
    DMQ_TRY(dmq_input_open(&input, path));
    DMQ_TRY(adopt(c, input));
    DMQ_TRY(dmq_container_of(&kind, input));
    DMQ_TRY(add_input(c, input, kind, strict));
    if (c->npz)
        st = dmq_fail(DMQ_EDATA, "%s: is a NumPy archive, where a shard was expected", path);
done:
    dmq_free(path);
    return st;
}

static int shard_of(const dmq_checkpoint *c, const char *name)
{
    int i = 0;

    while (i < c->count && strcmp(dmq_path_name(dmq_input_path(c->file[i])), name) != 0)
        i++;
    return i;
}

/* Every tensor of the map is in its file, and every tensor of the files is in the map. */
static dmq_status check_map(const dmq_checkpoint *c, const dmq_json *map)
{
    for (void *m = dmq_json_first(map); m; m = dmq_json_next(map, m)) {
        const dmq_stored *t = dmq_table_find(&c->table, dmq_json_member_key(m));
        const char *file = dmq_json_text(dmq_json_member_value(m), "");

        if (!t || t->file != shard_of(c, file)) {
            return dmq_fail(DMQ_EDATA, "%s: says that %s holds \"%.200s\", and it does not",
                            c->path, file, dmq_json_member_key(m));
        }
    }
    if (dmq_json_count(map) != (size_t)c->table.count) {
        return dmq_fail(DMQ_EDATA, "%s: lists %zu tensors, its files hold %d", c->path,
                        dmq_json_count(map), c->table.count);
    }
    return DMQ_OK;
}

static dmq_status read_index(dmq_checkpoint *c, const dmq_input *input, int strict)
{
    dmq_status st = DMQ_OK;
    uint64_t size = dmq_input_size(input);
    char *text = NULL, *folder = NULL;
    dmq_json *root = NULL;
    const dmq_json *map;

    if (size > INDEX_LIMIT)
        return dmq_fail(DMQ_EDATA, "%s: an index of more than 100 MB", c->path);
    DMQ_TRY(dmq_alloc((void **)&text, (size_t)size + 1, 1));
    DMQ_TRY(dmq_input_read(text, input, size, 0));
    DMQ_TRY(dmq_json_parse(&root, text, (size_t)size, c->path));
    map = dmq_json_get(root, "weight_map");
    if (dmq_json_kind_of(map) != DMQ_JSON_OBJECT || dmq_json_count(map) == 0) {
        st = dmq_fail(DMQ_EDATA, "%s: is JSON, but no index of shards: it has no weight_map",
                      c->path);
        goto done;
    }
    DMQ_TRY(dmq_path_folder(&folder, c->path));
    for (void *m = dmq_json_first(map); m; m = dmq_json_next(map, m)) {
        const char *name = dmq_json_text(dmq_json_member_value(m), NULL);

        if (!is_plain(name)) {
            st = dmq_fail(DMQ_EDATA, "%s: the file of \"%.200s\" must be a plain name", c->path,
                          dmq_json_member_key(m));
            goto done;
        }
        if (shard_of(c, name) == c->count)
            DMQ_TRY(add_shard(c, folder, name, strict));
    }
    DMQ_TRY(dmq_table_finish(&c->table, c->path));
    DMQ_TRY(check_map(c, map));
done:
    dmq_json_destroy(root);
    dmq_free(text);
    dmq_free(folder);
    return st;
}

/* ------------------------------------------------------------------ as a whole */

static dmq_status read_single(dmq_checkpoint *c, dmq_input *input, dmq_container kind, int strict)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(adopt(c, input));
    c->container = kind;
    if (kind == DMQ_CONTAINER_NPY) {
        DMQ_TRY(add_npz(c, c->path));
    } else if (kind == DMQ_CONTAINER_HDF5) {
        DMQ_TRY(dmq_h5_open(&c->h5, c->path, DMQ_H5_READ));
        DMQ_TRY(add_h5_group(c, "", 0));
    } else {
        DMQ_TRY(add_input(c, input, kind, strict));
    }
    DMQ_TRY(dmq_table_finish(&c->table, c->path));
done:
    return st;
}

dmq_status dmq_checkpoint_read(dmq_checkpoint **out, dmq_input *input, int strict)
{
    dmq_status st = DMQ_OK;
    dmq_checkpoint *c = NULL;
    dmq_container kind;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&c, 1, sizeof *c));
    DMQ_TRY(dmq_strdup(&c->path, dmq_input_path(input)));
    DMQ_TRY(dmq_container_of(&kind, input));
    if (kind == DMQ_CONTAINER_JSON) {
        DMQ_TRY(read_index(c, input, strict));
    } else {
        dmq_input *mine = input;

        input = NULL; /* the checkpoint's, also after a failure */
        DMQ_TRY(read_single(c, mine, kind, strict));
    }
    *out = c;
    c = NULL;
done:
    dmq_input_close(input);
    dmq_checkpoint_close(c);
    return st;
}

dmq_status dmq_checkpoint_open(dmq_checkpoint **out, const char *path, int strict)
{
    dmq_input *input = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_input_open(&input, path));
    DMQ_TRY(dmq_checkpoint_read(out, input, strict));
done:
    return st;
}

void dmq_checkpoint_close(dmq_checkpoint *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->count; i++) {
        dmq_zip_close(c->zip[i]);
        dmq_input_close(c->file[i]);
    }
    dmq_free(c->zip);
    dmq_free(c->file);
    dmq_npz_close(c->npz);
    dmq_h5_close(c->h5);
    dmq_table_release(&c->table);
    dmq_torch_foreign_release(&c->foreign);
    dmq_free(c->path);
    dmq_free(c);
}

dmq_container dmq_checkpoint_container(const dmq_checkpoint *c)
{
    return c->container;
}

const char *dmq_checkpoint_path(const dmq_checkpoint *c)
{
    return c->path;
}

const dmq_table *dmq_checkpoint_table(const dmq_checkpoint *c)
{
    return &c->table;
}

const dmq_torch_foreign *dmq_checkpoint_foreign(const dmq_checkpoint *c)
{
    return &c->foreign;
}

int dmq_checkpoint_files(const dmq_checkpoint *c)
{
    return c->count;
}

const char *dmq_checkpoint_file(const dmq_checkpoint *c, int i)
{
    assert(i >= 0 && i < c->count);
    return dmq_input_path(c->file[i]);
}

dmq_status dmq_checkpoint_check(const dmq_checkpoint *c)
{
    dmq_status st = DMQ_OK;

    for (int i = 0; i < c->count; i++) {
        for (int k = 0; c->zip[i] && k < dmq_zip_count(c->zip[i]); k++) {
            const dmq_zip_entry *e = dmq_zip_at(c->zip[i], k);

            if (e->method == 0 && !(e->flags & 1U)) /* others hold no tensor: those were refused */
                DMQ_TRY(dmq_zip_check(c->zip[i], e));
        }
    }
done:
    return st;
}

dmq_status dmq_checkpoint_read_f32(float *out, const dmq_checkpoint *c, const dmq_stored *t)
{
    const char *name = t->name;

    if (c->npz) {
        if (c->container == DMQ_CONTAINER_NPY)
            name = "";
        return dmq_npz_read_f32(out, c->npz, name, t->rank, t->dims);
    }
    if (c->h5)
        return dmq_h5_read_f32(out, c->h5, name, t->rank, t->dims);
    return dmq_stored_read_f32(out, t, c->file[t->file]);
}
