#include "base/progress.h"

#include "base/clock.h"
#include "base/log.h"

#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { STAGES = 32, NAME_SIZE = 32, NOTE_SIZE = 64, TEXT_SIZE = 512, BAR_CELLS = 20 };

typedef struct planned {
    char name[NAME_SIZE];
    double cost;
} planned;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static dmq_progress_form form = DMQ_PROGRESS_AUTO;
static planned plan[STAGES];
static int plan_count;
static double spent_seconds, spent_cost; /* by the planned stages that ended */

static struct {
    bool active;
    char name[NAME_SIZE], unit[16], note[NOTE_SIZE];
    double total, done, done_at_start;
    double start, last_time, last_done;
} stage;

void dmq_progress_form_set(dmq_progress_form new_form)
{
    form = new_form;
}

dmq_status dmq_progress_form_parse(dmq_progress_form *out, const char *text)
{
    static const char *const words[] = { "auto", "bar", "plain", "json", "none" };

    for (int i = 0; i < 5; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = (dmq_progress_form)i;
            return DMQ_OK;
        }
    }
    return dmq_fail(DMQ_EUSAGE, "--progress %s: must be auto, bar, plain, json or none", text);
}

static dmq_progress_form form_now(void)
{
    if (form == DMQ_PROGRESS_AUTO)
        return isatty(dmq_log_fd()) ? DMQ_PROGRESS_BAR : DMQ_PROGRESS_PLAIN;
    return form;
}

/* Units a second in this process; NaN before anything was done. */
static double rate_at(double now)
{
    double n = stage.done - stage.done_at_start;
    double s = now - stage.start;

    return n > 0.0 && s > 0.0 ? n / s : (double)NAN;
}

static double stage_eta(double now)
{
    return (stage.total - stage.done) / rate_at(now);
}

/* NaN when the stage is not in the plan, or is the last one, or nothing tells how long a cost takes. */
static double run_eta(double now)
{
    double left = 0.0, seconds = spent_seconds, cost = spent_cost;
    int i = 0;

    while (i < plan_count && strcmp(plan[i].name, stage.name) != 0)
        i++;
    if (i + 1 >= plan_count)
        return (double)NAN;
    for (int k = i + 1; k < plan_count; k++)
        left += plan[k].cost;
    seconds += now - stage.start;
    cost += plan[i].cost * (stage.done - stage.done_at_start) / stage.total;
    return cost > 0.0 ? stage_eta(now) + left * seconds / cost : (double)NAN;
}

static int percent(void)
{
    return (int)floor(100.0 * stage.done / stage.total);
}

static void format_eta(char *out, size_t size, const char *before, double seconds)
{
    char text[DMQ_CLOCK_TEXT];

    out[0] = '\0';
    if (!isfinite(seconds))
        return;
    dmq_clock_duration(text, seconds);
    (void)snprintf(out, size, "%s%s", before, text);
}

static void draw_bar(double now)
{
    char text[TEXT_SIZE], cells[BAR_CELLS + 1], rate[48] = "", eta[48], run[48];
    double r = rate_at(now);
    int full = (int)floor(BAR_CELLS * stage.done / stage.total);

    for (int i = 0; i < BAR_CELLS; i++)
        cells[i] = i < full ? '#' : '-';
    cells[BAR_CELLS] = '\0';
    if (isfinite(r))
        (void)snprintf(rate, sizeof rate, "  %.3g %s/s", r, stage.unit);
    format_eta(eta, sizeof eta, "  eta ", stage_eta(now));
    format_eta(run, sizeof run, "  run ", run_eta(now));
    (void)snprintf(text, sizeof text, "%-10s [%s] %3d%%  %.15g/%.15g %s%s%s%s%s%s", stage.name,
                   cells, percent(), stage.done, stage.total, stage.unit, rate, eta, run,
                   stage.note[0] ? "  " : "", stage.note);
    text[110] = '\0'; /* a wrapped line could not be erased */
    dmq_log_bar(text);
}

static void print_plain(double now)
{
    char text[TEXT_SIZE], when[DMQ_CLOCK_TEXT], rate[48] = "", eta[48], run[48];
    double r = rate_at(now);

    dmq_clock_iso(when);
    if (isfinite(r))
        (void)snprintf(rate, sizeof rate, ", %.3g %s/s", r, stage.unit);
    format_eta(eta, sizeof eta, ", eta ", stage_eta(now));
    format_eta(run, sizeof run, ", run eta ", run_eta(now));
    (void)snprintf(text, sizeof text, "%s %s %d%% %.15g/%.15g %s%s%s%s%s%s", when, stage.name,
                   percent(), stage.done, stage.total, stage.unit, rate, eta, run,
                   stage.note[0] ? ", " : "", stage.note);
    dmq_log_line(text);
}

