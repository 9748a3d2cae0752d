/* Typed configuration, its schema, and the YAML that sets it. */
#include "base/config.h"
#include "base/memory.h"
#include "base/schema.h"
#include "base/text.h"
#include "io/file.h"
#include "io/yaml.h"
#include "scratch.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LEARN = 1, DRAW = 2 };

static const dmq_config_key schema[] = {
    { "name", DMQ_CONFIG_TEXT, "run", .help = "a name" },
    { "file", DMQ_CONFIG_PATH, "", .stages = 0 },
    { "quant.act.bits", DMQ_CONFIG_INT, "8", 2, 8, .word = "off", .main = true, .stages = LEARN,
      .hint = "for no activation quantization write \"act: off\"" },
    { "quant.act.init", DMQ_CONFIG_ENUM, "mse", .names = "mse|max|ema_minmax", .stages = LEARN },
    { "recon.lr", DMQ_CONFIG_REAL, "1.0e-3", DMQ_CONFIG_POSITIVE, 10, .stages = LEARN },
    { "recon.beta", DMQ_CONFIG_REALS, "[20, 2]", 0.1, 100, .min_items = 2, .max_items = 2,
      .stages = LEARN },
    { "recon.budget", DMQ_CONFIG_SIZE, "2G", 0, 9e18, .stages = 0 },
    { "draw.seed", DMQ_CONFIG_INT, "1", 0, 9.2e18, .stages = DRAW },
    { "draw.clip", DMQ_CONFIG_BOOL, "false", .stages = DRAW },
    { "draw.levels", DMQ_CONFIG_INTS, "[1, 2]", 1, 64, .stages = DRAW },
    { "draw.later", DMQ_CONFIG_ENUM, "old", .names = "old|new", .stages = DRAW, .quiet = true },
    { "draw.metrics", DMQ_CONFIG_ENUMS, "[]", .names = "fd|is" },
    { "draw.rules", DMQ_CONFIG_TEXTS, "[]", .stages = 0 },
    { "draw.paper", DMQ_CONFIG_REAL, "none", 0, 1e6, .word = "none", .word_value = (double)NAN },
};

static dmq_config *fresh(void)
{
    dmq_config *c = NULL;

    assert_int_equal(dmq_config_create(&c, schema, (int)(sizeof schema / sizeof schema[0])),
                     DMQ_OK);
    return c;
}

static const char *write_file(const char *name, const char *text)
{
    const char *path = in_folder(name);

    assert_int_equal(dmq_file_write_text(path, text), DMQ_OK);
    return path;
}

static void says(dmq_status st, dmq_status expected, const char *message)
{
    assert_int_equal(st, expected);
    assert_string_equal(dmq_message(), message);
}

/* ------------------------------------------------------------------ values */

static void defaults_are_typed(void **state)
{
    dmq_config *c = fresh();
    int n;

    (void)state;
    assert_string_equal(dmq_config_text(c, "name"), "run");
    assert_int_equal(dmq_config_int(c, "quant.act.bits"), 8);
    assert_int_equal(dmq_config_enum(c, "quant.act.init"), 0);
    assert_true(dmq_config_real(c, "recon.lr") == 1e-3);
    assert_true(dmq_config_reals(c, "recon.beta", &n)[1] == 2.0);
    assert_int_equal(n, 2);
    assert_true(dmq_config_int64(c, "recon.budget") == (INT64_C(2) << 30));
    assert_false(dmq_config_bool(c, "draw.clip"));
    assert_int_equal(dmq_config_ints(c, "draw.levels", NULL)[0], 1);
    (void)dmq_config_texts(c, "draw.metrics", &n);
    assert_int_equal(n, 0);
    assert_true(isnan(dmq_config_real(c, "draw.paper")));
    assert_string_equal(dmq_config_value(c, "draw.paper"), "none");
    assert_false(dmq_config_is_set(c, "name"));
    assert_int_equal(dmq_config_origin(c, "name")->kind, DMQ_ORIGIN_DEFAULT);
    dmq_config_destroy(c);
}

