#include "cli/options.h"

#include "base/memory.h"
#include "base/text.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 1024

enum {
    KEY_SET = 256,
    KEY_SEED,
    KEY_DEVICE,
    KEY_THREADS,
    KEY_RESUME,
    KEY_OVERWRITE,
    KEY_PROGRESS,
    KEY_JSON,
    KEY_DRY_RUN,
    KEY_SHARD,
    KEY_TASK,
    KEY_FORMAT,
    KEY_INPUT,
    KEY_MODEL,
    KEY_LIST,
    KEY_MERGE,
    KEY_ORIGIN,
    KEY_FP,
    KEY_STRICT,
    KEY_NETWORK,
    KEY_WEIGHTS,
    KEY_ROOT,
    KEY_LAYOUT,
    KEY_IGNORE,
    KEY_REFERENCE,
    KEY_ACROSS,
    KEY_IMAGES,
    KEY_READY,
    KEY_MAKE,
    KEY_NO_CHECKSUM,
    KEY_VS
};

/* The one table. Its order is the order of the help. */
static const struct argp_option table[] = {
    { "config", 'c', "FILE", 0, "configuration, later files win", 1 },
    { "set", KEY_SET, "KEY=VALUE", 0, "one value, wins over files", 1 },
    { "seed", KEY_SEED, "N", 0, "of the run, wins over --set seed=N", 1 },
    { "output", 'o', "PATH", 0, "where results go", 1 },
    { "model", KEY_MODEL, "FILE", 0, "checkpoint, wins over the configuration", 2 },
    { "input", KEY_INPUT, "FILE", 0, "x and t: HDF5, or npz", 2 },
    { "network", KEY_NETWORK, "ID", 0, "a published network: ddpm-cifar10, ...", 2 },
    { "weights", KEY_WEIGHTS, "auto|ema|raw", 0, "auto: averaged ones if there are any", 2 },
    { "root", KEY_ROOT, "PATH", 0, "of the state dict in the file: state_dict", 2 },
    { "layout", KEY_LAYOUT, "NAME", 0, "whose names it has: diffusers", 2 },
    { "ignore", KEY_IGNORE, "PREFIX", 0, "tensors that may stand beside", 2 },
    { "images", KEY_IMAGES, "PATH", 0, "score these: an image file, a pack, a folder", 2 },
    { "ready-features", KEY_READY, "FILE", 0, "score these features: an npz", 2 },
    { "make-reference", KEY_MAKE, "NAME", 0, "statistics of --images into -o FILE.h5", 2 },
    { "reference", KEY_REFERENCE, "PATH", 0, "what to compare with", 2 },
    { "no-checksum", KEY_NO_CHECKSUM, NULL, 0, "do not compare those of a ZIP", 2 },
    { "strict", KEY_STRICT, NULL, 0, "refuse pickles that name foreign classes", 2 },
    { "fp", KEY_FP, NULL, 0, "the full-precision model", 2 },
    { "shard", KEY_SHARD, "I/N", 0, "the I-th of N parts", 2 },
    { "merge", KEY_MERGE, NULL, 0, "join the parts", 2 },
    { "task", KEY_TASK, "I", 0, "one task of a sweep, from 0", 2 },
    { "list", KEY_LIST, NULL, 0, "show the tasks, run none", 2 },
    { "format", KEY_FORMAT, "md|csv|json|tex", 0, "of a table", 2 },
    { "across", KEY_ACROSS, "KEY", 0, "let the column of fid, ... mix metrics, ids are told", 2 },
    { "vs", KEY_VS, "paper", 0, "published values beside, and differences", 2 },
    { "origin", KEY_ORIGIN, NULL, 0, "where each value comes from", 2 },
    { "device", KEY_DEVICE, "auto|cpu|ref|check|cuda", 0, "who computes", 3 },
    { "threads", KEY_THREADS, "N", 0, "0: as many as cores; no result depends on it", 3 },
    { "resume", KEY_RESUME, "auto|never|must", 0, "go on where a stopped run was", 3 },
    { "overwrite", KEY_OVERWRITE, NULL, 0, "replace results of another configuration", 3 },
    { "dry-run", KEY_DRY_RUN, NULL, 0, "check everything, compute nothing", 3 },
    { "progress", KEY_PROGRESS, "auto|bar|plain|json|none", 0, "how it is told", 4 },
    { "json", KEY_JSON, NULL, 0, "results on stdout as JSON", 4 },
    { "quiet", 'q', NULL, 0, "warnings and errors only", 4 },
    { "verbose", 'v', NULL, 0, "say more", 4 },
    { 0 }
};

