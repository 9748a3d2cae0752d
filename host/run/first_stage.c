#include "run/first_stage.h"

#include "base/memory.h"
#include "base/path.h"
#include "io/file.h"
#include "model/decoder.h"
#include "model/model_file.h"

#include <string.h>

static dmq_status at(const dmq_config *c, const char *key, dmq_status st)
{
    return dmq_origin_note(st, dmq_config_origin(c, key));
}

/* A decoder, and one of the latents that the network makes. */
static dmq_status check(const dmq_first_stage *f, const dmq_config *c, dmq_shape latent)
{
    const int *want = f->model->input.dim;
    dmq_status st;

    if (!dmq_decoder_is(f->model)) {
        st = dmq_fail(DMQ_EDATA, "%s is a network of kind %s, a decoder was expected", f->path,
                      f->model->arch->kind);
        return at(c, "first_stage.checkpoint", st);
    }
    if (!dmq_shape_equal(f->model->input, latent)) {
        st = dmq_fail(DMQ_EDATA, "%s decodes latents (%d, %d, %d), the network makes (%d, %d, %d)",
                      f->path, want[3], want[1], want[2], latent.dim[3], latent.dim[1],
                      latent.dim[2]);
        return at(c, "first_stage.checkpoint", st);
    }
    return DMQ_OK;
}

/* A file of weights, as first_stage.sha256 says. */
static dmq_status load(dmq_first_stage *f, const dmq_config *c)
{
    const char *hash = dmq_config_text(c, "first_stage.sha256");
    dmq_status st = DMQ_OK;

    if (dmq_stand_in_described(f->path)) {
        DMQ_TRY(dmq_stand_in_random(&f->model, NULL, f->hash, f->path));
    } else {
        DMQ_TRY(dmq_hash_file(f->hash, f->path));
    }
    if (*hash && strcmp(hash, f->hash) != 0) {
        st = dmq_fail(DMQ_EDATA, "%s has sha256 %s, first_stage.sha256 says %s", f->path, f->hash,
                      hash);
        st = at(c, "first_stage.sha256", st);
        return dmq_fail_note(st, "  hint: fetch the file again, or correct first_stage.sha256");
    }
    if (!f->model)
        st = dmq_model_load(&f->model, NULL, f->path);
done:
    return st == DMQ_OK ? st : at(c, "first_stage.checkpoint", st);
}

dmq_status dmq_first_stage_open(dmq_first_stage *out, const dmq_config *c, dmq_shape latent,
                                dmq_missing *missing)
{
    const char *path = dmq_config_text(c, "first_stage.checkpoint");
    dmq_first_stage f = { 0 };
    dmq_status st = DMQ_OK;

    if (!*path)
        return DMQ_OK;
    DMQ_TRY(dmq_path_resolve(&f.path, path));
    if (dmq_file_exists(f.path)) {
        DMQ_TRY(load(&f, c));
    } else {
        st = dmq_fail(DMQ_ENOINPUT, "there is no decoder %s", f.path);
        st = at(c, "first_stage.checkpoint", st);
        (void)dmq_config_hints(c, "first_stage.source", st, "data:NAME is a file of $DMQ_DATA");
        DMQ_TRY(dmq_stand_in_published(&f.model, NULL, f.hash, c, "first_stage.network", missing));
    }
    f.scale_factor = dmq_config_real(c, "first_stage.scale_factor");
    DMQ_TRY(check(&f, c, latent));
    *out = f;
    memset(&f, 0, sizeof f);
done:
    dmq_first_stage_release(&f);
    return st;
}

void dmq_first_stage_release(dmq_first_stage *first)
{
    dmq_model_destroy(first->model);
    dmq_free(first->path);
    memset(first, 0, sizeof *first);
}

dmq_shape dmq_first_stage_image(const dmq_first_stage *first, dmq_shape latent)
{
    return first->model ? dmq_decoder_image(first->model) : latent;
}
