/**
 * Paths as text; nothing here looks at the disk. What comes out through out is the caller's (dmq_free).
 */
#ifndef DMQ_BASE_PATH_H
#define DMQ_BASE_PATH_H

#include "base/status.h"

#include <stdbool.h>

/** folder/name; name alone when it is absolute or folder is NULL, "" or ".". */
dmq_status dmq_path_join(char **out, const char *folder, const char *name);

/** The same path with something behind it: "a/b.c" and ".sha256". */
dmq_status dmq_path_append(char **out, const char *path, const char *suffix);

/** The folder that holds it: "a/b.c" -> "a", "b.c" -> ".", "/b" -> "/". */
dmq_status dmq_path_folder(char **out, const char *path);

/** The last component, inside path: "a/b.c" -> "b.c". */
const char *dmq_path_name(const char *path);

/** Whether the name ends so: dmq_path_has_suffix("a.npz", ".npz"). */
bool dmq_path_has_suffix(const char *path, const char *suffix);

/** Absolute, without "." and "..", both taken away as text; EIO when the working folder is not known. */
dmq_status dmq_path_absolute(char **out, const char *path);

/**
 * Where a path of the configuration lies. "data:NAME" is NAME in the data folder: $DMQ_DATA, or the data/
 * of the sources that dmq was built from. "experiments:NAME" likewise: $DMQ_EXPERIMENTS, or experiments/.
 * Anything else is copied.
 */
dmq_status dmq_path_resolve(char **out, const char *path);

#endif
