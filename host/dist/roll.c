#include "dist/roll.h"

#include "base/clock.h"
#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>

dmq_status dmq_roll_create(dmq_roll *roll, int size, double seconds)
{
    dmq_status st = DMQ_OK;

    roll->size = size;
    roll->seconds = seconds;
    DMQ_TRY(dmq_alloc((void **)&roll->rank, (size_t)size, sizeof *roll->rank));
    for (int r = 0; r < size; r++)
        roll->rank[r].calls = -1;
done:
    return st;
}

void dmq_roll_release(dmq_roll *roll)
{
    dmq_free(roll->rank);
    roll->rank = NULL;
}

int dmq_roll_gone(const dmq_roll *roll, long number)
{
    for (int r = 0; r < roll->size; r++) {
        if (roll->rank[r].gone && roll->rank[r].call.number < number)
            return r;
    }
    return -1;
}

int dmq_roll_all(const dmq_roll *roll, long number)
{
    for (int r = 0; r < roll->size; r++) {
        if (roll->rank[r].call.number < number)
            return 0;
    }
    return 1;
}

int dmq_roll_all_late(const dmq_roll *roll)
{
    for (int r = 0; r < roll->size; r++) {
        if (roll->rank[r].calls < 0)
            return 0;
    }
    return 1;
}

dmq_status dmq_roll_failed(const dmq_roll *roll)
{
    return dmq_fail(DMQ_EPEER, "%s", roll->why);
}

/* ------------------------------------------------------------------ words */

/* A line that grows, cut where it is full. */
typedef struct line {
    char text[DMQ_PEER_TEXT];
    size_t n;
} line;

static void add(line *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(line *l, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(l->text + l->n, sizeof l->text - l->n, format, args);
    va_end(args);
    if (n > 0)
        l->n = l->n + (size_t)n < sizeof l->text ? l->n + (size_t)n : sizeof l->text - 1;
}

/* "rank 2 (node01, process 4711)" */
static void add_rank(line *l, const dmq_roll *roll, int rank)
{
    const char *where = roll->rank[rank].where;

    add(l, "rank %d%s%s%s", rank, where[0] ? " (" : "", where, where[0] ? ")" : "");
}

static void add_last(line *l, const dmq_roll *roll, int rank)
{
    const dmq_roll_entry *e = &roll->rank[rank];
    char text[DMQ_CALL_TEXT];

    dmq_call_text(text, &e->call, e->label);
    if (!e->joined) {
        add(l, "it never joined");
    } else if (e->call.kind == DMQ_CALL_NONE) {
        add(l, "it was asked for nothing yet");
    } else {
        add(l, "it last took part in %s", text);
    }
}

static void keep(dmq_roll *roll, const line *l)
{
    if (!roll->why[0])
        (void)snprintf(roll->why, sizeof roll->why, "%s", l->text);
}

void dmq_roll_fail(dmq_roll *roll, int rank, const char *text)
{
    line l = { .n = 0 };

    add(&l, "group: ");
    add_rank(&l, roll, rank);
    add(&l, " of %d failed: %s", roll->size, text);
    keep(roll, &l);
}

void dmq_roll_fail_gone(dmq_roll *roll, int rank, int waits, const dmq_call *call)
{
    char text[DMQ_CALL_TEXT];
    line l = { .n = 0 };

    dmq_call_text(text, call, roll->rank[waits].label);
    add(&l, "group: ");
    add_rank(&l, roll, rank);
    add(&l, " of %d has gone, and rank %d waits for it in %s; ", roll->size, waits, text);
    add_last(&l, roll, rank);
    keep(roll, &l);
}

void dmq_roll_fail_missing(dmq_roll *roll, const dmq_call *call)
{
    char text[DMQ_CALL_TEXT], limit[DMQ_CLOCK_TEXT];
    line l = { .n = 0 };

    dmq_call_text(text, call, "");
    dmq_clock_duration(limit, roll->seconds);
    add(&l, "group: not all of %d ranks came to %s within %s", roll->size, text, limit);
    for (int r = 0; r < roll->size; r++) {
        if (roll->rank[r].call.number >= call->number)
            continue;
        add(&l, "\n  at ");
        add_rank(&l, roll, r);
        add(&l, ": ");
        add_last(&l, roll, r);
    }
    keep(roll, &l);
}

void dmq_roll_fail_absent(dmq_roll *roll)
{
    char limit[DMQ_CLOCK_TEXT];
    line l = { .n = 0 };

    dmq_clock_duration(limit, roll->seconds);
    add(&l, "group: not all of %d ranks came within %s", roll->size, limit);
    for (int r = 0; r < roll->size; r++) {
        if (!roll->rank[r].joined)
            add(&l, "\n  at rank %d: it never joined", r);
    }
    keep(roll, &l);
}

void dmq_roll_fail_late(dmq_roll *roll, const dmq_call *call)
{
    char text[DMQ_CALL_TEXT], limit[DMQ_CLOCK_TEXT];
    line l = { .n = 0 };
    long most = 0;
    int named = 0;

    for (int r = 0; r < roll->size; r++)
        most = roll->rank[r].calls > most ? roll->rank[r].calls : most;
    dmq_call_text(text, call, "");
    dmq_clock_duration(limit, roll->seconds);
    add(&l, "group: %s did not end on the devices within %s", text, limit);
    for (int r = 0; r < roll->size; r++) {
        const dmq_roll_entry *e = &roll->rank[r];

        if (e->calls == most)
            continue;
        named = 1;
        add(&l, "\n  at ");
        add_rank(&l, roll, r);
        if (e->calls < 0) {
            add(&l, ": it does not wait with the others; ");
            add_last(&l, roll, r);
        } else {
            add(&l, ": it asked its device for %ld calls, others for %ld", e->calls, most);
        }
    }
    if (!named)
        add(&l, ", though all %d ranks asked for it", roll->size);
    keep(roll, &l);
}

int dmq_roll_fail_different(dmq_roll *roll)
{
    for (int r = 1; r < roll->size; r++) {
        char a[DMQ_CALL_TEXT], b[DMQ_CALL_TEXT];
        line l = { .n = 0 };

        if (dmq_call_same(&roll->rank[r].call, &roll->rank[0].call))
            continue;
        dmq_call_text(a, &roll->rank[r].call, roll->rank[r].label);
        dmq_call_text(b, &roll->rank[0].call, roll->rank[0].label);
        add(&l, "group: ");
        add_rank(&l, roll, r);
        add(&l, " asks for %s, rank 0 for %s", a, b);
        keep(roll, &l);
        return 1;
    }
    return 0;
}
