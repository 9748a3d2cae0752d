#include "io/webp.h"

#include "base/memory.h"

#include <string.h>
#include <webp/decode.h>

static dmq_status refuse(const char *name, VP8StatusCode code)
{
    if (code == VP8_STATUS_OUT_OF_MEMORY)
        return dmq_fail(DMQ_ENOMEM, "webp: no memory left");
    return dmq_fail(DMQ_EDATA, "%s: %s", name,
                    code == VP8_STATUS_NOT_ENOUGH_DATA ? "is cut short"
                    : code == VP8_STATUS_UNSUPPORTED_FEATURE
                        ? "uses a feature that libwebp does not read"
                        : "is no WebP image, or a damaged one");
}

static dmq_status look(WebPBitstreamFeatures *out, const char *name, const uint8_t *bytes,
                       size_t size)
{
    VP8StatusCode code = WebPGetFeatures(bytes, size, out);

    if (code != VP8_STATUS_OK)
        return refuse(name, code);
    if (out->has_animation) {
        return dmq_fail(DMQ_EDATA, "%s: is an animation\n  hint: save one of its frames", name);
    }
    return dmq_picture_check_size(name, out->width, out->height);
}

dmq_status dmq_webp_decode(dmq_picture *out, const char *name, const uint8_t *bytes, size_t size)
{
    dmq_picture p = { 0 };
    WebPDecoderConfig config;
    VP8StatusCode code;
    size_t channels;
    dmq_status st = DMQ_OK;

    memset(out, 0, sizeof *out);
    if (!WebPInitDecoderConfig(&config))
        return dmq_fail(DMQ_ENOTSUP, "webp: libwebp is another one than dmq was built with");
    DMQ_TRY(look(&config.input, name, bytes, size));
    channels = config.input.has_alpha ? 4 : 3;
    p.width = config.input.width;
    p.height = config.input.height;
    DMQ_TRY(dmq_alloc((void **)&p.rgb, (size_t)p.width * (size_t)p.height, channels));
    config.output.colorspace = channels == 4 ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = p.rgb;
    config.output.u.RGBA.stride = p.width * (int)channels;
    config.output.u.RGBA.size = (size_t)p.width * (size_t)p.height * channels;
    code = WebPDecode(bytes, size, &config);
    if (code != VP8_STATUS_OK) {
        st = refuse(name, code);
        goto done;
    }
    if (channels == 4)
        DMQ_TRY(dmq_picture_drop_alpha(&p, name));
    *out = p;
    p.rgb = NULL;
done:
    dmq_free(p.rgb);
    return st;
}

dmq_status dmq_webp_size(int *width, int *height, const char *name, const uint8_t *bytes,
                         size_t size)
{
    WebPBitstreamFeatures features;
    dmq_status st = DMQ_OK;

    DMQ_TRY(look(&features, name, bytes, size));
    *width = features.width;
    *height = features.height;
done:
    return st;
}
