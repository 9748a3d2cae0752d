/* A whole run in which the n-th allocation fails: each start ends with ENOMEM and a message, and leaves a
   folder that the next start goes on in; after thousands of them there are the bytes of a run that was
   left alone.

   Opening a run and looking at what is there fail at every n, a stage at every n up to EVERY behind that,
   and then at each STRIDE-th. Once a unit is reconstructed the count begins again, one place further on: starts
   are short, since the units before are loaded, and units of one kind fail at different places. */
#include "base/log.h"
#include "base/path.h"
#include "base/progress.h"
#include "base/schema.h"
#include "io/file.h"
#include "model/features.h"
#include "model/init.h"
#include "model/model_file.h"
#include "quant_fixture.h"
#include "run/stage.h"
#include "scratch.h"

#include <dirent.h>
#include <fcntl.h>

enum { EVERY = 300, STRIDE = 31 };

static char network[64], features[64];

/* What each row of a table is made with; the third learns its weights by exact meta steps. */
static const char *const methods[][3] = {
    { "quant.weight.round=nearest" },
    { "quant.policy=tfmq" },
    { "reweight.form=surrogate", "reweight.mode=exact" },
};
enum { METHODS = sizeof methods / sizeof *methods };

static dmq_status configure(dmq_config **out, int method)
{
    static const char *const common[] = {
        "sampler.steps=2",
        "sampler.spacing=uniform",
        "calibrate.per_timestep=4",
        "calibrate.interval=1",
        "calibrate.validation=0.25",
        "calibrate.held_out=0.25",
        "sample.count=8",
        "sample.grid=4",
        "recon.iters=2",
        "recon.batch=4",
        "quant.weight.mse_candidates=2",
        "reweight.groups=2",
        "reweight.batch=4",
        "reweight.visits=1",
        "evaluate.metrics=[fd, is]",
        "evaluate.reference_count=4",
    };
    const dmq_origin here = { .kind = DMQ_ORIGIN_FLAG, .place = "the test" };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_schema_config(out));
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        DMQ_TRY(dmq_config_set_flag(*out, common[i]));
    for (int i = 0; i < 3 && methods[method][i]; i++)
        DMQ_TRY(dmq_config_set_flag(*out, methods[method][i]));
    DMQ_TRY(dmq_config_set(*out, "model.checkpoint", network, &here));
    DMQ_TRY(dmq_config_set(*out, "evaluate.features", features, &here));
done:
    return st;
}

/* ------------------------------------------------------------------ one start */

typedef struct start {
    const char *what;
    long n;             /* this allocation fails */
    long before, after; /* allocations when it began, and when its status was known */
} start;

static void begin(start *s, const char *what, long n)
{
    s->what = what;
    s->n = n;
    s->before = dmq_alloc_count();
    s->after = 0;
    dmq_message_set("");
    dmq_alloc_fail_at(n);
}

/* The failed allocation was told, and nothing else was; 1 when it was never made. */
static int ended(const start *s, dmq_status st)
{
    int failed = (s->after ? s->after : dmq_alloc_count()) - s->before >= s->n;

    dmq_alloc_fail_at(0);
    if (st != (failed ? DMQ_ENOMEM : DMQ_OK) || (failed && !strstr(dmq_message(), "memory"))) {
        print_error("%s, allocation %ld %s: status %d, \"%s\"\n", s->what, s->n,
                    failed ? "fails" : "is never made", st, dmq_message());
        fail();
    }
    return !failed;
}

static dmq_status open_all(dmq_config **c, dmq_experiment **e, int method)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(configure(c, method));
    DMQ_TRY(dmq_experiment_open(e, *c, "cpu", 1));
    DMQ_TRY(dmq_stages_check(*e, -1, NULL));
done:
    return st;
}

/* What closing adds to the manifest is times: that it fails is not told, and must harm nothing. */
static dmq_status run(start *s, const dmq_experiment *e, const dmq_folder_options *where, int stage)
{
    dmq_folder *f = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_folder_open(&f, where));
    DMQ_TRY(dmq_stages_run(e, f, &(dmq_stage_options){ .only = stage, .dry_run = where->dry_run }));
done:
    s->after = dmq_alloc_count();
    dmq_folder_close(f);
    return st;
}

/* ------------------------------------------------------------------ the folder */

static const char *file_of(const char *run_name, const char *name)
{
    char both[160];

    (void)snprintf(both, sizeof both, "%s/%s", run_name, name);
    return in_folder(both);
}

static int count_files(const char *path, const char *ending)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int n = 0;

    while (dir && (entry = readdir(dir)) != NULL)
        n += dmq_path_has_suffix(entry->d_name, ending);
    if (dir)
        (void)closedir(dir);
    return n;
}

static void same(const char *name, const char *a, const char *b)
{
    char *data[2] = { NULL, NULL };
    size_t size[2];

    OK(dmq_file_read(&data[0], &size[0], file_of(a, name), 1 << 24));
    OK(dmq_file_read(&data[1], &size[1], file_of(b, name), 1 << 24));
    if (size[0] != size[1] || memcmp(data[0], data[1], size[0]) != 0)
        fail_msg("%s of %s and %s differ", name, a, b);
    dmq_free(data[0]);
    dmq_free(data[1]);
}

/* ------------------------------------------------------------------ the tests */

