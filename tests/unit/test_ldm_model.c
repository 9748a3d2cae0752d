/* The UNet of latent diffusion as a list: sizes of the published networks, units, layers, policies, settings. */
#include "base/memory.h"
#include "model/ldm_unet.h"
#include "model/model_file.h"
#include "quant/policy.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OK(call) assert_int_equal((call), DMQ_OK)

static const char table[] = "cond_stage_model.embedding.weight";

static dmq_model *make(const dmq_ldm_unet_config *config)
{
    dmq_model *m = NULL;

    if (dmq_ldm_unet_create(&m, config) != DMQ_OK)
        fail_msg("%s", dmq_message());
    return m;
}

static int starts(const char *name, const char *start)
{
    return strncmp(name, start, strlen(start)) == 0;
}

/* Multiply-adds of one sample through a unit; of its attention products apart. */
static double unit_macs(const dmq_model *m, int unit, double *products)
{
    const dmq_unit *u = &m->unit[unit];
    const int reads[3] = { u->in[0], u->in[1], u->emb };
    const dmq_backend *be = NULL;
    dmq_var *in[3] = { 0 };
    dmq_tape *tape = NULL;
    double macs, bytes;

    OK(dmq_backend_open(&be, "ref"));
    OK(dmq_tape_create(&tape, be, DMQ_TAPE_FORWARD));
    for (int k = 0; k < 3; k++) {
        if (reads[k] >= 0)
            in[k] = dmq_tape_input(tape, "in", m->value[reads[k]].shape);
    }
    assert_non_null(dmq_model_record_unit(m, unit, tape, NULL, in[0], in[1], in[2]));
    dmq_tape_cost(tape, &macs, &bytes);
    dmq_tape_destroy(tape);
    *products = 0;
    if (u->kind == DMQ_UNIT_ATTENTION || u->kind == DMQ_UNIT_TRANSFORMER) {
        dmq_shape s = m->value[u->out].shape;
        double c = s.dim[s.rank - 1], tokens = (double)dmq_shape_count(s) / c;

        *products = 2 * tokens * tokens * c;
    }
    return macs - *products;
}

/*
 * Of an entry of the published table: its units and the embedding layers of its blocks. The table counts
 * what the collapsed attention would do formally: queries and result of every token, its key, two products
 * of one token.
 */
static double entry_macs(const dmq_model *m, const char *entry, double *products)
{
    double sum = 0;

    for (int u = 0; u < m->n_units; u++) {
        double p;

        if (m->unit[u].kind == DMQ_UNIT_TEMPORAL || !starts(m->unit[u].name, entry))
            continue;
        sum += unit_macs(m, u, &p);
        *products += p;
        if (m->unit[u].kind == DMQ_UNIT_TRANSFORMER) {
            dmq_shape s = m->value[m->unit[u].out].shape;

            *products += 2.0 * s.dim[1] * s.dim[2];
        }
    }
    for (int i = 0; i < m->n_layers; i++) {
        const dmq_layer *l = &m->layer[i];
        double macs = (double)l->in * l->out;

        if (!starts(l->name, entry))
            continue;
        if (strstr(l->name, "attn2.to_q"))
            sum += macs * m->value[m->unit[l->unit].out].shape.dim[1];
        if (strstr(l->name, "attn2.to_out")) /* one of them is done */
            sum += macs * (m->value[m->unit[l->unit].out].shape.dim[1] - 1);
        if (strstr(l->name, "attn2.to_k") || l->temporal)
            sum += macs;
    }
    return sum;
}

static double entry_count(const dmq_model *m, const char *entry)
{
    double sum = 0;

    for (int i = 0; i < m->n_entries; i++)
        sum += starts(m->entry[i].name, entry) ? (double)dmq_shape_count(m->entry[i].shape) : 0;
    return sum;
}

typedef struct row {
    const char *entry;
    double beds_p, beds_m, cin_p, cin_m; /* millions, as printed */
} row;

