#include "model/published.h"

#include "base/text.h"
#include "model/alexnet.h"
#include "model/ddpm_unet.h"
#include "model/decoder.h"
#include "model/dit.h"
#include "model/inception.h"
#include "model/ldm_unet.h"

#include <string.h>

static dmq_status ddpm_cifar10(dmq_model **out)
{
    return dmq_ddpm_unet_create(out, &dmq_ddpm_unet_cifar10);
}

static dmq_status vq_f4(dmq_model **out)
{
    return dmq_decoder_create(out, &dmq_decoder_vq_f4);
}

static dmq_status kl_f8(dmq_model **out)
{
    return dmq_decoder_create(out, &dmq_decoder_kl_f8);
}

static dmq_status dit_xl2_256(dmq_model **out)
{
    return dmq_dit_create(out, &dmq_dit_xl2_256);
}

static dmq_status inception(dmq_model **out)
{
    return dmq_inception_create(out, 0);
}

static dmq_status ldm4_beds(dmq_model **out)
{
    return dmq_ldm_unet_create(out, &dmq_ldm_unet_beds);
}

static dmq_status ldm4_cin(dmq_model **out)
{
    return dmq_ldm_unet_create(out, &dmq_ldm_unet_cin);
}

static dmq_status ldm8_church(dmq_model **out)
{
    return dmq_ldm_unet_create(out, &dmq_ldm_unet_church);
}

/* Totals are those of the specs, not of our own counting: a test holds one against the other. */
static const dmq_published table[] = {
    { "ddpm-cifar10", ddpm_cifar10, 35746307, 328, { 1000, 1e-4, 0.02, NULL, 0 }, NULL },
    { "ldm4-beds", ldm4_beds, 274056163, 368, { 1000, 0.0015, 0.0195, NULL, 1 }, NULL },
    { "ldm4-cin-v2",
      ldm4_cin,
      400920579 + 512512,
      688 + 1,
      { 1000, 0.0015, 0.0195, NULL, 1 },
      NULL },
    { "ldm8-church", ldm8_church, 294966916, 520, { 1000, 0.0015, 0.0155, NULL, 1 }, NULL },
    { "vq-f4", vq_f4, 32960783 + 8192 * 3, 115, { 0, 0, 0, NULL, 0 }, NULL },
    { "kl-f8", kl_f8, 49490199, 140, { 0, 0, 0, NULL, 0 }, NULL },
    { "dit-xl/2-256", dit_xl2_256, 675129632, 292, { 1000, 1e-4, 0.02, NULL, 0 }, NULL },
    /* 94 convolutions with five tensors each; running means and variances are not learnable */
    { "inception-2015-12-05",
      inception,
      23850960 + 2 * 17216,
      94 * 5 + 2,
      { 0, 0, 0, NULL, 0 },
      dmq_inception_fold },
    /* five convolutions, and a weight for each of their channels */
    { "lpips-alex", dmq_alexnet_create, 2469696 + 1152, 5 * 2 + 5, { 0, 0, 0, NULL, 0 }, NULL },
};

enum { COUNT = sizeof table / sizeof *table };

const dmq_published *dmq_published_at(int i)
{
    return i < COUNT ? &table[i] : NULL;
}

dmq_status dmq_published_find(const dmq_published **out, const char *id)
{
    const char *name[COUNT];
    dmq_status st;
    int nearest;

    *out = NULL;
    for (int i = 0; i < COUNT; i++) {
        name[i] = table[i].id;
        if (strcmp(table[i].id, id) == 0) {
            *out = &table[i];
            return DMQ_OK;
        }
    }
    nearest = dmq_text_nearest(id, name, COUNT);
    st = dmq_fail(DMQ_EINVAL, "there is no published network \"%s\"", id);
    if (nearest >= 0)
        return dmq_fail_note(st, "  hint: did you mean \"%s\"?", name[nearest]);
    for (int i = 0; i < COUNT; i++)
        st = dmq_fail_note(st, "  hint: there is \"%s\"", name[i]);
    return st;
}
