/* What was asked of a queue once, asked again by one launch. */
#include "cuda/device.h"

#include "base/memory.h"

typedef struct graph {
    cudaGraphExec_t exec;
    cudaEvent_t done; /* of the last launch: what runs is not destroyed */
} graph;

dmq_status dmq_cuda_capture_begin(dmq_queue *queue)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_use());
    DMQ_TRY(dmq_cuda_queue_capture(queue, NULL));
done:
    return st;
}

dmq_status dmq_cuda_capture_end(dmq_queue *queue, void **out)
{
    cudaGraph_t recorded = NULL;
    graph *g = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_cuda_use());
    DMQ_TRY(dmq_cuda_queue_capture(queue, &recorded));
    DMQ_TRY(dmq_alloc((void **)&g, 1, sizeof *g));
    DMQ_CUDA(cudaEventCreateWithFlags(&g->done, cudaEventDisableTiming));
    DMQ_CUDA(cudaGraphInstantiate(&g->exec, recorded, 0));
    DMQ_CUDA(cudaGraphUpload(g->exec, queue->stream)); /* or the first launch would wait for it */
    DMQ_CUDA(cudaEventRecord(g->done, queue->stream));
    *out = g;
    g = NULL;
done:
    if (recorded)
        (void)cudaGraphDestroy(recorded);
    dmq_cuda_graph_destroy(g);
    return st;
}

dmq_status dmq_cuda_graph_launch(dmq_queue *queue, void *recorded)
{
    const graph *g = recorded;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_use());
    dmq_cuda_queue_turn(queue);
    DMQ_CUDA(cudaGraphLaunch(g->exec, queue->stream));
    DMQ_CUDA(cudaEventRecord(g->done, queue->stream));
done:
    if (st != DMQ_OK) /* without the event nobody would know whether it still runs */
        (void)cudaStreamSynchronize(queue->stream);
    return st;
}

void dmq_cuda_graph_destroy(void *recorded)
{
    graph *g = recorded;

    if (!g || dmq_cuda_use() != DMQ_OK)
        return;
    if (g->done) {
        (void)cudaEventSynchronize(g->done);
        (void)cudaEventDestroy(g->done);
    }
    if (g->exec)
        (void)cudaGraphExecDestroy(g->exec);
    dmq_free(g);
}
