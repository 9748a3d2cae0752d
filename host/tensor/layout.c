#include "tensor/layout.h"

#include <stddef.h>

void dmq_nhwc_from_nchw(dmq_real *out, const dmq_real *in, int n, int c, int h, int w)
{
    size_t area = (size_t)h * (size_t)w, channels = (size_t)c;

    for (int i = 0; i < n; i++, out += area * channels, in += area * channels) {
        for (size_t p = 0; p < area; p++) {
            for (size_t k = 0; k < channels; k++)
                out[p * channels + k] = in[k * area + p];
        }
    }
}

void dmq_nchw_from_nhwc(dmq_real *out, const dmq_real *in, int n, int c, int h, int w)
{
    size_t area = (size_t)h * (size_t)w, channels = (size_t)c;

    for (int i = 0; i < n; i++, out += area * channels, in += area * channels) {
        for (size_t k = 0; k < channels; k++) {
            for (size_t p = 0; p < area; p++)
                out[k * area + p] = in[p * channels + k];
        }
    }
}
