/* Making a group: what the ranks show each other before they choose a way. */
#include "dist/comm_inner.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HOST_NAME = 64 };

typedef struct card {
    char backend[16], host[HOST_NAME], device[DMQ_DEVICE_NAME];
    int way, ready;
} card;

static void fill_card(card *c, const dmq_comm_config *config)
{
    memset(c, 0, sizeof *c);
    (void)snprintf(c->backend, sizeof c->backend, "%s", config->backend->name);
    (void)gethostname(c->host, sizeof c->host - 1);
    c->way = (int)config->way;
    if (config->way != DMQ_COMM_HOST && !config->backend->host_memory)
        c->ready = dmq_device_group_ready(c->device, config->backend) == DMQ_OK;
}

static int same_device(const card *a, const card *b)
{
    return strcmp(a->host, b->host) == 0 && strcmp(a->device, b->device) == 0;
}

/* The same answer on every rank, since all see the same cards. */
static dmq_status choose(int *device, const card *c, int size)
{
    int ready = 1, apart = 1;

    for (int r = 0; r < size; r++) {
        if (strcmp(c[r].backend, c[0].backend) != 0) {
            return dmq_fail(DMQ_EINVAL,
                            "group: rank %d computes on %s, rank 0 on %s\n"
                            "  hint: give every rank the same --device",
                            r, c[r].backend, c[0].backend);
        }
        if (c[r].way != c[0].way)
            return dmq_fail(DMQ_EINVAL, "group: rank %d and rank 0 differ in how memory moves", r);
        if (!c[r].ready && c[0].way == DMQ_COMM_DEVICE) {
            return dmq_fail(DMQ_ENOTSUP,
                            "group: rank %d (%s on %s) has no way from device to device\n"
                            "  hint: \"dmq doctor\" there says what is missing",
                            r, c[r].backend, c[r].host);
        }
        ready = ready && c[r].ready;
        for (int q = 0; q < r; q++)
            apart = apart && !same_device(&c[q], &c[r]);
    }
    *device = ready && (c[0].way == DMQ_COMM_DEVICE || (apart && size > 1));
    return DMQ_OK;
}

static dmq_status watch_link(void *context)
{
    dmq_link *link = context;

    return link->watch(link);
}

static dmq_status open_device(dmq_comm *comm)
{
    dmq_device_group_config config = { .rank = comm->link->rank,
                                       .size = comm->link->size,
                                       .seconds = comm->link->seconds,
                                       .watch = watch_link,
                                       .context = comm->link };
    dmq_status st = DMQ_OK;

    if (config.rank == 0)
        DMQ_TRY(dmq_device_group_key(config.key, comm->be));
    DMQ_TRY(dmq_comm_ask(comm, DMQ_CALL_BROADCAST, config.key, NULL, sizeof config.key, 0));
    DMQ_TRY(dmq_device_group_open(&comm->device, comm->be, &config));
done:
    return st;
}

static dmq_status open_way(dmq_comm *comm, const dmq_comm_config *config)
{
    size_t size = (size_t)comm->link->size;
    card *cards = NULL;
    dmq_status st = DMQ_OK;
    int device = 0;

    DMQ_TRY(dmq_alloc((void **)&comm->flags, size, sizeof *comm->flags));
    DMQ_TRY(dmq_alloc((void **)&cards, size, sizeof *cards));
    fill_card(&cards[comm->link->rank], config);
    DMQ_TRY(dmq_comm_ask(comm, DMQ_CALL_GATHER, cards, NULL, sizeof *cards, 0));
    DMQ_TRY(choose(&device, cards, comm->link->size));
    if (device) {
        DMQ_TRY(open_device(comm));
    } else if (!comm->be->host_memory) {
        DMQ_TRY(dmq_alloc((void **)&comm->stage, 2 * size, DMQ_COMM_STAGE));
    }
done:
    dmq_free(cards);
    return st;
}

dmq_status dmq_comm_create(dmq_comm **out, dmq_link *link, const dmq_comm_config *config)
{
    dmq_comm *comm = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    st = dmq_alloc((void **)&comm, 1, sizeof *comm);
    if (st != DMQ_OK) {
        link->tell(link, dmq_message());
        link->close(link);
        return st;
    }
    atomic_init(&comm->busy, 0);
    comm->link = link;
    comm->be = config->backend;
    st = dmq_comm_leave(comm, open_way(comm, config));
    if (st == DMQ_OK) {
        *out = comm;
    } else {
        dmq_comm_destroy(comm);
    }
    return st;
}

void dmq_comm_destroy(dmq_comm *comm)
{
    if (!comm)
        return;
    if (comm->device)
        comm->device->close(comm->device);
    comm->link->close(comm->link);
    dmq_free(comm->stage);
    dmq_free(comm->flags);
    dmq_free(comm);
}

dmq_status dmq_comm_self(dmq_comm **out, const dmq_comm_config *config)
{
    dmq_link *link = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_link_self(&link));
    st = dmq_comm_seconds(&link->seconds, config);
    if (st != DMQ_OK) {
        link->close(link);
        return st;
    }
    DMQ_TRY(dmq_comm_create(out, link, config));
done:
    return st;
}

dmq_status dmq_comm_seconds(double *out, const dmq_comm_config *config)
{
    const char *text = getenv("DMQ_COMM_SECONDS");
    char *end = NULL;

    *out = config->seconds > 0 ? config->seconds : 600;
    if (config->seconds > 0 || !text || !*text)
        return DMQ_OK;
    *out = strtod(text, &end);
    if (end == text || *end || !(*out > 0) || *out > 1e9) {
        return dmq_fail(DMQ_EINVAL, "group: DMQ_COMM_SECONDS = %s: must be a number of seconds",
                        text);
    }
    return DMQ_OK;
}
