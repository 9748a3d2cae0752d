/* Which tensors of a file become which parameters: layouts, averaged weights, what may stand beside. */
#include "scratch.h"

#include "base/memory.h"
#include "io/safetensors.h"
#include "model/ddpm_unet.h"
#include "model/decoder.h"
#include "model/import.h"
#include "model/ldm_unet.h"
#include "model/name_map.h"
#include "model/published.h"

#define OK(call) assert_int_equal(call, DMQ_OK)

enum {
    MOST = 1000,
    NUMBERS = 1 << 15,
    LARGE = 100000000 /* the tests of larger ones count them */
};

static const dmq_decoder_config small = { .resolution = 16,
                                          .out_channels = 3,
                                          .ch = 8,
                                          .ch_mult = { 1, 2 },
                                          .n_levels = 2,
                                          .num_res_blocks = 1,
                                          .z_channels = 3,
                                          .embed_dim = 3,
                                          .n_embed = 16,
                                          .norm_groups = 4,
                                          .norm_eps = 1e-6 };

/* ------------------------------------------------------------------ files */

static dmq_st_source tensor[MOST];
static char name_of[MOST][DMQ_MAP_NAME];
static float numbers[NUMBERS];
static int count;

static void add(const char *name, int rank, const int64_t *dims, const float *data)
{
    assert_true(count < MOST);
    (void)snprintf(name_of[count], DMQ_MAP_NAME, "%s", name);
    tensor[count] = (dmq_st_source){ name_of[count], DMQ_ST_F32, rank, { 0 }, data };
    if (rank > 0)
        memcpy(tensor[count].dims, dims, (size_t)rank * sizeof *dims);
    count++;
}

/* An entry under a name, its numbers counting up from first. */
static void add_entry(const char *name, const dmq_entry *e, int first)
{
    const int *d = e->shape.dim;
    int64_t dims[4] = { d[0], e->rank4 ? d[3] : d[1], d[1], d[2] };

    assert_true(dmq_shape_count(e->shape) + (size_t)first <= NUMBERS);
    add(name, e->shape.rank, dims, numbers + first);
}

static void add_beside(const char *name)
{
    add(name, 1, (const int64_t[]){ 2 }, numbers);
}

/* All entries of a network in a map, in one tensor each, under a root. */
static void add_below(const char *root, const dmq_model *model, const dmq_name_map *map, int first)
{
    char name[DMQ_MAP_NAME], path[2 * DMQ_MAP_NAME];

    for (int i = 0; i < model->n_entries; i++) {
        assert_true(dmq_name_map_name(name, map, model, &model->entry[i], 0, 0));
        (void)snprintf(path, sizeof path, "%s%s", root, name);
        add_entry(path, &model->entry[i], first);
    }
}

static void add_network(const dmq_model *model, const dmq_name_map *map, int first)
{
    add_below("", model, map, first);
}

static dmq_status import(dmq_model *model, dmq_import_report *report,
                         const dmq_import_options *options)
{
    dmq_checkpoint *file = NULL;
    dmq_status st;

    OK(dmq_safetensors_save(in_folder("a.safetensors"), tensor, count, NULL, 0));
    OK(dmq_checkpoint_open(&file, in_folder("a.safetensors"), 0));
    st = dmq_model_import(model, report, file, options);
    dmq_checkpoint_close(file);
    return st;
}

static void says(const char *what)
{
    if (!strstr(dmq_message(), what))
        fail_msg("no \"%s\" in: %s", what, dmq_message());
}

/* ------------------------------------------------------------------ names */

