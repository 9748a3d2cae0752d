/**
 * The directory of a ZIP archive, and where the bytes of its stored members lie in the file.
 *
 * For containers whose members are read in place: nothing is unpacked, no path that the archive holds is ever
 * opened. Compressed and encrypted members are listed, but have no place. ZIP64 is understood; archives of
 * several disks are refused, and so are those whose 32-bit and 64-bit directories disagree.
 *
 * @see specs: models.md 4.2; PKWARE's APPNOTE
 */
#ifndef DMQ_IO_ZIP_STORED_H
#define DMQ_IO_ZIP_STORED_H

#include "io/input.h"

#include <stdint.h>

typedef struct dmq_zip_entry {
    const char *name; /**< the archive's; not empty, no control characters, at most 1024 bytes */
    uint64_t size;    /**< of the contents, in bytes */
    uint64_t packed;  /**< of what lies in the file */
    uint64_t header;  /**< where its local header begins */
    uint32_t crc;
    uint16_t method; /**< 0: stored */
    uint16_t flags;
} dmq_zip_entry;

typedef struct dmq_zip dmq_zip;

/** input stays the caller's and must outlive it. EDATA with what is wrong; ENOMEM, EIO. */
dmq_status dmq_zip_open(dmq_zip **out, const dmq_input *input);

/** Takes NULL. */
void dmq_zip_close(dmq_zip *zip);

int dmq_zip_count(const dmq_zip *zip);

/** In the order of their names. */
const dmq_zip_entry *dmq_zip_at(const dmq_zip *zip, int i);

/** NULL when there is none. */
const dmq_zip_entry *dmq_zip_find(const dmq_zip *zip, const char *name);

/**
 * Where the contents of a member begin in the file, entry->size bytes. Its local header is read and held against
 * the directory.
 *
 * @return EDATA when it is compressed, encrypted, elsewhere than the directory says, or beyond the end
 */
dmq_status dmq_zip_place(uint64_t *offset, const dmq_zip *zip, const dmq_zip_entry *entry);

/** Read the contents and compare their checksum. EDATA when it differs, else as dmq_zip_place. */
dmq_status dmq_zip_check(const dmq_zip *zip, const dmq_zip_entry *entry);

/** CRC-32 of ZIP (polynomial 0xEDB88320), going on from crc; 0 to begin with. */
uint32_t dmq_crc32(uint32_t crc, const void *bytes, size_t size);

#endif
