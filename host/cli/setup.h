/**
 * What the verbs share: from the command line to a configuration and an open experiment.
 */
#ifndef DMQ_CLI_SETUP_H
#define DMQ_CLI_SETUP_H

#include "cli/options.h"
#include "report/results.h"
#include "run/experiment.h"
#include "run/stage.h"

/** Built-in < extends < -c files in order < --set < named flags (--seed, --model). */
dmq_status dmq_setup_config(dmq_config **out, const dmq_options *options);

/** The folder of -o, or runs/NAME. The caller frees. */
dmq_status dmq_setup_folder(char **out, const dmq_options *options, const dmq_config *config);

/** Form of progress, as asked for. */
dmq_status dmq_setup_progress(const dmq_options *options);

/**
 * What a dry run or a plan found missing: a warning [missing] each, with the way to get it.
 *
 * @return  ENOINPUT with how many there are; OK when there is none
 */
dmq_status dmq_setup_missing(const dmq_missing *missing);

/** Open experiment and folder, run stages, close: what run, calibrate, quantize, ... are. */
dmq_status dmq_setup_stages(const dmq_options *options, int only);

/** The runs of the folders that are named, as --set, --vs and --across ask for them: what table and report tell. */
dmq_status dmq_setup_results(dmq_results **out, const dmq_options *options);

#endif