static void opening_fails_cleanly(void **state)
{
    start s;
    int done = 0;

    (void)state;
    for (long n = 1; !done; n++) {
        dmq_config *c = NULL;
        dmq_experiment *e = NULL;

        begin(&s, "opening", n);
        done = ended(&s, open_all(&c, &e, METHODS - 1));
        dmq_experiment_close(e);
        dmq_config_destroy(c);
    }
    assert_true(s.n > 500);
}

/* How many allocations come before the stage's own: a start that does nothing. */
static long before_stage(const dmq_experiment *e, const dmq_folder_options *where, int stage)
{
    dmq_folder_options look = *where;
    start s = { .before = dmq_alloc_count() };

    look.dry_run = 1;
    OK(run(&s, e, &look, stage));
    return s.after - s.before;
}

/* Start one stage until it is done. */
static void wear_out(const dmq_experiment *e, const dmq_folder_options *where, int stage)
{
    const char *run_name = dmq_path_name(where->path);
    int done = 0, units = 0, files = 0;
    long first = before_stage(e, where, stage), n = stage == 0 ? 1 : first;
    start s;

    while (!done) {
        begin(&s, dmq_stages[stage].name, n);
        done = ended(&s, run(&s, e, where, stage));
        if (stage == DMQ_RUN_QUANTIZE && count_files(file_of(run_name, "ckpt"), ".h5") > files) {
            files = count_files(file_of(run_name, "ckpt"), ".h5");
            n = first + ++units % STRIDE;
        } else {
            n += units == 0 && n < first + EVERY ? 1 : STRIDE;
        }
    }
}

static void method(const char *alone, const char *worn, int m)
{
    static const char *const files[] = { "calib.h5",    "images-fp.h5", "quant.h5",
                                         "images-q.h5", "metrics.json", "grid.png",
                                         "grid-fp.png", "config.yaml",  "blocks.json" };
    char path[64], store[64];
    dmq_folder_options where = { .path = path };
    dmq_config *c = NULL;
    dmq_experiment *e = NULL;
    start s;

    OK(open_all(&c, &e, m));
    (void)snprintf(path, sizeof path, "%s", in_folder(alone));
    OK(run(&s, e, &where, -1));
    (void)snprintf(path, sizeof path, "%s", in_folder(worn));
    (void)snprintf(store, sizeof store, "%s", in_folder("store"));
    where.store = store;
    for (int stage = 0; stage < DMQ_RUN_STAGES; stage++)
        wear_out(e, &where, stage);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        same(files[i], alone, worn);
    /* events may be fewer: what is lost with one of them is only talk */
    assert_int_equal(count_files(file_of(worn, "ckpt"), ""),
                     count_files(file_of(alone, "ckpt"), ""));
    assert_int_equal(count_files(in_folder(worn), ".tmp"), 0);
    dmq_experiment_close(e);
    dmq_config_destroy(c);
}

static void nearest_goes_on_after_each_failure(void **state)
{
    (void)state;
    method("nearest", "nearest-worn", 0);
}

static void tfmq_goes_on_after_each_failure(void **state)
{
    (void)state;
    method("tfmq", "tfmq-worn", 1);
}

static void gac_goes_on_after_each_failure(void **state)
{
    (void)state;
    method("gac", "gac-worn", 2);
}

static int make_models(void **state)
{
    static const dmq_ddpm_unet_config unet = { .in_channels = 3,
                                               .out_channels = 3,
                                               .resolution = 16,
                                               .ch = 4,
                                               .ch_mult = { 1, 1 },
                                               .n_levels = 2,
                                               .num_res_blocks = 1,
                                               .attention = { 8 },
                                               .n_attention = 1,
                                               .norm_groups = 2,
                                               .norm_eps = 1e-6 };
    static const dmq_features_config small = { .resolution = 16,
                                               .channels = 3,
                                               .classes = 10,
                                               .width = { 2, 4 },
                                               .n_stages = 2,
                                               .norm_groups = 2 };
    const dmq_model_info info = { .T = 1000, .beta_start = 1e-4, .beta_end = 0.02 };
    dmq_model *m = NULL;

    /* thousands of starts write a few files each, and sync them: in memory where that is to be had */
    if (access("/dev/shm", W_OK) == 0)
        (void)snprintf(scratch_folder, sizeof scratch_folder, "/dev/shm/test-XXXXXX");
    assert_int_equal(scratch_make(state), 0);
    (void)snprintf(network, sizeof network, "%s", in_folder("unet.h5"));
    (void)snprintf(features, sizeof features, "%s", in_folder("features.h5"));
    OK(dmq_ddpm_unet_create(&m, &unet));
    fixture_fill(m);
    OK(dmq_model_save(m, &info, network, 0));
    dmq_model_destroy(m);
    OK(dmq_features_create(&m, &small));
    dmq_model_init(m, 1);
    OK(dmq_model_save(m, &(dmq_model_info){ 0 }, features, 0));
    dmq_model_destroy(m);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_fails_cleanly),
        cmocka_unit_test(nearest_goes_on_after_each_failure),
        cmocka_unit_test(tfmq_goes_on_after_each_failure),
        cmocka_unit_test(gac_goes_on_after_each_failure),
    };
    dmq_log_fd_set(open("/dev/null", O_WRONLY));
    dmq_progress_form_set(DMQ_PROGRESS_NONE);
    return cmocka_run_group_tests_name("out of memory", tests, make_models, scratch_remove);
}
