/**
 * Networks that no checkpoint holds: random ones of a description, and what stands in for a checkpoint that is missing.
 *
 *   model.checkpoint: "twin.yaml"     model.*, schedule.* and seed of that file: a network with random weights
 *                                     (dmq_model_init_random). Its hash is of its architecture and its seed.
 *   model.network: "ldm4-beds"        where the checkpoint is missing, dmq plan computes with random weights of the
 *                                     published network, and --dry-run looks at its layers. Nothing is written then.
 */
#ifndef DMQ_RUN_STAND_IN_H
#define DMQ_RUN_STAND_IN_H

#include "base/config.h"
#include "io/hash.h"
#include "model/model_file.h"

/** What was looked for and not found; {0} to begin with. */
typedef struct dmq_missing {
    int weights; /**< 1: what stands in has random weights, 0: zeros, enough to count and to look at layers */
    int n;
    char **text; /**< what is missing, where it was named, and how to get it: once each */
} dmq_missing;

void dmq_missing_release(dmq_missing *missing);

/** Add a text, unless it is there. */
dmq_status dmq_missing_add(dmq_missing *missing, const char *text);

/**
 * Add the file that a key names, if it names one and it is not there; `source` is the key that says how to get it.
 * Names that are no paths ("shapes16") are left to who knows them.
 *
 * @param gone  set to 1 when it is not there, else left as it is
 */
dmq_status dmq_missing_look(int *gone, dmq_missing *missing, const dmq_config *config,
                            const char *key, const char *source);

/** Whether a path names a description, not a file of weights. */
int dmq_stand_in_described(const char *path);

/**
 * The network that a .yaml describes.
 *
 * @param info  its schedule; NULL if not wanted
 * @param hash  of what it is, for keys of stages
 * @return      what is wrong with the file or its keys
 */
dmq_status dmq_stand_in_random(dmq_model **out, dmq_model_info *info, char hash[DMQ_HASH_TEXT],
                               const char *path);

/**
 * The published network of a key such as model.network, in place of a checkpoint. The message under way says what is
 * missing; it goes into `missing`.
 *
 * @return  ENOINPUT with that message when nothing stands in: missing is NULL, or the key is empty
 */
dmq_status dmq_stand_in_published(dmq_model **out, dmq_model_info *info, char hash[DMQ_HASH_TEXT],
                                  const dmq_config *config, const char *key, dmq_missing *missing);

#endif
