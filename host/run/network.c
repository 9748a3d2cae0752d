#include "run/network.h"

#include "base/memory.h"
#include "model/ddpm_unet.h"
#include "model/decoder.h"
#include "model/dit.h"
#include "model/ldm_unet.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------ from the configuration */

static void copy_list(int *to, int *n, int room, const dmq_config *c, const char *key)
{
    const int64_t *from = dmq_config_ints(c, key, n);

    for (int i = 0; i < *n && i < room; i++)
        to[i] = (int)from[i];
}

static dmq_ddpm_unet_config ddpm_of(const dmq_config *c)
{
    dmq_ddpm_unet_config u = dmq_ddpm_unet_cifar10;

    u.in_channels = dmq_config_int(c, "model.in_channels");
    u.out_channels = dmq_config_int(c, "model.out_ch");
    u.resolution = dmq_config_int(c, "model.resolution");
    u.ch = dmq_config_int(c, "model.ch");
    u.num_res_blocks = dmq_config_int(c, "model.num_res_blocks");
    u.norm_groups = dmq_config_int(c, "model.norm_groups");
    copy_list(u.ch_mult, &u.n_levels, DMQ_UNET_LEVELS, c, "model.ch_mult");
    copy_list(u.attention, &u.n_attention, DMQ_UNET_LEVELS, c, "model.attn_resolutions");
    return u;
}

static dmq_status ldm_of(dmq_ldm_unet_config *out, const dmq_config *c)
{
    dmq_ldm_unet_config u = {
        .in_channels = dmq_config_int(c, "model.in_channels"),
        .out_channels = dmq_config_int(c, "model.out_ch"),
        .resolution = dmq_config_int(c, "model.resolution"),
        .model_channels = dmq_config_int(c, "model.ch"),
        .num_res_blocks = dmq_config_int(c, "model.num_res_blocks"),
        .norm_groups = dmq_config_int(c, "model.norm_groups"),
        .num_heads = dmq_config_int(c, "model.num_heads"),
        .num_head_channels = dmq_config_int(c, "model.head_channels"),
        .context_dim = dmq_config_int(c, "model.context_dim"),
        .n_classes = dmq_config_int(c, "model.n_classes"),
        .scale_shift = dmq_config_bool(c, "model.scale_shift"),
        .resblock_updown = dmq_config_bool(c, "model.resblock_updown"),
    };

    copy_list(u.channel_mult, &u.n_levels, DMQ_LDM_LEVELS, c, "model.ch_mult");
    copy_list(u.attention, &u.n_attention, DMQ_LDM_LEVELS, c, "model.attn_resolutions");
    for (int i = 0; i < u.n_attention; i++) { /* widths here, what divides the width there */
        if (u.resolution % u.attention[i] != 0) {
            return dmq_config_refuse(c, "model.attn_resolutions",
                                     "%d is not the width of a level of %d", u.attention[i],
                                     u.resolution);
        }
        u.attention[i] = u.resolution / u.attention[i];
    }
    *out = u;
    return DMQ_OK;
}

static dmq_dit_config dit_of(const dmq_config *c)
{
    return (dmq_dit_config){
        .in_channels = dmq_config_int(c, "model.in_channels"),
        .out_channels = dmq_config_int(c, "model.out_ch"),
        .resolution = dmq_config_int(c, "model.resolution"),
        .patch = dmq_config_int(c, "model.patch"),
        .hidden = dmq_config_int(c, "model.hidden"),
        .depth = dmq_config_int(c, "model.depth"),
        .heads = dmq_config_int(c, "model.num_heads"),
        .n_classes = dmq_config_int(c, "model.n_classes"),
    };
}

static dmq_status make_ddpm(dmq_model **out, const dmq_config *c)
{
    const dmq_ddpm_unet_config u = ddpm_of(c);

    return dmq_ddpm_unet_create(out, &u);
}

static dmq_status make_ldm(dmq_model **out, const dmq_config *c)
{
    dmq_ldm_unet_config u;
    dmq_status st = ldm_of(&u, c);

    return st == DMQ_OK ? dmq_ldm_unet_create(out, &u) : st;
}

