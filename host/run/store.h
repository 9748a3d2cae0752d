/**
 * Results that the runs of a sweep share: each is made once, under the key of what it was made of.
 *
 *   STORE/KEY-FILE          the result; KEY are the first 16 digits of its key
 *   STORE/KEY-FILE.sha256   what it hashed to when it was made
 *   STORE/KEY-FILE.lock     whose holder makes it; others wait for it and then find it there
 *
 * A file gets its name when it is complete, so a maker that is killed leaves none, and its lock goes with it:
 * the next one makes it. Where a file system has no locks (warning [store]), two runs may make the same file
 * at the same time: the same bytes twice, and one of them stays.
 */
#ifndef DMQ_RUN_STORE_H
#define DMQ_RUN_STORE_H

#include "base/status.h"

/** Leaves a file at path, whole or not at all; none when only a part of the work was this process's. */
typedef dmq_status dmq_store_maker(const char *path, void *context);

/** Where the result lies; the caller frees. */
dmq_status dmq_store_path(char **out, const char *store, const char *key, const char *file);

/**
 * Find a result, or make it. One whose hash is not that of its making is damaged and made again (warning
 * [store]).
 *
 * @param made  set to 1 when it was made here; NULL if not wanted
 * @return      ESTOP on a signal while it waits for another process; what `make` says
 */
dmq_status dmq_store_take(int *made, const char *store, const char *key, const char *file,
                          dmq_store_maker *make, void *context);

/** A result becomes a file of a run folder: a link, or a copy where links cannot be. */
dmq_status dmq_store_link(const char *store, const char *key, const char *file, const char *to);

#endif
