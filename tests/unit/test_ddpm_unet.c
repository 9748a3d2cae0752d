/* The DDPM UNet as lists: entries, layers, units, values, names and orders; what is refused. */
#include "base/memory.h"
#include "base/status.h"
#include "model/ddpm_unet.h"
#include "model/init.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const dmq_ddpm_unet_config tiny = {
    .in_channels = 3,
    .out_channels = 3,
    .resolution = 16,
    .ch = 32,
    .ch_mult = { 1, 2, 2 },
    .n_levels = 3,
    .num_res_blocks = 1,
    .attention = { 8 },
    .n_attention = 1,
    .norm_groups = 8,
    .norm_eps = 1e-6,
};

static dmq_model *unet_of(const dmq_ddpm_unet_config *config)
{
    dmq_model *m = NULL;
    assert_int_equal(dmq_ddpm_unet_create(&m, config), DMQ_OK);
    return m;
}

static int count_layers(const dmq_model *m, int (*holds)(const dmq_layer *))
{
    int n = 0;
    for (int i = 0; i < m->n_layers; i++)
        n += holds(&m->layer[i]) != 0;
    return n;
}

static int is_linear(const dmq_layer *l)
{
    return l->kind == DMQ_LAYER_LINEAR;
}

static int is_shortcut(const dmq_layer *l)
{
    return l->shortcut;
}

static int is_downsample(const dmq_layer *l)
{
    return l->downsample;
}

static int is_split(const dmq_layer *l)
{
    return l->split > 0;
}

static int is_temporal(const dmq_layer *l)
{
    return l->temporal;
}

static void cifar10_has_the_published_counts(void **state)
{
    (void)state;
    dmq_model *m = unet_of(&dmq_ddpm_unet_cifar10);
    int units[4] = { 0 };

    assert_int_equal(dmq_model_count(m), 35746307);
    assert_int_equal(m->n_entries, 328);
    assert_int_equal(m->n_layers, 113); /* 89 convolutions, 24 linear */
    assert_int_equal(count_layers(m, is_linear), 24);
    assert_int_equal(count_layers(m, is_temporal), 24);
    assert_int_equal(count_layers(m, is_shortcut), 13);
    assert_int_equal(count_layers(m, is_split), 12);
    assert_int_equal(count_layers(m, is_downsample), 3);
    /* 38 units in the papers' count: there the two dense layers are units of their own. */
    assert_int_equal(m->n_units, 37);
    for (int i = 0; i < m->n_units; i++)
        units[m->unit[i].kind]++;
    assert_int_equal(units[DMQ_UNIT_TEMPORAL], 1);
    assert_int_equal(units[DMQ_UNIT_RESBLOCK], 22);
    assert_int_equal(units[DMQ_UNIT_ATTENTION], 6);
    assert_int_equal(units[DMQ_UNIT_LAYER], 8);
    assert_int_equal(m->n_values, 1 + 36 + 22);
    dmq_model_destroy(m);
    dmq_model_destroy(NULL);
}

/* Parameters by state-dict prefix: the layer table of the specification. */
static void cifar10_has_the_published_parameters_by_block(void **state)
{
    (void)state;
    static const struct {
        const char *prefix;
        size_t count;
    } block[] = {
        { "temb.", 328704 },
        { "conv_in.", 3584 },
        { "down.0.block.0.", 361344 },
        { "down.0.downsample.conv.", 147584 },
        { "down.1.block.0.", 1050368 },
        { "down.1.attn.1.", 263680 },
        { "down.1.block.1.", 1312512 },
        { "down.2.downsample.conv.", 590080 },
        { "mid.block_1.", 1312512 },
        { "mid.attn_1.", 263680 },
        { "up.3.block.0.", 2034176 },
        { "up.1.block.2.", 1706240 },
        { "up.1.upsample.conv.", 590080 },
        { "up.0.block.0.", 706048 },
        { "up.0.block.2.", 541952 },
        { "norm_out.", 256 },
        { "conv_out.", 3459 },
    };
    dmq_model *m = unet_of(&dmq_ddpm_unet_cifar10);

    for (size_t i = 0; i < sizeof block / sizeof *block; i++) {
        size_t sum = 0;
        for (int e = 0; e < m->n_entries; e++) {
            if (strncmp(m->entry[e].name, block[i].prefix, strlen(block[i].prefix)) == 0)
                sum += dmq_shape_count(m->entry[e].shape);
        }
        if (sum != block[i].count)
            fail_msg("%s has %zu parameters, expected %zu", block[i].prefix, sum, block[i].count);
    }
    dmq_model_destroy(m);
}

