#include "quant/cost.h"

#include "base/memory.h"
#include "model/attention.h"

enum { SCALE_BYTES = 4, ZERO_BYTES = 1, FP_BITS = 32, FP_MANTISSA = 23 };

/* ------------------------------------------------------------------ multiply-adds */

/* What a recording of the network told: (n_layers) each. */
typedef struct counting {
    double *macs;   /* of convolutions and linear layers */
    double *length; /* of operands: tokens */
} counting;

static double macs_of(const dmq_layer *l, dmq_shape x)
{
    int h, w;

    if (l->kind == DMQ_LAYER_LINEAR)
        return (double)dmq_shape_count(x) * l->out;
    h = (x.dim[1] + l->pad.top + l->pad.bottom - l->kernel) / l->stride + 1;
    w = (x.dim[2] + l->pad.left + l->pad.right - l->kernel) / l->stride + 1;
    return (double)h * w * l->kernel * l->kernel * l->in * l->out;
}

/* A layer may be recorded more than once. */
static dmq_var *look(void *context, dmq_tape *tape, const dmq_layer *l, dmq_var *x)
{
    counting *c = context;

    (void)tape;
    if (!x)
        return x;
    if (l->kind == DMQ_LAYER_OPERAND) {
        c->length[l->index] = x->shape.dim[1];
    } else {
        c->macs[l->index] += macs_of(l, x->shape);
    }
    return x;
}

/* Queries, keys and values tell all there is to know; probabilities would only take room. */
static int wants(void *context, const dmq_layer *l)
{
    (void)context;
    return l->kind == DMQ_LAYER_OPERAND && !l->from_zero;
}

/* total: with the products of attention. */
static dmq_status count(counting *c, double *total, const dmq_model *model, const dmq_backend *be)
{
    const dmq_hooks hooks = { .context = c, .input = look, .wants = wants };
    dmq_tape *tape = NULL;
    dmq_index *label;
    double bytes;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_tape_create(&tape, be, DMQ_TAPE_FORWARD));
    label = model->n_labels > 0 ? dmq_tape_index(tape, "label", 1) : NULL;
    dmq_tape_output(tape,
                    dmq_model_record(model, tape, &hooks, dmq_tape_input(tape, "x", model->input),
                                     dmq_tape_input(tape, "t", dmq_shape1(1)), label));
    DMQ_TRY(dmq_tape_plan(tape));
    dmq_tape_cost(tape, total, &bytes);
done:
    dmq_tape_destroy(tape);
    return st;
}

/* ------------------------------------------------------------------ size */

static int bits_or(int bits, int fp)
{
    return bits > 0 ? bits : fp;
}

static double ranges_of_weight(const dmq_layer *l, const dmq_choice *c, int per_tensor)
{
    return c->weight_bits > 0 ? (c->split ? 2.0 : 1.0) * (per_tensor ? 1 : l->out) : 0;
}

static double ranges_of_input(const dmq_layer *l, const dmq_choice *c)
{
    return c->act_bits == 0 ? 0 : c->act_channels ? l->in : c->split ? 2 : 1;
}

static void add_size(dmq_cost *out, const dmq_model *model, const dmq_choice *choice,
                     const dmq_cost_ranges *ranges)
{
    const double each = SCALE_BYTES + ZERO_BYTES;
    double numbers = 0;

    for (int i = 0; i < model->n_layers; i++) {
        const dmq_layer *l = &model->layer[i];
        double n = l->weight < 0 ? 0 : (double)dmq_shape_count(model->entry[l->weight].shape);

        numbers += n;
        out->weight_bytes += n * bits_or(choice ? choice[i].weight_bits : 0, FP_BITS) / 8;
        if (!choice)
            continue;
        out->range_bytes += each * ranges_of_weight(l, &choice[i], ranges->per_tensor);
        out->table_bytes += each * ranges->table_rows * ranges_of_input(l, &choice[i]);
    }
    out->rest_bytes = ((double)dmq_model_count(model) - numbers) * FP_BITS / 8;
    out->size_bytes = out->weight_bytes + out->range_bytes + out->table_bytes + out->rest_bytes;
}

/* ------------------------------------------------------------------ bit operations */

static void add_product(dmq_cost *out, double macs, int left, int right)
{
    out->bops += macs * bits_or(left, FP_BITS) * bits_or(right, FP_BITS);
    out->bops_fp23 += 2 * macs * bits_or(left, FP_MANTISSA) * bits_or(right, FP_MANTISSA);
}

/* q k^T and probabilities v of the attention whose operands begin with layer q; returns their MACs. */
static double add_attention(dmq_cost *out, const dmq_model *model, const dmq_choice *choice,
                            const counting *c, int q)
{
    double macs = c->length[q] * c->length[q + DMQ_OPERAND_K] * model->layer[q].in;

    add_product(out, macs, choice ? choice[q].act_bits : 0,
                choice ? choice[q + DMQ_OPERAND_K].act_bits : 0);
    add_product(out, macs, choice ? choice[q + DMQ_OPERAND_SOFTMAX].act_bits : 0,
                choice ? choice[q + DMQ_OPERAND_V].act_bits : 0);
    return 2 * macs;
}

static void add_bops(dmq_cost *out, const dmq_model *model, const dmq_choice *choice,
                     const counting *c)
{
    double layers = 0, hooked = 0;

    for (int i = 0; i < model->n_layers; i++) {
        const dmq_layer *l = &model->layer[i];

        if (l->kind != DMQ_LAYER_OPERAND) {
            layers += c->macs[i];
            add_product(out, c->macs[i], choice ? choice[i].weight_bits : 0,
                        choice ? choice[i].act_bits : 0);
        } else if (i + DMQ_OPERAND_SOFTMAX < model->n_layers &&
                   model->layer[i + DMQ_OPERAND_SOFTMAX].from_zero) {
            hooked += add_attention(out, model, choice, c, i);
        }
    }
    out->macs_products = out->macs - layers;
    add_product(out, out->macs_products - hooked, 0, 0); /* of attention without operands */
}

dmq_status dmq_cost_of(dmq_cost *out, const dmq_model *model, const dmq_choice *choice,
                       const dmq_cost_ranges *ranges, const dmq_backend *backend)
{
    counting c = { 0 };
    dmq_status st = DMQ_OK;

    *out = (dmq_cost){ 0 };
    DMQ_TRY(dmq_alloc((void **)&c.macs, (size_t)model->n_layers, sizeof *c.macs));
    DMQ_TRY(dmq_alloc((void **)&c.length, (size_t)model->n_layers, sizeof *c.length));
    DMQ_TRY(count(&c, &out->macs, model, backend));
    add_size(out, model, choice, ranges);
    add_bops(out, model, choice, &c);
done:
    dmq_free(c.macs);
    dmq_free(c.length);
    return st;
}