static void flags_set_and_are_remembered(void **state)
{
    static const char *const flags[] = {
        "quant.act=off",
        "quant.act.init=ema_minmax",
        "recon.lr=2.5E-2",
        "recon.beta=10,1.5",
        "recon.budget=1536M",
        "draw.seed=9007199254740993",
        "draw.clip=true",
        "draw.levels=[3]",
        "draw.metrics=[is, fd]",
        "draw.paper=4.32",
        "name=a = b",
        "file=sub/x.h5",
        "draw.rules=[\"a, b: c\", 'd']",
    };
    dmq_config *c = fresh();
    char here[1024], expected[1100];
    int n;

    (void)state;
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        assert_int_equal(dmq_config_set_flag(c, flags[i]), DMQ_OK);
    assert_int_equal(dmq_config_int(c, "quant.act.bits"), 0);
    assert_string_equal(dmq_config_value(c, "quant.act.bits"), "off");
    assert_int_equal(dmq_config_enum(c, "quant.act.init"), 2);
    assert_string_equal(dmq_config_value(c, "recon.lr"), "0.025");
    assert_string_equal(dmq_config_value(c, "recon.beta"), "[10, 1.5]");
    assert_string_equal(dmq_config_value(c, "recon.budget"), "1536M");
    assert_true(dmq_config_int64(c, "draw.seed") == 9007199254740993);
    assert_true(dmq_config_bool(c, "draw.clip"));
    assert_string_equal(dmq_config_texts(c, "draw.metrics", &n)[1], "fd");
    assert_int_equal(n, 2);
    assert_string_equal(dmq_config_texts(c, "draw.rules", &n)[0], "a, b: c");
    assert_string_equal(dmq_config_texts(c, "draw.rules", &n)[1], "d");
    assert_int_equal(n, 2);
    assert_string_equal(dmq_config_text(c, "name"), "a = b");
    assert_string_equal(dmq_config_origin(c, "draw.clip")->place, "--set draw.clip=true");
    assert_non_null(getcwd(here, sizeof here));
    (void)snprintf(expected, sizeof expected, "%s/sub/x.h5", here);
    assert_string_equal(dmq_config_text(c, "file"), expected);
    dmq_config_destroy(c);
}

static void wrong_values_name_rule_place_and_way_out(void **state)
{
    static const char *const cases[][2] = {
        { "quant.act.bits=9", "quant.act.bits = 9: must be 2..8 or off\n"
                              "  at --set quant.act.bits=9\n"
                              "  hint: for no activation quantization write \"act: off\"" },
        { "quant.act.bits=4.5", "quant.act.bits = 4.5: must be a whole number, 2..8 or off\n"
                                "  at --set quant.act.bits=4.5\n"
                                "  hint: for no activation quantization write \"act: off\"" },
        { "quant.act.init=mes", "quant.act.init = mes: must be one of mse, max, ema_minmax\n"
                                "  at --set quant.act.init=mes\n  hint: did you mean \"mse\"?" },
        { "recon.lr=0", "recon.lr = 0: must be above 0, at most 10\n  at --set recon.lr=0" },
        { "recon.lr=0x1", "recon.lr = 0x1: must be a number, above 0, at most 10\n"
                          "  at --set recon.lr=0x1" },
        { "recon.lr=nan", "recon.lr = nan: must be a number, above 0, at most 10\n"
                          "  at --set recon.lr=nan" },
        { "recon.lr=", "recon.lr = (nothing): must be a number, above 0, at most 10\n"
                       "  at --set recon.lr=" },
        { "recon.beta=[20]", "recon.beta: has 1 items, must have 2\n  at --set recon.beta=[20]" },
        { "recon.beta=20,x", "recon.beta: item 2 = x: must be a number, 0.1..100\n"
                             "  at --set recon.beta=20,x" },
        { "recon.budget=8GB", "recon.budget = 8GB: must be a size such as 512M or 8G, 0..9e+18\n"
                              "  at --set recon.budget=8GB" },
        { "draw.clip=yes", "draw.clip = yes: must be true or false\n  at --set draw.clip=yes" },
        { "draw.seed=99999999999999999999",
          "draw.seed = 99999999999999999999: must be a whole number, 0..9.2e+18\n"
          "  at --set draw.seed=99999999999999999999" },
        { "draw.metrics=fdd", "draw.metrics: item 1 = fdd: must be one of fd, is\n"
                              "  at --set draw.metrics=fdd\n  hint: did you mean \"fd\"?" },
        { "recon=3", "recon: is a group of keys, a value cannot be given to it\n"
                     "  at --set recon=3\n"
                     "  hint: \"dmq config schema\" lists the keys of recon" },
        { "quant.act.bit=4", "quant.act.bit: there is no such key\n"
                             "  at --set quant.act.bit=4\n"
                             "  hint: did you mean \"quant.act.bits\"?" },
        { "lr=1", "lr: there is no such key\n  at --set lr=1\n"
                  "  hint: did you mean \"recon.lr\"?" },
        { "qaunt.act.bits=1", "qaunt.act.bits: there is no such key\n"
                              "  at --set qaunt.act.bits=1\n"
                              "  hint: did you mean \"quant.act.bits\"?" },
        { "xyzzy=1", "xyzzy: there is no such key\n  at --set xyzzy=1\n"
                     "  hint: \"dmq config schema\" lists all keys" },
    };
    dmq_config *c = fresh();

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        says(dmq_config_set_flag(c, cases[i][0]), DMQ_EINVAL, cases[i][1]);
    assert_int_equal(dmq_config_set_flag(c, "recon.lr"), DMQ_EUSAGE);
    assert_int_equal(dmq_config_set_flag(c, "=3"), DMQ_EUSAGE);
    assert_int_equal(dmq_config_int(c, "quant.act.bits"), 8); /* the old value stays */
    assert_int_equal(dmq_config_refuse(c, "recon.lr", "must be below %d", 1), DMQ_EINVAL);
    assert_string_equal(dmq_message(), "recon.lr = 0.001: must be below 1");
    dmq_config_destroy(c);
}

