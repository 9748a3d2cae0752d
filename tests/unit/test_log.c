/* log, clock, progress and signal: what comes out on stderr. */
#include "base/clock.h"
#include "base/log.h"
#include "base/progress.h"
#include "base/signal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <signal.h>

static FILE *sink;
static char text[65536];

static int start(void **state)
{
    (void)state;
    sink = tmpfile();
    dmq_log_fd_set(fileno(sink));
    dmq_log_verbosity_set(DMQ_NORMAL);
    return sink ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    dmq_log_fd_set(2);
    dmq_clock_fake(-1.0);
    dmq_progress_reset();
    return fclose(sink);
}

/* All that was said since the start of the test. */
static const char *said(void)
{
    size_t n;

    rewind(sink);
    n = fread(text, 1, sizeof text - 1, sink);
    text[n] = '\0';
    return text;
}

static int lines_of(const char *s)
{
    int n = 0;

    for (; *s; s++)
        n += *s == '\n';
    return n;
}

static void levels_choose_what_is_said(void **state)
{
    (void)state;
    dmq_log_info("one %d", 1);
    dmq_log_detail("hidden");
    dmq_log_verbosity_set(DMQ_QUIET);
    dmq_log_info("hidden");
    dmq_log_error("a = %d: must be 2..8\n  at f.yaml:1:2", 9);
    assert_string_equal(said(), "dmq: one 1\ndmq: error: a = 9: must be 2..8\n  at f.yaml:1:2\n");
}

static void warnings_are_named_counted_and_cut_off(void **state)
{
    (void)state;
    for (int i = 0; i < DMQ_LOG_REPEATS + 3; i++)
        dmq_log_warn("zero-step", "layer %d", i);
    dmq_log_warn("other", "once");
    assert_int_equal(dmq_log_warnings("zero-step"), DMQ_LOG_REPEATS + 3);
    assert_int_equal(dmq_log_warnings(NULL), DMQ_LOG_REPEATS + 4);
    assert_string_equal(dmq_log_warning_name(0), "zero-step");
    assert_null(dmq_log_warning_name(2));
    dmq_log_summary();
    assert_int_equal(lines_of(said()), DMQ_LOG_REPEATS + 2);
    assert_non_null(strstr(said(), "dmq: warning [zero-step]: layer 4\n"));
    assert_null(strstr(said(), "layer 5"));
    assert_non_null(strstr(said(), "warning [zero-step] came 8 times, 5 of them shown"));
}

static void a_copy_has_every_line_with_its_time(void **state)
{
    char path[] = "/tmp/dmq-log-XXXXXX", line[256];
    int fd = mkstemp(path);
    FILE *f;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(dmq_log_copy(path), DMQ_OK);
    dmq_log_detail("quiet word");
    assert_int_equal(dmq_log_copy(NULL), DMQ_OK);
    f = fdopen(fd, "r");
    assert_non_null(fgets(line, sizeof line, f));
    assert_string_equal(line + 20, " dmq: quiet word\n");
    assert_int_equal(line[19], 'Z');
    (void)fclose(f);
    (void)unlink(path);
    assert_string_equal(said(), "");
    assert_int_equal(dmq_log_copy("/nowhere/log.txt"), DMQ_EIO);
    assert_non_null(strstr(dmq_message(), "/nowhere/log.txt"));
}

static void durations_read_well(void **state)
{
    static const struct {
        double seconds;
        const char *text;
    } cases[] = { { 0.04, "0.0s" },    { 9.94, "9.9s" }, { 9.96, "10s" },   { 59.4, "59s" },
                  { 59.6, "1m00s" },   { 185, "3m05s" }, { 3720, "1h02m" }, { 86399, "23h59m" },
                  { 183600, "2d03h" }, { -1, "?" } };
    char out[DMQ_CLOCK_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dmq_clock_duration(out, cases[i].seconds);
        assert_string_equal(out, cases[i].text);
    }
}

static void plain_progress_comes_every_30_s_or_5_percent(void **state)
{
    (void)state;
    dmq_progress_form_set(DMQ_PROGRESS_AUTO); /* the sink is not a terminal */
    dmq_clock_fake(100.0);
    dmq_progress_begin("quantize", 1000, 0, "it");
    assert_int_equal(lines_of(said()), 1);
    dmq_clock_fake(102.0);
    dmq_progress_add(49, NULL);
    assert_int_equal(lines_of(said()), 1);
    dmq_progress_add(1, "loss 0.1");
    assert_int_equal(lines_of(said()), 2);
    assert_non_null(strstr(said(), "quantize 5% 50/1000 it, 25 it/s, eta 38s, loss 0.1\n"));
    dmq_progress_add(500, NULL); /* within the same second */
    assert_int_equal(lines_of(said()), 2);
    dmq_clock_fake(132.0);
    dmq_progress_set(551, NULL);
    assert_int_equal(lines_of(said()), 3);
    dmq_progress_end();
    assert_int_equal(lines_of(said()), 3); /* nothing new to tell */
}

