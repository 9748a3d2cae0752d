/* The HTML report: what it must hold, that it stands alone, is well-formed, escapes texts, and repeats. */
#include "report_fixture.h"

#include <ctype.h>

#define EVIL "<b>&\"'"

static void make_sweep(void)
{
    fixture_make(&(fixture_run){ .name = "sweep/a-s1",
                                 .label = "nearest W4A8",
                                 .seed = 1,
                                 .fd = 30,
                                 .task = 1,
                                 .no_blocks = 1,
                                 .round = "nearest" });
    fixture_make(&(fixture_run){
        .name = "sweep/b-s1", .label = EVIL " W4A8", .seed = 1, .fd = 10, .task = 2 });
    fixture_make(&(fixture_run){
        .name = "sweep/b-s2", .label = EVIL " W4A8", .seed = 2, .fd = 14, .task = 3 });
    fixture_make(&(fixture_run){ .name = "sweep/c-s1",
                                 .label = "GAC W4A8",
                                 .seed = 1,
                                 .fd = 12,
                                 .task = 4,
                                 .iters = "300" });
}

/* ------------------------------------------------------------------ a reader of tags */

typedef struct reader {
    const char *at;
    char open[64][16]; /* elements that are open */
    int depth, elements;
} reader;

static void wrong(const reader *r, const char *what)
{
    fail_msg("%s at: %.120s", what, r->at);
}

static int is_void(const char *name)
{
    return strcmp(name, "meta") == 0 || strcmp(name, "img") == 0 || strcmp(name, "br") == 0;
}

/* name="value" or a bare name; values hold no < and their & are entities. */
static void read_attribute(reader *r)
{
    if (strncmp(r->at, "on", 2) == 0)
        wrong(r, "a script");
    while (isalnum((unsigned char)*r->at) || *r->at == '-')
        r->at++;
    if (*r->at != '=')
        return;
    r->at++;
    if (*r->at++ != '"')
        wrong(r, "an attribute without quotes");
    for (; *r->at != '"'; r->at++) {
        if (*r->at == '\0' || *r->at == '<')
            wrong(r, "an attribute that does not end");
    }
    r->at++;
}

static void read_tag(reader *r)
{
    char name[16] = "";
    int closing = r->at[1] == '/', n = 0;

    if (strncmp(r->at, "<!DOCTYPE html>", 15) == 0) {
        r->at += 15;
        return;
    }
    r->at += 1 + closing;
    while (isalnum((unsigned char)*r->at) && n < 15)
        name[n++] = *r->at++;
    if (n == 0)
        wrong(r, "a < that begins no tag");
    while (isspace((unsigned char)*r->at)) {
        r->at++;
        read_attribute(r);
    }
    if (closing) {
        if (r->depth == 0 || strcmp(r->open[--r->depth], name) != 0)
            wrong(r, "an end that has no beginning");
    } else if (*r->at == '/') {
        r->at++;
    } else if (!is_void(name)) {
        if (r->depth == 64)
            wrong(r, "too deep");
        (void)strcpy(r->open[r->depth++], name);
    }
    if (*r->at++ != '>')
        wrong(r, "a tag that does not end");
    r->elements++;
    if (!closing && strcmp(name, "style") == 0) {
        r->at = strstr(r->at, "</style>");
        assert_non_null(r->at);
    }
}

static void read_entity(reader *r)
{
    static const char *const known[] = { "&amp;", "&lt;", "&gt;", "&quot;", "&#39;", "&nbsp;" };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strncmp(r->at, known[i], strlen(known[i])) == 0) {
            r->at += strlen(known[i]);
            return;
        }
    }
    wrong(r, "an & that is no entity");
}

/* Number of elements of a page in which every tag is closed, every & an entity. */
static int check_form(const char *page)
{
    reader r = { .at = page };

    while (*r.at) {
        if (*r.at == '<') {
            read_tag(&r);
        } else if (*r.at == '&') {
            read_entity(&r);
        } else if (*r.at == '>') {
            wrong(&r, "a > in a text");
        } else {
            r.at++;
        }
    }
    assert_int_equal(r.depth, 0);
    return r.elements;
}