static void names_of_diffusers_are_those_of_the_table(void **state)
{
    static const struct {
        const char *ours, *theirs, *older;
    } of[] = {
        { "temb.dense.0.weight", "time_embedding.linear_1.weight", NULL },
        { "temb.dense.1.bias", "time_embedding.linear_2.bias", NULL },
        { "conv_in.weight", "conv_in.weight", NULL },
        { "norm_out.bias", "conv_norm_out.bias", NULL },
        { "conv_out.bias", "conv_out.bias", NULL },
        { "down.0.block.1.conv2.weight", "down_blocks.0.resnets.1.conv2.weight", NULL },
        { "down.1.block.0.temb_proj.bias", "down_blocks.1.resnets.0.time_emb_proj.bias", NULL },
        { "down.1.block.0.nin_shortcut.weight", "down_blocks.1.resnets.0.conv_shortcut.weight",
          NULL },
        { "down.1.attn.1.norm.weight", "down_blocks.1.attentions.1.group_norm.weight", NULL },
        { "down.1.attn.1.q.weight", "down_blocks.1.attentions.1.to_q.weight",
          "down_blocks.1.attentions.1.query.weight" },
        { "down.2.downsample.conv.weight", "down_blocks.2.downsamplers.0.conv.weight", NULL },
        { "mid.block_1.norm1.weight", "mid_block.resnets.0.norm1.weight", NULL },
        { "mid.block_2.conv1.bias", "mid_block.resnets.1.conv1.bias", NULL },
        { "mid.attn_1.v.bias", "mid_block.attentions.0.to_v.bias",
          "mid_block.attentions.0.value.bias" },
        { "mid.attn_1.proj_out.weight", "mid_block.attentions.0.to_out.0.weight",
          "mid_block.attentions.0.proj_attn.weight" },
        { "up.3.block.0.norm2.weight", "up_blocks.0.resnets.0.norm2.weight", NULL },
        { "up.1.attn.2.k.weight", "up_blocks.2.attentions.2.to_k.weight",
          "up_blocks.2.attentions.2.key.weight" },
        { "up.1.upsample.conv.bias", "up_blocks.2.upsamplers.0.conv.bias", NULL },
        { "up.0.block.2.nin_shortcut.bias", "up_blocks.3.resnets.2.conv_shortcut.bias", NULL },
    };
    const dmq_name_map *map = dmq_name_map_of("ddpm_unet", 1);
    char name[DMQ_MAP_NAME], other[DMQ_MAP_NAME];
    dmq_model *m = NULL;
    int older = 0;

    (void)state;
    OK(dmq_ddpm_unet_create(&m, &dmq_ddpm_unet_cifar10));
    assert_string_equal(map->layout, "diffusers");
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        const dmq_entry *e = dmq_model_entry(m, of[i].ours);

        assert_non_null(e);
        assert_true(dmq_name_map_name(name, map, m, e, 0, 0));
        assert_string_equal(name, of[i].theirs);
        assert_int_equal(dmq_name_map_name(name, map, m, e, 1, 0), of[i].older != NULL);
        if (of[i].older)
            assert_string_equal(name, of[i].older);
        assert_false(dmq_name_map_name(name, map, m, e, 2, 0));
        assert_false(dmq_name_map_name(name, map, m, e, 0, 1));
    }
    for (int i = 0; i < m->n_entries; i++) { /* every entry has a name, and no two the same */
        assert_true(dmq_name_map_name(name, map, m, &m->entry[i], 0, 0));
        older += dmq_name_map_name(other, map, m, &m->entry[i], 1, 0);
        for (int k = 0; k < i; k++) {
            assert_true(dmq_name_map_name(other, map, m, &m->entry[k], 0, 0));
            assert_string_not_equal(name, other);
        }
    }
    assert_int_equal(older, 6 * 4 * 2); /* q, k, v, proj_out of six attentions, weight and bias */
    dmq_model_destroy(m);
}

static void averages_of_compvis_have_no_dots(void **state)
{
    const dmq_name_map *map = dmq_name_map_of("ldm_unet", 1);
    dmq_entry e = { .name = "input_blocks.0.0.weight" };
    char name[DMQ_MAP_NAME];

    (void)state;
    assert_true(dmq_name_map_name(name, map, NULL, &e, 0, 0));
    assert_string_equal(name, "model.diffusion_model.input_blocks.0.0.weight");
    assert_true(dmq_name_map_ema(name, map, NULL, &e));
    assert_string_equal(
        name, "model_ema.diffusion_modelinput_blocks00weight"); /* as models.md 2.4 has it */
    (void)snprintf(e.name, sizeof e.name, "cond_stage_model.embedding.weight");
    assert_true(dmq_name_map_name(name, map, NULL, &e, 0, 0));
    assert_string_equal(name, "cond_stage_model.embedding.weight");
    assert_false(dmq_name_map_ema(name, map, NULL, &e));
    assert_false(dmq_name_map_ema(name, dmq_name_map_of("ldm_unet", 0), NULL, &e));
    assert_null(dmq_name_map_of("ldm_unet", 2));
}

