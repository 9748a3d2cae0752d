/*
 * Attention over heads that lie among the columns of tokens, by the products and softmax of the backend.
 *
 * The probabilities of a sample are heads * L * M numbers, many times the tokens themselves: they are made
 * a piece at a time in the tape's scratch, and made again by the passes that need them. A piece is as many
 * heads of a sample as fit (of one head: samples), or rows of one head; the columns of a head are reached by leading dimensions, so nothing is
 * copied or permuted. Its size is a rule of the shape: it does not change a bit of a row.
 */
#include "tape/node.h"

enum { Q, K, V, PARTS };

enum { PIECE = 1 << 22 /* numbers of a piece */ };

/* Where a part of the heads is in its variable. */
typedef struct part {
    const dmq_var *var;
    dmq_real *grad;
    int tokens, width, from; /* column of head 0 */
    ptrdiff_t apart;         /* numbers from a head to the next */
    int add;                 /* of grad */
} part;

typedef struct view {
    part part[PARTS];
    int samples, heads, d;
    int out_width; /* of a row of the result */
    ptrdiff_t out_apart;
    int at_once, rows; /* heads of a piece, rows of each */
    size_t piece;      /* numbers */
} view;

static view view_of(const dmq_node *node)
{
    view v = { .samples = node->out->shape.dim[0],
               .heads = node->attr.attention.heads,
               .d = node->out->shape.dim[2] / node->attr.attention.heads,
               .out_width = node->out->shape.dim[2] };
    int c = node->out->shape.dim[2], l = node->out->shape.dim[1], m;
    size_t head;

    for (int i = 0; i < PARTS; i++) {
        const dmq_var *x = node->in[node->n_in == 1 ? 0 : i];

        v.part[i] = (part){ .var = x, .tokens = x->shape.dim[1], .width = x->shape.dim[2] };
        v.part[i].apart = v.d;
        if (node->n_in == 1) {
            v.part[i].apart = node->attr.attention.by_head ? 3 * v.d : v.d;
            v.part[i].from = i * (node->attr.attention.by_head ? v.d : c);
        }
    }
    v.out_apart = v.d;
    if (v.heads == 1) { /* then samples are at equal distances, and take the place of heads */
        v.heads = v.samples;
        v.samples = 1;
        v.out_apart = (ptrdiff_t)l * c;
        for (int i = 0; i < PARTS; i++)
            v.part[i].apart = (ptrdiff_t)v.part[i].tokens * v.part[i].width;
    }
    m = v.part[K].tokens;
    head = (size_t)l * (size_t)m;
    v.at_once = head > PIECE ? 1 : (int)(PIECE / head);
    v.at_once = v.at_once < v.heads ? v.at_once : v.heads;
    v.rows = head > PIECE ? PIECE / m : l;
    v.rows = v.rows > 0 ? v.rows : 1;
    v.piece = (size_t)v.at_once * (size_t)v.rows * (size_t)m;
    return v;
}

static dmq_status infer(dmq_node *node)
{
    dmq_shape q = node->in[0]->shape, out = q;
    int heads = node->attr.attention.heads, parts = node->n_in == 1 ? PARTS : 1;

    if (q.rank != 3 || heads < 1 || q.dim[2] % (parts * heads)) {
        return dmq_fail(DMQ_ESHAPE, "attention: %s cannot be divided into %d heads%s",
                        dmq_var_text(node->in[0]), heads, parts > 1 ? " of q, k and v" : "");
    }
    for (int i = 1; i < node->n_in; i++) {
        dmq_shape x = node->in[i]->shape;

        if (x.rank != 3 || x.dim[0] != q.dim[0] || x.dim[2] != q.dim[2] ||
            x.dim[1] != node->in[1]->shape.dim[1]) {
            return dmq_fail(DMQ_ESHAPE, "attention: %s does not fit the queries %s and keys %s",
                            dmq_var_text(node->in[i]), dmq_var_text(node->in[0]),
                            dmq_var_text(node->in[1]));
        }
    }
    out.dim[2] = q.dim[2] / parts;
    node->out->shape = out;
    node->scratch_count = view_of(node).piece;
    if (node->tape->passes & (DMQ_TAPE_BACKWARD | DMQ_TAPE_JVP))
        node->scratch_count *= 2;
    return DMQ_OK;
}

/* A piece under way: heads head..head+heads-1 of sample n, query rows row..row+rows-1. */
typedef struct piece {
    const view *v;
    const dmq_backend *be;
    dmq_queue *queue;
    int n, head, heads, row, rows;
    dmq_real alpha;
} piece;

/* The columns of the piece's heads in numbers laid out as a part, from its first token or query row. */
static ptrdiff_t at(const piece *p, int i)
{
    const part *x = &p->v->part[i];
    ptrdiff_t row = (ptrdiff_t)p->n * x->tokens + (i == Q ? p->row : 0);

    return row * x->width + x->from + p->head * x->apart;
}

