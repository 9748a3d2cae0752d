/* dmq import FILE -o MODEL.h5: a checkpoint of another program becomes ours */
#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "base/schema.h"
#include "base/text.h"
#include "cli/import_check.h"
#include "cli/setup.h"
#include "cli/verbs.h"
#include "io/file.h"
#include "model/import.h"
#include "model/inception.h"
#include "model/published.h"
#include "run/network.h"

#include <stdio.h>
#include <string.h>

typedef struct importing {
    const dmq_options *o;
    const char *path;
    dmq_config *config;
    dmq_model *model;
    const dmq_published *published; /* NULL: of a configuration */
    dmq_model_info info;            /* its text is ours */
    dmq_checkpoint *file;
    dmq_import_report taken;
    dmq_lanes *lanes;
    dmq_json *report;
    const char *checksums; /* what became of them */
} importing;

#define CHECKSUM_LIMIT (UINT64_C(8) << 30)

static dmq_status check_usage(const dmq_options *o)
{
    if (o->n_arg != 1 || !o->out) {
        return dmq_fail(DMQ_EUSAGE,
                        "dmq import needs one FILE and -o MODEL.h5\n"
                        "  hint: dmq import ema.ckpt --network ddpm-cifar10 -o model.h5");
    }
    if (!dmq_path_has_suffix(o->out, ".h5"))
        return dmq_fail(DMQ_EUSAGE, "-o %s: a model is written as .h5", o->out);
    if (o->network && (o->n_config > 0 || o->n_set > 0)) {
        return dmq_fail(DMQ_EUSAGE,
                        "--network %s says what the network is, and so do -c and --set\n"
                        "  hint: give one of them",
                        o->network);
    }
    if (dmq_file_exists(o->out) && !o->overwrite)
        return dmq_fail(DMQ_EEXIST, "%s is there already\n  hint: --overwrite replaces it", o->out);
    return DMQ_OK;
}

/* Of a published network by its name, else of the configuration. */
static dmq_status make_model(importing *im)
{
    dmq_status st = DMQ_OK;

    if (im->o->network) {
        DMQ_TRY(dmq_published_find(&im->published, im->o->network));
        DMQ_TRY(im->published->create(&im->model));
        im->info = im->published->info;
        goto done;
    }
    DMQ_TRY(dmq_setup_config(&im->config, im->o));
    DMQ_TRY(dmq_schema_check(im->config));
    DMQ_TRY(dmq_model_from_config(&im->model, im->config));
    dmq_model_info_from_config(&im->info, im->config);
done:
    return st;
}

/* Those of a ZIP archive; of one so large that it takes minutes they are not looked at. */
static dmq_status compare_checksums(importing *im)
{
    dmq_status st = DMQ_OK;
    uint64_t size = 0;

    if (dmq_checkpoint_container(im->file) != DMQ_CONTAINER_TORCH_ZIP) {
        im->checksums = "the container has none";
        return DMQ_OK;
    }
    for (int i = 0; i < dmq_checkpoint_files(im->file); i++) {
        uint64_t one;

        DMQ_TRY(dmq_file_size(&one, dmq_checkpoint_file(im->file, i)));
        size += one;
    }
    im->checksums = im->o->no_checksum ? "left out" : "left out: 8 GiB or more";
    if (im->o->no_checksum || size >= CHECKSUM_LIMIT)
        return DMQ_OK;
    im->checksums = "compared";
    st = dmq_checkpoint_check(im->file);
    if (st != DMQ_OK) {
        (void)dmq_fail_note(st, "  hint: PyTorch can be told to leave checksums out; --no-checksum "
                                "reads such files");
    }
done:
    return st;
}

static dmq_status read_model(importing *im)
{
    const dmq_options *o = im->o;
    const dmq_import_options options = { .weights = (dmq_weights)o->weights,
                                         .root = o->root,
                                         .layout = o->layout,
                                         .ignore = o->ignore,
                                         .n_ignore = o->n_ignore };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_checkpoint_open(&im->file, im->path, o->strict));
    DMQ_TRY(compare_checksums(im));
    DMQ_TRY(dmq_model_import(im->model, &im->taken, im->file, &options));
