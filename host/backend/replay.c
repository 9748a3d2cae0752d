#include "backend/replay.h"

/* Record; it is not done. */
static dmq_status capture(dmq_replay *r, const dmq_backend *be, dmq_queue *queue, dmq_lanes *lanes,
                          dmq_replay_fn *fn, void *context)
{
    dmq_status st = be->capture_begin(queue), ended;
    void *graph = NULL;

    if (st != DMQ_OK)
        return st;
    if (lanes)
        dmq_lanes_record(lanes, 1);
    st = fn(context, queue);
    if (lanes)
        dmq_lanes_record(lanes, 0);
    ended = be->capture_end(queue, &graph);
    if (st != DMQ_OK || ended != DMQ_OK) {
        be->graph_destroy(graph);
        return st != DMQ_OK ? st : ended;
    }
    r->graph = graph;
    return DMQ_OK;
}

dmq_status dmq_replay_run(dmq_replay *r, const dmq_backend *be, dmq_queue *queue, dmq_lanes *lanes,
                          dmq_replay_fn *fn, void *context)
{
    dmq_status st = DMQ_OK;

    if (be->capture_begin && r->warm && !r->graph)
        DMQ_TRY(capture(r, be, queue, lanes, fn, context));
    DMQ_TRY(r->graph ? be->graph_launch(queue, r->graph) : fn(context, queue));
    r->warm = 1;
done:
    return st;
}

void dmq_replay_drop(dmq_replay *r, const dmq_backend *be)
{
    if (r->graph)
        be->graph_destroy(r->graph);
    *r = (dmq_replay){ 0 };
}
