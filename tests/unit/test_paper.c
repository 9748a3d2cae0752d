/* Measured numbers beside published ones: which row is whose, differences, what is not alike, every form; and
   the columns of costs and times. */
#include "report/paper.h"
#include "report_fixture.h"

static const char steps_4[] = "protocol: {settings: {sampler: {kind: ddim, steps: 4.0}}}\n";

/* A published table in the test's folder; its path. */
static const char *make_paper(const char *protocol, const char *rows)
{
    char text[4096];

    (void)snprintf(text, sizeof text,
                   "paper: dmq-paper/1\ntitle: Shapes\n%s"
                   "methods: {fp: FP, gac: GAC, tfmq: TFMQ-DM}\n"
                   "sources: {own: the paper itself, other: another paper}\nrows:\n%s",
                   protocol, rows);
    FIXTURE_OK(dmq_file_write_text(in_folder("shapes.yaml"), text));
    return in_folder("shapes.yaml");
}

static const char rows[] =
    "  fp: {method: fp, bits: W32A32, fd: 5.5, tag: V, source: own}\n"
    "  gac: {method: gac, bits: W4A8, fd: 11.5, is: 9.5, tag: R, source: own}\n"
    "  gac-2: {method: gac, bits: W4A8, fd: 11.25, tag: U, source: other}\n"
    "  gac-3: {method: gac, bits: W4A8, fd: 7, settings: {sampler: {steps: 8}}, tag: U, source: "
    "own}\n"
    "  tfmq: {method: tfmq, bits: W4A8, fd: 13, tag: R, source: own}\n";

/* GAC with seeds 1 and 2: 10 and 14. */
static void make_runs(const char *table, const char *method)
{
    fixture_make(&(fixture_run){
        .name = "s/a", .label = "ours", .seed = 1, .fd = 10, .table = table, .method = method });
    fixture_make(&(fixture_run){
        .name = "s/b", .label = "ours", .seed = 2, .fd = 14, .table = table, .method = method });
}

static dmq_results *load_beside(void)
{
    dmq_results *r = fixture_load("s");

    FIXTURE_OK(dmq_results_compare(r));
    return r;
}

static char *table_beside(dmq_table_format format)
{
    dmq_results *r = load_beside();
    char *text = NULL;

    FIXTURE_OK(dmq_table_render(&text, r, format));
    dmq_results_destroy(r);
    return text;
}

static void lacks(const char *text, const char *what)
{
    if (strstr(text, what))
        fail_msg("there is \"%s\" in:\n%.6000s", what, text);
}

/* ------------------------------------------------------------------ beside */

static void differences_are_measured_minus_published(void **state)
{
    char *text;

    (void)state;
    make_runs(make_paper(steps_4, rows), "gac");
    text = table_beside(DMQ_TABLE_MD);
    fixture_contains(text, "| FD (shapes) ↓ | FD (shapes), paper ↓ | FD (shapes), Δ |");
    fixture_contains(text, "|  12.00 ± 2.83 |                11.50 |          +0.50 |");
    fixture_contains(text, "|          5.00 |                 5.50 |          -0.50 |");
    fixture_contains(text, "| TFMQ-DM (published [R] own)");
    fixture_contains(text, "| GAC (published [U] other)");
    fixture_contains(text, "| GAC, sampler.steps 8 (published [U] own)");
    fixture_contains(text, "published beside ours W4A8: GAC W4A8 [R] own");
    fixture_contains(text, "own: the paper itself");
    lacks(text, "GAC (published [R] own)"); /* it stands beside ours */
    lacks(text, "0†");
    dmq_free(text);
    text = fixture_table("s", DMQ_TABLE_MD);
    lacks(text, "paper");
    lacks(text, "published");
    dmq_free(text);
}

static void another_protocol_is_marked_and_told(void **state)
{
    char *text;

    (void)state;
    make_runs(make_paper("protocol:\n  settings: {sampler: {kind: ddim, steps: 100}, "
                         "sample: {count: 50000}}\n  ids: {fd: [fd8, inception]}\n",
                         rows),
              "gac");
    text = table_beside(DMQ_TABLE_MD);
    fixture_contains(text, "+0.50† |");
    fixture_contains(text, "-0.50† |");
    fixture_contains(text, "† ours W4A8: sampler.steps 4 (published: 100), sample.count not told "
                           "(published: 50000)\n");
    fixture_contains(text, "† ours W4A8: FD (shapes) is fd8/abc/shapes16-heldout-16/uint8-round "
                           "(published: with inception)\n");
    dmq_free(text);
    /* The id alone. */
    make_runs(make_paper("protocol: {ids: {fd: [inception]}}\n", rows), "gac");
    text = table_beside(DMQ_TABLE_MD);
    fixture_contains(text, "+0.50† |");
    dmq_free(text);
}

