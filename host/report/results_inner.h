/** Loading (results.c) and grouping (arms.c). */
#ifndef DMQ_REPORT_RESULTS_INNER_H
#define DMQ_REPORT_RESULTS_INNER_H

#include "report/results.h"

/** Sort the runs, make arms, baselines and the list of unfinished runs. folders: as they were given. */
dmq_status dmq_results_arrange(dmq_results *all, const char *const *folders);

#endif
