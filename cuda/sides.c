#include "cuda/sides.h"

#include "base/log.h"

void dmq_cuda_sides_destroy(dmq_queue *queue)
{
    for (int i = 0; i < DMQ_CUDA_SIDES; i++) {
        dmq_cuda_queue_destroy(queue->side[i]);
        queue->side[i] = NULL;
    }
    if (queue->mark)
        (void)cudaEventDestroy(queue->mark);
    queue->mark = NULL;
    queue->sides = 0;
}

static dmq_status make(dmq_queue *queue)
{
    dmq_status st = DMQ_OK;

    DMQ_CUDA(cudaEventCreateWithFlags(&queue->mark, cudaEventDisableTiming));
    for (int i = 0; i < DMQ_CUDA_SIDES; i++) {
        DMQ_TRY(dmq_cuda_queue_create(&queue->side[i], DMQ_CUDA_SIDE));
        DMQ_CUDA(cudaEventCreateWithFlags(&queue->side[i]->mark, cudaEventDisableTiming));
    }
    queue->sides = DMQ_CUDA_SIDES;
done:
    if (st != DMQ_OK)
        dmq_cuda_sides_destroy(queue);
    if (st == DMQ_ENOMEM) {
        dmq_log_warn("no-side-streams", "convolutions with several weights go one by one: %s",
                     dmq_message());
        queue->sides = -1; /* for good: recordings are of what was asked before them */
        st = DMQ_OK;
    }
    return st;
}

dmq_status dmq_cuda_fork(int *n, dmq_queue *queue)
{
    dmq_status st = DMQ_OK;

    *n = 1;
    DMQ_TRY(dmq_cuda_use());
    if (queue->sides == 0 && !queue->captures)
        DMQ_TRY(make(queue));
    if (queue->sides <= 0)
        goto done;
    DMQ_CUDA(cudaEventRecord(queue->mark, queue->stream));
    for (int i = 0; i < queue->sides; i++) {
        DMQ_CUDA(cudaStreamWaitEvent(queue->side[i]->stream, queue->mark, 0));
        *n = i + 2;
    }
done:
    return st;
}

dmq_queue *dmq_cuda_branch(dmq_queue *queue, int i)
{
    return i == 0 ? queue : queue->side[i - 1];
}

dmq_status dmq_cuda_join(dmq_queue *queue, int n)
{
    dmq_status st = DMQ_OK;

    for (int i = 1; i < n; i++) {
        dmq_queue *side = dmq_cuda_branch(queue, i);

        DMQ_CUDA(cudaEventRecord(side->mark, side->stream));
        DMQ_CUDA(cudaStreamWaitEvent(queue->stream, side->mark, 0));
    }
done:
    return st;
}