/* Sizes do not depend on steps; where papers count otherwise, the table says how. */
static void conventions_are_told(void **state)
{
    const char *sizes =
        "  gac: {method: gac, bits: W4A8, size_mb: 0.2, fd: 11.5, tag: R, source: own}\n";
    char *text;

    (void)state;
    make_runs(make_paper("protocol: {settings: {sampler: {steps: 100}}}\n", sizes), "gac");
    text = table_beside(DMQ_TABLE_MD);
    fixture_contains(text, "+0.050 |");
    fixture_contains(text, "+0.5† |");
    dmq_free(text);
    make_runs(make_paper("protocol: {conventions: {size_mb: without scales}}\n", sizes), "gac");
    text = table_beside(DMQ_TABLE_MD);
    fixture_contains(text, "+0.050† |");
    fixture_contains(text, "† ours W4A8: size, as published: without scales\n");
    dmq_free(text);
}

/* Of several rows of one method and width: the one that the run is most like, else the first. */
static void the_row_of_the_same_settings_is_taken(void **state)
{
    dmq_results *r;

    (void)state;
    make_runs(make_paper("protocol: {settings: {sampler: {steps: 100}}}\n",
                         "  a: {method: gac, bits: W4A8, fd: 1, tag: R, source: own}\n"
                         "  b: {method: gac, bits: W4A8, fd: 2, settings: {sampler: {steps: 4}}, "
                         "tag: R, source: own}\n"
                         "  c: {method: gac, bits: W8A8, fd: 3, tag: R, source: own}\n"),
              "gac");
    r = load_beside();
    assert_true(dmq_measure_paper(&r->arm[0], dmq_measure_find("fd")) == 2);
    assert_string_equal(r->arm[0].published.differs, "");
    dmq_results_destroy(r);
    make_runs(make_paper("", rows), "gac");
    r = load_beside();
    assert_true(dmq_measure_paper(&r->arm[0], dmq_measure_find("fd")) == 11.5);
    dmq_results_destroy(r);
    make_runs(make_paper("", rows), "nobody");
    r = load_beside();
    assert_null(r->arm[0].published.row);
    assert_true(isnan(dmq_measure_paper(&r->arm[0], dmq_measure_find("fd"))));
    dmq_results_destroy(r);
}

static void values_of_the_configuration_win(void **state)
{
    const char *table;
    char *text;

    (void)state;
    table = make_paper(steps_4, rows);
    fixture_make(&(fixture_run){ .name = "s/a",
                                 .label = "ours",
                                 .seed = 1,
                                 .fd = 10,
                                 .table = table,
                                 .method = "gac",
                                 .paper = "9.25" });
    text = table_beside(DMQ_TABLE_MD);
    fixture_contains(text, " 9.25 |");
    fixture_contains(text, "published, ours: a <paper>");
    lacks(text, " 9.50 |");
    dmq_free(text);
    /* Without a table nobody knows how they were measured. */
    fixture_make(
        &(fixture_run){ .name = "s/a", .label = "ours", .seed = 1, .fd = 10, .paper = "9.25" });
    text = table_beside(DMQ_TABLE_MD);
    fixture_contains(text, "|        9.25 | -0.25† |");
    fixture_contains(text, "† ours W4A8: no published protocol is told\n");
    dmq_free(text);
}

/* Runs that are made can be told what they stand beside. */
static void runs_are_told_later(void **state)
{
    dmq_results *r;
    char assignment[300];

    (void)state;
    make_runs("", "");
    r = fixture_load("s");
    (void)snprintf(assignment, sizeof assignment, "report.table=%s", make_paper(steps_4, rows));
    FIXTURE_OK(dmq_results_set(r, assignment));
    FIXTURE_OK(dmq_results_set(r, "report.method=gac"));
    FIXTURE_OK(dmq_results_set(r, "report.paper.fid=4.5")); /* a key that older runs lack */
    assert_int_equal(dmq_results_set(r, "report.paper.fid=low"), DMQ_EINVAL);
    assert_int_equal(dmq_results_set(r, "recon.iters=7"), DMQ_EUSAGE);
    fixture_contains(dmq_message(), "hint: report.table");
    assert_int_equal(dmq_results_set(r, "report.tabel=x"), DMQ_EINVAL);
    fixture_contains(dmq_message(), "report.table");
    FIXTURE_OK(dmq_results_compare(r));
    assert_true(dmq_measure_paper(&r->arm[0], dmq_measure_find("fd")) == 11.5);
    assert_true(dmq_measure_paper(&r->arm[0], dmq_measure_find("fid")) == 4.5);
    dmq_results_destroy(r);
}

