/* DiT as lists: entries, layers, units, values; policies on it; its text, and what is refused. */
#include "model/dit.h"
#include "model/model_file.h"
#include "quant/policy.h"
#include "quant_fixture.h"

static const dmq_dit_config small = {
    .in_channels = 4,
    .out_channels = 8,
    .resolution = 8,
    .patch = 2,
    .hidden = 24,
    .depth = 3,
    .heads = 3,
    .n_classes = 5,
};

static dmq_model *of_depth(int depth)
{
    dmq_dit_config c = dmq_dit_xl2_256;
    dmq_model *m = NULL;

    c.depth = depth;
    OK(dmq_dit_create(&m, &c));
    return m;
}

/* Blocks are equal, so two of them tell what 28 would have, without 2.7 GB. */
static void xl2_has_the_published_counts(void **state)
{
    dmq_model *one = of_depth(1), *two = of_depth(2);
    size_t block = dmq_model_count(two) - dmq_model_count(one);

    (void)state;
    assert_int_equal(dmq_dit_xl2_256.depth, 28);
    assert_int_equal(dmq_model_count(one) + 27 * block, 675129632);
    assert_int_equal(one->n_entries + 27 * (two->n_entries - one->n_entries), 292);
    assert_int_equal(two->n_layers - one->n_layers, 5);
    assert_int_equal(one->n_layers, 2 + 1 + 5 + 2);
    assert_int_equal(one->n_labels, 1001);
    assert_true(
        dmq_shape_equal(dmq_model_entry(one, "pos_embed")->shape, dmq_shape3(1, 256, 1152)));
    assert_true(dmq_shape_equal(dmq_model_entry(one, "blocks.0.attn.qkv.weight")->shape,
                                dmq_shape2(3456, 1152)));
    assert_true(dmq_shape_equal(dmq_model_entry(one, "final_layer.linear.weight")->shape,
                                dmq_shape2(32, 1152)));
    dmq_model_destroy(one);
    dmq_model_destroy(two);
}

static void units_are_the_blocks(void **state)
{
    static const char *const names[] = { "temporal", "x_embedder", "blocks.0",
                                         "blocks.1", "blocks.2",   "final_layer" };
    dmq_model *m = NULL;

    (void)state;
    OK(dmq_dit_create(&m, &small));
    assert_int_equal(m->n_units, 6);
    for (int i = 0; i < m->n_units; i++) {
        const dmq_unit *u = &m->unit[i];

        assert_string_equal(u->name, names[i]);
        assert_int_equal(u->n_layers, i == 0 ? 2 : i == 1 ? 1 : i == 5 ? 2 : 5);
        for (int k = 0; k < u->n_layers; k++)
            assert_int_equal(m->layer[u->layer[k]].unit, i);
        if (i > 1)
            assert_int_equal(m->value[u->emb].emb_of, DMQ_OF_T | DMQ_OF_LABEL);
    }
    assert_int_equal(dmq_model_temporal_of(m), DMQ_OF_T | DMQ_OF_LABEL);
    assert_true(dmq_shape_equal(m->value[m->output].shape, dmq_shape4(1, 8, 8, 8)));
    assert_string_equal(m->layer[m->unit[2].layer[0]].name, "blocks.0.adaLN_modulation.1");
    assert_string_equal(m->layer[m->unit[2].layer[4]].name, "blocks.0.mlp.fc2");
    dmq_model_destroy(m);
}

static void policies_know_its_first_and_last_layers(void **state)
{
    dmq_choice choice[32];
    dmq_model *m = NULL;

    (void)state;
    OK(dmq_dit_create(&m, &small));
    OK(dmq_policy_apply(choice, m,
                        &(dmq_policy){ .kind = "tfmq", .weight_bits = 4, .act_bits = 8 }));
    assert_int_equal(choice[fixture_layer(m, "t_embedder.mlp.0")].weight_bits, 0);
    assert_int_equal(choice[fixture_layer(m, "t_embedder.mlp.2")].weight_bits, 4);
    assert_int_equal(choice[fixture_layer(m, "x_embedder.proj")].weight_bits, 0);
    assert_int_equal(choice[fixture_layer(m, "final_layer.linear")].weight_bits, 0);
    assert_int_equal(choice[fixture_layer(m, "final_layer.adaLN_modulation.1")].weight_bits, 4);
    assert_int_equal(choice[fixture_layer(m, "blocks.0.attn.qkv")].act_bits, 8);
    assert_int_equal(choice[fixture_layer(m, "blocks.2.mlp.fc2")].weight_bits, 4);
    dmq_model_destroy(m);
}

static void its_text_makes_it_again(void **state)
{
    dmq_model *m = NULL, *again = NULL;

    (void)state;
    OK(dmq_dit_create(&m, &small));
    OK(dmq_model_create(&again, "dit", m->config_text));
    assert_string_equal(again->config_text, m->config_text);
    assert_int_equal(dmq_model_count(again), dmq_model_count(m));
    assert_int_equal(dmq_dit_config_of(again)->heads, 3);
    dmq_model_destroy(again);
    dmq_model_destroy(m);
}

static void settings_that_cannot_be_are_named(void **state)
{
    static const struct {
        dmq_dit_config c;
        const char *text;
    } wrong[] = {
        { { 4, 8, 9, 2, 24, 2, 3, 5 }, "resolution = 9: must be a multiple of patch" },
        { { 4, 8, 8, 2, 25, 2, 3, 5 }, "hidden = 25: must be a multiple of heads" },
        { { 4, 8, 8, 2, 24, 65, 3, 5 }, "depth = 65" },
        { { 4, 8, 8, 0, 24, 2, 3, 5 }, "patch = 0" },
        { { 4, 8, 8, 2, 24, 2, 3, 0 }, "n_classes = 0" },
    };
    dmq_model *m = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(dmq_dit_create(&m, &wrong[i].c), DMQ_EINVAL);
        assert_null(m);
        if (!strstr(dmq_message(), wrong[i].text))
            fail_msg("\"%s\" is not in: %s", wrong[i].text, dmq_message());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(xl2_has_the_published_counts),
        cmocka_unit_test(units_are_the_blocks),
        cmocka_unit_test(policies_know_its_first_and_last_layers),
        cmocka_unit_test(its_text_makes_it_again),
        cmocka_unit_test(settings_that_cannot_be_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
