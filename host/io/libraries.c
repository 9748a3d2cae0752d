#include "io/libraries.h"

#include <hdf5.h>
#include <jansson.h>
#include <oneapi/dnnl/dnnl.h>
#include <openssl/crypto.h>
#include <png.h>
#include <stdio.h>
#include <webp/decode.h>
#include <yaml.h>
#include <zip.h>

#include <jpeglib.h> /* wants stdio.h before it */

#define TEXT(macro)  TEXT_(macro)
#define TEXT_(macro) #macro

char *openblas_get_config(void);

void dmq_libraries_print(FILE *out)
{
    const dnnl_version_t *dnnl = dnnl_version();
    unsigned major = 0, minor = 0, patch = 0;
    int webp = WebPGetDecoderVersion();

    (void)H5get_libversion(&major, &minor, &patch);
    (void)fprintf(out, "oneDNN   %d.%d.%d (OpenMP runtime)\n", dnnl->major, dnnl->minor,
                  dnnl->patch);
    (void)fprintf(out, "OpenBLAS %s\n", openblas_get_config());
    (void)fprintf(out, "HDF5     %u.%u.%u\n", major, minor, patch);
    (void)fprintf(out, "jansson  %s\nlibyaml  %s\nlibpng   %s\nlibjpeg  %s\n", JANSSON_VERSION,
                  yaml_get_version_string(), png_get_libpng_ver(NULL), TEXT(LIBJPEG_TURBO_VERSION));
    (void)fprintf(out, "libwebp  %d.%d.%d\nlibzip   %s\nOpenSSL  %s\n", webp >> 16, webp >> 8 & 255,
                  webp & 255, zip_libzip_version(), OpenSSL_version(OPENSSL_VERSION));
}