done:
    return st;
}

/* ------------------------------------------------------------------ what is told */

static dmq_status tell_source(importing *im)
{
    const dmq_torch_foreign *foreign = dmq_checkpoint_foreign(im->file);
    dmq_status st = DMQ_OK;
    dmq_json *list, *entry;

    DMQ_TRY(dmq_json_set_text(im->report, "container",
                              dmq_container_name(dmq_checkpoint_container(im->file))));
    DMQ_TRY(dmq_json_set_text(im->report, "checksums", im->checksums));
    DMQ_TRY(dmq_json_set_array(&list, im->report, "files"));
    for (int i = 0; i < dmq_checkpoint_files(im->file); i++) {
        char sha256[DMQ_HASH_TEXT];

        DMQ_TRY(dmq_hash_file(sha256, dmq_checkpoint_file(im->file, i)));
        DMQ_TRY(dmq_json_add_object(&entry, list));
        DMQ_TRY(dmq_json_set_text(entry, "name", dmq_path_name(dmq_checkpoint_file(im->file, i))));
        DMQ_TRY(dmq_json_set_text(entry, "sha256", sha256));
    }
    DMQ_TRY(dmq_json_set_array(&list, im->report, "foreign"));
    for (int i = 0; i < foreign->count; i++)
        DMQ_TRY(dmq_json_add_text(list, foreign->name[i]));
done:
    return st;
}

static dmq_status tell_taken(importing *im)
{
    const dmq_import_report *t = &im->taken;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_text(im->report, "kind", im->model->arch->kind));
    DMQ_TRY(dmq_json_set_text(im->report, "state_dict", *t->root ? t->root : "the root"));
    DMQ_TRY(dmq_json_set_text(im->report, "weights", t->ema ? "averaged" : "as they stand there"));
    DMQ_TRY(dmq_json_set_text(im->report, "layout", t->layout));
    DMQ_TRY(dmq_json_set_int(im->report, "tensors", t->tensors));
    DMQ_TRY(dmq_json_set_int(im->report, "parameters", (int64_t)t->numbers));
    DMQ_TRY(dmq_json_set_int(im->report, "passed_over", t->beside));
    DMQ_TRY(dmq_json_set_int(im->report, "elsewhere", t->elsewhere));
    if (t->scale_factor != 0) /* for first_stage.scale_factor */
        DMQ_TRY(dmq_json_set_real(im->report, "scale_factor", t->scale_factor));
done:
    return st;
}

/* As the table of its layers tells them, to be compared. */
static dmq_status tell_inception(importing *im)
{
    dmq_inception_totals t = dmq_inception_totals_of(im->model);
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_json_set_int(im->report, "convolutions", t.convolutions));
    DMQ_TRY(dmq_json_set_int(im->report, "convolution_weights", (int64_t)t.conv_weights));
    DMQ_TRY(dmq_json_set_int(im->report, "batch_norm_channels", (int64_t)t.norm_channels));
    DMQ_TRY(dmq_json_set_int(im->report, "learnable", (int64_t)t.learnable));
    DMQ_TRY(dmq_json_set_text(im->report, "batch_norm", "folded into the convolutions"));
done:
    return st;
}

/* From the form in which a network is published to the one that it runs in. */
static dmq_status finish(importing *im)
{
    dmq_model *finished = NULL;
    dmq_status st = DMQ_OK;

    if (dmq_inception_is(im->model))
        DMQ_TRY(tell_inception(im));
    if (!im->published || !im->published->finish)
        goto done;
    st = im->published->finish(&finished, im->model);
    if (st != DMQ_OK) {
        st = dmq_fail_note(st, "  in %s", im->path);
        goto done;
    }
    dmq_model_destroy(im->model);
    im->model = finished;
done:
    return st;
}