/* A Lightning checkpoint of latent diffusion: averaged weights in the same dictionary, all or none. */
static void averages_in_the_same_dictionary_are_taken(void **state)
{
    static const dmq_ldm_unet_config tiny = { .in_channels = 3,
                                              .out_channels = 3,
                                              .resolution = 8,
                                              .model_channels = 8,
                                              .channel_mult = { 1, 2 },
                                              .n_levels = 2,
                                              .num_res_blocks = 1,
                                              .attention = { 2 },
                                              .n_attention = 1,
                                              .num_heads = 1,
                                              .context_dim = 4,
                                              .n_classes = 5,
                                              .norm_groups = 4 };
    const dmq_name_map *map = dmq_name_map_of("ldm_unet", 1);
    const dmq_import_options automatic = { 0 }, raw = { .weights = DMQ_WEIGHTS_RAW };
    const dmq_import_options ema = { .weights = DMQ_WEIGHTS_EMA };
    const dmq_entry *first, *table;
    dmq_import_report report;
    char name[DMQ_MAP_NAME];
    dmq_model *m = NULL;

    (void)state;
    OK(dmq_ldm_unet_create(&m, &tiny));
    first = dmq_model_entry(m, "input_blocks.0.0.weight");
    table = dmq_model_entry(m, "cond_stage_model.embedding.weight");
    count = 0;
    add_network(m, map, 0);
    add_beside("betas");
    add("scale_factor", 0, NULL, numbers + 7);
    OK(import(m, &report, &automatic));
    assert_int_equal(report.ema, 0);
    assert_int_equal(report.beside, 2);
    assert_true(report.scale_factor == 7);
    assert_true(m->params[first->offset] == 0);
    assert_int_equal(import(m, &report, &ema), DMQ_EDATA);
    says("has no averaged weights");
    for (int i = 0; i < m->n_entries; i++) {
        if (dmq_name_map_ema(name, map, m, &m->entry[i]))
            add_entry(name, &m->entry[i], 1000);
    }
    add_beside("model_ema.decay");
    add_beside("model_ema.num_updates");
    OK(import(m, &report, &automatic));
    assert_int_equal(report.ema, 1);
    assert_int_equal(report.beside, 4);
    assert_int_equal(report.tensors, m->n_entries);
    assert_true(m->params[first->offset] == 1000);
    assert_true(m->params[table->offset] == 0); /* of which there is no average */
    OK(import(m, &report, &ema));
    OK(import(m, &report, &raw));
    assert_int_equal(report.ema, 0);
    assert_true(m->params[first->offset] == 0);
    tensor[count - 3].name = "model_ema.decay.of.another"; /* one average less */
    assert_int_equal(import(m, &report, &automatic), DMQ_EDATA);
    says("averaged weights for some parameters only");
    says("1 missing: model_ema.diffusion_model");
    tensor[count - 3].name = name_of[count - 3];
    add_beside("model_ema.diffusion_modelunknown");
    assert_int_equal(import(m, &report, &automatic), DMQ_EDATA);
    says("1 unknown to it: model_ema.diffusion_modelunknown");
    dmq_model_destroy(m);
}

/* ------------------------------------------------------------------ which state dict */