static dmq_status make_dit(dmq_model **out, const dmq_config *c)
{
    const dmq_dit_config d = dit_of(c);

    return dmq_dit_create(out, &d);
}

static dmq_status make_decoder(dmq_model **out, const dmq_config *c)
{
    dmq_decoder_config d = {
        .resolution = dmq_config_int(c, "model.resolution"),
        .out_channels = dmq_config_int(c, "model.out_ch"),
        .ch = dmq_config_int(c, "model.ch"),
        .num_res_blocks = dmq_config_int(c, "model.num_res_blocks"),
        .z_channels = dmq_config_int(c, "model.in_channels"),
        .embed_dim = dmq_config_int(c, "model.in_channels"),
        .n_embed = dmq_config_int(c, "model.n_embed"),
        .norm_groups = dmq_config_int(c, "model.norm_groups"),
        .norm_eps = dmq_decoder_vq_f4.norm_eps,
    };

    copy_list(d.ch_mult, &d.n_levels, DMQ_DECODER_LEVELS, c, "model.ch_mult");
    return dmq_decoder_create(out, &d);
}

dmq_status dmq_model_from_config(dmq_model **out, const dmq_config *c)
{
    static dmq_status (*const make[])(
        dmq_model **, const dmq_config *) = { make_ddpm, make_ldm, make_dit, make_decoder };

    return make[dmq_config_enum(c, "model.kind")](out, c);
}

void dmq_model_info_from_config(dmq_model_info *out, const dmq_config *c)
{
    *out = (dmq_model_info){ 0 };
    if (strcmp(dmq_config_text(c, "model.kind"), "decoder") == 0)
        return;
    out->T = dmq_config_int(c, "schedule.T");
    out->scaled = dmq_config_enum(c, "schedule.kind") == 1;
    out->beta_start = dmq_config_real(c, "schedule.beta_start");
    out->beta_end = dmq_config_real(c, "schedule.beta_end");
}

/* ------------------------------------------------------------------ what the checkpoint knows */

dmq_status dmq_config_adopt(dmq_config *c, const char *key, const char *text)
{
    static const dmq_origin origin = { .kind = DMQ_ORIGIN_FLAG, .place = "the checkpoint" };

    return dmq_config_is_set(c, key) ? DMQ_OK : dmq_config_set(c, key, text, &origin);
}

dmq_status dmq_config_adopt_int(dmq_config *c, const char *key, int value)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%d", value);
    return dmq_config_adopt(c, key, text);
}

/* over > 0: over / value instead of value. */
static dmq_status adopt_list(dmq_config *c, const char *key, const int *value, int n, int over)
{
    char text[16 * DMQ_UNET_LEVELS + 8] = "[";
    size_t used = 1;

    for (int i = 0; i < n; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%d", i ? ", " : "",
                                 over > 0 ? over / value[i] : value[i]);
    }
    (void)snprintf(text + used, sizeof text - used, "]");
    return dmq_config_adopt(c, key, text);
}

typedef struct setting {
    const char *key;
    int value;
} setting;

static dmq_status adopt_all(dmq_config *c, const setting *s, size_t n)
{
    dmq_status st = DMQ_OK;

    for (size_t i = 0; i < n && st == DMQ_OK; i++)
        st = dmq_config_adopt_int(c, s[i].key, s[i].value);
    return st;
}

static dmq_status adopt_ddpm(dmq_config *c, const dmq_model *model)
{
    const dmq_ddpm_unet_config *u = dmq_ddpm_unet_config_of(model);
    const setting s[] = {
        { "model.in_channels", u->in_channels },       { "model.out_ch", u->out_channels },
        { "model.resolution", u->resolution },         { "model.ch", u->ch },
        { "model.num_res_blocks", u->num_res_blocks }, { "model.norm_groups", u->norm_groups },
    };
    dmq_status st = DMQ_OK;

    DMQ_TRY(adopt_all(c, s, sizeof s / sizeof *s));
    DMQ_TRY(adopt_list(c, "model.ch_mult", u->ch_mult, u->n_levels, 0));
    DMQ_TRY(adopt_list(c, "model.attn_resolutions", u->attention, u->n_attention, 0));
done:
    return st;
}

