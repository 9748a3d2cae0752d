/* First-stage decoders as models: entries, counts, files, and what is refused. */
#include "base/memory.h"
#include "base/status.h"
#include "model/decoder.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vq_f4_has_the_published_counts),
        cmocka_unit_test(kl_f8_has_the_published_counts),
        cmocka_unit_test(its_text_makes_it_again),
        cmocka_unit_test(settings_that_cannot_be_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
