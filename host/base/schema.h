/**
 * The keys of dmq: names, types, ranges, defaults and which stages read them. `dmq config schema` prints
 * the table of schema.c; add a key there.
 *
 * Enums are listed in the order of the C enums that they become, so that dmq_config_enum() is a cast away
 * (reweight.form: minus one, because "off" comes first).
 */
#ifndef DMQ_BASE_SCHEMA_H
#define DMQ_BASE_SCHEMA_H

#include "base/config.h"

/** Stages, for dmq_config_stage_text(). A key that changes only speed or memory belongs to none. */
enum {
    DMQ_STAGE_TRAIN = 1,
    DMQ_STAGE_CALIBRATE = 2,
    DMQ_STAGE_QUANTIZE = 4,
    DMQ_STAGE_SAMPLE = 8,
    DMQ_STAGE_EVALUATE = 16,
    DMQ_STAGE_REPORT = 32,
    DMQ_STAGE_ALL = 63
};

/** A configuration of dmq's own keys with all defaults. */
dmq_status dmq_schema_config(dmq_config **out);

/** The table itself. */
const dmq_config_key *dmq_schema_keys(int *count);

/**
 * What no key can say alone: values that do not fit each other are EINVAL; settings that have no effect
 * because of another are a warning [no-effect]. Called once, when all layers are read.
 */
dmq_status dmq_schema_check(const dmq_config *config);

#endif
