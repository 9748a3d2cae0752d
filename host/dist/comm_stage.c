/* Memory of a device that has no way to the others: piece by piece through the host. */
#include "dist/comm_inner.h"

static dmq_status fetch(dmq_comm *comm, dmq_queue *queue, void *host, const void *memory,
                        size_t bytes)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(comm->be->download(queue, host, memory, bytes));
    DMQ_TRY(comm->be->sync(queue));
done:
    return st;
}

dmq_status dmq_comm_staged_gather(dmq_comm *comm, dmq_queue *queue, void *data, size_t bytes)
{
    unsigned char *memory = data;
    int rank = comm->link->rank, size = comm->link->size;
    dmq_status st = DMQ_OK;

    for (size_t at = 0; at < bytes; at += DMQ_COMM_STAGE) {
        size_t n = bytes - at < DMQ_COMM_STAGE ? bytes - at : DMQ_COMM_STAGE;

        DMQ_TRY(fetch(comm, queue, comm->stage + (size_t)rank * n,
                      memory + (size_t)rank * bytes + at, n));
        DMQ_TRY(dmq_comm_ask(comm, DMQ_CALL_GATHER, comm->stage, NULL, n, 0));
        for (int r = 0; r < size; r++) {
            if (r != rank) {
                DMQ_TRY(comm->be->upload(queue, memory + (size_t)r * bytes + at,
                                         comm->stage + (size_t)r * n, n));
            }
        }
    }
done:
    return st;
}

dmq_status dmq_comm_staged_broadcast(dmq_comm *comm, dmq_queue *queue, void *data, size_t bytes,
                                     int root)
{
    unsigned char *memory = data;
    int own = comm->link->rank == root;
    dmq_status st = DMQ_OK;

    for (size_t at = 0; at < bytes; at += DMQ_COMM_STAGE) {
        size_t n = bytes - at < DMQ_COMM_STAGE ? bytes - at : DMQ_COMM_STAGE;

        if (own)
            DMQ_TRY(fetch(comm, queue, comm->stage, memory + at, n));
        DMQ_TRY(dmq_comm_ask(comm, DMQ_CALL_BROADCAST, comm->stage, NULL, n, root));
        if (!own)
            DMQ_TRY(comm->be->upload(queue, memory + at, comm->stage, n));
    }
done:
    return st;
}

dmq_status dmq_comm_staged_turn(dmq_comm *comm, dmq_queue *queue, void *out, const void *in,
                                size_t bytes)
{
    unsigned char *to = out;
    const unsigned char *from = in;
    size_t size = (size_t)comm->link->size;
    unsigned char *second = comm->stage + size * DMQ_COMM_STAGE;
    dmq_status st = DMQ_OK;

    for (size_t at = 0; at < bytes; at += DMQ_COMM_STAGE) {
        size_t n = bytes - at < DMQ_COMM_STAGE ? bytes - at : DMQ_COMM_STAGE;

        for (size_t r = 0; r < size; r++)
            DMQ_TRY(comm->be->download(queue, comm->stage + r * n, from + r * bytes + at, n));
        DMQ_TRY(comm->be->sync(queue));
        DMQ_TRY(dmq_comm_ask(comm, DMQ_CALL_TURN, second, comm->stage, n, 0));
        for (size_t r = 0; r < size; r++)
            DMQ_TRY(comm->be->upload(queue, to + r * bytes + at, second + r * n, n));
    }
done:
    return st;
}