/* ------------------------------------------------------------------ forms */

/* The field of a column of the first line that begins so. */
static void csv_field(char out[256], const char *text, const char *begin, const char *column)
{
    char head[4096], *rest = NULL;
    const char *at = strstr(text, begin);
    int wanted = 0, quoted = 0;
    size_t n = 0;

    assert_non_null(at);
    (void)snprintf(head, sizeof head, "%.*s", (int)strcspn(text, "\n"), text);
    for (char *p = strtok_r(head, ",", &rest); p && strcmp(p, column) != 0;
         p = strtok_r(NULL, ",", &rest))
        wanted++;
    for (at += *at == '\n'; wanted > 0; at++) {
        quoted ^= *at == '"';
        wanted -= *at == ',' && !quoted;
    }
    for (; *at && *at != '\n' && (quoted || *at != ',') && n < 255; at++) {
        quoted ^= *at == '"';
        if (*at != '"')
            out[n++] = *at;
    }
    out[n] = '\0';
}

static void expect_field(const char *text, const char *begin, const char *column,
                         const char *wanted)
{
    char found[256];

    csv_field(found, text, begin, column);
    if (strcmp(found, wanted) != 0)
        fail_msg("%s of %s is \"%s\", not \"%s\"", column, begin + 1, found, wanted);
}

static void the_form_for_programs(void **state)
{
    char *text;

    (void)state;
    make_runs(make_paper("protocol: {settings: {sampler: {steps: 100}}}\n", rows), "gac");
    text = table_beside(DMQ_TABLE_CSV);
    expect_field(text, "\nmean,ours", "paper_fd", "11.5");
    expect_field(text, "\nmean,ours", "difference_fd", "0.5");
    expect_field(text, "\nmean,ours", "published_source", "the paper itself");
    expect_field(text, "\nmean,ours", "published_tag", "R");
    expect_field(text, "\nmean,ours", "differs", "sampler.steps 4 (published: 100)");
    expect_field(text, "\nmean,ours", "unlike", "fd is");
    expect_field(text, "\nrun,ours", "paper_fd", "11.5");
    expect_field(text, "\nrun,ours", "difference_fd", "");
    expect_field(text, "\nsd,ours", "paper_fd", "");
    expect_field(text, "\nfp,FP", "difference_fd", "-0.5");
    expect_field(text, "\npublished,TFMQ-DM", "fd", "");
    expect_field(text, "\npublished,TFMQ-DM", "paper_fd", "13");
    expect_field(text, "\npublished,TFMQ-DM", "published_tag", "R");
    expect_field(text, "\nmean,ours", "size_mb", "0.25");
    expect_field(text, "\nmean,ours", "bops", "32000000000");
    expect_field(text, "\nmean,ours", "calibration_seconds", "5");
    expect_field(text, "\nmean,ours", "images_per_second", "2");
    expect_field(text, "\nfp,FP", "images_per_second", "3.2");
    for (const char *line = text; *line;
         line = strchr(line, '\n') + 1) { /* as many fields in each */
        int commas = 0, quoted = 0;
        static int first;

        for (const char *p = line; *p != '\n'; p++) {
            quoted ^= *p == '"';
            commas += *p == ',' && !quoted;
        }
        first = line == text ? commas : first;
        assert_int_equal(commas, first);
    }
    dmq_free(text);
}

static void the_form_of_a_document(void **state)
{
    char *text;
    dmq_json *root = NULL, *arm;

    (void)state;
    make_runs(make_paper("protocol: {settings: {sampler: {steps: 100}}}\n", rows), "gac");
    text = table_beside(DMQ_TABLE_JSON);
    FIXTURE_OK(dmq_json_parse(&root, text, strlen(text), "table"));
    arm = dmq_json_at(dmq_json_get(root, "arms"), 0);
    assert_true(dmq_json_real(dmq_json_find(arm, "paper.fd"), 0) == 11.5);
    assert_true(dmq_json_real(dmq_json_find(arm, "difference.fd"), 0) == 0.5);
    assert_string_equal(dmq_json_text(dmq_json_find(arm, "published.tag"), ""), "R");
    assert_string_equal(dmq_json_text(dmq_json_get(arm, "differs"), ""),
                        "sampler.steps 4 (published: 100)");
    assert_string_equal(dmq_json_text(dmq_json_at(dmq_json_get(arm, "unlike"), 0), ""), "fd");
    assert_int_equal(dmq_json_count(dmq_json_get(root, "published")), 3);
    assert_true(
        dmq_json_real(dmq_json_find(dmq_json_at(dmq_json_get(root, "published"), 2), "values.fd"),
                      0) == 13);
    dmq_json_destroy(root);
    dmq_free(text);
}

