/**
 * In which order units are reconstructed.
 *
 *   execution  as they run; prefixes are final when a unit's turn comes
 *   reference  module registration, as in the released code: in DDPM networks the decoder's levels come
 *              in reverse, so most of its units are learned on a prefix that is still nearest-rounded
 *
 * The temporal unit is the first in both.
 * @see specs: gac.md 3.8, qdiffusion.md 3.2 (D5)
 */
#ifndef DMQ_RECON_ORDER_H
#define DMQ_RECON_ORDER_H

#include "model/model.h"

typedef enum dmq_unit_order { DMQ_ORDER_EXECUTION, DMQ_ORDER_REFERENCE } dmq_unit_order;

/** "execution" or "reference". */
dmq_status dmq_unit_order_parse(dmq_unit_order *out, const char *text);

/** Numbers of all units, in their order. (model->n_units) */
void dmq_unit_order_list(int *out, const dmq_model *model, dmq_unit_order order);

/** 1 when the order is not that of execution for this model. */
int dmq_unit_order_differs(const dmq_model *model, dmq_unit_order order);

#endif
