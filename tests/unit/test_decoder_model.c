/* First-stage decoders as models: entries, counts, files, and what is refused. */
#include "base/memory.h"
#include "base/status.h"
#include "model/decode.h"
#include "model/decoder.h"
#include "model/decoder_names.h"
#include "model/model_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define OK(call)                                      \
    do {                                              \
        dmq_status status_of_call = (call);           \
        if (status_of_call != DMQ_OK)                 \
            fail_msg("%s: %s", #call, dmq_message()); \
    } while (0)

static size_t count_of(const dmq_model *m, const char *prefix)
{
    size_t sum = 0;

    for (int e = 0; e < m->n_entries; e++) {
        if (strncmp(m->entry[e].name, prefix, strlen(prefix)) == 0)
            sum += dmq_shape_count(m->entry[e].shape);
    }
    return sum;
}

static void vq_f4_has_the_published_counts(void **state)
{
    static const struct {
        const char *prefix;
        size_t count;
    } block[] = {
        { "post_quant_conv.", 12 },
        { "decoder.conv_in.", 14336 },
        { "decoder.mid.block_1.", 4721664 },
        { "decoder.mid.attn_1.", 1051648 },
        { "decoder.mid.block_2.", 4721664 },
        { "decoder.up.2.block.0.", 4721664 },
        { "decoder.up.2.block.2.", 4721664 },
        { "decoder.up.2.upsample.conv.", 2359808 },
        { "decoder.up.1.block.0.", 1902848 },
        { "decoder.up.1.block.1.", 1181184 },
        { "decoder.up.1.upsample.conv.", 590080 },
        { "decoder.up.0.block.0.", 476288 },
        { "decoder.up.0.block.2.", 295680 },
        { "decoder.norm_out.", 256 },
        { "decoder.conv_out.", 3459 },
        { "quantize.embedding.weight", 24576 },
    };
    dmq_model *m = NULL;

    (void)state;
    OK(dmq_decoder_create(&m, &dmq_decoder_vq_f4));
    assert_int_equal(dmq_model_count(m) - 24576, 32960783);
    for (size_t i = 0; i < sizeof block / sizeof *block; i++) {
        size_t sum = count_of(m, block[i].prefix);

        if (sum != block[i].count)
            fail_msg("%s has %zu parameters, expected %zu", block[i].prefix, sum, block[i].count);
    }
    assert_true(dmq_shape_equal(m->input, dmq_shape4(1, 64, 64, 3)));
    assert_true(dmq_shape_equal(dmq_decoder_image(m), dmq_shape4(1, 256, 256, 3)));
    assert_null(dmq_model_entry(m, "decoder.up.0.upsample.conv.weight"));
    dmq_model_destroy(m);
}

static void kl_f8_has_the_published_counts(void **state)
{
    dmq_model *m = NULL;

    (void)state;
    OK(dmq_decoder_create(&m, &dmq_decoder_kl_f8));
    assert_int_equal(dmq_model_count(m), 49490199);
    assert_int_equal(m->n_entries, 140);
    assert_int_equal(count_of(m, "post_quant_conv."), 20);
    assert_int_equal(count_of(m, "decoder.up.3.upsample."), 2359808);
    assert_null(dmq_model_entry(m, "quantize.embedding.weight"));
    assert_true(dmq_shape_equal(m->input, dmq_shape4(1, 32, 32, 4)));
    dmq_model_destroy(m);
}

/* What decode.h promises of an image of 256x256; the weights of attention alone would be 64 MiB of it. */
static void a_lane_stays_within_its_memory(void **state)
{
    static const struct {
        const dmq_decoder_config *config;
        double mib;
    } promised[] = { { &dmq_decoder_vq_f4, 178 }, { &dmq_decoder_kl_f8, 178 } };
    const dmq_backend *be = NULL;
    dmq_lanes *lanes = NULL;

    (void)state;
    OK(dmq_backend_open(&be, "cpu"));
    OK(dmq_lanes_create(&lanes, be, 1));
    for (size_t i = 0; i < sizeof promised / sizeof *promised; i++) {
        dmq_model *m = NULL;
        dmq_decode *d = NULL;
        double mib;

        OK(dmq_decoder_create(&m, promised[i].config));
        OK(dmq_model_place(m, lanes));
        OK(dmq_decode_create(&d, m, 1, lanes));
        mib = (double)dmq_decode_bytes(d) / 1048576;
        print_message("%.1f MiB a lane\n", mib);
        assert_true(mib > 64 && mib <= promised[i].mib);
        dmq_decode_destroy(d);
        dmq_model_destroy(m);
    }
    dmq_lanes_destroy(lanes);
}

static void its_text_makes_it_again(void **state)
{
    dmq_decoder_config c = dmq_decoder_vq_f4;
    dmq_model *m = NULL, *again = NULL;
    char text[1024];

    (void)state;
    c.ch = 32;
    c.n_embed = 10;
    OK(dmq_decoder_create(&m, &c));
    assert_true(dmq_decoder_is(m));
    OK(dmq_model_create(&again, "decoder", m->config_text));
    assert_string_equal(again->config_text, m->config_text);
    assert_int_equal(dmq_model_count(again), dmq_model_count(m));
    (void)strcpy(text, m->config_text);
    (void)strcat(text, "attention: [8]\n");
    dmq_model_destroy(again);
    again = NULL;
    assert_int_equal(dmq_model_create(&again, "decoder", text), DMQ_EDATA);
    assert_null(again);
    dmq_model_destroy(m);
}

static void settings_that_cannot_be_are_named(void **state)
{
    const struct {
        dmq_decoder_config c;
        const char *key;
    } wrong[] = {
        { { 256, 3, 128, { 1, 2, 4 }, 0, 2, 3, 3, 8192, 32, 1e-6 }, "ch_mult" },
        { { 254, 3, 128, { 1, 2, 4 }, 3, 2, 3, 3, 8192, 32, 1e-6 }, "resolution" },
        { { 256, 3, 120, { 1, 2, 4 }, 3, 2, 3, 3, 8192, 32, 1e-6 }, "norm_groups" },
        { { 256, 3, 128, { 1, 2, 4 }, 3, 9, 3, 3, 8192, 32, 1e-6 }, "num_res_blocks" },
        { { 256, 3, 128, { 1, 2, 4 }, 3, 2, 0, 3, 8192, 32, 1e-6 }, "z_channels" },
        { { 256, 3, 128, { 1, 2, 4 }, 3, 2, 3, 3, -1, 32, 1e-6 }, "n_embed" },
    };
    dmq_model *m = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(dmq_decoder_create(&m, &wrong[i].c), DMQ_EINVAL);
        assert_null(m);
        if (!strstr(dmq_message(), wrong[i].key))
            fail_msg("%s is not named: %s", wrong[i].key, dmq_message());
    }
}

