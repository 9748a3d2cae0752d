#include "recon/order.h"

#include <assert.h>
#include <string.h>

dmq_status dmq_unit_order_parse(dmq_unit_order *out, const char *text)
{
    if (strcmp(text, "execution") == 0) {
        *out = DMQ_ORDER_EXECUTION;
    } else if (strcmp(text, "reference") == 0) {
        *out = DMQ_ORDER_REFERENCE;
    } else {
        return dmq_fail(DMQ_EINVAL, "recon.order = \"%s\": must be execution or reference", text);
    }
    return DMQ_OK;
}

void dmq_unit_order_list(int *out, const dmq_model *model, dmq_unit_order order)
{
    for (int u = 0; u < model->n_units; u++)
        out[u] = -1;
    for (int u = 0; u < model->n_units; u++) {
        int place = order == DMQ_ORDER_REFERENCE ? model->unit[u].reference_order : u;

        assert(place >= 0 && place < model->n_units && out[place] < 0);
        out[place] = u;
    }
}

int dmq_unit_order_differs(const dmq_model *model, dmq_unit_order order)
{
    for (int u = 0; u < model->n_units && order == DMQ_ORDER_REFERENCE; u++) {
        if (model->unit[u].reference_order != u)
            return 1;
    }
    return 0;
}
