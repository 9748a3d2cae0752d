/* Results of runs: what is grouped, averaged and refused; the table as md, csv and json. */
#include "report_fixture.h"

static const double root8 = 2.8284271247461903; /* sample sd of 10 and 14 */

/* A sweep of two arms and two seeds, its folders named against the order of its tasks. */
static void make_sweep(void)
{
    fixture_make(&(fixture_run){ .name = "sweep/z-s1",
                                 .label = "nearest",
                                 .seed = 1,
                                 .fd = 30,
                                 .created = "2026-11-22T10:00:01Z",
                                 .no_blocks = 1,
                                 .round = "nearest" });
    fixture_make(&(fixture_run){ .name = "sweep/z-s2",
                                 .label = "nearest",
                                 .seed = 2,
                                 .fd = 30,
                                 .created = "2026-11-22T10:00:02Z",
                                 .no_blocks = 1,
                                 .round = "nearest" });
    fixture_make(&(fixture_run){ .name = "sweep/a-s2",
                                 .label = "GAC",
                                 .seed = 2,
                                 .fd = 14,
                                 .created = "2026-11-22T10:00:03Z" });
    fixture_make(&(fixture_run){ .name = "sweep/a-s1",
                                 .label = "GAC",
                                 .seed = 1,
                                 .fd = 10,
                                 .created = "2026-11-22T10:00:04Z" });
    FIXTURE_OK(dmq_folder_create(in_folder("sweep/store")));
}

/* ------------------------------------------------------------------ grouping */

static void runs_are_grouped_in_the_order_of_the_sweep(void **state)
{
    dmq_results *r;

    (void)state;
    make_sweep();
    r = fixture_load("sweep");
    assert_string_equal(r->title, "sweep");
    assert_int_equal(r->n_runs, 4);
    assert_int_equal(r->n_arms, 2);
    assert_string_equal(r->arm[0].label, "nearest");
    assert_string_equal(r->arm[1].label, "GAC");
    assert_string_equal(r->arm[1].bits, "W4A8");
    assert_int_equal(r->arm[1].n_runs, 2);
    assert_int_equal(r->arm[1].run[0]->seed, 1);
    assert_int_equal(r->arm[1].run[1]->seed, 2);
    assert_int_equal(r->n_fp, 1);
    assert_int_equal(r->n_unfinished, 0);
    dmq_results_destroy(r);
}

/* Tasks of a batch array begin in any order; their numbers keep the sweep's. */
static void a_task_number_comes_before_the_clock(void **state)
{
    dmq_results *r;

    (void)state;
    fixture_make(&(fixture_run){ .name = "s/a",
                                 .label = "second",
                                 .seed = 1,
                                 .fd = 1,
                                 .task = 5,
                                 .created = "2026-11-22T10:00:00Z" });
    fixture_make(&(fixture_run){ .name = "s/b",
                                 .label = "first",
                                 .seed = 1,
                                 .fd = 1,
                                 .task = 2,
                                 .created = "2026-11-22T10:00:09Z" });
    r = fixture_load("s");
    assert_string_equal(r->arm[0].label, "first");
    assert_string_equal(r->arm[1].label, "second");
    dmq_results_destroy(r);
}

static void a_run_is_found_once(void **state)
{
    dmq_results *r = NULL;
    const char *folders[3];

    (void)state;
    make_sweep();
    folders[0] = in_folder("sweep/a-s1");
    folders[1] = in_folder("sweep");
    folders[2] = in_folder("sweep/store/../a-s1");
    FIXTURE_OK(dmq_results_load(&r, folders, 3));
    assert_int_equal(r->n_runs, 4);
    assert_string_equal(r->arm[0].label, "GAC"); /* it was given first */
    dmq_results_destroy(r);
}