static dmq_status adopt_ldm(dmq_config *c, const dmq_model *model)
{
    const dmq_ldm_unet_config *u = dmq_ldm_unet_config_of(model);
    const setting s[] = {
        { "model.in_channels", u->in_channels },
        { "model.out_ch", u->out_channels },
        { "model.resolution", u->resolution },
        { "model.ch", u->model_channels },
        { "model.num_res_blocks", u->num_res_blocks },
        { "model.norm_groups", u->norm_groups },
        { "model.num_heads", u->num_heads },
        { "model.head_channels", u->num_head_channels },
        { "model.context_dim", u->context_dim },
        { "model.n_classes", u->n_classes },
    };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_config_adopt(c, "model.kind", "ldm_unet"));
    DMQ_TRY(adopt_all(c, s, sizeof s / sizeof *s));
    DMQ_TRY(dmq_config_adopt(c, "model.scale_shift", u->scale_shift ? "true" : "false"));
    DMQ_TRY(dmq_config_adopt(c, "model.resblock_updown", u->resblock_updown ? "true" : "false"));
    DMQ_TRY(adopt_list(c, "model.ch_mult", u->channel_mult, u->n_levels, 0));
    DMQ_TRY(adopt_list(c, "model.attn_resolutions", u->attention, u->n_attention, u->resolution));
done:
    return st;
}

static dmq_status adopt_dit(dmq_config *c, const dmq_model *model)
{
    const dmq_dit_config *d = dmq_dit_config_of(model);
    const setting s[] = {
        { "model.in_channels", d->in_channels }, { "model.out_ch", d->out_channels },
        { "model.resolution", d->resolution },   { "model.patch", d->patch },
        { "model.hidden", d->hidden },           { "model.depth", d->depth },
        { "model.num_heads", d->heads },         { "model.n_classes", d->n_classes },
    };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_config_adopt(c, "model.kind", "dit"));
    DMQ_TRY(adopt_all(c, s, sizeof s / sizeof *s));
done:
    return st;
}

/* The text of the network that a configuration describes, without the network: it may be of gigabytes. */
static dmq_status text_of(char **out, const dmq_config *c)
{
    const dmq_ddpm_unet_config u = ddpm_of(c);
    const dmq_dit_config d = dit_of(c);
    dmq_ldm_unet_config l;
    dmq_status st = DMQ_OK;

    switch (dmq_config_enum(c, "model.kind")) {
    case 0:
        return dmq_ddpm_unet_text(out, &u);
    case 1:
        st = ldm_of(&l, c);
        return st == DMQ_OK ? dmq_ldm_unet_text(out, &l) : st;
    default:
        return dmq_dit_text(out, &d);
    }
}

dmq_status dmq_network_adopt(dmq_config *c, const dmq_model *model, const char *path)
{
    const char *kind = model->arch->kind;
    char *told = NULL;
    dmq_status st = DMQ_OK;

    if (strcmp(kind, "ddpm_unet") == 0) {
        DMQ_TRY(adopt_ddpm(c, model));
    } else if (strcmp(kind, "ldm_unet") == 0) {
        DMQ_TRY(adopt_ldm(c, model));
    } else if (strcmp(kind, "dit") == 0) {
        DMQ_TRY(adopt_dit(c, model));
    } else {
        st = dmq_fail(DMQ_EDATA, "%s is a network of kind %s, a diffusion model was expected", path,
                      kind);
        (void)dmq_origin_note(st, dmq_config_origin(c, "model.checkpoint"));
        return dmq_fail_note(st, "  hint: evaluate.features is the place of feature networks, "
                                 "first_stage.checkpoint that of decoders");
    }
    DMQ_TRY(text_of(&told, c));
    if (strcmp(dmq_config_text(c, "model.kind"), kind) != 0 ||
        strcmp(told, model->config_text) != 0) {
        st = dmq_fail(DMQ_EDATA,
                      "%s is another network than model.* says\n  the file:\n%s"
                      "  the configuration:\n%s"
                      "  hint: leave model.* out, the file knows its own",
                      path, model->config_text, told);
    }
done:
    dmq_free(told);
    return st;
}
