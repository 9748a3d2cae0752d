/**
 * What ranks do in tests, be they threads or processes. A part reports by its status and message alone, since
 * cmocka's asserts belong to the main thread of the test.
 */
#ifndef DMQ_TESTS_COMM_PARTS_H
#define DMQ_TESTS_COMM_PARTS_H

#include "base/memory.h"
#include "dist/comm_inner.h"

#include <stddef.h>
#include <string.h>
#include <time.h>

enum { RANKS = 8 };

typedef struct rank_place {
    dmq_comm *comm;
    const dmq_backend *be;
    dmq_queue *queue;
    int rank, size;
    void *context;
} rank_place;

typedef dmq_status rank_fn(rank_place *at);

static inline void rank_sleep(double seconds)
{
    struct timespec t = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };

    (void)nanosleep(&t, NULL);
}

/* Byte i of what rank r gives to rank q. */
static inline unsigned char byte_of(int r, int q, size_t i)
{
    return (unsigned char)(i * 31 + (size_t)r * 7 + (size_t)q * 101 + 3);
}

static inline dmq_status differs(const char *what, int rank_of, size_t i)
{
    return dmq_fail(DMQ_EDATA, "%s: byte %zu of part %d is wrong", what, i, rank_of);
}

/* Memory of the backend with (size, bytes) in it, as rank `r` has it for every q. */
static inline dmq_status fill(void **out, const rank_place *at, size_t bytes, int r)
{
    size_t all = (size_t)at->size * bytes;
    unsigned char *host = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&host, all + 1, 1));
    for (size_t i = 0; i < all; i++)
        host[i] = byte_of(r, (int)(i / bytes), i % bytes);
    DMQ_TRY(at->be->alloc(out, all + 1));
    DMQ_TRY(at->be->upload(at->queue, *out, host, all));
    DMQ_TRY(at->be->sync(at->queue));
done:
    dmq_free(host);
    return st;
}

/* Part q must be byte_of(from[q], to, .). */
static inline dmq_status check(const rank_place *at, const char *what, const void *memory,
                               size_t bytes, int parts, const int *from, const int *to)
{
    unsigned char *host = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&host, (size_t)parts * bytes + 1, 1));
    DMQ_TRY(dmq_comm_sync(at->comm, at->queue));
    DMQ_TRY(at->be->download(at->queue, host, memory, (size_t)parts * bytes));
    DMQ_TRY(at->be->sync(at->queue));
    for (int q = 0; q < parts; q++) {
        for (size_t i = 0; i < bytes; i++) {
            if (host[(size_t)q * bytes + i] != byte_of(from[q], to[q], i))
                DMQ_TRY(differs(what, q, i));
        }
    }
done:
    dmq_free(host);
    return st;
}

static inline dmq_status move_all(rank_place *at)
{
    size_t bytes = *(const size_t *)at->context;
    int each[RANKS], own[RANKS], root[1];
    void *data = NULL, *other = NULL;
    dmq_status st = DMQ_OK;

    for (int q = 0; q < at->size; q++) {
        each[q] = q;
        own[q] = at->rank;
    }
    DMQ_TRY(fill(&data, at, bytes, at->rank));
    DMQ_TRY(dmq_comm_all_gather(at->comm, at->queue, data, bytes));
    DMQ_TRY(check(at, "all_gather", data, bytes, at->size, each, each));
    at->be->free(data);
    data = NULL;

    DMQ_TRY(fill(&data, at, bytes, at->rank));
    DMQ_TRY(fill(&other, at, bytes, 77));
    DMQ_TRY(dmq_comm_all_to_all(at->comm, at->queue, other, data, bytes));
    DMQ_TRY(check(at, "all_to_all", other, bytes, at->size, each, own));
    DMQ_TRY(check(at, "all_to_all, in", data, bytes, at->size, own, each));

    for (root[0] = 0; root[0] < at->size; root[0]++) {
        int zero[1] = { 0 };

        at->be->free(data);
        data = NULL;
        DMQ_TRY(fill(&data, at, bytes, at->rank));
        DMQ_TRY(dmq_comm_broadcast(at->comm, at->queue, data, bytes, root[0]));
        DMQ_TRY(check(at, "broadcast", data, bytes, 1, root, zero));
    }
done:
    at->be->free(data);
    at->be->free(other);
    return st;
}

static inline dmq_status talk(rank_place *at)
{
    int numbers[RANKS] = { 0 }, flag, same = 5;
    dmq_status st = DMQ_OK;

    if (dmq_comm_rank(at->comm) != at->rank || dmq_comm_size(at->comm) != at->size)
        return dmq_fail(DMQ_EDATA, "rank %d of %d", dmq_comm_rank(at->comm), at->size);
    for (int round = 0; round < 50; round++) {
        int root = round % at->size, text = at->rank * 1000 + round;

        numbers[at->rank] = at->rank * 100 + round;
        DMQ_TRY(dmq_comm_exchange(at->comm, numbers, sizeof *numbers));
        for (int r = 0; r < at->size; r++) {
            if (numbers[r] != r * 100 + round)
                DMQ_TRY(differs("exchange", r, 0));
        }
        DMQ_TRY(dmq_comm_spread(at->comm, &text, sizeof text, root));
        if (text != root * 1000 + round)
            DMQ_TRY(differs("spread", root, 0));
        flag = at->rank == root && round % 2;
        DMQ_TRY(dmq_comm_any(at->comm, &flag));
        if (flag != round % 2)
            DMQ_TRY(dmq_fail(DMQ_EDATA, "any is %d in round %d", flag, round));
        DMQ_TRY(dmq_comm_agree(at->comm, "five", &same, sizeof same));
        DMQ_TRY(dmq_comm_barrier(at->comm));
    }
done:
    return st;
}

/*
 * Rank 0 waited for its device in vain, rank 2 is still at it and asked for fewer calls, rank 3 for as many as rank 0;
 * rank 1 does something else.
 */
static inline dmq_status wait_in_vain(rank_place *at)
{
    dmq_call last = { .kind = DMQ_CALL_GATHER, .bytes = 64, .number = 9 };
    dmq_link *link = at->comm->link;
    dmq_status st = DMQ_OK;

    link->device_calls = at->rank == 2 ? 8 : 9;
    if (at->rank == 0)
        return link->late(link, &last);
    if (at->rank == 1) {
        rank_sleep(2);
        return link->watch(link);
    }
    for (int i = 0; i < 2000 && st == DMQ_OK; i++) {
        rank_sleep(0.005);
        st = link->watch(link);
    }
    return st;
}

#endif