/* The name of a tensor is the way to it, whatever the container: here it is written out. */
static void averaged_weights_come_first(void **state)
{
    static const struct {
        const char *root[2]; /* of numbers from 100 and from 200 on */
        dmq_weights weights;
        const char *told;  /* --root; NULL: by the rules */
        const char *taken; /* NULL: refused */
        int first, ema;
        const char *said;
    } of[] = {
        { { "", NULL }, DMQ_WEIGHTS_AUTO, NULL, "", 100, 0, NULL },
        { { "module.", NULL }, DMQ_WEIGHTS_AUTO, NULL, "", 100, 0, NULL },
        { { "", NULL }, DMQ_WEIGHTS_RAW, NULL, "", 100, 0, NULL },
        { { "", NULL }, DMQ_WEIGHTS_EMA, NULL, NULL, 0, 0, "no averaged weights" },
        { { "model/", "ema/" }, DMQ_WEIGHTS_AUTO, NULL, "ema/", 200, 1, NULL },
        { { "model/", "ema/" }, DMQ_WEIGHTS_EMA, NULL, "ema/", 200, 1, NULL },
        { { "model/", "ema/" }, DMQ_WEIGHTS_RAW, NULL, "model/", 100, 0, NULL },
        { { "model/", "ema/" }, DMQ_WEIGHTS_AUTO, "model", "model/", 100, 0, NULL },
        { { "0/module.", "4/" }, DMQ_WEIGHTS_AUTO, NULL, "4/", 200, 1, NULL },
        { { "0/module.", "4/module." }, DMQ_WEIGHTS_RAW, NULL, "0/", 100, 0, NULL },
        { { "0/module.", NULL }, DMQ_WEIGHTS_AUTO, NULL, "0/", 100, 0, NULL },
        { { "0/module.", NULL }, DMQ_WEIGHTS_EMA, NULL, NULL, 0, 0, "no averaged weights" },
        { { "4/", NULL }, DMQ_WEIGHTS_AUTO, NULL, NULL, 0, 0, "no state dict" },
        { { "state_dict/", "other/" }, DMQ_WEIGHTS_AUTO, NULL, "state_dict/", 100, 0, NULL },
        { { "a/b/", "a/c/" }, DMQ_WEIGHTS_AUTO, NULL, NULL, 0, 0, "no state dict" },
        { { "a/b/", "a/c/" }, DMQ_WEIGHTS_AUTO, "a/c", "a/c/", 200, 0, NULL },
        { { "a/b/", "a/c/" }, DMQ_WEIGHTS_AUTO, "a/c/", "a/c/", 200, 0, NULL },
        { { "a/b/", "a/c/" }, DMQ_WEIGHTS_AUTO, "a", NULL, 0, 0, "no tensors under \"a\"" },
        { { "", "module." }, DMQ_WEIGHTS_AUTO, NULL, NULL, 0, 0, "there twice" },
    };
    const dmq_name_map *map = dmq_name_map_of("decoder", 0);
    const dmq_entry *e;
    dmq_model *m = NULL;

    (void)state;
    OK(dmq_decoder_create(&m, &small));
    e = dmq_model_entry(m, "decoder.conv_in.weight");
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        const dmq_import_options options = { .weights = of[i].weights, .root = of[i].told };
        dmq_import_report report;
        dmq_status st;

        count = 0;
        add_below(of[i].root[0], m, map, 100);
        if (of[i].root[1])
            add_below(of[i].root[1], m, map, 200);
        st = import(m, &report, &options);
        if ((st == DMQ_OK) != (of[i].taken != NULL))
            fail_msg("case %zu: status %d: %s", i, (int)st, dmq_message());
        if (!of[i].taken) {
            says(of[i].said);
            continue;
        }
        assert_string_equal(report.root, of[i].taken);
        assert_int_equal(report.ema, of[i].ema);
        assert_int_equal(report.elsewhere, of[i].root[1] ? m->n_entries : 0);
        assert_true(m->params[e->offset] == (dmq_real)of[i].first);
    }
    dmq_model_destroy(m);
}

/* ------------------------------------------------------------------ what stands beside */

