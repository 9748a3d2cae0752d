/**
 * The tape: record a computation once, replay it many times.
 *
 *   dmq_tape *tape;                                        a batch of fixed size
 *   dmq_tape_create(&tape, backend, DMQ_TAPE_BACKWARD);
 *   dmq_var *x = dmq_tape_input(tape, "x", shape);         record: operations of tape/ops.h
 *   dmq_var *w = dmq_tape_param(tape, "w", shape, value, offset);
 *   dmq_var *loss = dmq_record_loss(tape, dmq_record_conv2d(tape, x, w, ...), y);
 *   dmq_tape_output(tape, loss);
 *   dmq_tape_plan(tape);                                   fuse, lay out one slab, report any mistake
 *   for (...) {
 *       dmq_tape_bind(tape, grads, NULL);
 *       ... upload to x->value ...
 *       dmq_tape_forward(tape, queue, DMQ_PART_ALL);
 *       ... upload to loss->grad: its seed ...
 *       dmq_tape_backward(tape, queue);                    grads + offset = J^T seed
 *   }
 *
 * Recording never fails in the middle: an operation that cannot be (ESHAPE, ENOMEM) gives NULL, NULL
 * passes through the following ones, and dmq_tape_plan returns the first failure with its message.
 *
 * Live and frozen. A node is live if a parameter (or an input made to want a gradient) reaches it.
 * What is not live does not change while parameters are learned: a frozen part can be computed once
 * per sample, its results cached (dmq_tape_cut), and only the live part replayed.
 *
 * Memory order, one sample never mixed with another: row n of every result depends on row n of the
 * inputs only. A test guards it; per-sample gradients and tangents rest on it.
 */
#ifndef DMQ_TAPE_TAPE_H
#define DMQ_TAPE_TAPE_H

#include "backend/backend.h"
#include "tensor/shape.h"

typedef struct dmq_tape dmq_tape;
typedef struct dmq_node dmq_node;

/** What a tape must be able to do; forward always. */
enum {
    DMQ_TAPE_FORWARD = 0,
    DMQ_TAPE_BACKWARD = 1,
    DMQ_TAPE_JVP = 2,
    DMQ_TAPE_NO_FUSION = 4 /**< for tests: replay exactly what was recorded */
};

/** Which nodes a forward pass runs. */
typedef enum dmq_part { DMQ_PART_ALL, DMQ_PART_FROZEN, DMQ_PART_LIVE } dmq_part;

/**
 * A variable. Pointers are the device's memory, valid after dmq_tape_plan; value of a parameter or constant
 * is the caller's.
 * Of results, only outputs and the cut hold what a pass computed after it: the others share memory, or
 * are gone (value NULL) where fusion made one node of several.
 */
typedef struct dmq_var {
    dmq_shape shape;
    dmq_real *value;
    dmq_real *grad;   /**< NULL: no gradient wanted. Seeds are written into the grad of outputs */
    dmq_real *tan;    /**< NULL: zero */
    const char *name; /**< of leaves and named results; owned by the tape */
    dmq_node *maker;  /**< NULL: a leaf */
    size_t offset;    /**< of a parameter in the blocks given to dmq_tape_bind */
    int is_param;
    int is_output;
    int live;         /**< depends on a parameter */
    int wants_grad;   /**< an input whose gradient is asked for */
    int wants_tan;    /**< an input whose tangent the caller writes */
    int grad_written; /**< state of a backward pass: the first to write overwrites, the next add */
    int id;           /**< position in the order of recording */
} dmq_var;

/**
 * Whole numbers of a batch: rows of a table, classes. Written by dmq_tape_index_set before a pass, or
 * pointed elsewhere: passes read what value points at.
 */
typedef struct dmq_index {
    int *value; /**< device memory, valid after dmq_tape_plan */
    int count;
} dmq_index;

/** backend must outlive the tape. passes: DMQ_TAPE_... or-ed. */
dmq_status dmq_tape_create(dmq_tape **out, const dmq_backend *backend, unsigned passes);

/** Takes NULL. */
void dmq_tape_destroy(dmq_tape *tape);

const dmq_backend *dmq_tape_backend(const dmq_tape *tape);

/** A leaf whose value (in the tape's slab) the caller fills before each pass. */
dmq_var *dmq_tape_input(dmq_tape *tape, const char *name, dmq_shape shape);

/** Make an input want its gradient, or take a tangent; before dmq_tape_plan. */
void dmq_tape_want_grad(dmq_tape *tape, dmq_var *input);
void dmq_tape_want_tan(dmq_tape *tape, dmq_var *input);

/** A leaf with a gradient: value is the caller's and may change between passes. */
dmq_var *dmq_tape_param(dmq_tape *tape, const char *name, dmq_shape shape, dmq_real *value,
                        size_t offset);

/** A leaf without one: value is the caller's. */
dmq_var *dmq_tape_constant(dmq_tape *tape, const char *name, dmq_shape shape,
                           const dmq_real *value);

/** A vector of whole numbers, in the tape's slab, zero before the first dmq_tape_index_set. */
dmq_index *dmq_tape_index(dmq_tape *tape, const char *name, int count);