/* models.md 2.3 */
static const row rows[] = {
    { "time_embed.", 1.005, 1.0, 0.739, 0.7 },
    { "input_blocks.0.", 0.006, 24.8, 0.005, 21.2 },
    { "input_blocks.1.", 1.105, 3699.6, 0.812, 2718.1 },
    { "input_blocks.2.", 1.105, 3699.6, 0.812, 2718.1 },
    { "input_blocks.3.", 0.452, 462.4, 0.332, 339.7 },
    { "input_blocks.4.", 4.020, 3699.8, 5.712, 5134.5 },
    { "input_blocks.5.", 4.823, 4521.9, 6.302, 5738.5 },
    { "input_blocks.6.", 1.807, 462.4, 1.327, 339.7 },
    { "input_blocks.7.", 9.492, 2274.2, 12.882, 3030.4 },
    { "input_blocks.8.", 10.546, 2543.9, 13.656, 3228.5 },
    { "input_blocks.9.", 4.065, 260.1, 2.987, 191.1 },
    { "input_blocks.10.", 17.273, 1054.1, 34.003, 2066.1 },
    { "input_blocks.11.", 18.476, 1131.2, 36.768, 2243.1 },
    { "middle_block.", 33.736, 2056.8, 54.101, 3305.5 },
    { "output_blocks.0.", 27.310, 1696.4, 46.908, 2891.9 },
    { "output_blocks.1.", 27.310, 1696.4, 46.908, 2891.9 },
    { "output_blocks.2.", 32.529, 3417.6, 51.517, 4779.3 },
    { "output_blocks.3.", 17.021, 4200.9, 19.520, 4729.1 },
    { "output_blocks.4.", 15.515, 3815.6, 17.307, 4162.8 },
    { "output_blocks.5.", 18.074, 7592.0, 19.187, 6937.4 },
    { "output_blocks.6.", 8.036, 7810.2, 8.663, 8154.4 },
    { "output_blocks.7.", 7.032, 6782.6, 7.925, 7399.4 },
    { "output_blocks.8.", 7.835, 13153.7, 8.515, 12080.3 },
    { "output_blocks.9.", 2.160, 8015.5, 1.587, 5889.0 },
    { "output_blocks.10.", 1.658, 5960.3, 1.218, 4379.0 },
    { "output_blocks.11.", 1.658, 5960.3, 1.218, 4379.0 },
    { "out.", 0.006, 24.8, 0.006, 21.2 },
};

static void near_printed(const char *what, double found, double told, double digit)
{
    if (fabs(found - told) > 0.5001 * digit)
        fail_msg("%s: %.4f, the table says %.4f", what, found, told);
}

static void check_table(const dmq_model *m, int cin, double all, double all_products)
{
    double macs = 0, products = 0;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const row *r = &rows[i];
        double found = entry_macs(m, r->entry, &products);

        near_printed(r->entry, entry_count(m, r->entry) * 1e-6, cin ? r->cin_p : r->beds_p, 1e-3);
        near_printed(r->entry, found * 1e-6, cin ? r->cin_m : r->beds_m, 0.1);
        macs += found;
    }
    near_printed("all layers", macs * 1e-9, all, 1e-4);
    near_printed("all attention products", products * 1e-9, all_products, 1e-4);
}

static void the_bedrooms_network_has_its_published_size(void **state)
{
    dmq_model *m = make(&dmq_ldm_unet_beds);
    int kinds[8] = { 0 }, operands = 0;

    (void)state;
    assert_int_equal(dmq_model_count(m), 274056163);
    assert_int_equal(m->n_entries, 368);
    for (int i = 0; i < m->n_layers; i++)
        operands += m->layer[i].kind == DMQ_LAYER_OPERAND;
    assert_int_equal(operands, 4 * 16);
    assert_int_equal(m->n_layers - operands, 99 + 24); /* its convolutions, its linear layers */
    assert_int_equal(m->n_labels, 0);
    for (int u = 0; u < m->n_units; u++)
        kinds[m->unit[u].kind]++;
    assert_int_equal(m->n_units, 47);
    assert_int_equal(kinds[DMQ_UNIT_RESBLOCK], 22);
    assert_int_equal(kinds[DMQ_UNIT_ATTENTION], 16);
    check_table(m, 0, 96.0180, 5.1821);
    dmq_model_destroy(m);
}

