/**
 * Attention whose operands a quantizer may want: q, k, v and the probabilities.
 *
 * Where hooks want none of them it is the tape's attention, which keeps no probabilities. Where they want q, k
 * or v, those are taken apart and go through the hooks first. Where they want the probabilities, these are
 * made as a whole, (N, heads, L, M), so that one table entry sees a sample's: memory for accuracy's price.
 *
 *   softmax: softmax(alpha hook(q) hook(k)^T);  result: hook(softmax) hook(v)
 *
 * @see specs: qdiffusion.md 3.3
 */
#ifndef DMQ_MODEL_ATTENTION_H
#define DMQ_MODEL_ATTENTION_H

#include "model/build.h"

enum { DMQ_OPERAND_Q, DMQ_OPERAND_K, DMQ_OPERAND_V, DMQ_OPERAND_SOFTMAX, DMQ_OPERANDS };

typedef struct dmq_heads {
    const dmq_model *model;
    dmq_tape *tape;
    const dmq_hooks *hooks;
    const int *operand; /**< (DMQ_OPERANDS) layers */
    int heads;
    double alpha;
} dmq_heads;

/** Operand layers prefix.q, .k, .v, .softmax of a unit; their numbers in operand. */
void dmq_build_operands(dmq_build *b, int unit, int channels, const char *prefix,
                        int operand[DMQ_OPERANDS]);

/** x through the hook of an operand layer, or x itself where hooks do not want it. */
dmq_var *dmq_heads_operand(const dmq_heads *a, int layer, dmq_var *x);

/** q (N,L,C), k and v (N,M,C) -> (N,L,C). */
dmq_var *dmq_heads_record(const dmq_heads *a, dmq_var *q, dmq_var *k, dmq_var *v);

/** qkv (N,L,3C) -> (N,L,C); by_head as dmq_record_attention_qkv. */
dmq_var *dmq_heads_record_qkv(const dmq_heads *a, dmq_var *qkv, int by_head);

#endif