static void a_first_stage_is_found_in_three_kinds_of_files(void **state)
{
    const dmq_import_options plain = { 0 };
    const char *const ignored[] = { "extra" };
    const dmq_import_options ignoring = { .ignore = ignored, .n_ignore = 1 };
    const dmq_entry *e;
    dmq_import_report report;
    dmq_model *m = NULL;

    (void)state;
    OK(dmq_decoder_create(&m, &small));
    e = dmq_model_entry(m, "decoder.conv_in.weight");
    count = 0; /* the decoder alone, as its network has it */
    add_network(m, dmq_name_map_of("decoder", 0), 100);
    OK(import(m, &report, &plain));
    assert_int_equal(report.tensors, m->n_entries);
    assert_int_equal(report.numbers, dmq_model_count(m));
    assert_int_equal(report.beside, 0);
    assert_true(m->params[e->offset] == (dmq_real)100);
    add_beside("encoder.conv_in.weight"); /* a whole autoencoder */
    add_beside("quant_conv.bias");
    add_beside("loss.discriminator.weight");
    OK(import(m, &report, &plain));
    assert_string_equal(report.layout, "CompVis, first stage alone");
    assert_int_equal(report.beside, 3);
    add_beside("extra.weight");
    assert_int_equal(import(m, &report, &plain), DMQ_EDATA);
    says("1 unknown to it: extra.weight");
    OK(import(m, &report, &ignoring));
    assert_int_equal(report.beside, 4);
    count = 0; /* inside the checkpoint of a latent diffusion model */
    add_network(m, dmq_name_map_of("decoder", 2), 200);
    add_beside("first_stage_model.encoder.conv_in.weight");
    add_beside("first_stage_model.quant_conv.weight");
    add_beside("model.diffusion_model.out.2.weight");
    add_beside("model_ema.diffusion_modelout2weight");
    add_beside("betas");
    add_beside("posterior_mean_coef1");
    OK(import(m, &report, &plain));
    assert_string_equal(report.layout, "CompVis");
    assert_int_equal(report.beside, 6);
    assert_int_equal(report.ema, 0);
    assert_true(m->params[e->offset] == (dmq_real)200);
    add_beside("first_stage_model.decoder.extra.weight"); /* of the decoder, and not ours */
    assert_int_equal(import(m, &report, &plain), DMQ_EDATA);
    says("1 unknown to it: first_stage_model.decoder.extra.weight");
    dmq_model_destroy(m);
}

/* Half of an autoencoder of diffusers: the same blocks under other names, attention as matrices. */
static void a_first_stage_of_diffusers_is_read(void **state)
{
    const dmq_name_map *map = dmq_name_map_of("decoder", 3);
    const dmq_import_options plain = { 0 };
    dmq_decoder_config kl = small;
    dmq_import_report report;
    dmq_model *m = NULL;

    (void)state;
    kl.n_embed = 0;
    OK(dmq_decoder_create(&m, &kl));
    assert_string_equal(map->layout, "diffusers");
    count = 0;
    add_network(m, map, 300);
    for (int i = 0; i < count; i++) {
        if (strstr(tensor[i].name, "attentions") && tensor[i].rank == 4)
            tensor[i].rank = 2;
    }
    add_beside("encoder.down_blocks.0.resnets.0.conv1.weight");
    add_beside("quant_conv.weight");
    OK(import(m, &report, &plain));
    assert_string_equal(report.layout, "diffusers");
    assert_int_equal(report.beside, 2);
    assert_true(report.scale_factor == 0);
    add("scale_factor", 0, NULL, numbers + 7);
    assert_int_equal(import(m, &report, &plain), DMQ_EDATA); /* no part of this layout */
    dmq_model_destroy(m);
}

/* ------------------------------------------------------------------ totals */

static void published_networks_have_their_published_sizes(void **state)
{
    const dmq_published *p;

    (void)state;
    for (int i = 0; (p = dmq_published_at(i)) != NULL; i++) {
        dmq_model *m = NULL;

        if (p->numbers > LARGE)
            continue;
        OK(p->create(&m));
        if (dmq_model_count(m) != p->numbers)
            fail_msg("%s has %zu parameters, %zu are published", p->id, dmq_model_count(m),
                     p->numbers);
        if (p->entries && m->n_entries != p->entries)
            fail_msg("%s has %d entries, %d are published", p->id, m->n_entries, p->entries);
        dmq_model_destroy(m);
    }
    assert_true(dmq_published_find(&p, "ddpm-cifar10") == DMQ_OK && p->info.T == 1000);
    assert_int_equal(dmq_published_find(&p, "ddpm-cifar"), DMQ_EINVAL);
    says("did you mean \"ddpm-cifar10\"");
}

static int make(void **state)
{
    for (int i = 0; i < NUMBERS; i++)
        numbers[i] = (float)i;
    return scratch_make(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_diffusers_are_those_of_the_table),
        cmocka_unit_test(averages_of_compvis_have_no_dots),
        cmocka_unit_test(averages_in_the_same_dictionary_are_taken),
        cmocka_unit_test(averaged_weights_come_first),
        cmocka_unit_test(a_first_stage_is_found_in_three_kinds_of_files),
        cmocka_unit_test(a_first_stage_of_diffusers_is_read),
        cmocka_unit_test(published_networks_have_their_published_sizes),
    };

    return cmocka_run_group_tests(tests, make, scratch_remove);
}