static void stage_text_depends_on_values_alone(void **state)
{
    dmq_config *a = fresh(), *b = fresh();
    char *x, *y;

    (void)state;
    assert_int_equal(dmq_config_set_flag(b, "recon.lr=1e-3"), DMQ_OK);
    assert_int_equal(dmq_config_set_flag(b, "draw.seed=5"), DMQ_OK);
    assert_int_equal(dmq_config_stage_text(&x, a, LEARN), DMQ_OK);
    assert_int_equal(dmq_config_stage_text(&y, b, LEARN), DMQ_OK);
    assert_string_equal(x, y);
    assert_string_equal(x, "quant.act.bits: 8\nquant.act.init: mse\nrecon.beta: [20, 2]\n"
                           "recon.lr: 0.001\n");
    dmq_free(y);
    dmq_free(x);
    assert_int_equal(dmq_config_stage_text(&y, b, DRAW), DMQ_OK);
    assert_string_equal(y, "draw.clip: false\ndraw.levels: [1, 2]\ndraw.seed: 5\n");
    dmq_free(y);
    assert_int_equal(dmq_config_set_flag(b, "draw.later=new"), DMQ_OK);
    assert_int_equal(dmq_config_stage_text(&y, b, DRAW), DMQ_OK);
    assert_string_equal(y, "draw.clip: false\ndraw.later: new\ndraw.levels: [1, 2]\n"
                           "draw.seed: 5\n");
    dmq_free(y);
    dmq_config_destroy(a);
    dmq_config_destroy(b);
}

static void numbers_and_words(void **state)
{
    static const char *const words[] = { "alpha", "beta" };
    char out[DMQ_TEXT_REAL];

    (void)state;
    dmq_text_real(out, 0.1);
    assert_string_equal(out, "0.1");
    dmq_text_real(out, 1.0 / 3.0);
    assert_string_equal(out, "0.3333333333333333");
    dmq_text_real(out, 20000.0);
    assert_string_equal(out, "20000");
    dmq_text_real(out, -1e-8);
    assert_string_equal(out, "-1e-08");
    assert_int_equal(dmq_text_distance("", "abc"), 3);
    assert_int_equal(dmq_text_distance("kitten", "sitting"), 3);
    assert_int_equal(dmq_text_distance("act", "atc"), 1);
    assert_int_equal(dmq_text_nearest("bete", words, 2), 1);
    assert_int_equal(dmq_text_nearest("gamma", words, 2), -1);
}

/* ------------------------------------------------------------------ YAML */