static void the_form_for_papers(void **state)
{
    char *text;

    (void)state;
    fixture_make(&(fixture_run){
        .name = "s/a",
        .label = "50% & more_",
        .seed = 1,
        .fd = 10,
        .table = make_paper("protocol: {settings: {sampler: {steps: 100}}}\n", rows),
        .method = "gac" });
    text = table_beside(DMQ_TABLE_TEX);
    fixture_contains(text, "\\begin{tabular}{llrrrrrr");
    fixture_contains(text, "  \\toprule\n");
    fixture_contains(text, "  50\\% \\& more\\_ ");
    fixture_contains(text, "& 10.00 ");
    fixture_contains(text, "& $-$1.50$^{\\dagger}$ ");
    fixture_contains(text, "$\\downarrow$");
    fixture_contains(text, "  \\bottomrule\n\\end{tabular}\n");
    fixture_contains(text,
                     "$^{\\dagger}$ 50\\% \\& more\\_ W4A8: sampler.steps 4 (published: 100)");
    for (const char *p = text; *p; p++) /* what is left is letters that text fonts have */
        assert_true((unsigned char)*p < 0x80 || (unsigned char)*p == 0xc3 ||
                    (unsigned char)p[-1] == 0xc3);
    dmq_free(text);
    make_runs(in_folder("shapes.yaml"), "gac");
    text = table_beside(DMQ_TABLE_TEX);
    fixture_contains(text, "& 12.00 $\\pm$ 2.83 ");
    dmq_free(text);
}

static void the_page_has_the_same_columns(void **state)
{
    dmq_results *r;
    char *text = NULL;

    (void)state;
    make_runs(make_paper("protocol: {settings: {sampler: {steps: 100}}}\n", rows), "gac");
    r = load_beside();
    FIXTURE_OK(dmq_html_render(&text, r));
    fixture_contains(text, "<td>+0.50†</td>");
    fixture_contains(text, "<tr class=\"published\"><th scope=\"row\">TFMQ-DM (published [R] own)");
    fixture_contains(text, "† ours W4A8: sampler.steps 4 (published: 100)</p>");
    dmq_free(text);
    dmq_results_destroy(r);
}

/* ------------------------------------------------------------------ refusals */

static void refuses(const char *protocol, const char *lines, const char *what)
{
    dmq_results *r;

    make_runs(make_paper(protocol, lines), "gac");
    r = fixture_load("s");
    assert_int_equal(dmq_results_compare(r), DMQ_EINVAL);
    fixture_contains(dmq_message(), what);
    dmq_results_destroy(r);
}

static void a_table_that_cannot_be_read_is_refused(void **state)
{
    (void)state;
    refuses("", "  a: {method: gac, bits: W4A8, fdi: 1, tag: R, source: own}\n",
            "rows.a.fdi: a row has");
    refuses("", "  a: {method: gac, bits: 4/8, fd: 1, tag: R, source: own}\n", "must be like W4A8");
    refuses("", "  a: {method: gac, bits: W4A8, fd: about 1, tag: R, source: own}\n",
            "must be a number");
    refuses("", "  a: {method: gac, bits: W4A8, fd: 1, tag: X, source: own}\n", "one of V|R|U");
    refuses("", "  a: {method: gac, bits: W4A8, fd: 1, source: own}\n",
            "must say method, bits, tag");
    refuses("", "  a: {method: gacc, bits: W4A8, fd: 1, tag: R, source: own}\n", "not in methods");
    refuses("", "  a: {method: gac, bits: W4A8, fd: 1, tag: R, source: me}\n", "not in sources");
    refuses("protocol: {settings: {sampler: {step: 4}}}\n", rows, "no such setting");
    refuses("protocol: {ids: {fdi: [a]}}\n", rows, "no such measure");
    refuses("protocol: {seeds: 4}\n", rows, "tool, settings, ids and conventions");
    refuses("colour: red\n", rows, "colour: is not understood here");
    fixture_contains(dmq_message(), "shapes.yaml:3:1");
}