typedef struct parse {
    dmq_options *options;
    const dmq_verb *verb;
    dmq_status status;
    int *done;
} parse;

static dmq_status push(const char ***list, int *count, const char *text)
{
    dmq_status st =
        dmq_grow((void **)list, (size_t)*count, (size_t)*count + 1, sizeof(const char *));

    if (st == DMQ_OK)
        (*list)[(*count)++] = text;
    return st;
}

static const char *name_of(int key)
{
    for (const struct argp_option *o = table; o->name; o++) {
        if (o->key == key)
            return o->name;
    }
    return NULL;
}

static int understands(const dmq_verb *verb, const char *name)
{
    size_t n = strlen(name);

    for (const char *p = verb->keys; *p; p += strcspn(p, " "), p += strspn(p, " ")) {
        if (strncmp(p, name, n) == 0 && (p[n] == ' ' || p[n] == '\0'))
            return 1;
    }
    return 0;
}

static dmq_status whole_number(int *out, const char *option, const char *text, int max)
{
    char *end = NULL;
    long value = strtol(text, &end, 10);

    if (end == text || *end != '\0' || value < 0 || value > max)
        return dmq_fail(DMQ_EUSAGE, "--%s %s: must be a whole number, 0..%d", option, text, max);
    *out = (int)value;
    return DMQ_OK;
}

static dmq_status shard(dmq_options *o, const char *text)
{
    char rest;

    if (sscanf(text, "%d/%d%c", &o->shard, &o->n_shards, &rest) != 2 || o->n_shards < 1 ||
        o->shard < 1 || o->shard > o->n_shards) {
        return dmq_fail(DMQ_EUSAGE, "--shard %s: must be I/N with I from 1 to N, for example 1/4",
                        text);
    }
    return DMQ_OK;
}

static dmq_status one_of(const char *option, const char *text, const char *names, int *index)
{
    int i = 0;

    for (const char *p = names; *p; i++) {
        size_t n = strcspn(p, "|");

        if (strlen(text) == n && strncmp(p, text, n) == 0) {
            if (index)
                *index = i;
            return DMQ_OK;
        }
        p += n + (p[n] == '|');
    }
    return dmq_fail(DMQ_EUSAGE, "--%s %s: must be one of %s", option, text, names);
}

static dmq_status take_value(dmq_options *o, int key, const char *text)
{
    int index = 0;
    dmq_status st = DMQ_OK;

    switch (key) {
    case 'c':
        return push(&o->config, &o->n_config, text);
    case KEY_SET:
        return push(&o->set, &o->n_set, text);
    case KEY_SEED:
        o->seed = text;
        break;
    case 'o':
        o->out = text;
        break;
    case KEY_MODEL:
        o->checkpoint = text;
        break;
    case KEY_INPUT:
        o->input = text;
        break;
    case KEY_NETWORK:
        o->network = text;
        break;
    case KEY_WEIGHTS:
        return one_of("weights", text, "auto|ema|raw", &o->weights);
    case KEY_ROOT:
        o->root = text;
        break;
    case KEY_LAYOUT:
        o->layout = text;
        break;
    case KEY_IGNORE:
        return push(&o->ignore, &o->n_ignore, text);
    case KEY_REFERENCE:
        o->reference = text;
        break;
    case KEY_ACROSS:
        return push(&o->across, &o->n_across, text);
    case KEY_IMAGES:
        o->images = text;
        break;
    case KEY_READY:
        o->ready = text;
        break;
    case KEY_MAKE:
        o->make = text;
        break;
    case KEY_SHARD:
        return shard(o, text);
    case KEY_TASK:
        return whole_number(&o->task, "task", text, INT_MAX);
    case KEY_THREADS:
        return whole_number(&o->threads, "threads", text, MAX_THREADS);
    case KEY_FORMAT:
        o->format = text;
        return one_of("format", text, "md|csv|json|tex", NULL);
    case KEY_VS:
        o->vs = text;
        return one_of("vs", text, "paper", NULL);
    case KEY_DEVICE:
        o->device = text;
        return strncmp(text, "cuda:", 5) == 0
                   ? DMQ_OK
                   : one_of("device", text, "auto|cpu|ref|check|cuda", NULL);
    case KEY_PROGRESS:
        o->progress = text;
        return one_of("progress", text, "auto|bar|plain|json|none", NULL);
    case KEY_RESUME:
        st = one_of("resume", text, "auto|never|must", &index);
        o->resume = (dmq_resume)index;
        return st;
    default:
        break;
    }
    return st;
}

