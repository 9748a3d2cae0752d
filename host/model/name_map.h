/**
 * What the parameters of a network are called in the files of other programs.
 *
 * An entry's own name is the one of the published state dict. A map says what the same tensor is called elsewhere,
 * always forward, from the own name: names are built and looked up, never taken apart. An architecture provides one
 * map for each layout in which it is published, and lists them in name_map.c; every architecture has the plain one
 * ("as published") without saying so.
 *
 * @see specs: models.md 1.6, 1.7 and 2.4
 */
#ifndef DMQ_MODEL_NAME_MAP_H
#define DMQ_MODEL_NAME_MAP_H

#include "io/json.h"
#include "model/model.h"

#include <stdbool.h>
#include <stddef.h>

/** Room for a name in a file, its path within the file not counted. */
#define DMQ_MAP_NAME 512

/** One layout of one kind of network. */
typedef struct dmq_name_map {
    const char *layout; /**< "diffusers" */
    const char *prefix; /**< in front of every name */
    const char
        *apart; /**< but not of those that begin so: they lie beside what has it; NULL: of all */
    /**
     * The name in this layout, without the prefix, of an entry; a layout may know several names for the same
     * (variant 0, 1, ...), and may hold an entry in several tensors (part 0, 1, ...), which follow each other in the
     * first dimension. False where there is no such variant, or no such part. NULL: the own name, in one part.
     */
    bool (*name)(char out[DMQ_MAP_NAME], const dmq_model *model, const dmq_entry *entry,
                 int variant, int part);
    /**
     * Averaged weights lie in the same dictionary, under names without dots: ema, then the name with every '.' taken
     * out. NULL: there are none, or they are a dictionary of their own.
     */
    const char *ema;
    /** Names that begin so may stand beside the network's and are passed over; ends with NULL. NULL: none. */
    const char *const *beside;
    const char *const *beside_ends; /**< the same of names that end so */
    /** Hold a config.json that lies beside the file against the network; NULL: it is not looked at. */
    dmq_status (*check)(const dmq_model *model, const dmq_json *config, const char *path);
} dmq_name_map;

/** The maps of a kind of network ("ddpm_unet"), the plain one first; NULL behind the last. */
const dmq_name_map *dmq_name_map_of(const char *kind, int i);

/** Name of an entry in a map, with its prefix; false as dmq_name_map.name. */
bool dmq_name_map_name(char out[DMQ_MAP_NAME], const dmq_name_map *map, const dmq_model *model,
                       const dmq_entry *entry, int variant, int part);

/** The name of its average in the same dictionary; false when the map has none. */
bool dmq_name_map_ema(char out[DMQ_MAP_NAME], const dmq_name_map *map, const dmq_model *model,
                      const dmq_entry *entry);

#endif
