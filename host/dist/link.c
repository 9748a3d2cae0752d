#include "dist/link.h"

#include "base/memory.h"

#include <stdio.h>
#include <string.h>

static const char *const kinds[] = { "nothing", "barrier", "all_gather", "broadcast",
                                     "all_to_all" };

void dmq_call_text(char out[DMQ_CALL_TEXT], const dmq_call *call, const char *label)
{
    char bytes[48] = "";

    if (call->kind > DMQ_CALL_BARRIER)
        (void)snprintf(bytes, sizeof bytes, " of %zu bytes", call->bytes);
    (void)snprintf(out, DMQ_CALL_TEXT, "%s %ld%s%s%s%s", kinds[call->kind], call->number, bytes,
                   label[0] ? " (" : "", label, label[0] ? ")" : "");
}

int dmq_call_same(const dmq_call *a, const dmq_call *b)
{
    return a->kind == b->kind && a->root == b->root && a->bytes == b->bytes &&
           a->number == b->number;
}

/* ------------------------------------------------------------------ a group of one */

static dmq_status self_call(dmq_link *link, const dmq_call *call)
{
    (void)link;
    if (call->kind == DMQ_CALL_TURN && call->bytes > 0)
        memcpy(call->data, call->in, call->bytes);
    return DMQ_OK;
}

static dmq_status self_watch(dmq_link *link)
{
    (void)link;
    return DMQ_OK;
}

static dmq_status self_late(dmq_link *link, const dmq_call *last)
{
    char text[DMQ_CALL_TEXT];

    dmq_call_text(text, last, link->label);
    return dmq_fail(DMQ_EPEER, "group: %s does not end on the device, and no other rank is there",
                    text);
}

static void self_tell(dmq_link *link, const char *text)
{
    (void)link;
    (void)text;
}

static void self_close(dmq_link *link)
{
    dmq_free(link);
}

dmq_status dmq_link_self(dmq_link **out)
{
    dmq_link *link = NULL;
    dmq_status st = DMQ_OK;

    *out = NULL;
    DMQ_TRY(dmq_alloc((void **)&link, 1, sizeof *link));
    link->size = 1;
    link->call = self_call;
    link->watch = self_watch;
    link->late = self_late;
    link->tell = self_tell;
    link->close = self_close;
    *out = link;
done:
    return st;
}