static void the_imagenet_network_has_its_published_size(void **state)
{
    dmq_model *m = make(&dmq_ldm_unet_cin);
    const dmq_entry *e = dmq_model_entry(m, table);
    int transformers = 0;

    (void)state;
    assert_non_null(e);
    assert_int_equal(dmq_shape_count(e->shape), 512512);
    assert_int_equal(dmq_model_count(m), 400920579 + 512512);
    assert_int_equal(m->n_entries, 688 + 1);
    assert_int_equal(m->n_classes, 1000);
    assert_int_equal(m->n_labels, 1001);
    for (int u = 0; u < m->n_units; u++) {
        const dmq_unit *n = &m->unit[u];

        if (n->kind != DMQ_UNIT_TRANSFORMER)
            continue;
        transformers++;
        assert_int_equal(n->n_layers, 10 + 5); /* and five operands */
        assert_int_equal(m->value[n->emb].emb_of, DMQ_OF_LABEL);
        assert_int_equal(m->unit[u + 1].in[0], n->out); /* the projection out reads the tokens */
        assert_int_equal(m->unit[u + 1].in[1], m->unit[u - 1].in[0]); /* and what went in */
    }
    assert_int_equal(transformers, 16);
    check_table(m, 1, 99.7698, 4.4573);
    dmq_model_destroy(m);
}

static void the_churches_network_has_its_published_size(void **state)
{
    dmq_model *m = make(&dmq_ldm_unet_church);
    double macs = 0, products = 0;

    (void)state;
    assert_int_equal(dmq_model_count(m), 294966916);
    assert_non_null(dmq_model_layer(m, "input_blocks.3.0.in_layers.2")); /* it resamples */
    assert_non_null(dmq_model_layer(m, "output_blocks.11.2.out_layers.3"));
    assert_null(dmq_model_layer(m, "output_blocks.12.2.out_layers.3"));
    for (int i = 0; i < 4; i++) {
        static const char *const part[] = { "time_embed.", "input_blocks.", "middle_block.",
                                            "out" };
        macs += entry_macs(m, part[i], &products);
    }
    near_printed("all layers", macs * 1e-9, 18.641, 1e-3);
    near_printed("all attention products", products * 1e-9, 2.283, 1e-3);
    dmq_model_destroy(m);
}

/* ------------------------------------------------------------------ small ones */

static const dmq_ldm_unet_config small = { .in_channels = 3,
                                           .out_channels = 3,
                                           .resolution = 8,
                                           .model_channels = 8,
                                           .channel_mult = { 1, 2 },
                                           .n_levels = 2,
                                           .num_res_blocks = 1,
                                           .attention = { 2 },
                                           .n_attention = 1,
                                           .num_head_channels = 8,
                                           .norm_groups = 4 };

static dmq_ldm_unet_config small_cin(void)
{
    dmq_ldm_unet_config c = small;

    c.num_heads = 1;
    c.num_head_channels = 0;
    c.context_dim = 12;
    c.n_classes = 5;
    return c;
}

static int bits_of(const dmq_model *m, const dmq_choice *choice, const char *layer)
{
    const dmq_layer *l = dmq_model_layer(m, layer);

    assert_non_null(l);
    return 100 * choice[l->index].weight_bits + choice[l->index].act_bits;
}

static dmq_choice *chosen(const dmq_model *m, const char *kind)
{
    const dmq_policy policy = { .kind = kind, .weight_bits = 4, .act_bits = 8 };
    dmq_choice *choice = NULL;

    OK(dmq_alloc((void **)&choice, (size_t)m->n_layers, sizeof *choice));
    OK(dmq_policy_apply(choice, m, &policy));
    return choice;
}

static void policies_are_those_of_the_released_codes(void **state)
{
    static const char *const fp[] = { "time_embed.0",
                                      "input_blocks.0.0",
                                      "input_blocks.2.0.op",
                                      "input_blocks.3.0.skip_connection",
                                      "input_blocks.3.1.qkv",
                                      "middle_block.1.proj_out",
                                      "out.2" };
    const dmq_ldm_unet_config cin = small_cin();
    dmq_model *m = make(&small), *c = make(&cin);
    dmq_choice *tfmq = chosen(m, "tfmq"), *all = chosen(m, "qdiffusion"), *t = chosen(c, "tfmq");
    dmq_coverage cover;
    int splits = 0;

    (void)state;
    for (size_t i = 0; i < sizeof fp / sizeof *fp; i++)
        assert_int_equal(bits_of(m, tfmq, fp[i]), 0);
    assert_int_equal(bits_of(m, tfmq, "time_embed.2"), 400);
    assert_int_equal(bits_of(m, tfmq, "input_blocks.1.0.in_layers.2"), 400);
    assert_int_equal(bits_of(m, tfmq, "input_blocks.1.0.out_layers.3"), 408);
    assert_int_equal(bits_of(m, tfmq, "output_blocks.1.2.conv"), 408);
    assert_int_equal(bits_of(c, t, "input_blocks.3.1.proj_in"), 408);
    assert_int_equal(bits_of(c, t, "input_blocks.3.1.transformer_blocks.0.attn2.to_q"), 408);
    for (int i = 0; i < m->n_layers; i++) {
        int operand = m->layer[i].kind == DMQ_LAYER_OPERAND;

        assert_int_equal(100 * all[i].weight_bits + all[i].act_bits, operand ? 8 : 408);
        assert_true(!operand || 100 * tfmq[i].weight_bits + tfmq[i].act_bits == 0);
        splits += all[i].split;
    }
    dmq_coverage_of(&cover, m, all);
    assert_int_equal(cover.weight_layers, cover.layers);
    assert_int_equal(cover.act_layers, cover.layers);
    assert_int_equal(cover.operands, 4 * 4);
    assert_int_equal(splits, 4); /* every block on the way up */
    assert_int_equal(dmq_model_layer(m, "output_blocks.0.0.skip_connection")->split, 16);
    assert_int_equal(dmq_model_layer(m, "output_blocks.3.0.skip_connection")->split, 8);
    dmq_free(tfmq);
    dmq_free(all);
    dmq_free(t);
    dmq_model_destroy(m);
    dmq_model_destroy(c);
}

