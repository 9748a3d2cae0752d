/**
 * Where those who record a network on several tapes (one a lane) get the hooks from.
 *
 * dmq_hooks is for one tape: what a quantizer puts on it may need that tape's own index of sampler
 * steps. A source is asked once for every tape, by the thread that records, and what it gave is used
 * until the next question at most; a source that is all zero means full precision.
 */
#ifndef DMQ_MODEL_HOOK_SOURCE_H
#define DMQ_MODEL_HOOK_SOURCE_H

#include "model/model.h"

typedef struct dmq_hook_source {
    void *context;
    /** row: (N) sampler step of each sample of that tape, filled before every pass; lives as long as it. */
    dmq_hooks (*hooks)(void *context, dmq_tape *tape, const dmq_index *row);
} dmq_hook_source;

/** The hooks for one tape; source may be NULL. */
static inline dmq_hooks dmq_hooks_for(const dmq_hook_source *source, dmq_tape *tape,
                                      const dmq_index *row)
{
    if (!source || !source->hooks)
        return (dmq_hooks){ 0 };
    return source->hooks(source->context, tape, row);
}

#endif
