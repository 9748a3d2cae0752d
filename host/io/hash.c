#include "io/hash.h"

#include "base/memory.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <unistd.h>

enum { PIECE = 1 << 20 };

struct dmq_hash {
    EVP_MD_CTX *context;
};

static dmq_status refused(void)
{
    return dmq_fail(DMQ_ENOTSUP, "hash: libcrypto refused to compute SHA-256");
}

dmq_status dmq_hash_create(dmq_hash **out)
{
    dmq_hash *hash = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&hash, 1, sizeof *hash));
    hash->context = EVP_MD_CTX_new();
    if (!hash->context || EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL) != 1) {
        st = refused();
        goto done;
    }
    *out = hash;
    hash = NULL;
done:
    dmq_hash_destroy(hash);
    return st;
}

dmq_status dmq_hash_add(dmq_hash *hash, const void *data, size_t size)
{
    return EVP_DigestUpdate(hash->context, data, size) == 1 ? DMQ_OK : refused();
}

dmq_status dmq_hash_text(char out[DMQ_HASH_TEXT], dmq_hash *hash)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    out[0] = '\0';
    if (EVP_DigestFinal_ex(hash->context, digest, &n) != 1 || n != 32)
        return refused();
    for (unsigned i = 0; i < n; i++)
        (void)snprintf(out + 2 * (size_t)i, 3, "%02x", digest[i]);
    return DMQ_OK;
}

void dmq_hash_destroy(dmq_hash *hash)
{
    if (!hash)
        return;
    EVP_MD_CTX_free(hash->context);
    dmq_free(hash);
}

dmq_status dmq_hash_memory(char out[DMQ_HASH_TEXT], const void *data, size_t size)
{
    dmq_status st = DMQ_OK;
    dmq_hash *hash = NULL;

    out[0] = '\0';
    DMQ_TRY(dmq_hash_create(&hash));
    DMQ_TRY(dmq_hash_add(hash, data, size));
    DMQ_TRY(dmq_hash_text(out, hash));
done:
    dmq_hash_destroy(hash);
    return st;
}

dmq_status dmq_hash_file(char out[DMQ_HASH_TEXT], const char *path)
{
    dmq_status st = DMQ_OK;
    dmq_hash *hash = NULL;
    char *piece = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    out[0] = '\0';
    if (fd < 0)
        return dmq_file_failed(path, false, errno);
    DMQ_TRY(dmq_hash_create(&hash));
    DMQ_TRY(dmq_alloc((void **)&piece, PIECE, 1));
    for (;;) {
        ssize_t n = read(fd, piece, PIECE);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            st = dmq_file_failed(path, false, errno);
            goto done;
        }
        if (n == 0)
            break;
        DMQ_TRY(dmq_hash_add(hash, piece, (size_t)n));
    }
    DMQ_TRY(dmq_hash_text(out, hash));
done:
    dmq_free(piece);
    dmq_hash_destroy(hash);
    (void)close(fd);
    return st;
}
