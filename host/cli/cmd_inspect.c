/* dmq inspect FILE: what is in any file that dmq knows */
#include "base/memory.h"
#include "base/path.h"
#include "cli/verbs.h"
#include "io/checkpoint.h"
#include "io/cifar10.h"
#include "io/file.h"
#include "io/h5.h"
#include "io/json.h"
#include "io/lmdb.h"
#include "io/picture.h"

#include <stdio.h>
#include <string.h>

/* One array: a line, or an object of the list. */
static dmq_status tell_array(dmq_json *list, const char *name, const char *type, int rank,
                             const int64_t *dims, const char *note)
{
    dmq_status st = DMQ_OK;
    dmq_json *entry, *sizes;

    if (!list) {
        (void)printf("%-52s %-5s [", name, type);
        for (int d = 0; d < rank; d++)
            (void)printf("%s%lld", d ? "," : "", (long long)dims[d]);
        (void)printf("]%s%s\n", *note ? "  " : "", note);
        return st;
    }
    DMQ_TRY(dmq_json_add_object(&entry, list));
    DMQ_TRY(dmq_json_set_text(entry, "name", name));
    DMQ_TRY(dmq_json_set_text(entry, "type", type));
    DMQ_TRY(dmq_json_set_array(&sizes, entry, "dims"));
    for (int d = 0; d < rank; d++)
        DMQ_TRY(dmq_json_add_int(sizes, dims[d]));
    if (*note)
        DMQ_TRY(dmq_json_set_text(entry, "note", note));
done:
    return st;
}

static dmq_status walk(dmq_json *list, dmq_h5 *file, const char *group)
{
    dmq_h5_names names = { 0 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_list(&names, file, group));
    for (int i = 0; i < names.count; i++) {
        const char *name = names.name[i];
        size_t n = strlen(name);
        char full[512], type[128];
        dmq_h5_info info;

        (void)snprintf(full, sizeof full, "%s%s%s", group, *group ? "/" : "", name);
        if (n > 0 && name[n - 1] == '/') {
            full[strlen(full) - 1] = '\0';
            DMQ_TRY(walk(list, file, full));
            continue;
        }
        DMQ_TRY(dmq_h5_shape(&info, file, full));
        dmq_h5_info_text(type, sizeof type, &info);
        type[strcspn(type, " ")] = '\0';
        DMQ_TRY(tell_array(list, full, type, info.rank, info.dims, ""));
    }
done:
    dmq_h5_names_release(&names);
    return st;
}

static dmq_status inspect_h5(dmq_json *root, const char *path)
{
    static const char *const told[] = { "format", "kind",      "key",          "config",  "sampler",
                                        "name",   "extractor", "model_sha256", "training" };
    dmq_h5 *file = NULL;
    dmq_json *list = NULL;
    int64_t n;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_READ));
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        char *text = NULL;

        if (dmq_h5_attr_has(file, "/", told[i]))
            st = dmq_h5_attr_text(&text, file, "/", told[i]);
        if (text && root) {
            st = dmq_json_set_text(root, told[i], text);
        } else if (text) {
            (void)printf("%s: %s%s\n", told[i], strchr(text, '\n') ? "\n" : "", text);
        }
        dmq_free(text);
        DMQ_TRY(st);
    }
    if (dmq_h5_attr_has(file, "/", "n")) {
        DMQ_TRY(dmq_h5_attr_i64(&n, file, "/", "n"));
        if (root) {
            DMQ_TRY(dmq_json_set_int(root, "n", n));
        } else {
            (void)printf("n: %lld\n", (long long)n);
        }
    }
    if (root)
        DMQ_TRY(dmq_json_set_array(&list, root, "arrays"));
    DMQ_TRY(walk(list, file, ""));
done:
    dmq_h5_close(file);
    return st;
}

static dmq_status inspect_json(const dmq_json *root)
{
    char *text = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_dump(&text, root, 2));
    (void)puts(text);
done:
    dmq_free(text);
    return st;
}

/* ------------------------------------------------------------------ checkpoints of others */

/* What is so about a tensor that its type and shape do not say. */
static const char *note_of(const dmq_stored *t)
{
    if (t->type == DMQ_DTYPE_OTHER)
        return "not read";
    if (dmq_stored_is_expanded(t))
        return "expanded";
    return dmq_stored_is_c_order(t) ? "" : "strided";
}

