/**
 * Plans of cuDNN as files, for those whose kernels it compiles when it runs: a second each, in every process and on
 * every queue anew. From its text a plan is made in a hundredth of that.
 *
 * With DMQ_CUDA_PLANS=FOLDER the text of such a plan is kept there, under a name made of what it is for. A text of
 * another library or device is refused by the library, and written anew. Without it nothing is kept.
 */
#ifndef DMQ_CUDA_PLAN_TEXTS_H
#define DMQ_CUDA_PLAN_TEXTS_H

#include "cuda/libraries.h"

/** Whether texts are kept at all. */
int dmq_plan_texts_kept(void);

/** Finish a plan, of which all but what it computes is set, from the text kept for a key; 0: there is none, or it
    is refused, and the plan is of no more use. */
int dmq_plan_text_load(cudnnBackendDescriptor_t plan, const char *key);

/** Keep the text of a finished plan. What cannot be written is a warning: it will be compiled again. */
void dmq_plan_text_save(cudnnBackendDescriptor_t plan, const char *key);

#endif
