/* Which layers a policy quantizes, and what it says about rules that cannot be. */
#include "quant/policy.h"
#include "quant_fixture.h"

static dmq_choice choice[256];

static void apply(const dmq_model *m, const char *kind, int w, int a, const char *const *rule,
                  int n)
{
    OK(dmq_policy_apply(choice, m, &(dmq_policy){ kind, w, a, rule, n, 0 }));
}

static void expect(const dmq_model *m, const char *layer, int w, int a, int split)
{
    const dmq_choice *c = &choice[fixture_layer(m, layer)];

    if (c->weight_bits != w || c->act_bits != a || c->split != split) {
        fail_msg("%s: W%d A%d split %d, expected W%d A%d split %d", layer, c->weight_bits,
                 c->act_bits, c->split, w, a, split);
    }
}

/* The table of gac.md 3.7, row by row, on the CIFAR-10 network. */
static void tfmq_is_the_released_code(void **state)
{
    dmq_model *m = NULL;
    dmq_coverage cover;
    char *fp = NULL;

    (void)state;
    OK(dmq_ddpm_unet_create(&m, &dmq_ddpm_unet_cifar10));
    apply(m, "tfmq", 4, 8, NULL, 0);
    expect(m, "temb.dense.0", 0, 0, 0);
    expect(m, "temb.dense.1", 4, 0, 0);
    expect(m, "down.0.block.0.temb_proj", 4, 8, 0);
    expect(m, "up.0.block.2.temb_proj", 4, 8, 0);
    expect(m, "conv_in", 0, 0, 0);
    expect(m, "conv_out", 0, 0, 0);
    expect(m, "down.0.block.0.conv1", 4, 0, 0);
    expect(m, "down.0.block.0.conv2", 4, 8, 0);
    expect(m, "down.0.block.1.conv1", 4, 8, 0);
    expect(m, "down.1.block.0.nin_shortcut", 0, 0, 0);
    expect(m, "up.3.block.0.nin_shortcut", 0, 0, 0);
    expect(m, "down.0.downsample.conv", 0, 0, 0);
    expect(m, "up.1.upsample.conv", 4, 8, 0);
    expect(m, "mid.attn_1.q", 4, 8, 0);
    expect(m, "mid.attn_1.proj_out", 4, 8, 0);
    dmq_coverage_of(&cover, m, choice);
    assert_int_equal(cover.layers, 113);
    assert_int_equal(cover.weight_layers, 113 - 1 - 2 - 13 - 3);
    assert_int_equal(cover.act_layers, 113 - 1 - 1 - 2 - 1 - 13 - 3);
    OK(dmq_coverage_fp_names(&fp, m, choice, 0));
    assert_non_null(strstr(fp, "temb.dense.0, conv_in, "));
    assert_null(strstr(fp, "temb.dense.1"));
    dmq_free(fp);
    dmq_model_destroy(m);
}

static void qdiffusion_takes_all_and_splits_shortcuts_of_the_decoder(void **state)
{
    dmq_model *m = NULL;
    dmq_coverage cover;
    int splits = 0;

    (void)state;
    OK(dmq_ddpm_unet_create(&m, &dmq_ddpm_unet_cifar10));
    apply(m, "qdiffusion", 8, 8, NULL, 0);
    expect(m, "temb.dense.0", 8, 8, 0);
    expect(m, "conv_in", 8, 8, 0);
    expect(m, "down.1.block.0.nin_shortcut", 8, 8, 0);
    expect(m, "up.1.block.2.nin_shortcut", 8, 8, 1);
    for (int i = 0; i < m->n_layers; i++)
        splits += choice[i].split;
    assert_int_equal(splits, 12);
    dmq_coverage_of(&cover, m, choice);
    assert_int_equal(cover.weight_layers, 113);
    /* all weights at 8 bits: a quarter of them plus biases and norms */
    assert_true(cover.size_bytes < 0.2521 * cover.size_fp_bytes);
    apply(m, "all", 4, 0, NULL, 0);
    expect(m, "up.1.block.2.nin_shortcut", 4, 0, 0);
    dmq_model_destroy(m);
}

static void rules_follow_a_policy_and_the_last_one_wins(void **state)
{
    static const char *const refine[] = { "*.conv1: w8", " conv_in : w8a8 ", "up.*: afp",
                                          "up.0.block.1.conv1: fp", "up.*.nin_shortcut: split" };
    static const char *const alone[] = { "*.temb_proj: w4a8" };
    dmq_model *m = fixture_model();
    int n = 0;

    (void)state;
    apply(m, "tfmq", 4, 8, refine, 5);
    expect(m, "down.0.block.0.conv1", 8, 0, 0);
    expect(m, "conv_in", 8, 8, 0);
    expect(m, "up.0.block.0.conv1", 8, 0, 0);
    expect(m, "up.0.block.0.conv2", 4, 0, 0);
    expect(m, "up.0.block.1.conv1", 0, 0, 0);
    expect(m, "up.0.block.0.nin_shortcut", 0, 0, 1);
    apply(m, "rules", 0, 0, alone, 1);
    for (int i = 0; i < m->n_layers; i++)
        n += choice[i].weight_bits > 0;
    assert_int_equal(n, 8);
    dmq_model_destroy(m);
}

static void refuses(const dmq_model *m, const char *kind, int w, int a, const char *rule,
                    const char *says)
{
    const char *const rules[] = { rule };

    assert_int_equal(
        dmq_policy_apply(choice, m, &(dmq_policy){ kind, w, a, rules, rule ? 1 : 0, 0 }),
        DMQ_EINVAL);
    if (!strstr(dmq_message(), says))
        fail_msg("\"%s\" does not say \"%s\"", dmq_message(), says);
}

static void what_cannot_be_is_named(void **state)
{
    dmq_model *m = fixture_model();

    (void)state;
    refuses(m, "tfqm", 4, 8, NULL, "\"tfqm\" is not known");
    refuses(m, "tfmq", 9, 8, NULL, "weight bits = 9: must be 2..8");
    refuses(m, "tfmq", 4, 1, NULL, "activation bits = 1");
    refuses(m, "all", 0, 0, NULL, "quantizes none of the");
    refuses(m, "rules", 4, 8, NULL, "quantizes none of the");
    refuses(m, "tfmq", 4, 8, "convin: fp", "nearest: conv_in");
    refuses(m, "tfmq", 4, 8, "down.0.blok.0.conv1: fp", "nearest: down.0.block.0.conv1");
    refuses(m, "tfmq", 4, 8, "conv_in fp", "PATTERN: ACTION");
    refuses(m, "tfmq", 4, 8, "conv_in: w4b8", "unknown action \"w4b8\"");
    refuses(m, "tfmq", 4, 8, "conv_in: ", "unknown action");
    refuses(m, "tfmq", 4, 8, "conv_in: w1", "must be 2..8");
    refuses(m, "all", 4, 8, "*: fp", "quantizes none of the");
    dmq_model_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tfmq_is_the_released_code),
        cmocka_unit_test(qdiffusion_takes_all_and_splits_shortcuts_of_the_decoder),
        cmocka_unit_test(rules_follow_a_policy_and_the_last_one_wins),
        cmocka_unit_test(what_cannot_be_is_named),
    };
    return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
