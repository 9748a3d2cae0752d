#include "recon/store.h"

#include "base/log.h"
#include "base/memory.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Bytes on their way between a device and the disk at a time. */
#define PIECE ((size_t)4 << 20)

static void size_text(char out[32], double bytes)
{
    static const struct {
        double size;
        const char *name;
    } unit[] = { { 1073741824.0, "GiB" }, { 1048576.0, "MiB" }, { 1024.0, "KiB" }, { 0, "B" } };
    int k = 0;

    if (bytes <= 0) {
        (void)snprintf(out, 32, "0");
        return;
    }
    while (bytes < unit[k].size)
        k++;
    (void)snprintf(out, 32, "%.1f %s", unit[k].size > 0 ? bytes / unit[k].size : bytes,
                   unit[k].name);
}

void dmq_tiers_text(char *out, size_t room, const double bytes[DMQ_TIERS])
{
    char text[DMQ_TIERS][32];

    for (int t = 0; t < DMQ_TIERS; t++)
        size_text(text[t], bytes[t]);
    (void)snprintf(out, room, "device %s, host %s, disk %s", text[DMQ_ON_DEVICE], text[DMQ_ON_HOST],
                   text[DMQ_ON_DISK]);
}

/* ------------------------------------------------------------------ where */

static int may_hold(const dmq_tiers *t, dmq_tier tier)
{
    return tier == DMQ_ON_DEVICE || t->budget[tier] > 0;
}

static int only_device(const dmq_tiers *t)
{
    return !may_hold(t, DMQ_ON_HOST) && !may_hold(t, DMQ_ON_DISK);
}

static int has_room(const dmq_tiers *t, dmq_tier tier, double bytes, dmq_heat heat)
{
    double budget = t->budget[tier];

    if (tier == DMQ_ON_DEVICE && heat == DMQ_NOW)
        return 1;
    if (tier == DMQ_ON_DEVICE && heat == DMQ_COLD && t->cold + bytes > budget - t->set_aside)
        return 0;
    return t->used[tier] + bytes <= budget;
}

int dmq_tiers_faster(const dmq_tiers *t, dmq_tier than, double bytes)
{
    for (int tier = 0; tier < (int)than; tier++) {
        if (may_hold(t, (dmq_tier)tier) && has_room(t, (dmq_tier)tier, bytes, DMQ_HOT))
            return 1;
    }
    return 0;
}

static dmq_tier choose(const dmq_tiers *t, double bytes, dmq_heat heat)
{
    dmq_tier last = DMQ_ON_DEVICE;

    if (only_device(t)) /* there is no choice */
        return DMQ_ON_DEVICE;
    for (int tier = 0; tier < DMQ_TIERS; tier++) {
        if (!may_hold(t, (dmq_tier)tier))
            continue;
        if (has_room(t, (dmq_tier)tier, bytes, heat))
            return (dmq_tier)tier;
        last = (dmq_tier)tier;
    }
    if (dmq_log_warnings("cache-over-budget") == 0) {
        char have[128], want[32];

        dmq_tiers_text(have, sizeof have, t->used);
        size_text(want, bytes);
        dmq_log_warn("cache-over-budget",
                     "caches hold %s, and %s more has no room in any budget: the last of them is "
                     "overdrawn",
                     have, want);
    }
    return last;
}

static void account(dmq_store *s, double bytes)
{
    dmq_tiers *t = s->tiers;

    t->used[s->tier] += bytes;
    if (t->used[s->tier] > t->peak[s->tier])
        t->peak[s->tier] = t->used[s->tier];
    if (s->tier == DMQ_ON_DEVICE && s->heat == DMQ_COLD)
        t->cold += bytes;
}

double dmq_store_bytes(const dmq_store *s)
{
    return (double)s->per * s->count * (double)sizeof(dmq_real);
}

static dmq_status take_room(dmq_store *s, size_t bytes)
{
    const dmq_tiers *t = s->tiers;

    if (s->tier == DMQ_ON_DEVICE)
        return t->be->alloc((void **)&s->data, bytes);
    if (s->tier == DMQ_ON_HOST)
        return t->be->pinned_alloc((void **)&s->data, bytes);
    return dmq_scratch_create(&s->scratch, t->folder ? t->folder : ".", bytes);
}

/* The device is full before its budget is: others may use it too. */
static int goes_elsewhere(dmq_store *s, dmq_status st)
{
    dmq_tiers *t = s->tiers;

    if (st != DMQ_ENOMEM || s->tier != DMQ_ON_DEVICE || s->heat == DMQ_NOW || t->be->host_memory ||
        only_device(t))
        return 0;
    dmq_log_warn("cache-device-full", "%s", dmq_message());
    t->budget[DMQ_ON_DEVICE] = t->used[DMQ_ON_DEVICE]; /* no more of it */
    s->tier = choose(t, dmq_store_bytes(s), s->heat);
    return s->tier != DMQ_ON_DEVICE;
}

