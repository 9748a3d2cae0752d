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

static dmq_status walk(dmq_h5 *file, const char *group, int depth)
{
    dmq_h5_names names = { 0 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_list(&names, file, group));
    for (int i = 0; i < names.count; i++) {
        const char *name = names.name[i];
        size_t n = strlen(name);
        char full[512], text[128];
        dmq_h5_info info;

        (void)snprintf(full, sizeof full, "%s%s%s", group, *group ? "/" : "", name);
        if (n > 0 && name[n - 1] == '/') {
            full[strlen(full) - 1] = '\0';
            (void)printf("%*s%s\n", 2 * depth, "", name);
            DMQ_TRY(walk(file, full, depth + 1));
            continue;
        }
        DMQ_TRY(dmq_h5_shape(&info, file, full));
        dmq_h5_info_text(text, sizeof text, &info);
        (void)printf("%*s%-44s %s\n", 2 * depth, "", name, text);
    }
done:
    dmq_h5_names_release(&names);
    return st;
}

static dmq_status inspect_h5(const char *path)
{
    static const char *const told[] = { "format",  "kind",         "key",     "config_text",
                                        "sampler", "model_sha256", "training" };
    dmq_h5 *file = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_READ));
    for (size_t i = 0; i < sizeof told / sizeof *told; i++) {
        char *text = NULL;

        if (dmq_h5_attr_has(file, "/", told[i]) &&
            dmq_h5_attr_text(&text, file, "/", told[i]) == DMQ_OK)
            (void)printf("%s: %s\n", told[i], text);
        dmq_free(text);
    }
    DMQ_TRY(walk(file, "", 0));
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

static dmq_status inspect_safetensors(const char *path)
{
    dmq_safetensors *file = NULL;
    const dmq_st_tensor *t;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_safetensors_open(&file, path));
    for (int i = 0; i < dmq_safetensors_count(file); i++) {
        t = dmq_safetensors_at(file, i);
        (void)printf("%-52s %-5s [", t->name, t->type_name);
        for (int d = 0; d < t->rank; d++)
            (void)printf("%s%lld", d ? "," : "", (long long)t->dims[d]);
        (void)printf("]\n");
    }
done:
    dmq_safetensors_close(file);
    return st;
}

dmq_status dmq_cmd_inspect(const dmq_options *o)
{
    const char *path = o->n_arg == 1 ? o->arg[0] : NULL;

    if (!path)
        return dmq_fail(DMQ_EUSAGE, "dmq inspect: which file? It takes one\n"
                                    "  hint: dmq inspect runs/NAME/quant.h5");
    if (!dmq_file_exists(path))
        return dmq_fail(DMQ_ENOINPUT, "there is no file %s\n  hint: %s", path,
                        dmq_folder_exists(path) ? "dmq status tells about a run folder"
                                                : "data:NAME is known in configurations only");
    if (dmq_path_has_suffix(path, ".h5") || dmq_path_has_suffix(path, ".hdf5"))
        return inspect_h5(path);
    if (dmq_path_has_suffix(path, ".json"))
        return inspect_json(path);
    if (dmq_path_has_suffix(path, ".safetensors"))
        return inspect_safetensors(path);
    return dmq_fail(DMQ_EDATA, "%s: dmq knows .h5, .json and .safetensors files", path);
}
