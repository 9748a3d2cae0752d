/**
 * Files as a whole. A file has its final name only when it is complete: it is written under a temporary
 * name in the same folder, synced to the disk, and renamed.
 */
#ifndef DMQ_IO_FILE_H
#define DMQ_IO_FILE_H

#include "base/path.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool dmq_file_exists(const char *path);

bool dmq_folder_exists(const char *path);

/** In bytes. ENOINPUT when there is no such file. */
dmq_status dmq_file_size(uint64_t *out, const char *path);

/**
 * The whole file, with a NUL behind its last byte; *size (may be NULL) without it. The caller frees.
 * ENOINPUT; EDATA when it is larger than limit bytes; EIO.
 */
dmq_status dmq_file_read(char **out, size_t *size, const char *path, size_t limit);

/** Write the whole file and give it its name. EIO; a full disk is named as such. */
dmq_status dmq_file_write(const char *path, const void *data, size_t size);

/** The same for a text. */
dmq_status dmq_file_write_text(const char *path, const char *text);

/** Add to the end by one write(2), so that lines of two writers do not mix. Makes the file if needed. */
dmq_status dmq_file_append(const char *path, const void *data, size_t size);

/** Take a file away; none there is fine. */
dmq_status dmq_file_remove(const char *path);

/** Make a folder and the ones above it; one that is there is fine. */
dmq_status dmq_folder_create(const char *path);

/** Bytes that this user may still write where path lies, or would lie. */
dmq_status dmq_disk_free(uint64_t *out, const char *path);

/** EIO "disk full" with both figures when less than bytes are free there. */
dmq_status dmq_disk_check(const char *path, uint64_t bytes);

/** Take away what killed processes of this host left of unfinished writes to path. */
dmq_status dmq_file_clean(const char *path);

/**
 * A name beside path for writing it, no other process uses it: PATH.<host>-<pid>-<n>.tmp. Takes away what
 * killed processes of this host left for the same path. The caller frees.
 */
dmq_status dmq_file_temp(char **out, const char *path);

/** Sync temp to the disk, give it the name path, sync the folder. On failure temp is removed. */
dmq_status dmq_file_commit(const char *temp, const char *path);

/**
 * The status and message for an errno on path. Reading: ENOINPUT when it is not there. Writing: EIO; when
 * the disk is full the message says so and how much is free.
 */
dmq_status dmq_file_failed(const char *path, bool writing, int error);

#endif