static void layers_win_in_order(void **state)
{
    dmq_config *c = fresh();
    const char *path;

    (void)state;
    (void)write_file("card.yaml", "draw: {levels: [4, 8], seed: 7}\nfile: models/m.h5\n");
    (void)write_file("method.yaml", "# only a comment\n---\nquant:\n  act: off\ndraw.seed: 8\n");
    path = write_file("main.yaml",
                      "recon:\n  beta:\n    - 5\n    - 1\nextends: [card.yaml, method.yaml]\n"
                      "name: \"with: colon\"\ndraw: {rules: [\"up.*: w8\", \"x\"]}\n");
    assert_int_equal(dmq_yaml_load(c, path), DMQ_OK);
    assert_int_equal(dmq_config_int(c, "quant.act.bits"), 0);
    assert_int_equal(dmq_config_int64(c, "draw.seed"), 8);
    assert_int_equal(dmq_config_ints(c, "draw.levels", NULL)[1], 8);
    assert_string_equal(dmq_config_value(c, "recon.beta"), "[5, 1]");
    assert_string_equal(dmq_config_text(c, "name"), "with: colon");
    assert_int_equal(dmq_config_origin(c, "recon.beta")->line, 3);
    assert_int_equal(dmq_config_origin(c, "draw.seed")->line, 5);
    assert_non_null(strstr(dmq_config_origin(c, "draw.seed")->place, "method.yaml"));
    assert_true(strncmp(dmq_config_text(c, "file"), scratch_folder, strlen(scratch_folder)) == 0);
    assert_non_null(strstr(dmq_config_text(c, "file"), "/models/m.h5"));
    dmq_config_destroy(c);
}

static void the_dump_stands_alone(void **state)
{
    dmq_config *a = fresh(), *b = fresh();
    char *x, *y;

    (void)state;
    assert_int_equal(dmq_config_set_flag(a, "name=\"q\" \\ \t: #"), DMQ_OK);
    assert_int_equal(dmq_config_set_flag(a, "draw.rules=[\"a, b: c\", 'null']"), DMQ_OK);
    assert_int_equal(dmq_config_set_flag(a, "file=/m/x.h5"), DMQ_OK);
    assert_int_equal(dmq_config_set_flag(a, "recon.lr=0.1234567890123"), DMQ_OK);
    assert_int_equal(dmq_config_dump(&x, a), DMQ_OK);
    assert_non_null(strstr(x, "file: /m/x.h5\nquant:\n  act:\n    bits: 8\n    init: mse\nrecon:\n"
                              "  lr: 0.1234567890123\n"));
    assert_int_equal(dmq_yaml_load(b, write_file("dump.yaml", x)), DMQ_OK);
    assert_int_equal(dmq_config_dump(&y, b), DMQ_OK);
    assert_string_equal(x, y);
    assert_string_equal(dmq_config_text(b, "name"), "\"q\" \\ \t: #");
    assert_string_equal(dmq_config_texts(b, "draw.rules", NULL)[1], "null");
    dmq_free(x);
    dmq_free(y);
    dmq_config_destroy(a);
    dmq_config_destroy(b);
}