/** Upload all count values of an index; after dmq_tape_plan. */
dmq_status dmq_tape_index_set(dmq_tape *tape, dmq_index *index, dmq_queue *queue,
                              const int *values);

/**
 * Take back a sum of two equal shapes that was recorded last, if just one of the two depends on a
 * parameter: returns that one, and the other in *rest. Else returns the sum, *rest NULL.
 *
 * For losses: |a + b - y| = |b - (y - a)|, and with a frozen the sum need not be made in every pass.
 */
dmq_var *dmq_tape_split_sum(dmq_tape *tape, dmq_var *sum, dmq_var **rest);

/** Keep the value of a result after a pass; its grad can be seeded. Before dmq_tape_plan. */
void dmq_tape_output(dmq_tape *tape, dmq_var *result);

/** Note a failure found while recording (the first one stays); returns NULL for the caller to return. */
dmq_var *dmq_tape_refuse(dmq_tape *tape, dmq_status status);

/**
 * Fuse, decide what is live, lay out and allocate one slab.
 *
 * Values that no later pass reads share memory: in a forward-only tape those between nodes, in a tape
 * with a backward pass none of the live part's. Inputs, outputs and the cut keep their own.
 */
dmq_status dmq_tape_plan(dmq_tape *tape);

/** Bytes of the slab. */
size_t dmq_tape_bytes(const dmq_tape *tape);

/** Blocks for gradients and tangents of parameters (each may be NULL); parameter p is at + p->offset. */
void dmq_tape_bind(dmq_tape *tape, dmq_real *grads, const dmq_real *tangents);

/** Gradients of parameters sample by sample, or of runs of samples, from one backward pass. */
typedef struct dmq_each {
    dmq_real *grads; /**< of run g at grads + g apart, parameter p there at + p->offset */
    size_t apart;
    int samples; /**< of the tape: of each result, the first axis counts them or a multiple */
    int count;   /**< the first so many have gradients; the others' seeds must be zero */
    int per;     /**< samples of a run, whose gradients are summed; count is a multiple */
    /** 0: all runs have the same parameters. Else each run has its own, parameter p of run g at its value
        + g values_apart, for forward passes, too; count is then samples, and there are no tangents. */
    size_t values_apart;
} dmq_each;

/**
 * In the place of dmq_tape_bind, until that is called again. A sample's gradients are those of a pass over it
 * alone, to the rounding of a backend whose algorithms know the size of a batch.
 *
 * @return ENOTSUP when an operation other than conv2d and linear takes a parameter; with values_apart also
 *         when one takes a bias that is a parameter
 */
dmq_status dmq_tape_bind_each(dmq_tape *tape, const dmq_each *each);

/** Where the numbers of an output are: each array as long as it, backend memory; NULL: where the tape has them. */
typedef struct dmq_output {
    dmq_real *value;
    const dmq_real *seed; /**< of its gradient; not written */
    dmq_real *tan;
    int unread; /**< 1: nobody wants the value, and passes may leave it out */
} dmq_output;

/** Let an output that no node reads be there from now on. */
void dmq_tape_bind_output(dmq_tape *tape, dmq_var *output, const dmq_output *places);

/** Let the value of every parameter be at values + offset, instead of where it was recorded. */
void dmq_tape_bind_values(dmq_tape *tape, dmq_real *values);

/** Results that live nodes read from the frozen part, in the order of recording; owned by the tape. */
dmq_var *const *dmq_tape_cut(const dmq_tape *tape, int *count);

/** 1 when a live node reads this leaf itself: then it must be filled before the live part alone runs. */
int dmq_tape_feeds_live(const dmq_tape *tape, const dmq_var *leaf);

dmq_status dmq_tape_forward(dmq_tape *tape, dmq_queue *queue, dmq_part part);

/**
 * Gradients of all parameters: overwritten (not added to) in the bound block or blocks, zero where none arrives;
 * and of the inputs that want theirs. The caller has seeded the grad of every output that is live; a seed
 * survives the pass unless other nodes read the output too (then it becomes that output's gradient).
 * Runs the live part only.
 */
dmq_status dmq_tape_backward(dmq_tape *tape, dmq_queue *queue);

/**
 * The live part forward, and backward: dmq_tape_forward and dmq_tape_backward, the same bits, where seeds are there
 * before. A loss that is recorded last then reads its inputs once.
 */
dmq_status dmq_tape_learn(dmq_tape *tape, dmq_queue *queue);

/**
 * Tangents of all outputs from the bound tangents of parameters (and of inputs that want them), at the
 * values of the last forward pass. tan of an output that none of them reaches is NULL.
 */
dmq_status dmq_tape_jvp(dmq_tape *tape, dmq_queue *queue);

/** Multiply-adds and bytes of one forward pass, by the shapes; for plans and benches. */
void dmq_tape_cost(const dmq_tape *tape, double *macs, double *bytes);

/** One line a node to a string of the caller (for tests and `dmq inspect`): op, shapes, live, fused. */
dmq_status dmq_tape_text(const dmq_tape *tape, char **out);

#endif
