/** The verbs of DESIGN: cmd_<verb>.c has each. */
#ifndef DMQ_CLI_VERBS_H
#define DMQ_CLI_VERBS_H

#include "cli/options.h"

dmq_status dmq_cmd_run(const dmq_options *options);
dmq_status dmq_cmd_import(const dmq_options *options);
dmq_status dmq_cmd_train(const dmq_options *options);
dmq_status dmq_cmd_calibrate(const dmq_options *options);
dmq_status dmq_cmd_quantize(const dmq_options *options);
dmq_status dmq_cmd_sample(const dmq_options *options);
dmq_status dmq_cmd_forward(const dmq_options *options);
dmq_status dmq_cmd_evaluate(const dmq_options *options);
dmq_status dmq_cmd_plan(const dmq_options *options);
dmq_status dmq_cmd_sweep(const dmq_options *options);
dmq_status dmq_cmd_table(const dmq_options *options);
dmq_status dmq_cmd_report(const dmq_options *options);
dmq_status dmq_cmd_status(const dmq_options *options);
dmq_status dmq_cmd_config(const dmq_options *options);
dmq_status dmq_cmd_inspect(const dmq_options *options);
dmq_status dmq_cmd_verify(const dmq_options *options);
dmq_status dmq_cmd_doctor(const dmq_options *options);

/** "0.1.0" and the commit it was built from, if known. */
const char *dmq_version(void);

/** The verb spelt most like it, or NULL. */
const char *dmq_nearest_verb(const char *name);

#endif