static void wrong_yaml_is_refused_with_its_place(void **state)
{
    static const struct {
        const char *yaml, *first, *at;
    } cases[] = {
        { "name: a\nquant: {act: {bits: 9}}\n", "quant.act.bits = 9: must be 2..8 or off\n",
          ":2:21\n  hint: for no" },
        { "quant:\n  act:\n    bitz: 9\n", "quant.act.bitz: there is no such key\n",
          ":3:5\n  hint: did you mean \"quant.act.bits\"?" },
        { "name: a\nname: b\n", "name: is given twice, first in line 1\n", ":2:1" },
        { "quant: {act: {bits: 4}}\nquant.act.bits: 5\n", "quant.act.bits: is given twice",
          ":2:1" },
        { "name: &x a\n", "an anchor (&name) is not read", ":1:7" },
        { "name: *x\n", "an alias (*name) is not read", ":1:7" },
        { "name: !!str a\n", "a tag (!name) is not read", ":1:7" },
        { "<<: {name: a}\n", "a key must be a plain word", ":1:1" },
        { "name:\n", "name: has no value\n", ":1:1\n  hint: leave the line out" },
        { "recon: {beta: [1, ~]}\n", "recon.beta: has no value\n", ":1:19" },
        { "recon: {beta: [1, [2]]}\n", "a list may only hold plain values\n", ":1:19" },
        { "recon: {lr: [1]}\n", "recon.lr: is a list of 1 items, must be one value\n", ":1:13" },
        { "- a\n", "a configuration is a map", ":1:1" },
        { "name: a\n---\nname: b\n", "a second document is not read", ":2:1" },
        { "name: [a\n", "did not find expected", ":2:1" },
        { "name: a\n\tfile: b\n", "", ":2:1" },
        { "extends: nope.yaml\n", "extends: ", ":1:10" },
        { "extends: bad.yaml\n", "extends: bad.yaml leads back to itself\n", ":1:10" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dmq_config *c = fresh();
        const char *path = write_file("bad.yaml", cases[i].yaml);
        char at[256];
        dmq_status st = dmq_yaml_load(c, path);

        assert_true(st == DMQ_EINVAL || st == DMQ_ENOINPUT);
        (void)snprintf(at, sizeof at, "  at %s%s", path, cases[i].at);
        if (!strstr(dmq_message(), cases[i].first) || !strstr(dmq_message(), at))
            print_error("case %zu said:\n%s\n", i, dmq_message());
        assert_true(strstr(dmq_message(), cases[i].first) == dmq_message());
        assert_non_null(strstr(dmq_message(), at));
        dmq_config_destroy(c);
    }
}

static void a_missing_file_is_missing(void **state)
{
    dmq_config *c = fresh();

    (void)state;
    assert_int_equal(dmq_yaml_load(c, "/nowhere/x.yaml"), DMQ_ENOINPUT);
    assert_string_equal(dmq_message(), "/nowhere/x.yaml: no such file");
    dmq_config_destroy(c);
}

/* ------------------------------------------------------------------ dmq's own keys */

static void the_schema_is_sound(void **state)
{
    int count;
    const dmq_config_key *keys = dmq_schema_keys(&count);
    dmq_config *c = NULL;
    char *text;

    (void)state;
    assert_int_equal(dmq_schema_config(&c), DMQ_OK); /* every default passes its own check */
    assert_int_equal(dmq_schema_check(c), DMQ_OK);
    for (int i = 0; i < count; i++) {
        const char *dot = strrchr(keys[i].name, '.');

        assert_non_null(keys[i].help);
        if (keys[i].quiet) /* or it would not be left out of the texts of stages */
            assert_string_equal(keys[i].fallback, keys[i].type == DMQ_CONFIG_TEXT
                                                      ? dmq_config_text(c, keys[i].name)
                                                      : dmq_config_value(c, keys[i].name));
        for (int k = 0; k < i; k++)
            assert_string_not_equal(keys[k].name, keys[i].name);
        for (int k = 0; dot && k < i - 1; k++) { /* a group is not left and entered again */
            size_t n = (size_t)(dot - keys[i].name) + 1;

            if (strncmp(keys[k].name, keys[i].name, n) == 0 &&
                strncmp(keys[i - 1].name, keys[i].name, n) != 0)
                fail_msg("%s is apart from its group", keys[i].name);
        }
    }
    assert_int_equal(dmq_config_dump(&text, c), DMQ_OK);
    assert_int_equal(dmq_yaml_load(c, write_file("all.yaml", text)), DMQ_OK);
    dmq_free(text);
    dmq_config_destroy(c);
}

static void the_example_of_the_design_is_read(void **state)
{
    dmq_config *c = NULL;

    (void)state;
    assert_int_equal(dmq_schema_config(&c), DMQ_OK);
    assert_int_equal(
        dmq_yaml_load(
            c, write_file("w4a8.yaml",
                          "schema: dmq/1\nname: cifar10-gac-w4a8\nseed: 1234\n"
                          "sampler:   {kind: ddim, steps: 100, eta: 0.0, spacing: quad}\n"
                          "calibrate: {per_timestep: 256, interval: 5, validation: 0.05, "
                          "microbatch: 64}\nquant:\n"
                          "  weight:  {bits: 4, granularity: channel, init: mse, round: adaround}\n"
                          "  act:     {bits: 8, granularity: tensor, tables: per_step, init: "
                          "ema_minmax}\n  policy:  tfmq\n"
                          "recon:     {iters: 20000, batch: 32, lr: 1.0e-3, round_weight: 0.01, "
                          "beta: [20, 2], warmup: 0.2, order: execution}\n"
                          "reweight:  {form: surrogate, mode: one_shot, groups: 5, tau: 1.0, "
                          "visits: 7, gm_weight: projected, ess_stop: 0.9}\n"
                          "sample:    {count: 50000, batch: 256}\n"
                          "evaluate:  {metrics: [fid, sfid, is, precision, recall], features: "
                          "inception-2015-12-05, reference: cifar10-train}\n"
                          "report:\n  paper:   {fid: 4.32, source: \"GAC, CIFAR-10, W4A8\"}\n")),
        DMQ_OK);
    assert_int_equal(dmq_schema_check(c), DMQ_OK);
    assert_int_equal(dmq_config_enum(c, "reweight.form"), 1);
    assert_true(dmq_config_real(c, "report.paper.fid") == 4.32);
    assert_int_equal(dmq_config_set_flag(c, "reweight=off"), DMQ_OK);
    assert_int_equal(dmq_config_enum(c, "reweight.form"), 0);
    dmq_config_destroy(c);
}

static void keys_are_checked_against_each_other(void **state)
{
    static const char *const cases[][3] = {
        { "model.ch=48", NULL, "model.norm_groups = 32: must divide the 48 channels of level 0" },
        { "model.resolution=20", NULL, "model.resolution = 20: must be a multiple of 8" },
        { "schedule.beta_start=0.5", NULL, "schedule.beta_start = 0.5: must not exceed" },
        { "sampler.steps=2000", NULL, "sampler.steps = 2000: must not exceed schedule.T = 1000" },
        { "calibrate.interval=101", NULL, "calibrate.interval = 101: must not exceed" },
        { "calibrate.validation=0", "reweight=original",
          "calibrate.validation = 0: must be above" },
        { "reweight.groups=21", "reweight=original",
          "reweight.groups = 21: must not exceed the 20" },
        { "quant.policy=rules", NULL, "quant.policy = rules: needs quant.rules" },
        { "quant.weight=off", "quant.act=off", "quant.weight.bits = off: nothing is left" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dmq_config *c = NULL;

        assert_int_equal(dmq_schema_config(&c), DMQ_OK);
        for (int k = 0; k < 2; k++) {
            if (cases[i][k])
                assert_int_equal(dmq_config_set_flag(c, cases[i][k]), DMQ_OK);
        }
        assert_int_equal(dmq_schema_check(c), DMQ_EINVAL);
        if (strncmp(dmq_message(), cases[i][2], strlen(cases[i][2])) != 0)
            fail_msg("said: %s", dmq_message());
        assert_non_null(strstr(dmq_message(), "\n  at --set "));
        dmq_config_destroy(c);
    }
}

static void every_failed_allocation_is_clean(void **state)
{
    char path[160];
    dmq_status st = DMQ_ENOMEM;
    int n;

    (void)state;
    (void)write_file("base.yaml", "draw: {levels: [4, 8], rules: [a, b]}\n");
    (void)snprintf(path, sizeof path, "%s",
                   write_file("top.yaml", "extends: base.yaml\nfile: x\nrecon: {beta: [3, 1]}\n"));
    for (n = 1; st != DMQ_OK && n < 1000; n++) {
        dmq_config *c = NULL;
        char *text = NULL;

        dmq_alloc_fail_at(n);
        st = dmq_config_create(&c, schema, (int)(sizeof schema / sizeof schema[0]));
        if (st == DMQ_OK)
            st = dmq_yaml_load(c, path);
        if (st == DMQ_OK)
            st = dmq_config_set_flag(c, "recon.beta=[9, 3]");
        if (st == DMQ_OK)
            st = dmq_config_dump(&text, c);
        dmq_free(text);
        text = NULL;
        if (st == DMQ_OK)
            st = dmq_config_stage_text(&text, c, LEARN);
        dmq_free(text);
        dmq_alloc_fail_at(0);
        dmq_config_destroy(c);
        assert_true(st == DMQ_OK || st == DMQ_ENOMEM);
    }
    assert_true(n > 100 && n < 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_typed),
        cmocka_unit_test(flags_set_and_are_remembered),
        cmocka_unit_test(wrong_values_name_rule_place_and_way_out),
        cmocka_unit_test(stage_text_depends_on_values_alone),
        cmocka_unit_test(numbers_and_words),
        cmocka_unit_test(layers_win_in_order),
        cmocka_unit_test(the_dump_stands_alone),
        cmocka_unit_test(wrong_yaml_is_refused_with_its_place),
        cmocka_unit_test(a_missing_file_is_missing),
        cmocka_unit_test(the_schema_is_sound),
        cmocka_unit_test(the_example_of_the_design_is_read),
        cmocka_unit_test(keys_are_checked_against_each_other),
        cmocka_unit_test(every_failed_allocation_is_clean),
    };

    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
