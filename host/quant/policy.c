#include "quant/policy.h"

#include "base/memory.h"
#include "base/text.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What one rule sets; -1: leaves as it is. */
typedef struct action {
    int weight_bits, act_bits, split;
} action;

static dmq_status check_bits(const char *what, int bits)
{
    if (bits == 0 || (bits >= DMQ_MIN_BITS && bits <= DMQ_MAX_BITS))
        return DMQ_OK;
    return dmq_fail(DMQ_EINVAL,
                    "%s = %d: must be %d..%d\n  hint: for full precision write fp (or 32)", what,
                    bits, DMQ_MIN_BITS, DMQ_MAX_BITS);
}

/* One word of an action, "w4" or "afp", from *text; moves *text behind it. */
static int read_word(action *a, const char **text)
{
    const char *p = *text;
    char *end = NULL;
    int *side = *p == 'w' ? &a->weight_bits : &a->act_bits;
    long bits;

    if (*p != 'w' && *p != 'a')
        return 0;
    p++;
    if (strncmp(p, "fp", 2) == 0) {
        *side = 0;
        *text = p + 2;
        return 1;
    }
    if (!isdigit((unsigned char)*p))
        return 0;
    bits = strtol(p, &end, 10);
    *side = bits == 32 ? 0 : bits > 0 && bits < 100 ? (int)bits : 99;
    *text = end;
    return 1;
}

static dmq_status read_action(action *a, const char *text, const char *rule)
{
    const char *p = text;
    dmq_status st = DMQ_OK;

    *a = (action){ -1, -1, -1 };
    if (strcmp(p, "fp") == 0) {
        *a = (action){ 0, 0, 0 };
        return DMQ_OK;
    }
    if (strcmp(p, "split") == 0 || strcmp(p, "nosplit") == 0) {
        a->split = *p == 's';
        return DMQ_OK;
    }
    while (*p && read_word(a, &p))
        continue;
    if (*p || p == text) {
        return dmq_fail(DMQ_EINVAL,
                        "policy: rule \"%s\": unknown action \"%s\"\n"
                        "  hint: actions are w4, a8, w4a8, wfp, afp, fp, split, nosplit",
                        rule, text);
    }
    if (a->weight_bits > 0)
        DMQ_TRY(check_bits("weight bits", a->weight_bits));
    if (a->act_bits > 0)
        DMQ_TRY(check_bits("activation bits", a->act_bits));
    return DMQ_OK;
done:
    return dmq_fail_note(st, "  at policy rule \"%s\"", rule);
}

/* Cut "PATTERN: ACTION" into the caller's buffers, blanks around both taken away. */
static dmq_status cut_rule(char *pattern, char *act, size_t size, const char *rule)
{
    const char *colon = strrchr(rule, ':');
    size_t n;

    if (!colon || strlen(rule) >= size) {
        return dmq_fail(DMQ_EINVAL,
                        "policy: rule \"%s\": expected \"PATTERN: ACTION\"\n"
                        "  hint: for example \"down.*.conv1: w4a8\" or \"conv_in: fp\"",
                        rule);
    }
    while (isspace((unsigned char)*rule))
        rule++;
    n = (size_t)(colon - rule);
    memcpy(pattern, rule, n);
    while (n > 0 && isspace((unsigned char)pattern[n - 1]))
        n--;
    pattern[n] = 0;
    colon++;
    while (isspace((unsigned char)*colon))
        colon++;
    n = strlen(colon);
    memcpy(act, colon, n);
    while (n > 0 && isspace((unsigned char)act[n - 1]))
        n--;
    act[n] = 0;
    return DMQ_OK;
}

static dmq_status no_match(const dmq_model *model, const char *rule, const char *pattern)
{
    char plain[DMQ_NAME_MAX], names[3 * DMQ_NAME_MAX + 8] = "";
    int taken[3] = { -1, -1, -1 };
    size_t n = 0, used = 0;

    for (const char *p = pattern; *p && n + 1 < sizeof plain; p++) {
        if (!strchr("*?[]", *p))
            plain[n++] = *p;
    }
    plain[n] = 0;
    for (int k = 0; k < 3 && k < model->n_layers; k++) {
        int best = -1, best_d = 0;

        for (int i = 0; i < model->n_layers; i++) {
            int d = dmq_text_distance(plain, model->layer[i].name);

            if (i != taken[0] && i != taken[1] && (best < 0 || d < best_d)) {
                best = i;
                best_d = d;
            }
        }
        if (best < 0)
            break;
        taken[k] = best;
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", k ? ", " : "",
                                 model->layer[best].name);
    }
    return dmq_fail(DMQ_EINVAL,
                    "policy: rule \"%s\" matches none of the %d layers\n  hint: nearest: %s", rule,
                    model->n_layers, names);
}

static dmq_status apply_rule(dmq_choice *out, const dmq_model *model, const char *rule)
{
    char pattern[256], text[256];
    action a;
    int hits = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(cut_rule(pattern, text, sizeof pattern, rule));
    DMQ_TRY(read_action(&a, text, rule));
    for (int i = 0; i < model->n_layers; i++) {
        if (fnmatch(pattern, model->layer[i].name, 0) != 0)
            continue;
        hits++;
        if (a.weight_bits >= 0 && model->layer[i].kind != DMQ_LAYER_OPERAND)
            out[i].weight_bits = a.weight_bits;
        if (a.act_bits >= 0)
            out[i].act_bits = a.act_bits;
        if (a.split >= 0)
            out[i].split = a.split && model->layer[i].split > 0;
    }
    if (hits == 0)
        st = no_match(model, rule, pattern);
done:
    return st;
}