static void what_differs_is_not_averaged(void **state)
{
    dmq_results *r = NULL;
    const char *folder;

    (void)state;
    make_sweep();
    fixture_make(&(fixture_run){
        .name = "sweep/b-s3", .label = "GAC", .seed = 3, .fd = 10, .iters = "999" });
    folder = in_folder("sweep");
    assert_int_equal(dmq_results_load(&r, &folder, 1), DMQ_EDATA);
    fixture_contains(dmq_message(), "recon.iters");
    fixture_contains(dmq_message(), "999");
    fixture_contains(dmq_message(), "a-s");
    fixture_contains(dmq_message(), "b-s3");
    fixture_contains(dmq_message(), "hint:");
    fixture_make(&(fixture_run){ .name = "sweep/b-s3", .label = "GAC", .seed = 2, .fd = 10 });
    folder = in_folder("sweep");
    assert_int_equal(dmq_results_load(&r, &folder, 1), DMQ_EDATA);
    fixture_contains(dmq_message(), "twice with seed 2");
    fixture_make(&(fixture_run){
        .name = "sweep/b-s3", .label = "GAC", .seed = 3, .fd = 10, .fp_key = "other" });
    folder = in_folder("sweep");
    assert_int_equal(dmq_results_load(&r, &folder, 1), DMQ_EDATA);
    fixture_contains(dmq_message(), "the same full-precision images");
}

/* Two runs that were given apart are compared, each under its folder. */
static void the_same_label_twice_is_two_rows(void **state)
{
    dmq_results *r = NULL;
    const char *folders[2];
    char text[256];

    (void)state;
    fixture_make(&(fixture_run){ .name = "a", .label = "run", .seed = 1, .fd = 3 });
    fixture_make(&(fixture_run){ .name = "b", .label = "run", .seed = 1, .fd = 4, .iters = "999" });
    folders[0] = in_folder("a");
    folders[1] = in_folder("b");
    FIXTURE_OK(dmq_results_load(&r, folders, 2));
    assert_true(fixture_said("same-label"));
    assert_true(fixture_said("recon.iters is 100"));
    assert_int_equal(r->n_arms, 2);
    (void)snprintf(text, sizeof text, "run (%s)", folders[0]);
    assert_string_equal(r->arm[0].label, text);
    (void)snprintf(text, sizeof text, "run (%s)", folders[1]);
    assert_string_equal(r->arm[1].label, text);
    dmq_results_destroy(r);
    fixture_make(&(fixture_run){ .name = "b", .label = "run", .seed = 2, .fd = 4 });
    folders[0] = in_folder("a");
    folders[1] = in_folder("b");
    FIXTURE_OK(dmq_results_load(&r, folders, 2));
    assert_int_equal(r->n_arms, 1);
    assert_string_equal(r->arm[0].label, "run");
    dmq_results_destroy(r);
}

static void a_folder_without_runs_is_told(void **state)
{
    dmq_results *r = NULL;
    const char *folder = in_folder("empty");

    (void)state;
    FIXTURE_OK(dmq_folder_create(folder));
    assert_int_equal(dmq_results_load(&r, &folder, 1), DMQ_ENOINPUT);
    fixture_contains(dmq_message(), "run.json");
    folder = in_folder("nothing");
    assert_int_equal(dmq_results_load(&r, &folder, 1), DMQ_ENOINPUT);
    FIXTURE_OK(dmq_folder_create(in_folder("other")));
    FIXTURE_OK(dmq_file_write_text(in_folder("other/run.json"), "{\"format\": \"else\"}"));
    folder = in_folder("other");
    assert_int_equal(dmq_results_load(&r, &folder, 1), DMQ_EDATA);
    fixture_contains(dmq_message(), "dmq-run");
}

static void a_run_that_is_not_evaluated_is_named(void **state)
{
    char *text;
    dmq_results *r = NULL;
    const char *folder;

    (void)state;
    make_sweep();
    fixture_make(
        &(fixture_run){ .name = "sweep/late", .label = "GAC", .seed = 9, .unfinished = 1 });
    text = fixture_table("sweep", DMQ_TABLE_MD);
    assert_true(fixture_said("not-evaluated"));
    assert_true(fixture_said("done: calibrate, sample-fp, quantize, sample"));
    fixture_contains(text, "left out: ");
    fixture_contains(text, "(GAC, seed 9): evaluate is not done");
    fixture_contains(text, "|  1, 2 |");
    dmq_free(text);
    text = fixture_table("sweep", DMQ_TABLE_JSON);
    fixture_contains(text, "\"done\": \"calibrate, sample-fp, quantize, sample\"");
    dmq_free(text);
    folder = in_folder("sweep/late");
    assert_int_equal(dmq_results_load(&r, &folder, 1), DMQ_ENOINPUT);
    fixture_contains(dmq_message(), "none of 1 runs is evaluated");
}

/* ------------------------------------------------------------------ metrics that differ */

