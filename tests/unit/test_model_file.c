/* Model files: what is written comes back; what is wrong is named. */
#include "base/half.h"
#include "base/memory.h"
#include "base/status.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "model/ddpm_unet.h"
#include "model/import.h"
#include "model/init.h"
#include "model/model_file.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const dmq_ddpm_unet_config small = {
    .in_channels = 3,
    .out_channels = 3,
    .resolution = 8,
    .ch = 8,
    .ch_mult = { 1, 2 },
    .n_levels = 2,
    .num_res_blocks = 1,
    .attention = { 4 },
    .n_attention = 1,
    .norm_groups = 4,
    .norm_eps = 1e-6,
};

static char path[256], other[256];
static dmq_model *model;
static char training[] = "lr: 0.001\n";
static const dmq_model_info info = { 1000, 1e-4, 0.02, training, 0 };

#define OK(call)                                      \
    do {                                              \
        dmq_status status_of_call = (call);           \
        if (status_of_call != DMQ_OK)                 \
            fail_msg("%s: %s", #call, dmq_message()); \
    } while (0)

static int set_up(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/dmq-test-model-%d.h5", (int)getpid());
    snprintf(other, sizeof other, "/tmp/dmq-test-model-%d-b.h5", (int)getpid());
    OK(dmq_ddpm_unet_create(&model, &small));
    dmq_model_init(model, 3);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    dmq_model_destroy(model);
    OK(dmq_file_remove(path));
    OK(dmq_file_remove(other));
    return 0;
}

static void single_precision_comes_back_bit_for_bit(void **state)
{
    (void)state;
    dmq_model *m = NULL;
    dmq_model_info said;
    char *a = NULL, *b = NULL;
    size_t size_a, size_b;

    OK(dmq_model_save(model, &info, path, 0));
    OK(dmq_model_load(&m, &said, path));
    assert_memory_equal(m->params, model->params, model->n_params * sizeof *m->params);
    assert_string_equal(m->config_text, model->config_text);
    assert_string_equal(m->arch->kind, "ddpm_unet");
    assert_int_equal(said.T, 1000);
    assert_true(said.beta_start == 1e-4 && said.beta_end == 0.02);
    assert_string_equal(said.training, training);
    OK(dmq_model_save(m, &said, other, 0)); /* equal content, equal bytes */
    OK(dmq_file_read(&a, &size_a, path, (size_t)1 << 30));
    OK(dmq_file_read(&b, &size_b, other, (size_t)1 << 30));
    assert_int_equal(size_a, size_b);
    assert_memory_equal(a, b, size_a);
    dmq_free(a);
    dmq_free(b);
    dmq_model_info_release(&said);
    dmq_model_destroy(m);
}

static void half_precision_is_rounded_to_nearest(void **state)
{
    (void)state;
    dmq_model *m = NULL;
    size_t at = model->entry[0].offset;
    dmq_real kept = model->params[at];

    OK(dmq_model_save(model, &info, path, 1));
    OK(dmq_model_load(&m, NULL, path));
    for (int i = 0; i < model->n_entries; i++) {
        const dmq_entry *e = &model->entry[i];
        for (size_t k = e->offset; k < e->offset + dmq_shape_count(e->shape); k++) {
            assert_true((float)m->params[k] ==
                        dmq_half_to_float(dmq_half_from_float((float)model->params[k])));
        }
    }
    dmq_model_destroy(m);
    model->params[at] = 70000;
    assert_int_equal(dmq_model_save(model, &info, path, 1), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "temb.dense.0.weight holds 70000"));
    model->params[at] = kept;
}

/* The arrays lie as PyTorch has them: (K,C,R,S). */
static void files_hold_the_order_of_files(void **state)
{
    (void)state;
    const dmq_entry *e = dmq_model_entry(model, "conv_in.weight");
    dmq_h5 *file = NULL;
    float w[8 * 3 * 3 * 3];

    OK(dmq_model_save(model, &info, path, 0));
    OK(dmq_h5_open(&file, path, DMQ_H5_READ));
    OK(dmq_h5_read_f32(w, file, "conv_in.weight", DMQ_DIMS(8, 3, 3, 3)));
    for (int k = 0; k < 8; k++) {
        for (int c = 0; c < 3; c++) {
            for (int p = 0; p < 9; p++) {
                assert_true(w[(k * 3 + c) * 9 + p] ==
                            (float)model->params[e->offset + (size_t)((k * 9 + p) * 3 + c)]);
            }
        }
    }
    dmq_h5_close(file);
}