static void take_switch(dmq_options *o, int key)
{
    switch (key) {
    case KEY_OVERWRITE:
        o->overwrite = 1;
        break;
    case KEY_JSON:
        o->json = 1;
        break;
    case KEY_DRY_RUN:
        o->dry_run = 1;
        break;
    case KEY_LIST:
        o->list = 1;
        break;
    case KEY_MERGE:
        o->merge = 1;
        break;
    case KEY_ORIGIN:
        o->origin = 1;
        break;
    case KEY_FP:
        o->fp = 1;
        break;
    case KEY_STRICT:
        o->strict = 1;
        break;
    case KEY_NO_CHECKSUM:
        o->no_checksum = 1;
        break;
    case 'q':
        o->verbosity = -1;
        break;
    case 'v':
        o->verbosity = 1;
        break;
    default:
        break;
    }
}

static error_t take(int key, char *text, struct argp_state *state)
{
    parse *p = state->input;
    const char *name = name_of(key);

    if (key == ARGP_KEY_ARG) {
        p->status = push(&p->options->arg, &p->options->n_arg, text);
        return p->status == DMQ_OK ? 0 : EINVAL;
    }
    if (!name)
        return ARGP_ERR_UNKNOWN;
    if (!understands(p->verb, name)) {
        p->status = dmq_fail(DMQ_EUSAGE, "dmq %s: --%s has no effect here", p->verb->name, name);
        (void)dmq_fail_note(DMQ_EUSAGE, "  hint: dmq %s --help lists what has", p->verb->name);
        return EINVAL;
    }
    if (text) {
        p->status = take_value(p->options, key, text);
    } else {
        take_switch(p->options, key);
    }
    return p->status == DMQ_OK ? 0 : EINVAL;
}

static void help(const dmq_verb *verb)
{
    (void)printf("dmq %s %s\n  %s\n\n", verb->name, verb->args, verb->help);
    for (const struct argp_option *o = table; o->name; o++) {
        char left[64];

        if (!understands(verb, o->name))
            continue;
        (void)snprintf(left, sizeof left, "%c%c --%s%s%s", o->key < 128 ? '-' : ' ',
                       o->key < 128 ? o->key : ' ', o->name, o->arg ? " " : "",
                       o->arg ? o->arg : "");
        (void)printf("  %-42s %s\n", left, o->doc);
    }
    (void)printf(
        "\nExit codes: 0 done, 10 an expectation not met, 64 usage, 65 wrong data, 66 missing "
        "input,\n69 device or library not here, 71 memory, 73 output exists and differs, 74 "
        "I/O,\n75 stopped in order (run again), 78 configuration.\n");
}

/* The option of the table that "--word" or "--word=..." is, or is the only one to begin so. */
static const struct argp_option *option_of(const char *word, int *ambiguous)
{
    const struct argp_option *found = NULL;
    size_t n = strcspn(word, "=");

    *ambiguous = 0;
    for (const struct argp_option *o = table; o->name; o++) {
        if (strncmp(o->name, word, n) != 0)
            continue;
        if (o->name[n] == '\0')
            return o;
        *ambiguous = found != NULL;
        found = o;
    }
    return *ambiguous ? NULL : found;
}

