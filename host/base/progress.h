/**
 * How far the run is, on stderr.
 *
 *   bar    quantize  [#########-----------]  46%  2300/5000 it  118 it/s  eta 23s  run 4m10s  loss 3.2e-4
 *   plain  2026-11-22T13:05:09Z quantize 46% 2300/5000 it, 118 it/s, eta 23s, run eta 4m10s, loss 3.2e-4
 *   json   {"t":1795352709.1,"stage":"quantize","done":2300,"total":5000,"unit":"it","rate":118,"eta":23, ...}
 *
 * A bar is drawn at most ten times a second; a plain or json line comes every 30 s or 5 % of the stage,
 * whichever is first but never twice within a second, and at a stage's end. One run, one stage under way
 * at a time, any thread may report.
 *
 * Rate: what was done in this process over the stage's time, so work found done on a restart does not
 * count. Run eta: that of the stage and, for the stages planned after it, cost x the seconds that one unit
 * of cost took so far.
 */
#ifndef DMQ_BASE_PROGRESS_H
#define DMQ_BASE_PROGRESS_H

#include "base/status.h"

typedef enum dmq_progress_form {
    DMQ_PROGRESS_AUTO, /**< bar on a terminal, plain elsewhere */
    DMQ_PROGRESS_BAR,
    DMQ_PROGRESS_PLAIN,
    DMQ_PROGRESS_JSON,
    DMQ_PROGRESS_NONE
} dmq_progress_form;

/** Process-wide. Quiet (-q) means NONE, and the caller says so here. */
void dmq_progress_form_set(dmq_progress_form form);

/** "auto", "bar", "plain", "json", "none"; EUSAGE names the choices. */
dmq_status dmq_progress_form_parse(dmq_progress_form *out, const char *text);

/**
 * Announce a stage of the run before it begins, in order. cost: its expected seconds, or any number in a
 * unit that all stages share. At most 32. Without a plan there is no run eta.
 */
void dmq_progress_plan(const char *name, double cost);

/** Forget the plan and the stage. */
void dmq_progress_reset(void);

/**
 * Begin a stage: total units of work (> 0), done of which were there already. Ends the one before.
 * unit: "it", "images", ...
 */
void dmq_progress_begin(const char *name, double total, double done, const char *unit);

/** n more units are done. note: a short text at the line's end, or NULL to keep the last one. */
void dmq_progress_add(double n, const char *note);

/** So many units are done in all. */
void dmq_progress_set(double done, const char *note);

/** The stage is done (also when fewer units were needed than announced): a last line, the bar goes. */
void dmq_progress_end(void);

#endif
