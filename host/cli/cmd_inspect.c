/* dmq inspect FILE: what is in any file that dmq knows */
#include "base/memory.h"
#include "base/path.h"
#include "cli/verbs.h"
#include "io/file.h"
#include "io/h5.h"
#include "io/json.h"
#include "io/safetensors.h"

#include <stdio.h>
#include <string.h>

/* One array: a line, or an object of the list. */
static dmq_status tell_array(dmq_json *list, const char *name, const char *type, int rank,
                             const int64_t *dims)
{
    dmq_status st = DMQ_OK;
    dmq_json *entry, *sizes;

    if (!list) {
        (void)printf("%-52s %-5s [", name, type);
        for (int d = 0; d < rank; d++)
            (void)printf("%s%lld", d ? "," : "", (long long)dims[d]);
        (void)printf("]\n");
        return st;
    }
    DMQ_TRY(dmq_json_add_object(&entry, list));
    DMQ_TRY(dmq_json_set_text(entry, "name", name));
    DMQ_TRY(dmq_json_set_text(entry, "type", type));
    DMQ_TRY(dmq_json_set_array(&sizes, entry, "dims"));
    for (int d = 0; d < rank; d++)
        DMQ_TRY(dmq_json_add_int(sizes, dims[d]));
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
        DMQ_TRY(tell_array(list, full, type, info.rank, info.dims));
    }
done:
    dmq_h5_names_release(&names);
    return st;
}

static dmq_status inspect_h5(dmq_json *root, const char *path)
{
    static const char *const told[] = { "format",  "kind",         "key",     "config",
                                        "sampler", "model_sha256", "training" };
    dmq_h5 *file = NULL;
    dmq_json *list = NULL;
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
    if (root)
        DMQ_TRY(dmq_json_set_array(&list, root, "arrays"));
    DMQ_TRY(walk(list, file, ""));
done:
    dmq_h5_close(file);
    return st;
}

static dmq_status inspect_json(const char *path)
{
    dmq_json *root = NULL;
    char *text = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_load(&root, path));
    DMQ_TRY(dmq_json_dump(&text, root, 2));
    (void)puts(text);
done:
    dmq_json_destroy(root);
    dmq_free(text);
    return st;
}

static dmq_status inspect_safetensors(dmq_json *root, const char *path)
{
    dmq_safetensors *file = NULL;
    dmq_json *list = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_safetensors_open(&file, path));
    if (root)
        DMQ_TRY(dmq_json_set_array(&list, root, "arrays"));
    for (int i = 0; i < dmq_safetensors_count(file); i++) {
        const dmq_st_tensor *t = dmq_safetensors_at(file, i);

        DMQ_TRY(tell_array(list, t->name, t->type_name, t->rank, t->dims));
    }
done:
    dmq_safetensors_close(file);
    return st;
}

static dmq_status inspect(dmq_json *root, const char *path)
{
    if (dmq_path_has_suffix(path, ".h5") || dmq_path_has_suffix(path, ".hdf5"))
        return inspect_h5(root, path);
    if (dmq_path_has_suffix(path, ".safetensors"))
        return inspect_safetensors(root, path);
    return dmq_fail(DMQ_EDATA, "%s: dmq knows .h5, .json and .safetensors files", path);
}

dmq_status dmq_cmd_inspect(const dmq_options *o)
{
    const char *path = o->n_arg == 1 ? o->arg[0] : NULL;
    dmq_json *root = NULL;
    char *text = NULL;
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
    if (dmq_path_has_suffix(path, ".json"))
        return inspect_json(path);
    if (o->json)
        DMQ_TRY(dmq_json_object(&root));
    DMQ_TRY(inspect(root, path));
    if (root) {
        DMQ_TRY(dmq_json_dump(&text, root, 2));
        (void)puts(text);
    }
done:
    dmq_json_destroy(root);
    dmq_free(text);
    return st;
}