/* What the model file keeps: names and hashes, no places, so that equal input gives equal bytes. */
static dmq_status describe(char **out, const importing *im)
{
    const dmq_json *files = dmq_json_get(im->report, "files");
    dmq_text text = { 0 };

    dmq_text_add(&text, "imported from %s\n",
                 dmq_container_name(dmq_checkpoint_container(im->file)));
    for (size_t i = 0; i < dmq_json_count(files); i++) {
        const dmq_json *f = dmq_json_at(files, i);

        dmq_text_add(&text, "%s sha256 %s\n", dmq_json_text(dmq_json_get(f, "name"), ""),
                     dmq_json_text(dmq_json_get(f, "sha256"), ""));
    }
    dmq_text_add(&text, "state dict: %s, weights: %s, layout: %s\n",
                 dmq_json_text(dmq_json_get(im->report, "state_dict"), ""),
                 dmq_json_text(dmq_json_get(im->report, "weights"), ""), im->taken.layout);
    return dmq_text_take(out, &text);
}

/* A value of the report as words: of an object "key value key value", of an array one line each. */
static void print_words(const dmq_json *value)
{
    switch (dmq_json_kind_of(value)) {
    case DMQ_JSON_TEXT:
        (void)printf(" %s", dmq_json_text(value, ""));
        break;
    case DMQ_JSON_INT:
        (void)printf(" %lld", (long long)dmq_json_int(value, 0));
        break;
    case DMQ_JSON_REAL:
        (void)printf(" %.9g", dmq_json_real(value, 0));
        break;
    default:
        for (void *m = dmq_json_first(value); m; m = dmq_json_next(value, m)) {
            (void)printf(" %s", dmq_json_member_key(m));
            print_words(dmq_json_member_value(m));
        }
    }
}

static dmq_status print(const importing *im)
{
    dmq_status st = DMQ_OK;
    char *text = NULL;

    if (im->o->json) {
        DMQ_TRY(dmq_json_dump(&text, im->report, 2));
        (void)puts(text);
        goto done;
    }
    for (void *m = dmq_json_first(im->report); m; m = dmq_json_next(im->report, m)) {
        const dmq_json *value = dmq_json_member_value(m);
        bool list = dmq_json_kind_of(value) == DMQ_JSON_ARRAY;

        for (size_t i = 0; i < (list ? dmq_json_count(value) : 1); i++) {
            (void)printf("%s:", dmq_json_member_key(m));
            print_words(list ? dmq_json_at(value, i) : value);
            (void)printf("\n");
        }
    }
done:
    dmq_free(text);
    return st;
}

static dmq_status check(importing *im)
{
    const dmq_backend *backend;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_backend_open(&backend, im->o->device));
    DMQ_TRY(dmq_lanes_create(&im->lanes, backend, im->o->threads));
    DMQ_TRY(dmq_import_check(im->report, im->model, im->info.T, im->lanes));
    if (im->o->reference)
        DMQ_TRY(dmq_import_compare(im->report, im->model, im->o->reference, im->lanes));
done:
    return st;
}

dmq_status dmq_cmd_import(const dmq_options *o)
{
    importing im = { .o = o };
    dmq_status st = DMQ_OK;

    DMQ_TRY(check_usage(o));
    im.path = o->arg[0];
    DMQ_TRY(make_model(&im));
    DMQ_TRY(read_model(&im));
    DMQ_TRY(dmq_json_object(&im.report));
    DMQ_TRY(tell_source(&im));
    DMQ_TRY(tell_taken(&im));
    DMQ_TRY(finish(&im));
    DMQ_TRY(check(&im));
    DMQ_TRY(describe(&im.info.training, &im));
    if (!o->dry_run)
        DMQ_TRY(dmq_model_save(im.model, &im.info, o->out, 0));
    DMQ_TRY(print(&im));
    if (!o->dry_run)
        dmq_log_info("import: %s -> %s", im.path, o->out);
done:
    dmq_json_destroy(im.report);
    dmq_lanes_destroy(im.lanes);
    dmq_checkpoint_close(im.file);
    dmq_model_destroy(im.model);
    dmq_model_info_release(&im.info);
    dmq_config_destroy(im.config);
    return st;
}