static void the_run_has_an_eta(void **state)
{
    (void)state;
    dmq_progress_form_set(DMQ_PROGRESS_PLAIN);
    dmq_progress_plan("calibrate", 10);
    dmq_progress_plan("quantize", 30);
    dmq_progress_plan("sample", 20);
    dmq_clock_fake(0.0);
    dmq_progress_begin("calibrate", 100, 0, "images");
    dmq_clock_fake(20.0); /* twice as slow as planned */
    dmq_progress_add(100, NULL);
    dmq_progress_begin("quantize", 100, 50, "it");
    dmq_clock_fake(50.0); /* 30 s for the 50 that were left: cost 15 */
    dmq_progress_set(75, NULL);
    /* 25 its in 30 s; 30 s to come; then 20 x (20 + 30) / (10 + 7.5) */
    assert_non_null(strstr(said(), "quantize 75% 75/100 it, 0.833 it/s, eta 30s, run eta 1m27s\n"));
}

static void json_progress_is_json(void **state)
{
    (void)state;
    dmq_progress_form_set(DMQ_PROGRESS_JSON);
    dmq_clock_fake(1.0);
    dmq_progress_begin("sa\"mple", 4, 0, "images");
    dmq_clock_fake(3.0);
    dmq_progress_add(1, "a\nb");
    assert_non_null(strstr(said(),
                           ",\"stage\":\"sa mple\",\"done\":1,\"total\":4,\"unit\":\"images\","
                           "\"rate\":0.5,\"eta\":6,\"note\":\"a b\"}\n"));
}

static void the_bar_is_redrawn_under_talk(void **state)
{
    (void)state;
    dmq_progress_form_set(DMQ_PROGRESS_BAR);
    dmq_clock_fake(1.0);
    dmq_progress_begin("sample", 4, 0, "images");
    dmq_clock_fake(3.0);
    dmq_progress_add(2, NULL);
    dmq_log_info("hello");
    dmq_progress_end();
    assert_non_null(strstr(said(), "sample     [##########----------]  50%  2/4 images"));
    assert_non_null(strstr(said(), "\r\033[Kdmq: hello\nsample     [###"));
    assert_string_equal(said() + strlen(said()) - 4, "\r\033[K");
    dmq_progress_form_set(DMQ_PROGRESS_NONE);
    dmq_progress_begin("sample", 4, 0, "images");
    assert_string_equal(said() + strlen(said()) - 4, "\r\033[K");
}

static void progress_forms_are_parsed(void **state)
{
    dmq_progress_form f;

    (void)state;
    assert_int_equal(dmq_progress_form_parse(&f, "json"), DMQ_OK);
    assert_int_equal(f, DMQ_PROGRESS_JSON);
    assert_int_equal(dmq_progress_form_parse(&f, "nice"), DMQ_EUSAGE);
}

static void signals_set_the_flag(void **state)
{
    static const int signals[] = { SIGTERM, SIGUSR2, SIGINT };

    (void)state;
    dmq_signal_install();
    for (int i = 0; i < 3; i++) {
        assert_false(dmq_stop_requested());
        (void)raise(signals[i]);
        assert_true(dmq_stop_requested());
        assert_int_equal(dmq_stop_signal(), signals[i]);
        dmq_stop_request(0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(levels_choose_what_is_said, start, stop),
        cmocka_unit_test_setup_teardown(warnings_are_named_counted_and_cut_off, start, stop),
        cmocka_unit_test_setup_teardown(a_copy_has_every_line_with_its_time, start, stop),
        cmocka_unit_test(durations_read_well),
        cmocka_unit_test_setup_teardown(plain_progress_comes_every_30_s_or_5_percent, start, stop),
        cmocka_unit_test_setup_teardown(the_run_has_an_eta, start, stop),
        cmocka_unit_test_setup_teardown(json_progress_is_json, start, stop),
        cmocka_unit_test_setup_teardown(the_bar_is_redrawn_under_talk, start, stop),
        cmocka_unit_test(progress_forms_are_parsed),
        cmocka_unit_test(signals_set_the_flag),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