/* Tensors and numbers below each first step of the names, in the order of the file: "state_dict", "optimizer". */
static dmq_status tell_groups(dmq_json *root, const dmq_table *table)
{
    dmq_status st = DMQ_OK;
    dmq_json *list = NULL, *entry;
    int last = 0;

    if (root)
        DMQ_TRY(dmq_json_set_array(&list, root, "groups"));
    for (int i = 0; i < table->count; i = last) {
        const char *name = table->tensor[i].name, *slash = strchr(name, '/');
        int n = slash ? (int)(slash - name) : 0;
        int64_t numbers = 0;

        for (last = i; last < table->count; last++) {
            const dmq_stored *t = &table->tensor[last];

            if (n == 0 ? strchr(t->name, '/') != NULL : strncmp(t->name, name, (size_t)n + 1) != 0)
                break;
            numbers += t->type == DMQ_DTYPE_OTHER ? 0 : t->count;
        }
        if (list) {
            char text[DMQ_TABLE_NAME + 1];

            (void)snprintf(text, sizeof text, "%.*s", n, name);
            DMQ_TRY(dmq_json_add_object(&entry, list));
            DMQ_TRY(dmq_json_set_text(entry, "name", text));
            DMQ_TRY(dmq_json_set_int(entry, "tensors", last - i));
            DMQ_TRY(dmq_json_set_int(entry, "numbers", numbers));
        } else {
            (void)printf("%.*s%s%d tensors, %lld numbers\n", n, name,
                         n ? ": " : "total: ", last - i, (long long)numbers);
        }
    }
done:
    return st;
}

static dmq_status tell_foreign(dmq_json *root, const dmq_torch_foreign *foreign)
{
    dmq_status st = DMQ_OK;
    dmq_json *list = NULL;

    if (root)
        DMQ_TRY(dmq_json_set_array(&list, root, "foreign"));
    for (int i = 0; i < foreign->count; i++) {
        if (list) {
            DMQ_TRY(dmq_json_add_text(list, foreign->name[i]));
        } else {
            (void)printf("foreign: %s\n", foreign->name[i]);
        }
    }
done:
    return st;
}

/* ------------------------------------------------------------------ images and their statistics */

static const dmq_stored *array_of(const dmq_table *table, const char *name)
{
    for (int i = 0; i < table->count; i++) {
        if (strcmp(table->tensor[i].name, name) == 0)
            return &table->tensor[i];
    }
    return NULL;
}

static dmq_status tell_text(dmq_json *root, const char *name, const char *text)
{
    if (root)
        return dmq_json_set_text(root, name, text);
    (void)printf("%s: %s\n", name, text);
    return DMQ_OK;
}

/* What evaluate takes from an archive of arrays: nothing, for most. */
static dmq_status tell_use(dmq_json *root, const dmq_table *table)
{
    const dmq_stored *images = array_of(table, "arr_0"), *mu = array_of(table, "mu");
    char text[256] = "", pack[96] = "";

    if (images && images->type == DMQ_DTYPE_U8 && images->rank == 4 && images->dims[3] == 3) {
        (void)snprintf(pack, sizeof pack, "%lld images of %lldx%lld", (long long)images->dims[0],
                       (long long)images->dims[2], (long long)images->dims[1]);
    }
    if (mu && array_of(table, "sigma")) {
        (void)snprintf(text, sizeof text, "reference statistics of %lld features%s%s%s",
                       (long long)mu->count, array_of(table, "mu_s") ? " and of spatial ones" : "",
                       *pack ? ", and " : "", pack);
    } else if (*pack) {
        (void)snprintf(text, sizeof text, "a pack of %s%s", pack,
                       array_of(table, "arr_1") ? ", with labels" : "");
    }
    return *text ? tell_text(root, "holds", text) : DMQ_OK;
}

/* Files that are no containers of arrays: one image, or a batch of CIFAR-10. */
static dmq_status inspect_images(dmq_json *root, const char *path)
{
    dmq_cifar10 *batch = NULL;
    dmq_lmdb *lmdb = NULL;
    char text[96];
    int w, h;
    dmq_status st = DMQ_OK;

    if (dmq_cifar10_is(path)) {
        DMQ_TRY(dmq_cifar10_open(&batch, path));
        (void)snprintf(text, sizeof text, "%s, %d images of 32x32 with labels",
                       dmq_cifar10_text(batch), dmq_cifar10_count(batch));
    } else if (dmq_path_has_suffix(path, ".mdb")) {
        DMQ_TRY(dmq_lmdb_open(&lmdb, path));
        (void)snprintf(text, sizeof text, "LMDB database of %lld records",
                       (long long)dmq_lmdb_count(lmdb));
    } else if (dmq_picture_size(&w, &h, path) == DMQ_OK) {
        (void)snprintf(text, sizeof text, "one image of %dx%d", w, h);
    } else {
        st = dmq_fail(
            DMQ_EDATA,
            "%s: dmq knows HDF5, JSON, safetensors, PyTorch and NumPy files, PNG, JPEG and WebP "
            "images, LMDB databases and CIFAR-10's binary batches",
            path);
        goto done;
    }
    DMQ_TRY(tell_text(root, "holds", text));
done:
    dmq_lmdb_close(lmdb);
    dmq_cifar10_close(batch);
    return st;
}