static void entry_is(const dmq_model *m, const char *name, dmq_shape shape, int rank4)
{
    const dmq_entry *e = dmq_model_entry(m, name);
    if (!e)
        fail_msg("no entry %s", name);
    assert_true(dmq_shape_equal(e->shape, shape));
    assert_int_equal(e->rank4, rank4);
}

static void entries_carry_the_names_of_the_state_dict(void **state)
{
    (void)state;
    dmq_model *m = unet_of(&dmq_ddpm_unet_cifar10);

    entry_is(m, "temb.dense.0.weight", dmq_shape2(512, 128), 0);
    entry_is(m, "temb.dense.1.bias", dmq_shape1(512), 0);
    entry_is(m, "conv_in.weight", dmq_shape4(128, 3, 3, 3), 1);
    entry_is(m, "module.conv_in.bias", dmq_shape1(128), 0);
    entry_is(m, "down.1.block.0.nin_shortcut.weight", dmq_shape4(256, 1, 1, 128), 1);
    entry_is(m, "down.1.attn.1.proj_out.weight", dmq_shape4(256, 1, 1, 256), 1);
    entry_is(m, "mid.block_2.temb_proj.weight", dmq_shape2(256, 512), 0);
    entry_is(m, "up.0.block.2.norm1.weight", dmq_shape1(256), 0);
    entry_is(m, "up.0.block.0.conv1.weight", dmq_shape4(128, 3, 3, 384), 1);
    entry_is(m, "up.3.upsample.conv.weight", dmq_shape4(256, 3, 3, 256), 1);
    entry_is(m, "norm_out.bias", dmq_shape1(128), 0);
    entry_is(m, "conv_out.weight", dmq_shape4(3, 3, 3, 128), 1);
    assert_null(dmq_model_entry(m, "up.0.upsample.conv.weight"));
    assert_null(dmq_model_entry(m, "down.3.downsample.conv.weight"));
    assert_null(dmq_model_entry(m, "down.0.attn.0.q.weight"));
    assert_null(dmq_model_entry(m, "down.0.block.0.nin_shortcut.weight"));
    for (int i = 0; i < m->n_entries; i++) {
        assert_int_equal(m->entry[i].offset % 16, 0);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(m->entry[i].name, m->entry[j].name);
        if (i > 0) {
            assert_true(m->entry[i].offset >=
                        m->entry[i - 1].offset + dmq_shape_count(m->entry[i - 1].shape));
        }
    }
    dmq_model_destroy(m);
}