static void settings_come_back_from_their_text(void **state)
{
    const dmq_ldm_unet_config cin = small_cin();
    dmq_model *m = make(&cin), *again = NULL;
    char *changed = NULL;

    (void)state;
    OK(dmq_model_create(&again, "ldm_unet", m->config_text));
    assert_string_equal(again->config_text, m->config_text);
    assert_memory_equal(dmq_ldm_unet_config_of(again), &cin, sizeof cin);
    assert_int_equal(again->n_params, m->n_params);
    dmq_model_destroy(again);
    again = NULL;
    changed = malloc(strlen(m->config_text) + 32);
    sprintf(changed, "%sdepth: 2\n", m->config_text);
    assert_int_equal(dmq_model_create(&again, "ldm_unet", changed), DMQ_EDATA);
    assert_null(again);
    free(changed);
    dmq_model_destroy(m);
}

static void settings_that_cannot_be_are_named(void **state)
{
    const struct {
        const char *says;
        size_t at; /* of the setting */
        int value;
    } wrong[] = {
        { "model_channels = 9", offsetof(dmq_ldm_unet_config, model_channels), 9 },
        { "resolution = 9", offsetof(dmq_ldm_unet_config, resolution), 9 },
        { "num_heads = 2", offsetof(dmq_ldm_unet_config, num_heads), 2 },
        { "context_dim = 4", offsetof(dmq_ldm_unet_config, context_dim), 4 },
        { "n_classes = 4", offsetof(dmq_ldm_unet_config, n_classes), 4 },
        { "norm_groups = 3", offsetof(dmq_ldm_unet_config, norm_groups), 3 },
        { "num_head_channels 5", offsetof(dmq_ldm_unet_config, num_head_channels), 5 },
        { "attention_resolutions has 3", offsetof(dmq_ldm_unet_config, attention), 3 },
        { "num_res_blocks = 99", offsetof(dmq_ldm_unet_config, num_res_blocks), 99 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        dmq_ldm_unet_config c = small;
        dmq_model *m = NULL;

        *(int *)(void *)((char *)&c + wrong[i].at) = wrong[i].value;
        assert_int_equal(dmq_ldm_unet_create(&m, &c), DMQ_EINVAL);
        assert_null(m);
        if (!strstr(dmq_message(), wrong[i].says))
            fail_msg("\"%s\" is not in: %s", wrong[i].says, dmq_message());
    }
}

static void running_out_of_memory_is_clean(void **state)
{
    const dmq_ldm_unet_config cin = small_cin();
    dmq_model *m = NULL;
    long n = 0;
    dmq_status st;

    (void)state;
    do {
        dmq_alloc_fail_at(++n);
        st = dmq_ldm_unet_create(&m, &cin);
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK || (st == DMQ_ENOMEM && !m));
    } while (st != DMQ_OK);
    assert_true(n > 20);
    dmq_model_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bedrooms_network_has_its_published_size),
        cmocka_unit_test(the_imagenet_network_has_its_published_size),
        cmocka_unit_test(the_churches_network_has_its_published_size),
        cmocka_unit_test(policies_are_those_of_the_released_codes),
        cmocka_unit_test(settings_come_back_from_their_text),
        cmocka_unit_test(settings_that_cannot_be_are_named),
        cmocka_unit_test(running_out_of_memory_is_clean),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