dmq_status dmq_store_create(dmq_store **out, dmq_tiers *tiers, size_t per, int count, dmq_heat heat)
{
    size_t bytes = (size_t)count * per * sizeof(dmq_real);
    dmq_store *s = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&s, 1, sizeof *s));
    *s = (dmq_store){ .tiers = tiers, .heat = heat, .per = per, .count = count };
    s->tier = choose(tiers, (double)bytes, heat);
    st = take_room(s, bytes);
    if (goes_elsewhere(s, st))
        st = take_room(s, bytes);
    DMQ_TRY(st);
    account(s, (double)bytes);
    *out = s;
    s = NULL;
done:
    dmq_free(s); /* nothing of it is there */
    return st;
}

void dmq_store_destroy(dmq_store *s)
{
    if (!s)
        return;
    account(s, -dmq_store_bytes(s));
    if (s->tier == DMQ_ON_DEVICE)
        s->tiers->be->free(s->data);
    else
        s->tiers->be->pinned_free(s->data);
    dmq_scratch_destroy(s->scratch);
    dmq_free(s);
}

/* ------------------------------------------------------------------ rows */

static void check_rows(const dmq_store *s, int first, int count)
{
    assert(first >= 0 && count >= 0 && first + count <= s->count);
    (void)s;
    (void)first;
    (void)count;
}

/* From a device to the disk by way of host memory. */
static dmq_status write_through(dmq_store *s, dmq_queue *queue, uint64_t offset, const char *from,
                                size_t bytes)
{
    const dmq_backend *be = s->tiers->be;
    size_t most = bytes < PIECE ? bytes : PIECE;
    void *piece = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc(&piece, most, 1));
    for (size_t at = 0; at < bytes; at += most) {
        size_t n = bytes - at < most ? bytes - at : most;

        DMQ_TRY(be->download(queue, piece, from + at, n));
        DMQ_TRY(be->sync(queue));
        DMQ_TRY(dmq_scratch_write(s->scratch, offset + at, piece, n));
    }
done:
    dmq_free(piece);
    return st;
}

dmq_status dmq_store_write(dmq_store *s, dmq_queue *queue, int first, int count,
                           const dmq_real *from)
{
    const dmq_backend *be = s->tiers->be;
    size_t at = (size_t)first * s->per, n = (size_t)count * s->per, bytes = n * sizeof *from;
    dmq_status st = DMQ_OK;

    check_rows(s, first, count);
    if (s->tier == DMQ_ON_DEVICE) {
        return be->copy2d(
            queue,
            &(dmq_copy2d_args){
                .src = from, .dst = s->data + at, .rows = 1, .cols = n, .src_ld = n, .dst_ld = n });
    }
    if (s->tier == DMQ_ON_HOST) {
        DMQ_TRY(be->download(queue, s->data + at, from, bytes));
        return be->sync(queue);
    }
    if (be->host_memory) {
        DMQ_TRY(be->sync(queue));
        return dmq_scratch_write(s->scratch, at * sizeof *from, from, bytes);
    }
    st = write_through(s, queue, at * sizeof *from, (const char *)from, bytes);
done:
    return st;
}

dmq_status dmq_store_put(dmq_store *s, dmq_queue *queue, int first, int count, const dmq_real *from)
{
    size_t at = (size_t)first * s->per, bytes = (size_t)count * s->per * sizeof *from;

    check_rows(s, first, count);
    if (s->tier == DMQ_ON_DISK)
        return dmq_scratch_write(s->scratch, at * sizeof *from, from, bytes);
    if (s->tier == DMQ_ON_DEVICE)
        return s->tiers->be->upload(queue, s->data + at, from, bytes);
    memcpy(s->data + at, from, bytes);
    return DMQ_OK;
}

dmq_status dmq_store_get(const dmq_store *s, dmq_queue *queue, dmq_real *to, int first, int count)
{
    const dmq_backend *be = s->tiers->be;
    size_t at = (size_t)first * s->per, bytes = (size_t)count * s->per * sizeof *to;
    dmq_status st = DMQ_OK;

    check_rows(s, first, count);
    if (s->tier == DMQ_ON_DISK)
        return dmq_scratch_read(s->scratch, to, at * sizeof *to, bytes);
    if (s->tier == DMQ_ON_DEVICE) {
        DMQ_TRY(be->download(queue, to, s->data + at, bytes));
        return be->sync(queue);
    }
    memcpy(to, s->data + at, bytes);
done:
    return st;
}