/* The first convolution of the first residual block, -1: none. */
static int first_block_conv(const dmq_model *model)
{
    for (int u = 0; u < model->n_units; u++) {
        if (model->unit[u].kind == DMQ_UNIT_RESBLOCK && model->unit[u].n_layers > 0)
            return model->unit[u].layer[0];
    }
    return -1;
}

static void apply_tfmq(dmq_choice *out, const dmq_model *model)
{
    const dmq_unit *time = NULL;
    int first = first_block_conv(model);

    for (int u = 0; u < model->n_units && !time; u++) {
        if (model->unit[u].kind == DMQ_UNIT_TEMPORAL)
            time = &model->unit[u];
    }
    for (int i = 0; i < model->n_layers; i++) {
        const dmq_layer *l = &model->layer[i];

        if (l->kind == DMQ_LAYER_OPERAND)
            continue;
        if (l->first || l->last || l->shortcut || l->downsample || model->entry[l->weight].conv1d)
            out[i] = (dmq_choice){ 0 };
        if (i == first)
            out[i].act_bits = 0;
    }
    if (time && time->n_layers > 0)
        out[time->layer[0]] = (dmq_choice){ 0 };
    if (time && time->n_layers > 1)
        out[time->layer[1]].act_bits = 0;
}

static dmq_status apply_kind(dmq_choice *out, const dmq_model *model, const dmq_policy *policy)
{
    int rules = strcmp(policy->kind, "rules") == 0,
        splits = strcmp(policy->kind, "qdiffusion") == 0;

    for (int i = 0; i < model->n_layers; i++) {
        int operand = model->layer[i].kind == DMQ_LAYER_OPERAND;

        out[i] = (dmq_choice){ .act_channels = policy->act_channels && !operand };
        if (operand && splits)
            out[i].act_bits = policy->act_bits;
        if (rules || operand)
            continue;
        out[i].weight_bits = policy->weight_bits;
        out[i].act_bits = policy->act_bits;
        out[i].split = splits && model->layer[i].split > 0;
    }
    if (strcmp(policy->kind, "tfmq") == 0) {
        apply_tfmq(out, model);
    } else if (!rules && !splits && strcmp(policy->kind, "all") != 0) {
        return dmq_fail(DMQ_EINVAL,
                        "policy \"%s\" is not known\n"
                        "  hint: tfmq, qdiffusion, all, or rules",
                        policy->kind);
    }
    return DMQ_OK;
}

dmq_status dmq_policy_apply(dmq_choice *out, const dmq_model *model, const dmq_policy *policy)
{
    dmq_status st = DMQ_OK;
    int some = 0;

    DMQ_TRY(check_bits("weight bits", policy->weight_bits));
    DMQ_TRY(check_bits("activation bits", policy->act_bits));
    DMQ_TRY(apply_kind(out, model, policy));
    for (int r = 0; r < policy->n_rules; r++)
        DMQ_TRY(apply_rule(out, model, policy->rule[r]));
    for (int i = 0; i < model->n_layers; i++)
        some += out[i].weight_bits > 0 || out[i].act_bits > 0;
    if (some == 0) {
        st =
            dmq_fail(DMQ_EINVAL,
                     "policy \"%s\" with W%dA%d and %d rules quantizes none of the %d layers\n"
                     "  hint: quant.policy: tfmq or all quantizes most of them; the last rule that "
                     "matches wins",
                     policy->kind, policy->weight_bits ? policy->weight_bits : 32,
                     policy->act_bits ? policy->act_bits : 32, policy->n_rules, model->n_layers);
    }
done:
    return st;
}

void dmq_coverage_of(dmq_coverage *out, const dmq_model *model, const dmq_choice *choice)
{
    double saved = 0;

    *out = (dmq_coverage){ 0 };
    for (int i = 0; i < model->n_layers; i++) {
        double n;

        if (model->layer[i].kind == DMQ_LAYER_OPERAND) {
            out->operands += choice[i].act_bits > 0;
            continue;
        }
        out->layers++;
        n = (double)dmq_shape_count(model->entry[model->layer[i].weight].shape);
        out->weights += n;
        out->act_layers += choice[i].act_bits > 0;
        if (choice[i].weight_bits > 0) {
            out->weight_layers++;
            out->weights_quantized += n;
            saved += n * (32 - choice[i].weight_bits) / 8;
        }
    }
    out->size_fp_bytes = 4.0 * (double)dmq_model_count(model);
    out->size_bytes = out->size_fp_bytes - saved;
}

dmq_status dmq_coverage_fp_names(char **out, const dmq_model *model, const dmq_choice *choice,
                                 int inputs)
{
    size_t size = 1, used = 0;
    char *text = NULL;
    dmq_status st;

    *out = NULL;
    for (int i = 0; i < model->n_layers; i++)
        size += strlen(model->layer[i].name) + 2;
    st = dmq_alloc((void **)&text, size, 1);
    for (int i = 0; i < model->n_layers && st == DMQ_OK; i++) {
        if (model->layer[i].kind != DMQ_LAYER_OPERAND &&
            (inputs ? choice[i].act_bits : choice[i].weight_bits) == 0) {
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "",
                                     model->layer[i].name);
        }
    }
    *out = text;
    return st;
}