static void json_number(char *out, size_t size, const char *key, double x)
{
    out[0] = '\0';
    if (isfinite(x))
        (void)snprintf(out, size, ",\"%s\":%.6g", key, x);
}

static void print_json(double now)
{
    char text[TEXT_SIZE + NOTE_SIZE], rate[48], eta[48], run[48];

    json_number(rate, sizeof rate, "rate", rate_at(now));
    json_number(eta, sizeof eta, "eta", stage_eta(now));
    json_number(run, sizeof run, "run_eta", run_eta(now));
    (void)snprintf(
        text, sizeof text,
        "{\"t\":%.1f,\"stage\":\"%s\",\"done\":%.15g,\"total\":%.15g,\"unit\":\"%s\"%s%s%s,"
        "\"note\":\"%s\"}",
        dmq_clock_unix(), stage.name, stage.done, stage.total, stage.unit, rate, eta, run,
        stage.note);
    dmq_log_line(text);
}

/* Show what is due; at the end of a stage, or at its start, it always is. */
static void show(bool always)
{
    dmq_progress_form f = form_now();
    double now = dmq_clock_seconds();
    double quiet = now - stage.last_time;
    bool due = always;

    if (f == DMQ_PROGRESS_NONE || !stage.active)
        return;
    if (f == DMQ_PROGRESS_BAR) {
        due = due || quiet >= 0.1;
    } else {
        due = due || quiet >= 30.0 ||
              (quiet >= 1.0 && stage.done - stage.last_done >= 0.05 * stage.total);
    }
    if (!due)
        return;
    stage.last_time = now;
    stage.last_done = stage.done;
    if (f == DMQ_PROGRESS_BAR) {
        draw_bar(now);
    } else if (f == DMQ_PROGRESS_PLAIN) {
        print_plain(now);
    } else {
        print_json(now);
    }
}

/* Quotes and control characters would break the json form, and a newline the other two. */
static void copy_text(char *out, size_t size, const char *text)
{
    size_t n = 0;

    for (; *text && n + 1 < size; text++)
        out[n++] = (char)((unsigned char)*text < 32 || *text == '"' || *text == '\\' ? ' ' : *text);
    out[n] = '\0';
}

void dmq_progress_plan(const char *name, double cost)
{
    pthread_mutex_lock(&lock);
    if (plan_count < STAGES) {
        copy_text(plan[plan_count].name, NAME_SIZE, name);
        plan[plan_count++].cost = cost;
    }
    pthread_mutex_unlock(&lock);
}

void dmq_progress_reset(void)
{
    pthread_mutex_lock(&lock);
    plan_count = 0;
    spent_seconds = spent_cost = 0.0;
    memset(&stage, 0, sizeof stage);
    pthread_mutex_unlock(&lock);
}

static void end_locked(void)
{
    if (!stage.active)
        return;
    if (form_now() == DMQ_PROGRESS_BAR) {
        dmq_log_bar(NULL);
    } else if (stage.done != stage.last_done) {
        show(true);
    }
    for (int i = 0; i < plan_count; i++) {
        if (strcmp(plan[i].name, stage.name) == 0 && stage.done > stage.done_at_start) {
            spent_seconds += dmq_clock_seconds() - stage.start;
            spent_cost += plan[i].cost * (stage.done - stage.done_at_start) / stage.total;
            break;
        }
    }
    stage.active = false;
}

void dmq_progress_begin(const char *name, double total, double done, const char *unit)
{
    pthread_mutex_lock(&lock);
    end_locked();
    memset(&stage, 0, sizeof stage);
    stage.active = true;
    copy_text(stage.name, sizeof stage.name, name);
    copy_text(stage.unit, sizeof stage.unit, unit);
    stage.total = total > 0.0 ? total : 1.0;
    stage.done = stage.done_at_start = done;
    stage.start = dmq_clock_seconds();
    show(true);
    pthread_mutex_unlock(&lock);
}

static void move_to(double done, const char *note)
{
    stage.done = done < stage.total ? done : stage.total;
    if (note)
        copy_text(stage.note, sizeof stage.note, note);
    show(false);
}

void dmq_progress_add(double n, const char *note)
{
    pthread_mutex_lock(&lock);
    move_to(stage.done + n, note);
    pthread_mutex_unlock(&lock);
}

void dmq_progress_set(double done, const char *note)
{
    pthread_mutex_lock(&lock);
    move_to(done, note);
    pthread_mutex_unlock(&lock);
}

void dmq_progress_end(void)
{
    pthread_mutex_lock(&lock);
    end_locked();
    pthread_mutex_unlock(&lock);
}