/** A file like the model's, but for what the arguments change. */
static void write_like(const char *without, const char *with, const char *nan_in, const char *kind,
                       const char *text)
{
    dmq_h5 *file = NULL;
    float numbers[8192];

    OK(dmq_h5_open(&file, path, DMQ_H5_WRITE));
    OK(dmq_h5_format_set(file, "dmq-model", 1));
    OK(dmq_h5_attr_set_text(file, "", "kind", kind ? kind : "ddpm_unet"));
    OK(dmq_h5_attr_set_text(file, "", "config", text ? text : model->config_text));
    for (int i = 0; i < model->n_entries; i++) {
        const dmq_entry *e = &model->entry[i];
        const int *d = e->shape.dim;
        size_t n = dmq_shape_count(e->shape);

        assert_true(n <= 8192);
        if (without && strcmp(e->name, without) == 0)
            continue;
        for (size_t k = 0; k < n; k++)
            numbers[k] = 0.5f;
        if (nan_in && strcmp(e->name, nan_in) == 0)
            numbers[n - 1] = NAN;
        if (e->rank4) {
            OK(dmq_h5_write_f32(file, e->name, DMQ_DIMS(d[0], d[3], d[1], d[2]), numbers));
        } else if (e->shape.rank == 2) {
            OK(dmq_h5_write_f32(file, e->name, DMQ_DIMS(d[0], d[1]), numbers));
        } else {
            OK(dmq_h5_write_f32(file, e->name, DMQ_DIMS(d[0]), numbers));
        }
    }
    if (with)
        OK(dmq_h5_write_f32(file, with, DMQ_DIMS(2, 2), numbers));
    OK(dmq_h5_commit(file));
    dmq_h5_close(file);
}

static void refused(dmq_status code, const char *says)
{
    dmq_model *m = NULL;
    dmq_status st = dmq_model_load(&m, NULL, path);

    if (st != code || !strstr(dmq_message(), says))
        fail_msg("status %d, \"%s\"; expected %d, \"%s\"", (int)st, dmq_message(), (int)code, says);
    assert_null(m);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    char text[1024];
    dmq_model *m = NULL;

    write_like(NULL, NULL, NULL, NULL, NULL);
    OK(dmq_model_load(&m, NULL, path)); /* the others differ from this one in one place */
    dmq_model_destroy(m);
    write_like("down.1.block.0.conv1.weight", NULL, NULL, NULL, NULL);
    refused(DMQ_EDATA, "1 missing: down.1.block.0.conv1.weight");
    write_like(NULL, "conv_mid.weight", NULL, NULL, NULL);
    refused(DMQ_EDATA, "1 unknown to it: conv_mid.weight");
    write_like("conv_in.bias", "conv_in.bias", NULL, NULL, NULL);
    refused(DMQ_ESHAPE, "conv_in.bias");
    write_like(NULL, NULL, "up.0.block.1.norm2.bias", NULL, NULL);
    refused(DMQ_EDATA, "up.0.block.1.norm2.bias: 1 of 8 numbers are NaN");
    write_like(NULL, NULL, NULL, "transformer", NULL);
    refused(DMQ_EDATA, "unknown kind \"transformer\"");
    snprintf(text, sizeof text, "%s", model->config_text);
    *strstr(text, "norm_groups: 4") = 'X';
    write_like(NULL, NULL, NULL, NULL, text);
    refused(DMQ_EDATA, "norm_groups");
    snprintf(text, sizeof text, "%s", model->config_text);
    memcpy(strstr(text, "norm_groups: 4"), "norm_groups: 3", 14);
    write_like(NULL, NULL, NULL, NULL, text);
    refused(DMQ_EDATA, "norm_groups = 3 does not divide");
    OK(dmq_file_remove(path));
    refused(DMQ_ENOINPUT, path);
    OK(dmq_file_write_text(path, "this is no model"));
    refused(DMQ_EDATA, path);
}