/* The same in the result. */
static ptrdiff_t at_out(const piece *p)
{
    ptrdiff_t row = (ptrdiff_t)p->n * p->v->part[Q].tokens + p->row;

    return row * p->v->out_width + p->head * p->v->out_apart;
}

/* c (rows, M) = alpha a b^T: a laid out as `left` (Q, or the result if left is PARTS), b as part i */
static dmq_status scores(const piece *p, dmq_real *c, const dmq_real *a, int left,
                         const dmq_real *b, int i, dmq_real alpha, int add)
{
    const part *x = &p->v->part[i];
    int m = x->tokens, of_out = left == PARTS;
    dmq_matmul_args args = { .a = a + (of_out ? at_out(p) : at(p, Q)),
                             .b = b + at(p, i),
                             .c = c,
                             .batch = p->heads,
                             .m = p->rows,
                             .n = m,
                             .k = p->v->d,
                             .trans_b = 1,
                             .lda = of_out ? p->v->out_width : p->v->part[Q].width,
                             .ldb = x->width,
                             .ldc = m,
                             .stride_a = of_out ? p->v->out_apart : p->v->part[Q].apart,
                             .stride_b = x->apart,
                             .stride_c = (ptrdiff_t)p->rows * m,
                             .alpha = alpha,
                             .add = add };

    return p->be->matmul(p->queue, &args);
}

/* c (rows, d) = alpha s b: c laid out as `to` (Q, or the result if to is PARTS), b as part i */
static dmq_status mix(const piece *p, dmq_real *c, int to, const dmq_real *s, const dmq_real *b,
                      int i, dmq_real alpha, int add)
{
    const part *x = &p->v->part[i];
    int m = x->tokens, of_out = to == PARTS;
    dmq_matmul_args args = { .a = s,
                             .b = b + at(p, i),
                             .c = c + (of_out ? at_out(p) : at(p, Q)),
                             .batch = p->heads,
                             .m = p->rows,
                             .n = p->v->d,
                             .k = m,
                             .lda = m,
                             .ldb = x->width,
                             .ldc = of_out ? p->v->out_width : p->v->part[Q].width,
                             .stride_a = (ptrdiff_t)p->rows * m,
                             .stride_b = x->apart,
                             .stride_c = of_out ? p->v->out_apart : p->v->part[Q].apart,
                             .alpha = alpha,
                             .add = add };

    return p->be->matmul(p->queue, &args);
}

/* Gradient of part i (keys, values): c (M, d) (+)= alpha s^T b, b laid out as Q or the result */
static dmq_status spread(const piece *p, int i, const dmq_real *s, const dmq_real *b, int of_out,
                         dmq_real alpha)
{
    const part *x = &p->v->part[i];
    int m = x->tokens;
    dmq_matmul_args args = { .a = s,
                             .b = b + (of_out ? at_out(p) : at(p, Q)),
                             .c = x->grad + at(p, i),
                             .batch = p->heads,
                             .m = m,
                             .n = p->v->d,
                             .k = p->rows,
                             .trans_a = 1,
                             .lda = m,
                             .ldb = of_out ? p->v->out_width : p->v->part[Q].width,
                             .ldc = x->width,
                             .stride_a = (ptrdiff_t)p->rows * m,
                             .stride_b = of_out ? p->v->out_apart : p->v->part[Q].apart,
                             .stride_c = x->apart,
                             .alpha = alpha,
                             .add = x->add || p->row > 0 };

    return p->be->matmul(p->queue, &args);
}

/* s = softmax(alpha q k^T) */
static dmq_status probabilities(const piece *p, dmq_real *s)
{
    int m = p->v->part[K].tokens;
    dmq_status st = DMQ_OK;

    DMQ_TRY(scores(p, s, p->v->part[Q].var->value, Q, p->v->part[K].var->value, K, p->alpha, 0));
    DMQ_TRY(p->be->softmax_forward(
        p->queue, &(dmq_softmax_args){ .x = s, .y = s, .rows = p->heads * p->rows, .cols = m }));
done:
    return st;
}

/* x = s * (x - <s, x>), in place */
static dmq_status derive(const piece *p, const dmq_real *s, dmq_real *x)
{
    const dmq_softmax_args a = { .y = (dmq_real *)s,
                                 .v = x,
                                 .out = x,
                                 .rows = p->heads * p->rows,
                                 .cols = p->v->part[K].tokens };

    return p->be->softmax_derive(p->queue, &a);
}

typedef dmq_status piece_fn(const piece *p, const dmq_node *node, dmq_real *s);

static dmq_status each_piece(const dmq_node *node, const dmq_backend *be, dmq_queue *queue,
                             const view *v, piece_fn *fn)
{
    piece p = { .v = v, .be = be, .queue = queue, .alpha = (dmq_real)node->attr.attention.alpha };
    int tokens = v->part[Q].tokens;
    dmq_status st = DMQ_OK;

    for (p.n = 0; p.n < v->samples; p.n++) {
        for (p.head = 0; p.head < v->heads; p.head += v->at_once) {
            p.heads = v->heads - p.head < v->at_once ? v->heads - p.head : v->at_once;
            for (p.row = 0; p.row < tokens; p.row += v->rows) {
                p.rows = tokens - p.row < v->rows ? tokens - p.row : v->rows;
                DMQ_TRY(fn(&p, node, node->tape->scratch));
            }
        }
    }
done:
    return st;
}

