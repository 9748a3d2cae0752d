#include "io/libraries.h"

#include <hdf5.h>
#include <jansson.h>
#include <oneapi/dnnl/dnnl.h>
#include <openssl/crypto.h>
#include <png.h>
#include <yaml.h>
#include <zip.h>

char *openblas_get_config(void);

void dmq_libraries_print(FILE *out)
{
    const dnnl_version_t *dnnl = dnnl_version();
    unsigned major = 0, minor = 0, patch = 0;

    (void)H5get_libversion(&major, &minor, &patch);
    (void)fprintf(out, "oneDNN   %d.%d.%d (OpenMP runtime)\n", dnnl->major, dnnl->minor,
                  dnnl->patch);
    (void)fprintf(out, "OpenBLAS %s\n", openblas_get_config());
    (void)fprintf(out, "HDF5     %u.%u.%u\n", major, minor, patch);
    (void)fprintf(out, "jansson  %s\nlibyaml  %s\nlibpng   %s\nlibzip   %s\nOpenSSL  %s\n",
                  JANSSON_VERSION, yaml_get_version_string(), png_get_libpng_ver(NULL),
                  zip_libzip_version(), OpenSSL_version(OPENSSL_VERSION));
}
