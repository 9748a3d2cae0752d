/**
 * Shared by judge.c (the network, checks) and judge_reference.c; nobody else includes it.
 */
#ifndef DMQ_RUN_JUDGE_INNER_H
#define DMQ_RUN_JUDGE_INNER_H

#include "run/judge.h"

/** Load it, or make it; judge->missing pieces may be left to other shards. */
dmq_status dmq_judge_take_reference(dmq_judge *judge);

/** A file of statistics is fit for the metrics and of the judge's network; reads it, computes nothing. */
dmq_status dmq_judge_check_statistics(const dmq_judge *judge, const dmq_score_config *how,
                                      const char *path);

#endif