/* out = s v */
static dmq_status forward_piece(const piece *p, const dmq_node *node, dmq_real *s)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(probabilities(p, s));
    DMQ_TRY(mix(p, node->out->value, PARTS, s, p->v->part[V].var->value, V, 1, 0));
done:
    return st;
}

static dmq_status forward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    view v = view_of(node);

    return each_piece(node, be, queue, &v, forward_piece);
}

/* out = s v:  dv = s^T dout,  ds = dout v^T;  s = softmax(z), z = alpha q k^T:  dq = alpha dz k, dk = alpha dz^T q */
static dmq_status backward_piece(const piece *p, const dmq_node *node, dmq_real *s)
{
    const part *x = p->v->part;
    dmq_real *dz = s + p->v->piece;
    const dmq_real *dout = node->out->grad;
    dmq_status st = DMQ_OK;

    DMQ_TRY(probabilities(p, s));
    if (x[V].grad)
        DMQ_TRY(spread(p, V, s, dout, 1, 1));
    if (!x[Q].grad && !x[K].grad)
        goto done;
    DMQ_TRY(scores(p, dz, dout, PARTS, x[V].var->value, V, 1, 0));
    DMQ_TRY(derive(p, s, dz));
    if (x[Q].grad)
        DMQ_TRY(mix(p, x[Q].grad, Q, dz, x[K].var->value, K, p->alpha, x[Q].add));
    if (x[K].grad)
        DMQ_TRY(spread(p, K, dz, x[Q].var->value, 0, p->alpha));
done:
    return st;
}

static dmq_status backward(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    static const int order[PARTS] = { V, Q,
                                      K }; /* as a piece writes them: they may be one variable */
    view v = view_of(node);

    for (int i = 0; i < PARTS; i++) {
        part *x = &v.part[order[i]];

        if (i > 0 && node->n_in == 1) { /* each part has columns of its own */
            x->grad = v.part[V].grad;
            x->add = v.part[V].add;
        } else {
            x->add = dmq_grad_take(&x->grad, node->in[node->n_in == 1 ? 0 : order[i]]);
        }
    }
    return each_piece(node, be, queue, &v, backward_piece);
}

/* out' = s' v + s v',  s' = softmax'(z) z',  z' = alpha (q' k^T + q k'^T) */
static dmq_status jvp_piece(const piece *p, const dmq_node *node, dmq_real *s)
{
    const dmq_var *q = p->v->part[Q].var, *k = p->v->part[K].var, *v = p->v->part[V].var;
    dmq_real *z = s + p->v->piece;
    int moved = q->tan || k->tan;
    dmq_status st = DMQ_OK;

    DMQ_TRY(probabilities(p, s));
    if (q->tan)
        DMQ_TRY(scores(p, z, q->tan, Q, k->value, K, p->alpha, 0));
    if (k->tan)
        DMQ_TRY(scores(p, z, q->value, Q, k->tan, K, p->alpha, q->tan != NULL));
    if (moved) {
        DMQ_TRY(derive(p, s, z));
        DMQ_TRY(mix(p, node->out->tan, PARTS, z, v->value, V, 1, 0));
    }
    if (v->tan)
        DMQ_TRY(mix(p, node->out->tan, PARTS, s, v->tan, V, 1, moved));
done:
    return st;
}

static dmq_status jvp(const dmq_node *node, const dmq_backend *be, dmq_queue *queue)
{
    view v = view_of(node);

    return each_piece(node, be, queue, &v, jvp_piece);
}

static double macs(const dmq_node *node)
{
    return 2.0 * (double)dmq_shape_count(node->out->shape) *
           node->in[node->n_in == 1 ? 0 : K]->shape.dim[1];
}

static const dmq_op op = { .name = "attention",
                           .infer = infer,
                           .forward = forward,
                           .backward = backward,
                           .jvp = jvp,
                           .macs = macs };

dmq_var *dmq_record_attention(dmq_tape *tape, dmq_var *q, dmq_var *k, dmq_var *v, int heads,
                              double alpha)
{
    dmq_attr attr = { .attention = { .heads = heads, .alpha = alpha } };

    return dmq_node_record(tape, &op, &attr, PARTS, PARTS, (dmq_var *[]){ q, k, v });
}

dmq_var *dmq_record_attention_qkv(dmq_tape *tape, dmq_var *qkv, int heads, int by_head,
                                  double alpha)
{
    dmq_attr attr = { .attention = { .heads = heads, .by_head = by_head, .alpha = alpha } };

    return dmq_node_record(tape, &op, &attr, 1, 1, &qkv);
}