static void nothing_to_stand_beside_is_refused(void **state)
{
    dmq_results *r;

    (void)state;
    make_runs("", "gac");
    r = fixture_load("s");
    assert_int_equal(dmq_results_compare(r), DMQ_EINVAL);
    fixture_contains(dmq_message(), "hint: report.table");
    dmq_results_destroy(r);
    make_runs("nowhere", "gac");
    r = fixture_load("s");
    assert_int_equal(dmq_results_compare(r), DMQ_ENOINPUT);
    fixture_contains(dmq_message(), "no published table \"nowhere\"");
    fixture_contains(dmq_message(), "hint: there are ");
    fixture_contains(dmq_message(), "cifar10");
    dmq_results_destroy(r);
    make_runs("cifar10", "gac");
    fixture_make(
        &(fixture_run){ .name = "s/c", .label = "else", .seed = 2, .fd = 14, .table = "imagenet" });
    r = fixture_load("s");
    assert_int_equal(dmq_results_compare(r), DMQ_EDATA);
    fixture_contains(dmq_message(), "\"cifar10\"");
    fixture_contains(dmq_message(), "\"imagenet\"");
    dmq_results_destroy(r);
}

/* ------------------------------------------------------------------ what ships */

static double published(const char *table, const char *method, const char *bits,
                        const char *measure)
{
    dmq_paper *p = NULL;
    double found = (double)NAN;

    FIXTURE_OK(dmq_paper_load(&p, table));
    for (int i = 0; i < p->n_rows && isnan(found); i++) {
        if (strcmp(p->row[i].method, method) == 0 && strcmp(p->row[i].bits, bits) == 0)
            found = p->row[i].value[dmq_measure_find(measure)];
    }
    dmq_paper_destroy(p);
    return found;
}

static void the_shipped_tables_are_read(void **state)
{
    (void)state;
    assert_true(published("cifar10", "gac", "W4A8", "fid") == 4.32);
    assert_true(published("cifar10", "gac", "W4A32", "fid") == 4.28);
    assert_true(published("cifar10", "qdiffusion", "W8A8", "is") == 9.48);
    assert_true(published("lsun-bedrooms", "gac", "W4A8", "sfid") == 7.40);
    assert_true(published("lsun-bedrooms", "fp", "W32A32", "fid") == 2.98);
    assert_true(published("lsun-bedrooms", "squant", "W4A8", "fid") == 95.92);
    assert_true(published("imagenet", "gac", "W4A8", "fid") == 9.96);
    assert_true(published("imagenet", "fp", "W32A32", "is") == 235.64);
    assert_true(isnan(published("cifar10", "edadm", "W4A8", "fid"))); /* nobody could read it */
}

/* ------------------------------------------------------------------ times */

/* The second run of a sweep takes the calibration set of the first: its time counts in both. */
static void shared_work_counts_in_every_run(void **state)
{
    dmq_results *r;
    int measure = dmq_measure_find("calibration_seconds");

    (void)state;
    fixture_make(&(fixture_run){
        .name = "s/a", .label = "a", .seed = 1, .fd = 10, .calibrate_seconds = 40 });
    fixture_make(&(fixture_run){
        .name = "s/b", .label = "b", .seed = 1, .fd = 14, .calibrate_seconds = -0.5 });
    r = fixture_load("s");
    assert_true(dmq_measure_value(&r->run[0], measure, 0) == 42.5);
    assert_true(dmq_measure_value(&r->run[1], measure, 0) == 42.5);
    dmq_results_destroy(r);
    r = fixture_load("s/b"); /* the one that made it is not there */
    assert_true(isnan(dmq_measure_value(&r->run[0], measure, 0)));
    dmq_results_destroy(r);
}

/* ------------------------------------------------------------------ out of memory */

static void any_allocation_may_fail(void **state)
{
    (void)state;
    fixture_make(&(fixture_run){ .name = "s/a",
                                 .label = "GAC",
                                 .seed = 1,
                                 .fd = 1,
                                 .table = make_paper(steps_4, rows),
                                 .method = "gac" });
    fixture_memory_runs_out("s", 1, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(differences_are_measured_minus_published),
        FIXTURE_TEST(another_protocol_is_marked_and_told),
        FIXTURE_TEST(conventions_are_told),
        FIXTURE_TEST(the_row_of_the_same_settings_is_taken),
        FIXTURE_TEST(values_of_the_configuration_win),
        FIXTURE_TEST(runs_are_told_later),
        FIXTURE_TEST(the_form_for_programs),
        FIXTURE_TEST(the_form_of_a_document),
        FIXTURE_TEST(the_form_for_papers),
        FIXTURE_TEST(the_page_has_the_same_columns),
        FIXTURE_TEST(a_table_that_cannot_be_read_is_refused),
        FIXTURE_TEST(nothing_to_stand_beside_is_refused),
        FIXTURE_TEST(the_shipped_tables_are_read),
        FIXTURE_TEST(shared_work_counts_in_every_run),
        FIXTURE_TEST(any_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