static int count(const char *text, const char *what)
{
    int n = 0;

    for (size_t size = strlen(what); *text; text++)
        n += strncmp(text, what, size) == 0;
    return n;
}

/* ------------------------------------------------------------------ the page */

static void the_page_is_well_formed_and_alone(void **state)
{
    char *page;

    (void)state;
    make_sweep();
    page = fixture_html("sweep");
    assert_true(dmq_text_is_utf8(page));
    assert_true(check_form(page) > 300);
    assert_int_equal(count(page, "http:"), 0);
    assert_int_equal(count(page, "https:"), 0);
    assert_int_equal(count(page, "url("), 0);
    assert_int_equal(count(page, "@import"), 0);
    assert_int_equal(count(page, "<script"), 0);
    assert_int_equal(count(page, "<link"), 0);
    assert_int_equal(count(page, "<iframe"), 0);
    assert_int_equal(count(page, "src="), count(page, "src=\"data:image/png;base64,"));
    assert_int_equal(count(page, "href="), count(page, "href=\"#"));
    assert_int_equal(count(page, "<img "), count(page, " alt=\""));
    dmq_free(page);
}

static void the_page_holds_all_parts(void **state)
{
    static const char *const parts[] = { "results",   "overview", "images",   "noise", "blocks",
                                         "gradients", "weights",  "settings", "runs" };
    char *page, id[64];

    (void)state;
    make_sweep();
    page = fixture_html("sweep");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        (void)snprintf(id, sizeof id, "<section id=\"%s\">", parts[i]);
        fixture_contains(page, id);
        (void)snprintf(id, sizeof id, "<a href=\"#%s\">", parts[i]);
        fixture_contains(page, id);
    }
    fixture_contains(page, "<title>sweep</title>");
    fixture_contains(page, "<td>12.00<span class=\"sd\"> ± 2.83</span></td>");
    fixture_contains(page, "fd8/abc/shapes16-heldout-16/uint8-round");
    fixture_contains(page, "down.0.block.0");
    fixture_contains(page, "before, mean 0.50");
    fixture_contains(page, "after, mean −0.25");
    fixture_contains(page, "recon.iters");
    assert_null(
        strstr(page, "calibrate.microbatch</th><td class=\"text same\"")); /* differs by seed */
    fixture_contains(page, "/sweep/c-s1/config.yaml -o again/c-s1\n");
    fixture_contains(page, "full precision, image 1\"");
    fixture_contains(page, "GAC W4A8, seed 1, image 8\"");
    fixture_contains(page, "GAC W4A8, seed 1, difference to full precision, image 8\"");
    fixture_contains(page, "1 more seed<");
    /* 8 of full precision, and of four runs 8 quantized and 8 differences */
    assert_int_equal(count(page, "<img "), 8 + 4 * 16);
    dmq_free(page);
}

static void texts_are_escaped(void **state)
{
    char *page;

    (void)state;
    make_sweep();
    page = fixture_html("sweep");
    assert_null(strstr(page, EVIL));
    assert_null(strstr(page, "<b>"));
    fixture_contains(page, "&lt;b&gt;&amp;&quot;&#39; W4A8");
    dmq_free(page);
}

static void equal_folders_give_equal_pages(void **state)
{
    char *one, *two;

    (void)state;
    make_sweep();
    one = fixture_html("sweep");
    two = fixture_html("sweep");
    assert_string_equal(one, two);
    dmq_free(one);
    dmq_free(two);
}