static void other_metrics_are_refused(void **state)
{
    dmq_results *r;
    char *text = NULL;

    (void)state;
    make_sweep();
    fixture_make(&(fixture_run){
        .name = "sweep/b", .label = "other", .seed = 1, .fd = 10, .fd_id = "fd4096/abc/else" });
    r = fixture_load("sweep");
    assert_int_equal(dmq_table_render(&text, r, DMQ_TABLE_MD), DMQ_EDATA);
    fixture_contains(dmq_message(), "fd8/abc/shapes16-heldout-16/uint8-round");
    fixture_contains(dmq_message(), "fd4096/abc/else");
    fixture_contains(dmq_message(), "hint:");
    assert_int_equal(dmq_html_render(&text, r), DMQ_EDATA);
    dmq_results_destroy(r);
}

static void another_number_of_images_is_refused(void **state)
{
    dmq_results *r;
    char *text = NULL;

    (void)state;
    make_sweep();
    fixture_make(
        &(fixture_run){ .name = "sweep/b", .label = "other", .seed = 1, .fd = 10, .psnr_n = 4096 });
    r = fixture_load("sweep");
    assert_int_equal(dmq_table_render(&text, r, DMQ_TABLE_CSV), DMQ_EDATA);
    fixture_contains(dmq_message(), "(n 8)");
    fixture_contains(dmq_message(), "(n 4096)");
    dmq_results_destroy(r);
}

/* Runs of older versions have a size without scales: a column of its own kind. */
static void older_sizes_are_told_but_not_mixed(void **state)
{
    dmq_results *r;
    char *text;
    int64_t n;

    (void)state;
    fixture_make(&(fixture_run){ .name = "s/a", .label = "old", .seed = 1, .fd = 1, .older = 1 });
    r = fixture_load("s");
    assert_true(dmq_measure_value(&r->run[0], dmq_measure_find("size_mb"), 0) == 0.25);
    assert_true(dmq_measure_value(&r->run[0], dmq_measure_find("size_mb"), 1) == 2);
    assert_string_equal(dmq_measure_id(&r->run[0], dmq_measure_find("size_mb"), 0, &n),
                        "size/weights");
    assert_true(isnan(dmq_measure_value(&r->run[0], dmq_measure_find("bops"), 0)));
    dmq_results_destroy(r);
    fixture_make(&(fixture_run){ .name = "s/b", .label = "new", .seed = 1, .fd = 1 });
    r = fixture_load("s");
    assert_int_equal(dmq_table_render(&text, r, DMQ_TABLE_MD), DMQ_EDATA);
    fixture_contains(dmq_message(), "size/weights+scales");
    dmq_results_destroy(r);
}

static void other_units_are_warned_of(void **state)
{
    (void)state;
    make_sweep();
    fixture_make(&(fixture_run){
        .name = "sweep/b", .label = "all layers", .seed = 1, .fd = 10, .unit_n = 5 });
    dmq_free(fixture_table("sweep", DMQ_TABLE_MD));
    assert_true(fixture_said("other-units"));
}

/* ------------------------------------------------------------------ forms */

static void the_table_for_people(void **state)
{
    char *text;

    (void)state;
    make_sweep();
    text = fixture_table("sweep", DMQ_TABLE_MD);
    fixture_contains(text, "| method ");
    fixture_contains(text, "| FP      | W32A32 |       |          5.00 |");
    fixture_contains(text, "12.00 ± 2.83 |");
    fixture_contains(text, "30.00 ± 0.00 |");
    fixture_contains(text, "| MSE rest, 1e-3 ↓ |");
    fixture_contains(text, " 1.20 ± 0.28 |");
    fixture_contains(text, " 0.400 ± 0.000 |");
    fixture_contains(text, "fd8/abc/shapes16-heldout-16/uint8-round (n 8)");
    fixture_contains(text, "8 images a row; cpu, 2 threads, dmq 0.1.0; ±");
    fixture_contains(text, "\nsampler: ddim, 4 steps, eta ?, ?\n");
    fixture_contains(text, "\ncalibration: 3 of 4 runs share the calibration set of another;");
    assert_null(strstr(text, "paper"));
    dmq_free(text);
    text = fixture_table("sweep/a-s1", DMQ_TABLE_MD);
    assert_null(strstr(text, "±"));
    fixture_contains(text, "one seed, so no spread is known");
    dmq_free(text);
}

