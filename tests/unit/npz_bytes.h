/**
 * NumPy files made by hand, since no test may need Python; with scratch.h.
 */
#ifndef DMQ_TESTS_NPZ_BYTES_H
#define DMQ_TESTS_NPZ_BYTES_H

#include "base/text.h"
#include "scratch.h"

#include <zip.h>

/** An .npy of a header as given, padded as numpy does, and data; the caller releases. */
static inline dmq_text npy(int major, const char *header, const void *data, size_t size)
{
    dmq_text t = { 0 };
    size_t before = major == 1 ? 10 : 12, n = strlen(header), padded;
    unsigned char start[12] = { 0x93, 'N', 'U', 'M', 'P', 'Y', 0, 0 };

    padded = (before + n + 1 + 63) / 64 * 64 - before;
    start[6] = (unsigned char)major;
    start[8] = (unsigned char)(padded & 255U);
    start[9] = (unsigned char)(padded >> 8);
    dmq_text_add_bytes(&t, (const char *)start, before);
    dmq_text_add(&t, "%-*s\n", (int)padded - 1, header);
    if (size)
        dmq_text_add_bytes(&t, data, size);
    assert_int_equal(t.status, DMQ_OK);
    return t;
}

/** The same of a type ("<f8") and a shape ("3, 4,"). */
static inline dmq_text npy_of(const char *descr, const char *shape, const void *data, size_t size)
{
    char header[256];

    (void)snprintf(header, sizeof header,
                   "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, shape);
    return npy(1, header, data, size);
}

typedef struct npz_member {
    const char *name; /**< "arr_0.npy" */
    const dmq_text *bytes;
} npz_member;

/** method: ZIP_CM_STORE as numpy.savez, ZIP_CM_DEFLATE as numpy.savez_compressed. */
static inline void put_npz(const char *path, int method, int n, const npz_member *members)
{
    int error;
    zip_t *zip;

    (void)unlink(path);
    zip = zip_open(path, ZIP_CREATE, &error);
    assert_non_null(zip);
    for (int i = 0; i < n; i++) {
        const dmq_text *t = members[i].bytes;
        zip_int64_t at =
            zip_file_add(zip, members[i].name, zip_source_buffer(zip, t->data, t->size, 0), 0);

        assert_true(at >= 0);
        assert_int_equal(zip_set_file_compression(zip, (zip_uint64_t)at, method, 0), 0);
    }
    assert_int_equal(zip_close(zip), 0);
}

#endif