/* ------------------------------------------------------------------ all of them */

static dmq_status inspect_checkpoint(dmq_json *root, const char *path, int strict)
{
    dmq_checkpoint *c = NULL;
    const dmq_table *table;
    dmq_json *list = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_checkpoint_open(&c, path, strict));
    table = dmq_checkpoint_table(c);
    if (root) {
        DMQ_TRY(
            dmq_json_set_text(root, "container", dmq_container_name(dmq_checkpoint_container(c))));
        DMQ_TRY(dmq_json_set_int(root, "files", dmq_checkpoint_files(c)));
        DMQ_TRY(dmq_json_set_array(&list, root, "arrays"));
    } else {
        (void)printf("container: %s\n", dmq_container_name(dmq_checkpoint_container(c)));
        for (int i = 0; dmq_checkpoint_files(c) > 1 && i < dmq_checkpoint_files(c); i++)
            (void)printf("file: %s\n", dmq_checkpoint_file(c, i));
    }
    if (dmq_checkpoint_container(c) == DMQ_CONTAINER_NPZ)
        DMQ_TRY(tell_use(root, table));
    for (int i = 0; i < table->count; i++) {
        const dmq_stored *t = &table->tensor[i];

        DMQ_TRY(tell_array(list, t->name, t->type_name, t->rank, t->dims, note_of(t)));
    }
    DMQ_TRY(tell_groups(root, table));
    DMQ_TRY(tell_foreign(root, dmq_checkpoint_foreign(c)));
done:
    dmq_checkpoint_close(c);
    return st;
}

/* By its content, not by its name; a JSON file that is an index of shards is told by them. */
static dmq_status inspect(dmq_json *root, const char *path, int strict)
{
    dmq_container kind = DMQ_CONTAINER_UNKNOWN;
    dmq_input *input = NULL;
    dmq_json *json = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_input_open(&input, path));
    DMQ_TRY(dmq_container_of(&kind, input));
    if (kind == DMQ_CONTAINER_JSON || dmq_path_has_suffix(path, ".json")) {
        DMQ_TRY(dmq_json_load(&json, path));
        if (!dmq_json_get(json, "weight_map")) {
            DMQ_TRY(inspect_json(json));
            goto done;
        }
    }
    if (kind == DMQ_CONTAINER_UNKNOWN && dmq_path_has_suffix(path, ".h5"))
        kind = DMQ_CONTAINER_HDF5; /* whose reader says what is wrong with it */
    DMQ_TRY(kind == DMQ_CONTAINER_UNKNOWN ? inspect_images(root, path)
            : kind == DMQ_CONTAINER_HDF5  ? inspect_h5(root, path)
                                          : inspect_checkpoint(root, path, strict));
    if (root)
        DMQ_TRY(inspect_json(root));
done:
    dmq_json_destroy(json);
    dmq_input_close(input);
    return st;
}

dmq_status dmq_cmd_inspect(const dmq_options *o)
{
    const char *path = o->n_arg == 1 ? o->arg[0] : NULL;
    dmq_json *root = NULL;
    dmq_status st = DMQ_OK;

    if (!path) {
        return dmq_fail(DMQ_EUSAGE, "dmq inspect: which file? It takes one\n"
                                    "  hint: dmq inspect runs/NAME/quant.h5");
    }
    if (!dmq_file_exists(path)) {
        return dmq_fail(DMQ_ENOINPUT, "there is no file %s\n  hint: %s", path,
                        dmq_folder_exists(path) ? "dmq status tells about a run folder"
                                                : "data:NAME is known in configurations only");
    }
    if (o->json)
        DMQ_TRY(dmq_json_object(&root));
    DMQ_TRY(inspect(root, path, o->strict));
done:
    dmq_json_destroy(root);
    return st;
}