/* A bar or a line end in a label must not make another column or row. */
static void labels_cannot_break_the_table(void **state)
{
    char *text;

    (void)state;
    fixture_make(&(fixture_run){ .name = "s/a", .label = "a|b, \"c\"\nd", .seed = 1, .fd = 1 });
    text = fixture_table("s", DMQ_TABLE_MD);
    fixture_contains(text, "| a\\|b, \"c\" d |");
    dmq_free(text);
    text = fixture_table("s", DMQ_TABLE_CSV);
    fixture_contains(text, "\nrun,\"a|b, \"\"c\"\"\nd\",W4A8,1,8,cpu,");
    dmq_free(text);
}

static void published_values_have_a_column(void **state)
{
    char *text;

    (void)state;
    fixture_make(
        &(fixture_run){ .name = "s/a", .label = "GAC", .seed = 1, .fd = 1, .paper = "9.25" });
    text = fixture_table("s", DMQ_TABLE_MD);
    fixture_contains(text, "| IS, paper ↑ |");
    fixture_contains(text, "9.25");
    fixture_contains(text, "published, GAC: a <paper>");
    dmq_free(text);
    text = fixture_table("s", DMQ_TABLE_CSV);
    fixture_contains(text, ",paper_is,");
    dmq_free(text);
}

/* The numbers of one line of csv under the names of the first. */
static double csv_number(const char *text, const char *row, const char *seed, const char *column)
{
    char line[8192], *rest = NULL, begin[128];
    const char *at = text;
    int wanted = 0;

    (void)snprintf(line, sizeof line, "%.*s", (int)strcspn(text, "\n"), text);
    for (char *p = strtok_r(line, ",", &rest); p && strcmp(p, column) != 0;
         p = strtok_r(NULL, ",", &rest))
        wanted++;
    (void)snprintf(begin, sizeof begin, "\n%s,GAC,W4A8,%s,", row, seed);
    at = strstr(text, begin);
    assert_non_null(at);
    at++;
    for (int i = 0, quoted = 0; i < wanted; at++) {
        quoted ^= *at == '"';
        i += *at == ',' && !quoted;
    }
    return strtod(at, NULL);
}

static void the_table_for_programs(void **state)
{
    char *text;

    (void)state;
    make_sweep();
    text = fixture_table("sweep", DMQ_TABLE_CSV);
    assert_memory_equal(text, "row,label,bits,seed,images,device,folder,", 41);
    assert_true(csv_number(text, "run", "1", "fd") == 10);
    assert_true(csv_number(text, "run", "2", "fd") == 14);
    assert_true(csv_number(text, "run", "2", "mse_rest") == 14 * 1e-4);
    assert_true(fabs(csv_number(text, "mean", "\"1, 2\"", "fd") - 12) < 1e-14);
    assert_true(fabs(csv_number(text, "sd", "\"1, 2\"", "fd") - root8) < 1e-14);
    assert_true(csv_number(text, "run", "1", "block_ratio") == 0.2 / 0.5);
    assert_true(csv_number(text, "run", "1", "size_mb") == 0.25);
    assert_true(csv_number(text, "run", "1", "quantize_seconds") == 2.5);
    fixture_contains(text, "\nfp,FP,W32A32,,8,cpu,");
    fixture_contains(text, "fd=fd8/abc/shapes16-heldout-16/uint8-round n=8; ");
    dmq_free(text);
}

static void the_table_as_a_document(void **state)
{
    char *text;
    dmq_json *root = NULL, *arm;

    (void)state;
    make_sweep();
    text = fixture_table("sweep", DMQ_TABLE_JSON);
    FIXTURE_OK(dmq_json_parse(&root, text, strlen(text), "table"));
    assert_string_equal(dmq_json_text(dmq_json_get(root, "format"), ""), "dmq-table");
    arm = dmq_json_at(dmq_json_get(root, "arms"), 1);
    assert_string_equal(dmq_json_text(dmq_json_get(arm, "label"), ""), "GAC");
    assert_true(fabs(dmq_json_real(dmq_json_find(arm, "mean.fd"), 0) - 12) < 1e-14);
    assert_true(fabs(dmq_json_real(dmq_json_find(arm, "sd.fd"), 0) - root8) < 1e-14);
    assert_int_equal(dmq_json_count(dmq_json_get(arm, "runs")), 2);
    assert_true(dmq_json_real(dmq_json_find(dmq_json_at(dmq_json_get(arm, "runs"), 1), "values.fd"),
                              0) == 14);
    assert_true(dmq_json_real(dmq_json_find(dmq_json_at(dmq_json_get(root, "fp"), 0), "values.fd"),
                              0) == 5);
    for (size_t i = 0; i < dmq_json_count(dmq_json_get(root, "columns")); i++) {
        const dmq_json *c = dmq_json_at(dmq_json_get(root, "columns"), i);

        if (strcmp(dmq_json_text(dmq_json_get(c, "key"), ""), "fd") == 0) {
            assert_string_equal(dmq_json_text(dmq_json_get(c, "id"), ""),
                                "fd8/abc/shapes16-heldout-16/uint8-round");
        }
    }
    dmq_json_destroy(root);
    dmq_free(text);
}