static void layers_know_what_they_are(void **state)
{
    (void)state;
    dmq_model *m = unet_of(&dmq_ddpm_unet_cifar10);
    const dmq_layer *l = dmq_model_layer(m, "down.0.downsample.conv");

    assert_int_equal(l->stride, 2);
    assert_true(l->pad.top == 0 && l->pad.left == 0 && l->pad.bottom == 1 && l->pad.right == 1);
    l = dmq_model_layer(m, "up.1.block.2.nin_shortcut");
    assert_int_equal(l->split, 256);
    assert_int_equal(l->in, 384);
    assert_int_equal(l->kernel, 1);
    assert_true(l->pad.top == 0 && l->pad.bottom == 0);
    assert_int_equal(dmq_model_layer(m, "up.0.block.0.nin_shortcut")->split, 256);
    assert_int_equal(dmq_model_layer(m, "up.0.block.1.nin_shortcut")->split, 128);
    assert_int_equal(dmq_model_layer(m, "down.1.block.0.nin_shortcut")->split, 0);
    l = dmq_model_layer(m, "up.0.block.1.conv1");
    assert_int_equal(l->split, 0); /* it sees the normalized concatenation */
    assert_true(l->pad.top == 1 && l->pad.bottom == 1 && l->stride == 1 && l->kernel == 3);
    assert_true(dmq_model_layer(m, "conv_in")->first && dmq_model_layer(m, "conv_out")->last);
    assert_null(dmq_model_layer(m, "norm_out"));
    assert_string_equal(m->layer[0].name, "temb.dense.0");
    assert_string_equal(m->layer[1].name, "temb.dense.1");
    assert_string_equal(m->layer[2].name, "down.0.block.0.temb_proj");
    assert_string_equal(m->layer[23].name, "up.0.block.2.temb_proj");
    assert_string_equal(m->layer[24].name, "conv_in");
    assert_string_equal(m->layer[112].name, "conv_out");
    for (int i = 0; i < m->n_layers; i++) {
        char name[DMQ_NAME_MAX + 8];
        const dmq_unit *u = &m->unit[m->layer[i].unit];
        int found = 0;

        assert_int_equal(m->layer[i].index, i);
        snprintf(name, sizeof name, "%s.weight", m->layer[i].name);
        assert_ptr_equal(dmq_model_entry(m, name), &m->entry[m->layer[i].weight]);
        snprintf(name, sizeof name, "%s.bias", m->layer[i].name);
        assert_ptr_equal(dmq_model_entry(m, name), &m->entry[m->layer[i].bias]);
        assert_int_equal(m->entry[m->layer[i].weight].shape.dim[0], m->layer[i].out);
        for (int k = 0; k < u->n_layers; k++)
            found += u->layer[k] == i;
        assert_int_equal(found, 1);
    }
    dmq_model_destroy(m);
}

/* Every value is made before it is read, with the channels that its readers expect. */
static void units_fit_each_other(void **state)
{
    (void)state;
    const dmq_ddpm_unet_config *configs[] = { &dmq_ddpm_unet_cifar10, &tiny };

    for (int which = 0; which < 2; which++) {
        dmq_model *m = unet_of(configs[which]);
        int made[512] = { 1 };

        for (int i = 0; i < m->n_values; i++) {
            if (m->value[i].emb_of)
                made[i] = 1;
        }
        assert_int_equal(m->unit[0].kind, DMQ_UNIT_TEMPORAL);
        for (int i = 1; i < m->n_units; i++) {
            const dmq_unit *u = &m->unit[i];
            int channels = m->value[u->in[0]].shape.dim[3];

            assert_int_equal(u->index, i);
            assert_true(made[u->in[0]] && (u->in[1] < 0 || made[u->in[1]]));
            if (u->in[1] >= 0) {
                channels += m->value[u->in[1]].shape.dim[3];
                assert_int_equal(m->value[u->in[1]].shape.dim[1], m->value[u->in[0]].shape.dim[1]);
            }
            assert_int_equal(u->kind == DMQ_UNIT_RESBLOCK, u->emb >= 0);
            assert_int_equal(channels, m->layer[u->layer[0]].in);
            if (u->emb >= 0)
                assert_int_equal(m->value[u->emb].shape.dim[1], m->layer[u->layer[0]].out);
            assert_int_equal(made[u->out], 0);
            made[u->out] = 1;
        }
        for (int i = 0; i < m->n_values; i++) {
            int last = i == m->output ? m->n_units : -1;
            assert_true(made[i]);
            for (int k = 0; k < m->n_units && i != m->output; k++) {
                if (m->unit[k].in[0] == i || m->unit[k].in[1] == i || m->unit[k].emb == i)
                    last = k;
            }
            assert_int_equal(m->value[i].last_reader, last);
        }
        assert_true(dmq_shape_equal(m->value[m->output].shape, m->input));
        dmq_model_destroy(m);
    }
}