static void what_is_missing_is_said_or_left_out(void **state)
{
    char *page;

    (void)state;
    fixture_make(&(fixture_run){
        .name = "s/a", .label = "nearest", .seed = 1, .fd = 30, .no_blocks = 1, .no_images = 1 });
    fixture_make(&(fixture_run){ .name = "s/b", .label = "late", .seed = 7, .unfinished = 1 });
    page = fixture_html("s");
    (void)check_form(page);
    fixture_contains(page, "not evaluated yet");
    fixture_contains(page, "late, seed 7");
    assert_null(strstr(page, "id=\"images\""));
    assert_null(strstr(page, "id=\"gradients\""));
    assert_null(strstr(page, "id=\"weights\""));
    assert_null(strstr(page, "id=\"blocks\""));
    assert_null(strstr(page, "id=\"settings\""));
    dmq_free(page);
    fixture_make(&(fixture_run){ .name = "s/c", .label = "GAC", .seed = 1, .fd = 3 });
    page = fixture_html("s");
    (void)check_form(page);
    fixture_contains(page, "The images of seed 1 are not there.");
    assert_true(fixture_said("no-images"));
    dmq_free(page);
}

static void damaged_images_are_refused(void **state)
{
    const char *folder;
    dmq_results *r;
    char *page = NULL;

    (void)state;
    fixture_make(&(fixture_run){ .name = "s/a", .label = "GAC", .seed = 1, .fd = 3 });
    FIXTURE_OK(dmq_file_write_text(in_folder("s/a/images-q.h5"), "no HDF5"));
    folder = in_folder("s");
    FIXTURE_OK(dmq_results_load(&r, &folder, 1));
    assert_int_equal(dmq_html_render(&page, r), DMQ_EDATA);
    fixture_contains(dmq_message(), "images-q.h5");
    dmq_results_destroy(r);
}

/* Many arms: no two are drawn alike, and no label is lost. */
static void many_arms_are_told_apart(void **state)
{
    char *page, name[32], label[64];

    (void)state;
    for (int i = 0; i < 12; i++) {
        (void)snprintf(name, sizeof name, "s/%02d", i);
        (void)snprintf(label, sizeof label, "a rather long name of method %d W4A8", i);
        fixture_make(&(fixture_run){
            .name = name, .label = label, .seed = 1, .fd = 3 + i, .task = i + 1, .no_images = 1 });
    }
    page = fixture_html("s");
    (void)check_form(page);
    fixture_contains(page, "a rather lon…thod 11 W4A8");
    fixture_contains(page, "s0 d0 line");
    fixture_contains(page, "s6 d0 line");
    fixture_contains(page, "s0 d1 line"); /* the eighth: the first colour again, dashed */
    dmq_free(page);
}

/* ------------------------------------------------------------------ out of memory */

static void any_allocation_may_fail(void **state)
{
    dmq_results *r;
    dmq_status st = DMQ_ENOMEM;

    (void)state;
    fixture_make(&(fixture_run){ .name = "s/a", .label = "GAC", .seed = 1, .fd = 1 });
    fixture_make(&(fixture_run){ .name = "s/b", .label = "other", .seed = 1, .fd = 1 });
    r = fixture_load("s");
    for (long n = 1; st != DMQ_OK; n += 1 + n / 60) {
        char *page = NULL;

        dmq_alloc_fail_at(n);
        st = dmq_html_render(&page, r);
        dmq_alloc_fail_at(0);
        assert_true(st == DMQ_OK || st == DMQ_ENOMEM);
        assert_true((page != NULL) == (st == DMQ_OK));
        dmq_free(page);
        assert_true(st != DMQ_OK || n > 100);
    }
    dmq_results_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(the_page_is_well_formed_and_alone),
        FIXTURE_TEST(the_page_holds_all_parts),
        FIXTURE_TEST(texts_are_escaped),
        FIXTURE_TEST(equal_folders_give_equal_pages),
        FIXTURE_TEST(what_is_missing_is_said_or_left_out),
        FIXTURE_TEST(damaged_images_are_refused),
        FIXTURE_TEST(many_arms_are_told_apart),
        FIXTURE_TEST(any_allocation_may_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
