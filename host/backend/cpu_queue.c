#include "backend/cpu.h"
#include "backend/cpu_conv2d.h"
#include "base/memory.h"

#include <omp.h>
#include <pthread.h>

struct dmq_queue {
    void *stream;
    void *scratch;
    size_t bytes;
    void *spare; /* larger scratch made by another queue's call, taken over at the next call */
    size_t spare_bytes;
    dmq_queue *next;
};

/* All queues of the process: their scratch grows together. */
static struct {
    pthread_mutex_t lock;
    dmq_queue *first;
    size_t bytes;
} all = { .lock = PTHREAD_MUTEX_INITIALIZER };

int dmq_cpu_threads_one(void)
{
    int threads = omp_get_max_threads();

    if (threads != 1)
        omp_set_num_threads(1);
    return threads;
}

void dmq_cpu_threads_restore(int threads)
{
    if (threads != 1)
        omp_set_num_threads(threads);
}

void *dmq_cpu_stream(const dmq_queue *queue)
{
    return queue->stream;
}

/* With the lock held: a spare of that size for every queue. Those made before a failure stay. */
static dmq_status grow_all(size_t bytes)
{
    dmq_status st = DMQ_OK;

    for (dmq_queue *q = all.first; q; q = q->next) {
        void *memory = NULL;

        if (q->bytes >= bytes || q->spare_bytes >= bytes)
            continue;
        DMQ_TRY(dmq_alloc(&memory, bytes, 1));
        dmq_free(q->spare);
        q->spare = memory;
        q->spare_bytes = bytes;
    }
    all.bytes = bytes;
done:
    return st;
}

dmq_status dmq_cpu_scratch(void **out, dmq_queue *queue, size_t bytes)
{
    dmq_status st = DMQ_OK;

    pthread_mutex_lock(&all.lock);
    if (bytes > all.bytes)
        DMQ_TRY(grow_all(bytes));
    if (queue->spare) {
        dmq_free(queue->scratch);
        queue->scratch = queue->spare;
        queue->bytes = queue->spare_bytes;
        queue->spare = NULL;
        queue->spare_bytes = 0;
    }
    *out = queue->scratch;
done:
    pthread_mutex_unlock(&all.lock);
    return st;
}

dmq_status dmq_queue_create_cpu(dmq_queue **out, int lane)
{
    dmq_status st = DMQ_OK;
    dmq_queue *queue = NULL;

    (void)lane;
    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&queue, 1, sizeof *queue));
    DMQ_TRY(dmq_cpu_conv_open(&queue->stream));
    pthread_mutex_lock(&all.lock);
    if (all.bytes > 0)
        st = dmq_alloc(&queue->scratch, all.bytes, 1);
    if (st == DMQ_OK) {
        queue->bytes = all.bytes;
        queue->next = all.first;
        all.first = queue;
    }
    pthread_mutex_unlock(&all.lock);
    if (st != DMQ_OK)
        goto done;
    *out = queue;
    queue = NULL;
done:
    if (queue)
        dmq_cpu_conv_close(queue->stream);
    dmq_free(queue);
    return st;
}

void dmq_queue_destroy_cpu(dmq_queue *queue)
{
    if (!queue)
        return;
    pthread_mutex_lock(&all.lock);
    for (dmq_queue **q = &all.first; *q; q = &(*q)->next) {
        if (*q == queue) {
            *q = queue->next;
            break;
        }
    }
    if (!all.first)
        all.bytes = 0;
    pthread_mutex_unlock(&all.lock);
    dmq_cpu_conv_close(queue->stream);
    dmq_free(queue->scratch);
    dmq_free(queue->spare);
    dmq_free(queue);
}
