/* dmq VERB: find the verb, read its options, run it, turn its status into words and an exit code. */
#include "base/log.h"
#include "base/progress.h"
#include "base/signal.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "eval/pieces.h"

#include <stdio.h>
#include <string.h>

const dmq_verb dmq_verbs[] = {
    { "run", "-c FILE [-o DIR]", "every stage of an experiment that is not done yet",
      "config set seed output model device threads resume overwrite dry-run progress json quiet "
      "verbose",
      dmq_cmd_run },
    { "train", "-c FILE [-o DIR]", "train a small diffusion model or the feature network",
      "config set seed output device threads resume overwrite dry-run progress quiet verbose",
      dmq_cmd_train },
    { "import", "FILE -o MODEL.h5", "a checkpoint of PyTorch, safetensors, npz or HDF5 -> model.h5",
      "config set output network weights root layout ignore reference no-checksum strict device "
      "threads overwrite dry-run json quiet verbose",
      dmq_cmd_import },
    { "calibrate", "-c FILE -o DIR", "the calibration set from the full-precision model",
      "config set seed output model device threads resume overwrite dry-run progress quiet verbose",
      dmq_cmd_calibrate },
    { "quantize", "-c FILE -o DIR", "ranges, sample weights, reconstruction -> quant.h5",
      "config set seed output model device threads resume overwrite dry-run progress quiet verbose",
      dmq_cmd_quantize },
    { "sample", "-c FILE -o DIR [--fp]", "images from the full-precision or the quantized model",
      "config set seed output model fp shard merge device threads resume overwrite dry-run "
      "progress "
      "quiet verbose",
      dmq_cmd_sample },
    { "forward", "-c FILE|--model FILE --input FILE -o FILE",
      "the network once on x and t of a file: to compare with other tools",
      "config set output model input device threads overwrite quiet verbose", dmq_cmd_forward },
    { "evaluate", "-c FILE -o DIR | --images PATH --reference PATH",
      "features and metrics -> metrics.json; or scores of images that are no run's",
      "config set seed output model images ready-features reference make-reference shard merge "
      "device threads resume overwrite dry-run progress json quiet verbose",
      dmq_cmd_evaluate },
    { "plan", "-c FILE [-o DIR]", "what a run or sweep will take: passes, time, memory, disk",
      "config set seed output model device threads dry-run progress json quiet verbose",
      dmq_cmd_plan },
    { "sweep", "-c FILE [-o DIR] [--task I]", "several arms and seeds of one experiment",
      "config set output model list task device threads resume overwrite dry-run progress "
      "quiet "
      "verbose",
      dmq_cmd_sweep },
    { "table", "DIR...", "results side by side, mean and spread over seeds",
      "format vs set across output overwrite quiet", dmq_cmd_table },
    { "report", "DIR...", "one self-contained HTML file", "vs set across output overwrite quiet",
      dmq_cmd_report },
    { "status", "DIR", "how far a run or sweep is; reads only", "json", dmq_cmd_status },
    { "config", "show|check|schema|list [-c FILE]", "what a configuration says and may say",
      "config set seed origin json", dmq_cmd_config },
    { "inspect", "FILE", "what is in any file that dmq knows", "strict json", dmq_cmd_inspect },
    { "verify", "DIR", "hash the files of a run again and compare", "json quiet", dmq_cmd_verify },
    { "doctor", "", "build, libraries, devices, and a self-test of each", "", dmq_cmd_doctor },
    { NULL, NULL, NULL, NULL, NULL }
};

static const dmq_verb *find(const char *name)
{
    for (const dmq_verb *v = dmq_verbs; v->name; v++) {
        if (strcmp(v->name, name) == 0)
            return v;
    }
    return NULL;
}

static dmq_status unknown(const char *name)
{
    const char *nearest = dmq_nearest_verb(name);

    (void)dmq_fail(DMQ_EUSAGE, "dmq has no verb \"%s\"", name);
    if (nearest)
        return dmq_fail_note(DMQ_EUSAGE, "  hint: did you mean \"dmq %s\"?", nearest);
    return dmq_fail_note(DMQ_EUSAGE, "  hint: dmq --help lists the verbs");
}

/* Verbs whose usage begins with an option, or is empty, take nothing that stands alone. */
static dmq_status check_words(const dmq_verb *verb, const dmq_options *o)
{
    if (o->n_arg == 0 || (verb->args[0] != '-' && verb->args[0] != '\0'))
        return DMQ_OK;
    return dmq_fail(DMQ_EUSAGE, "dmq %s: \"%s\" is not understood here\n  hint: %s", verb->name,
                    o->arg[0],
                    verb->args[0] ? "-c FILE reads a configuration, -o DIR names the folder"
                                  : "it takes no words");
}

static dmq_status dispatch(int argc, char **argv)
{
    dmq_options options = { 0 };
    const dmq_verb *verb;
    dmq_status st;
    int finished = 0;

    if (argc < 2)
        return dmq_fail(DMQ_EUSAGE, "which verb?\n  hint: dmq --help lists them");
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0) {
        dmq_usage();
        return DMQ_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)printf("dmq %s\n", dmq_version());
        return DMQ_OK;
    }
    verb = find(argv[1]);
    if (!verb)
        return unknown(argv[1]);
    st = dmq_options_parse(&options, verb, argc - 1, argv + 1, &finished);
    if (st == DMQ_OK && !finished)
        st = check_words(verb, &options);
    if (st == DMQ_OK && !finished) {
        dmq_log_verbosity_set(options.verbosity < 0   ? DMQ_QUIET
                              : options.verbosity > 0 ? DMQ_VERBOSE
                                                      : DMQ_NORMAL);
        dmq_signal_install();
        if (options.threads > 0) /* of metrics and data sets; lanes are made by the verbs */
            dmq_pieces_threads_set(options.threads);
        st = verb->run(&options);
    }
    dmq_options_release(&options);
    return st;
}

int main(int argc, char **argv)
{
    dmq_status st = dispatch(argc, argv);

    if (st == DMQ_ESTOP) {
        dmq_log_info("%s; run the same command again to go on", dmq_message());
    } else if (st != DMQ_OK) {
        dmq_log_error("%s", dmq_message());
    }
    dmq_log_summary();
    return dmq_exit_code(st);
}