static void reference_order_is_the_order_of_registration(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "temporal",
        "conv_in",
        "down.0.block.0",
        "down.0.block.1",
        "down.0.downsample.conv",
        "down.1.block.0",
        "down.1.block.1",
        "down.1.attn.0",
        "down.1.attn.1",
        "down.1.downsample.conv",
        "down.2.block.0",
        "down.2.block.1",
        "down.2.downsample.conv",
        "down.3.block.0",
        "down.3.block.1",
        "mid.block_1",
        "mid.attn_1",
        "mid.block_2",
        "up.0.block.0",
        "up.0.block.1",
        "up.0.block.2",
        "up.1.block.0",
        "up.1.block.1",
        "up.1.block.2",
        "up.1.attn.0",
        "up.1.attn.1",
        "up.1.attn.2",
        "up.1.upsample.conv",
        "up.2.block.0",
        "up.2.block.1",
        "up.2.block.2",
        "up.2.upsample.conv",
        "up.3.block.0",
        "up.3.block.1",
        "up.3.block.2",
        "up.3.upsample.conv",
        "conv_out",
    };
    dmq_model *m = unet_of(&dmq_ddpm_unet_cifar10);

    assert_int_equal(m->n_units, sizeof expected / sizeof *expected);
    for (int i = 0; i < m->n_units; i++)
        assert_string_equal(m->unit[i].name, expected[m->unit[i].reference_order]);
    assert_string_equal(m->unit[5].name, "down.1.block.0"); /* while execution alternates */
    assert_string_equal(m->unit[6].name, "down.1.attn.0");
    assert_string_equal(m->unit[18].name, "up.3.block.0");
    dmq_model_destroy(m);
}

static void refused(dmq_ddpm_unet_config config, const char *says)
{
    dmq_model *m = NULL;
    assert_int_equal(dmq_ddpm_unet_create(&m, &config), DMQ_EINVAL);
    assert_null(m);
    if (!strstr(dmq_message(), says))
        fail_msg("\"%s\" does not say \"%s\"", dmq_message(), says);
}

static void wrong_settings_are_refused(void **state)
{
    (void)state;
    dmq_ddpm_unet_config c = tiny;

    c.norm_groups = 12;
    refused(c, "norm_groups = 12 does not divide the 32 channels of down.0.block.0");
    c = tiny;
    c.attention[0] = 12;
    refused(c, "attention at 12: the levels are at 4..16");
    c = tiny;
    c.resolution = 18;
    refused(c, "resolution = 18 cannot be halved 2 times");
    c = tiny;
    c.ch = 33;
    refused(c, "ch = 33");
    c = tiny;
    c.n_levels = 0;
    refused(c, "levels");
    c = tiny;
    c.ch_mult[1] = 0;
    refused(c, "ch_mult = 0");
    c = tiny;
    c.norm_eps = 0;
    refused(c, "norm_eps = 0");
    c = tiny;
    c.num_res_blocks = 99;
    refused(c, "num_res_blocks = 99");
}

static void a_text_gives_the_same_network(void **state)
{
    (void)state;
    dmq_model *m = unet_of(&tiny), *again = NULL;
    char changed[512];

    assert_int_equal(dmq_ddpm_unet_create_text(&again, m->config_text), DMQ_OK);
    assert_string_equal(again->config_text, m->config_text);
    assert_int_equal(again->n_entries, m->n_entries);
    assert_int_equal(dmq_ddpm_unet_config_of(again)->ch_mult[2], 2);
    dmq_model_destroy(again);
    again = NULL;
    snprintf(changed, sizeof changed, "%sdropout: 0.1\n", m->config_text);
    assert_int_equal(dmq_ddpm_unet_create_text(&again, changed), DMQ_EDATA);
    assert_int_equal(dmq_ddpm_unet_create_text(&again, "resolution: 16\n"), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "in_channels"));
    assert_int_equal(dmq_ddpm_unet_create_text(&again, "in_channels: many\n"), DMQ_EDATA);
    assert_null(again);
    dmq_model_destroy(m);
}