/* Every entry has one name of its own; these are AutoencoderKL's. */
static void diffusers_names_are_known(void **state)
{
    static const char *const pair[][3] = {
        { "decoder.conv_in.weight", "decoder.conv_in.weight", NULL },
        { "decoder.mid.block_2.conv1.bias", "decoder.mid_block.resnets.1.conv1.bias", NULL },
        { "decoder.mid.attn_1.norm.weight", "decoder.mid_block.attentions.0.group_norm.weight",
          NULL },
        { "decoder.mid.attn_1.q.weight", "decoder.mid_block.attentions.0.to_q.weight",
          "decoder.mid_block.attentions.0.query.weight" },
        { "decoder.mid.attn_1.proj_out.bias", "decoder.mid_block.attentions.0.to_out.0.bias",
          "decoder.mid_block.attentions.0.proj_attn.bias" },
        { "decoder.up.3.block.0.norm1.weight", "decoder.up_blocks.0.resnets.0.norm1.weight", NULL },
        { "decoder.up.0.block.2.conv2.weight", "decoder.up_blocks.3.resnets.2.conv2.weight", NULL },
        { "decoder.up.1.block.0.nin_shortcut.weight",
          "decoder.up_blocks.2.resnets.0.conv_shortcut.weight", NULL },
        { "decoder.up.2.upsample.conv.bias", "decoder.up_blocks.1.upsamplers.0.conv.bias", NULL },
        { "decoder.norm_out.bias", "decoder.conv_norm_out.bias", NULL },
        { "post_quant_conv.weight", "post_quant_conv.weight", NULL },
    };
    dmq_decoder_config c = dmq_decoder_kl_f8;
    dmq_model *m = NULL;
    char name[DMQ_MAP_NAME], (*all)[DMQ_MAP_NAME] = NULL;

    (void)state;
    c.ch = 32; /* names do not depend on it */
    OK(dmq_decoder_create(&m, &c));
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++) {
        const dmq_entry *e = dmq_model_entry(m, pair[i][0]);

        assert_non_null(e);
        assert_true(dmq_decoder_diffusers_name(name, m, e, 0, 0));
        assert_string_equal(name, pair[i][1]);
        assert_int_equal(dmq_decoder_diffusers_name(name, m, e, 1, 0), pair[i][2] != NULL);
        if (pair[i][2])
            assert_string_equal(name, pair[i][2]);
        assert_false(dmq_decoder_diffusers_name(name, m, e, 0, 1));
    }
    OK(dmq_alloc((void **)&all, (size_t)m->n_entries, sizeof *all));
    for (int i = 0; i < m->n_entries; i++) {
        assert_true(dmq_decoder_diffusers_name(all[i], m, &m->entry[i], 0, 0));
        for (int k = 0; k < i; k++)
            assert_string_not_equal(all[i], all[k]);
    }
    dmq_free(all);
    dmq_model_destroy(m);
}

static void a_config_json_of_another_decoder_is_refused(void **state)
{
    static const char *const right =
        "{\"block_out_channels\": [128, 256, 512, 512], \"layers_per_block\": 2, "
        "\"latent_channels\": 4, \"norm_num_groups\": 32, \"out_channels\": 3}";
    static const char *const other =
        "{\"block_out_channels\": [128, 256, 512], \"layers_per_block\": 2, "
        "\"latent_channels\": 4, \"norm_num_groups\": 32, \"out_channels\": 3}";
    dmq_json *json = NULL;
    dmq_model *m = NULL;

    (void)state;
    OK(dmq_decoder_create(&m, &dmq_decoder_kl_f8));
    OK(dmq_json_parse(&json, right, strlen(right), "config.json"));
    OK(dmq_decoder_diffusers_check(m, json, "config.json"));
    dmq_json_destroy(json);
    OK(dmq_json_parse(&json, other, strlen(other), "config.json"));
    assert_int_equal(dmq_decoder_diffusers_check(m, json, "config.json"), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "block_out_channels"));
    dmq_json_destroy(json);
    dmq_model_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vq_f4_has_the_published_counts),
        cmocka_unit_test(kl_f8_has_the_published_counts),
        cmocka_unit_test(a_lane_stays_within_its_memory),
        cmocka_unit_test(its_text_makes_it_again),
        cmocka_unit_test(settings_that_cannot_be_are_named),
        cmocka_unit_test(diffusers_names_are_known),
        cmocka_unit_test(a_config_json_of_another_decoder_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
