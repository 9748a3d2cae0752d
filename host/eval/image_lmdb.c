/* Image sets kept as an LMDB database, a file of WebP or JPEG in each record: LSUN's. */
#include "base/log.h"
#include "base/memory.h"
#include "eval/image_source.h"
#include "io/lmdb.h"

#include <stdio.h>

static void close_lmdb(void *state)
{
    dmq_lmdb_close(state);
}

static void name_of(char *out, size_t size, const dmq_image_source *source, int64_t i)
{
    char key[DMQ_LMDB_KEY];

    dmq_lmdb_key(key, source->state, i);
    (void)snprintf(out, size, "%s: record %s", dmq_lmdb_path(source->state), key);
}

static dmq_status read_one(dmq_picture *out, const dmq_image_source *source, int64_t i)
{
    const dmq_lmdb *file = source->state;
    size_t size = dmq_lmdb_size(file, i);
    char name[DMQ_IMAGE_NAME];
    uint8_t *bytes = NULL;
    dmq_status st = DMQ_OK;

    name_of(name, sizeof name, source, i);
    if (size > DMQ_PICTURE_BYTES)
        return dmq_fail(DMQ_EDATA, "%s: has %zu bytes: no image has as many", name, size);
    DMQ_TRY(dmq_alloc((void **)&bytes, size, 1));
    DMQ_TRY(dmq_lmdb_read(bytes, file, i));
    DMQ_TRY(dmq_picture_decode(out, name, bytes, size));
done:
    dmq_free(bytes);
    return st;
}

dmq_status dmq_source_lmdb(dmq_image_source *out, const char *path,
                           const dmq_image_set_config *config)
{
    dmq_lmdb *file;
    dmq_picture first = { 0 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_lmdb_open(&file, path));
    *out = (dmq_image_source){ .n = dmq_lmdb_count(file),
                               .c = 3,
                               .kind = "lmdb",
                               .state = file,
                               .picture = read_one,
                               .name = name_of,
                               .close = close_lmdb };
    (void)snprintf(out->text, sizeof out->text, "lmdb, %lld", (long long)out->n);
    /* also shows at once whether the records are images; another size is met when it is read */
    st = read_one(&first, out, 0);
    if (st != DMQ_OK) {
        dmq_lmdb_close(file);
        *out = (dmq_image_source){ 0 };
        goto done;
    }
    if (config->prepare == DMQ_PREPARE_NONE) {
        out->h = first.height;
        out->w = first.width;
    }
    if (config->lossless) {
        dmq_log_warn(
            "lossy-images",
            "%s: images of a database are WebP or JPEG: compression moves FID by whole units",
            path);
    }
done:
    dmq_picture_release(&first);
    return st;
}