static void initial_weights_have_the_scale_of_their_layer(void **state)
{
    (void)state;
    dmq_model *m = unet_of(&tiny), *other = unet_of(&tiny);
    const dmq_entry *e = dmq_model_entry(m, "down.1.block.0.conv1.weight"); /* 32 -> 64 */
    double limit = sqrt(3 / (9 * (32 + 64) / 2.0)), sum = 0, squares = 0, largest = 0;
    size_t count = dmq_shape_count(e->shape);

    dmq_model_init(m, 7);
    dmq_model_init(other, 7);
    assert_memory_equal(m->params, other->params, m->n_params * sizeof *m->params);
    dmq_model_init(other, 8);
    assert_memory_not_equal(m->params, other->params, m->n_params * sizeof *m->params);
    for (size_t i = 0; i < count; i++) {
        double v = (double)m->params[e->offset + i];
        sum += v;
        squares += v * v;
        largest = fmax(largest, fabs(v));
    }
    assert_true(largest <= limit && largest > 0.99 * limit);
    assert_true(fabs(sum / (double)count) < 0.02 * limit);
    assert_true(fabs(squares / (double)count * 3 / (limit * limit) - 1) < 0.03);
    e = dmq_model_entry(m, "conv_out.weight");
    for (size_t i = 0; i < dmq_shape_count(e->shape); i++)
        assert_true(fabs((double)m->params[e->offset + i]) < 1e-5);
    assert_true(m->params[dmq_model_entry(m, "norm_out.weight")->offset] == 1);
    assert_true(m->params[dmq_model_entry(m, "norm_out.bias")->offset] == 0);
    dmq_model_destroy(m);
    dmq_model_destroy(other);
}

/* Of a network that nobody trains: its last layer too, and nothing else is another draw. */
static void random_weights_leave_no_layer_out(void **state)
{
    (void)state;
    dmq_model *m = unet_of(&tiny), *trained = unet_of(&tiny);
    const dmq_entry *e = dmq_model_entry(m, "conv_out.weight");
    size_t count = dmq_shape_count(e->shape), out = (size_t)e->shape.dim[0], in = count / 9 / out;
    double limit = sqrt(3 / (9 * (double)(in + out) / 2.0)), squares = 0, largest = 0;

    dmq_model_init_random(m, 7);
    dmq_model_init(trained, 7);
    for (size_t i = 0; i < count; i++) {
        double v = (double)m->params[e->offset + i];
        squares += v * v;
        largest = fmax(largest, fabs(v));
    }
    assert_true(largest <= limit && largest > 0.98 * limit);
    assert_true(fabs(squares / (double)count * 3 / (limit * limit) - 1) < 0.1);
    e = dmq_model_entry(m, "down.1.block.0.conv1.weight");
    assert_memory_equal(m->params + e->offset, trained->params + e->offset,
                        dmq_shape_count(e->shape) * sizeof *m->params);
    assert_true(m->params[dmq_model_entry(m, "norm_out.weight")->offset] == 1);
    dmq_model_destroy(m);
    dmq_model_destroy(trained);
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    dmq_model *m = NULL;
    dmq_status st;
    long n = 0;

    do {
        dmq_alloc_fail_at(++n);
        st = dmq_ddpm_unet_create(&m, &tiny);
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK || st == DMQ_ENOMEM);
        assert_int_equal(st == DMQ_OK, m != NULL);
    } while (st != DMQ_OK);
    assert_true(n > 20);
    dmq_model_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cifar10_has_the_published_counts),
        cmocka_unit_test(cifar10_has_the_published_parameters_by_block),
        cmocka_unit_test(entries_carry_the_names_of_the_state_dict),
        cmocka_unit_test(layers_know_what_they_are),
        cmocka_unit_test(units_fit_each_other),
        cmocka_unit_test(reference_order_is_the_order_of_registration),
        cmocka_unit_test(wrong_settings_are_refused),
        cmocka_unit_test(a_text_gives_the_same_network),
        cmocka_unit_test(initial_weights_have_the_scale_of_their_layer),
        cmocka_unit_test(random_weights_leave_no_layer_out),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