static void formats_have_names(void **state)
{
    dmq_table_format format;

    (void)state;
    assert_int_equal(dmq_table_format_parse(&format, "json"), DMQ_OK);
    assert_int_equal(format, DMQ_TABLE_JSON);
    assert_int_equal(dmq_table_format_parse(&format, "pdf"), DMQ_EUSAGE);
    fixture_contains(dmq_message(), "md|csv|json|tex");
}

/* ------------------------------------------------------------------ how numbers are written */

static void expect_cell(double least, double most, double x, int exponent, const char *cell)
{
    dmq_column c = { 0 };
    dmq_stat s = { 0 };
    char text[DMQ_CELL];

    dmq_column_form(&c, least, most);
    dmq_stat_add(&s, x);
    dmq_cell_text(text, &c, s, "-");
    assert_int_equal(c.exponent, exponent);
    assert_string_equal(text, cell);
}

static void cells_have_about_three_digits(void **state)
{
    (void)state;
    expect_cell(8.21, 21.7, 8.213, 0, "8.21");
    expect_cell(0.2, 0.4, -0.25, 0, "-0.250");
    expect_cell(2e-4, 3e-3, 2e-4, -3, "0.200");
    expect_cell(1e-5, 3e-3, 1e-5, -3, "0.010");
    expect_cell(1e-6, 3e-3, 1e-6, -3, "0.0010");
    expect_cell(120, 4500, 4500, 0, "4500");
    expect_cell(2e7, 3e7, 2e7, 6, "20.0");
    expect_cell(1, 2, -0.0001, 0, "0.00"); /* no minus before nothing */
    expect_cell(0, 0, 0, 0, "0.00");
}

static void means_and_spreads(void **state)
{
    dmq_stat s = { 0 };

    (void)state;
    assert_true(isnan(dmq_stat_sd(&s)));
    dmq_stat_add(&s, (double)NAN);
    assert_int_equal(s.n, 0);
    dmq_stat_add(&s, 1e9 + 1);
    assert_true(s.mean == 1e9 + 1 && isnan(dmq_stat_sd(&s)));
    dmq_stat_add(&s, 1e9 + 2);
    dmq_stat_add(&s, 1e9 + 3);
    assert_true(fabs(s.mean - (1e9 + 2)) < 1e-6);
    assert_true(fabs(dmq_stat_sd(&s) - 1) < 1e-6);
}

/* ------------------------------------------------------------------ out of memory */

static void any_allocation_may_fail(void **state)
{
    (void)state;
    fixture_make(&(fixture_run){ .name = "s/a", .label = "GAC", .seed = 1, .fd = 1 });
    fixture_memory_runs_out("s", 0, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(runs_are_grouped_in_the_order_of_the_sweep),
        FIXTURE_TEST(a_task_number_comes_before_the_clock),
        FIXTURE_TEST(a_run_is_found_once),
        FIXTURE_TEST(what_differs_is_not_averaged),
        FIXTURE_TEST(the_same_label_twice_is_two_rows),
        FIXTURE_TEST(a_folder_without_runs_is_told),
        FIXTURE_TEST(a_run_that_is_not_evaluated_is_named),
        FIXTURE_TEST(other_metrics_are_refused),
        FIXTURE_TEST(another_number_of_images_is_refused),
        FIXTURE_TEST(older_sizes_are_told_but_not_mixed),
        FIXTURE_TEST(other_units_are_warned_of),
        FIXTURE_TEST(the_table_for_people),
        FIXTURE_TEST(labels_cannot_break_the_table),
        FIXTURE_TEST(published_values_have_a_column),
        FIXTURE_TEST(the_table_for_programs),
        FIXTURE_TEST(the_table_as_a_document),
        FIXTURE_TEST(formats_have_names),
        FIXTURE_TEST(cells_have_about_three_digits),
        FIXTURE_TEST(means_and_spreads),
        FIXTURE_TEST(any_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