static dmq_status import_file(dmq_model *m)
{
    const dmq_import_options options = { 0 };
    dmq_import_report report;
    dmq_checkpoint *file = NULL;
    dmq_status st = dmq_checkpoint_open(&file, path, 0);

    if (st == DMQ_OK)
        st = dmq_model_import(m, &report, file, &options);
    dmq_checkpoint_close(file);
    return st;
}

static void safetensors_come_and_go(void **state)
{
    (void)state;
    dmq_model *m = NULL;

    OK(dmq_ddpm_unet_create(&m, &small));
    OK(dmq_model_export_safetensors(model, path));
    OK(import_file(m));
    assert_memory_equal(m->params, model->params, model->n_params * sizeof *m->params);
    dmq_model_destroy(m);
}

/* As a checkpoint of data-parallel training in another layout: prefixed names, 1x1 kernels as matrices. */
static void safetensors_of_others_are_understood_or_named(void **state)
{
    (void)state;
    enum { MOST = 256 };
    static dmq_st_source tensor[MOST];
    static char name[MOST][DMQ_NAME_MAX + 8];
    static float numbers[8192];
    dmq_model *m = NULL;
    int n = model->n_entries;

    assert_true(n <= MOST);
    OK(dmq_ddpm_unet_create(&m, &small));
    for (int i = 0; i < 8192; i++)
        numbers[i] = (float)i / 64;
    for (int i = 0; i < n; i++) {
        const dmq_entry *e = &model->entry[i];
        const int *d = e->shape.dim;
        dmq_st_source *t = &tensor[i];
        int64_t dims[4] = { d[0], e->rank4 ? d[3] : d[1], d[1], d[2] };

        snprintf(name[i], sizeof name[i], "module.%s", e->name);
        *t = (dmq_st_source){ name[i], DMQ_ST_BF16, e->shape.rank, { 0 }, numbers };
        if (e->rank4 && d[1] == 1)
            t->rank = 2;
        memcpy(t->dims, dims, sizeof dims);
    }
    OK(dmq_safetensors_save(path, tensor, n, NULL, 0));
    OK(import_file(m));
    assert_true(m->params[dmq_model_entry(m, "down.1.attn.0.q.weight")->offset + 17] ==
                (dmq_real)17 / 64);
    assert_true(m->params[dmq_model_entry(m, "conv_in.weight")->offset + 1] == (dmq_real)9 / 64);
    tensor[3].dims[0]++;
    OK(dmq_safetensors_save(path, tensor, n, NULL, 0));
    assert_int_equal(import_file(m), DMQ_ESHAPE);
    assert_non_null(strstr(dmq_message(), tensor[3].name));
    tensor[3].dims[0]--;
    OK(dmq_safetensors_save(path, tensor, n - 1, NULL, 0));
    assert_int_equal(import_file(m), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "1 missing: conv_out.bias"));
    tensor[0].name = "model_ema.decay";
    OK(dmq_safetensors_save(path, tensor, n, NULL, 0));
    assert_int_equal(import_file(m), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "unknown to it: model_ema.decay"));
    tensor[0].name = model->entry[1].name;
    OK(dmq_safetensors_save(path, tensor, n, NULL, 0));
    assert_int_equal(import_file(m), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "1 there twice"));
    dmq_model_destroy(m);
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    dmq_status st;
    long n = 0;

    OK(dmq_model_save(model, &info, path, 0));
    do {
        dmq_model *m = NULL;
        dmq_model_info said = { 0 };

        dmq_alloc_fail_at(n += 1 + n / 40);
        st = dmq_model_load(&m, &said, path);
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK || st == DMQ_ENOMEM);
        assert_int_equal(st == DMQ_OK, m != NULL);
        dmq_model_destroy(m);
        dmq_model_info_release(&said);
    } while (st != DMQ_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_precision_comes_back_bit_for_bit),
        cmocka_unit_test(half_precision_is_rounded_to_nearest),
        cmocka_unit_test(files_hold_the_order_of_files),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(safetensors_come_and_go),
        cmocka_unit_test(safetensors_of_others_are_understood_or_named),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