static const struct argp_option *short_option_of(char letter)
{
    for (const struct argp_option *o = table; o->name; o++) {
        if (o->key == letter)
            return o;
    }
    return NULL;
}

static dmq_status refuse_word(const dmq_verb *verb, const char *word, int ambiguous)
{
    const char *names[64];
    int n = 0, nearest = -1;

    for (const struct argp_option *o = table; o->name && n < 64; o++) {
        if (understands(verb, o->name))
            names[n++] = o->name;
    }
    if (strncmp(word, "--", 2) == 0)
        nearest = dmq_text_nearest(word + 2, names, n);
    (void)dmq_fail(DMQ_EUSAGE, "dmq %s: %s: %s", verb->name, word,
                   ambiguous ? "several options begin so" : "there is no such option");
    if (nearest >= 0)
        return dmq_fail_note(DMQ_EUSAGE, "  hint: did you mean \"--%s\"?", names[nearest]);
    return dmq_fail_note(DMQ_EUSAGE, "  hint: dmq %s --help lists the options", verb->name);
}

/* argp says no more than that something was wrong: find what. */
static dmq_status find_mistake(const dmq_verb *verb, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const struct argp_option *o;
        const char *word = argv[i];
        int ambiguous = 0, takes_next;

        if (strcmp(word, "--") == 0)
            break;
        if (word[0] != '-' || word[1] == '\0')
            continue;
        o = word[1] == '-' ? option_of(word + 2, &ambiguous) : short_option_of(word[1]);
        if (!o)
            return refuse_word(verb, word, ambiguous);
        takes_next = o->arg && (word[1] == '-' ? !strchr(word, '=') : word[2] == '\0');
        if (takes_next && ++i == argc) {
            return dmq_fail(DMQ_EUSAGE, "dmq %s: %s needs %s\n  hint: dmq %s --help", verb->name,
                            word, o->arg, verb->name);
        }
        if (!o->arg && strchr(word, '=')) {
            return dmq_fail(DMQ_EUSAGE,
                            "dmq %s: %s: this option takes no value\n  hint: dmq %s "
                            "--help",
                            verb->name, word, verb->name);
        }
    }
    return dmq_fail(DMQ_EUSAGE, "dmq %s: the command line cannot be read\n  hint: dmq %s --help",
                    verb->name, verb->name);
}

dmq_status dmq_options_parse(dmq_options *o, const dmq_verb *verb, int argc, char **argv, int *done)
{
    const struct argp argp = { table, take, NULL, NULL, NULL, NULL, NULL };
    parse p = { .options = o, .verb = verb, .status = DMQ_OK, .done = done };
    error_t error;

    memset(o, 0, sizeof *o);
    o->device = "auto";
    o->format = "md";
    o->progress = "auto";
    o->task = -1;
    *done = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            help(verb);
            *done = 1;
            return DMQ_OK;
        }
    }
    error = argp_parse(&argp, argc, argv,
                       ARGP_NO_EXIT | ARGP_NO_HELP | ARGP_IN_ORDER | ARGP_NO_ERRS, NULL, &p);
    if (p.status != DMQ_OK)
        return p.status;
    return error == 0 ? DMQ_OK : find_mistake(verb, argc, argv);
}

void dmq_options_release(dmq_options *o)
{
    dmq_free(o->config);
    dmq_free(o->set);
    dmq_free(o->arg);
    dmq_free(o->ignore);
    dmq_free(o->across);
}

void dmq_usage(void)
{
    (void)printf("dmq VERB [-c FILE]... [--set KEY=VALUE]... [-o DIR] [options]\n\n");
    for (const dmq_verb *v = dmq_verbs; v->name; v++)
        (void)printf("  %-10s %s\n", v->name, v->help);
    (void)printf("\ndmq VERB --help tells a verb's options; dmq --version the version.\n");
}
