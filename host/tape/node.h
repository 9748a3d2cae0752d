/**
 * Inside the tape: nodes, the tables of operations, and what the op_<family>.c files share. Nobody
 * outside of tape/ includes this.
 *
 * To add an operation: one dmq_op and one dmq_record_<op> in an op_<family>.c, its attributes in the
 * union below, a line in ops.h, a case in tests/ops/test_tape.c.
 */
#ifndef DMQ_TAPE_NODE_H
#define DMQ_TAPE_NODE_H

#include "base/arena.h"
#include "tape/ops.h"
#include "tape/tape.h"

/** One pass of one node; inputs and output are node->in, node->out. */
typedef dmq_status dmq_pass_fn(const dmq_node *node, const dmq_backend *be, dmq_queue *queue);

typedef struct dmq_op {
    const char *name;
    unsigned fixed; /**< bit i: there is no derivative in input i */
    unsigned each;  /**< bit i: backward can write gradients of samples into input i (dmq_each) */
    unsigned sets;  /**< bit i: input i may have other values for each run of samples (likewise) */
    /** Shape of out, numbers of aux; the one place for ESHAPE. */
    dmq_status (*infer)(dmq_node *node);
    dmq_pass_fn *forward;  /**< out = f(in) */
    dmq_pass_fn *backward; /**< in.grad += J^T out.grad, where in.grad is not NULL */
    dmq_pass_fn *jvp;      /**< out.tan = J in.tan; at least one in.tan is not NULL */
    /** Optional: forward and backward in one, of a node that nobody reads and whose derivatives do not need its value. */
    dmq_pass_fn *both;
    int in_place; /**< forward may write out over the first input */
    /** Multiply-adds of forward; NULL: none worth counting. */
    double (*macs)(const dmq_node *node);
} dmq_op;

enum { DMQ_NODE_INPUTS = 6 };

/** Order of the inputs of a (fused) group norm; the last three may be NULL. */
enum { NORM_X, NORM_GAMMA, NORM_BETA, NORM_SHIFT, NORM_SCALE, NORM_ZERO };

/** Settings of a node, by its operation. */
typedef union dmq_attr {
    struct {
        int stride;
        dmq_pad pad;
        int relu; /**< fused in */
    } conv;
    struct {
        int trans_a, trans_b;
        double alpha;
    } matmul;
    struct {
        int heads;
        int by_head; /**< of a joint input: q, k, v of head 0, then of head 1, ...; else all q, all k, all v */
        double alpha;
    } attention;
    struct {
        int groups;
        double eps;
        int silu, quant;      /**< fused in */
        const dmq_index *row; /**< of the fused quantizer */
        double lo, hi;
    } norm;
    dmq_unary_kind unary;
    struct {
        dmq_binary_kind kind;
        int dim[3];
        ptrdiff_t stride_p[3], stride_q[3];
    } binary;
    struct {
        int axis, from, count;
    } slice;
    int factor; /**< upsample, avg_pool */
    struct {
        dmq_pool_kind kind;
        int k, stride, pad;
    } pool;
    const dmq_index *index; /**< embed, xent */
    struct {
        int d, cos_first;
        double divisor;
    } time;
    int perm[4];
    dmq_shape shape; /**< reshape */
    struct {
        double power;
        const dmq_real
            *rows; /**< NULL: the target is an input; else it is these rows by this index */
        const int *index;
        int n_rows;
    } loss;
    struct {
        const dmq_index *row;
        double lo, hi, lsq_gain;
        int per_channel, weight;
    } quant;
    struct {
        double lo, hi;
    } round;
    struct {
        dmq_probe_fn *fn;
        void *context;
    } probe;
} dmq_attr;

struct dmq_node {
    const dmq_op *op;
    dmq_tape *tape;
    dmq_var *in[DMQ_NODE_INPUTS]; /**< the first n_in; an optional one that is absent is NULL */
    int n_in;
    dmq_var *out;
    dmq_attr attr;
    dmq_real *aux;        /**< numbers that forward leaves for the other passes */
    size_t aux_count;     /**< set by infer */
    size_t scratch_count; /**< set by infer: numbers it needs of tape->scratch in any pass */
    int live;             /**< as of out */
    int moves;            /**< a tangent can reach it */
    int fused_away;       /**< part of another node; not run */
    int position;         /**< in the order of execution */
};

/** A variable with what only the tape knows. A dmq_var of a tape is always the head of a cell. */
typedef struct dmq_cell {
    dmq_var var;           /**< first, so that the pointers are the same */
    struct dmq_cell *root; /**< owner of the memory: itself, or what a reshape reshapes */
    dmq_real *tan_slot;    /**< memory of tan, whether or not a tangent is there */
    dmq_real *own_value, *own_grad, *own_tan; /**< in the slab, wherever an output is bound to */
    int unread;                               /**< as of dmq_output */
    int is_const;                             /**< a leaf made by dmq_tape_constant */
    int moves;
    int seeded;      /**< of a root: it or its reshaped form is a live output */
    int readers;     /**< nodes that read it */
    int first, last; /**< of a root: positions of its maker and of its last reader */
    int keep;        /**< of a root: some later pass reads the value */
    struct dmq_cell *value_home, *grad_home; /**< of a root: whose block it lies on; see plan.c */
    int value_last, grad_first;              /**< of a home: ends of the life of all its tenants */
} dmq_cell;

enum { DMQ_ZEROS = 1024, DMQ_TAPE_MESSAGE = 1024 };

struct dmq_tape {
    const dmq_backend *backend;
    unsigned passes;
    int planned;
    int poison;        /**< the check backend: NaN wherever a pass has to write */
    dmq_status status; /**< first failure while recording, and its message */
    char message[DMQ_TAPE_MESSAGE];
    dmq_arena arena; /**< nodes, cells, names, indices */
    dmq_cell **cell; /**< in the order of recording */
    int n_cells, room_cells;
    dmq_node **node; /**< in the order of recording */
    int n_nodes, room_nodes;
    dmq_index **index;
    int n_indices, room_indices;
    dmq_node **order; /**< nodes that run: the frozen ones, then the live ones */
    int n_order, n_frozen;
    dmq_var **cut;
    int n_cut;
    dmq_real *slab;
    size_t slab_count;
    dmq_real *zeros;   /**< as many zeros as n_zeros, DMQ_ZEROS at least */
    dmq_real *scratch; /**< what the largest node needs; holds nothing from a node to the next */
    size_t scratch_count;
    dmq_real *nans; /**< with poison: DMQ_ZEROS NaNs */
    dmq_real *ones; /**< as many ones as n_ones */
    size_t n_ones, n_zeros;
    dmq_each each; /**< per 0: gradients of parameters are summed over all samples */
    uint64_t pass; /**< number of the last forward pass: no other pass of any tape has it */
};

static inline dmq_cell *dmq_cell_of(const dmq_var *v)
{
    return (dmq_cell *)v;
}

/**
 * Record one node: NULL when the tape has failed before, when an input among the first `needed` is NULL,
 * or when infer refuses.
 */
dmq_var *dmq_node_record(dmq_tape *tape, const dmq_op *op, const dmq_attr *attr, int needed,
                         int n_in, dmq_var *const *in);

/** A number that nobody has had; of passes, and of what is the same in two calls of a backend (kernels/conv2d.h). */
uint64_t dmq_tape_number(void);

/**
 * Where a backward pass writes the gradient of v: *out is its memory or NULL when none is wanted.
 * Returns the `add` flag (0 for the first writer of this pass) and counts the caller as a writer.
 */
int dmq_grad_take(dmq_real **out, dmq_var *v);

/** Numbers from the values of input k for one run of samples to those for the next; 0: they are the same. */
static inline size_t dmq_node_apart(const dmq_node *node, int k)
{
    const dmq_each *each = &node->tape->each;

    return each->per && dmq_cell_of(node->in[k])->root->var.is_param ? each->values_apart : 0;
}

/** dst[i, 0..cols-1] = 0 for rows at distance ld. */
dmq_status dmq_node_zero(const dmq_node *node, const dmq_backend *be, dmq_queue *queue,
                         dmq_real *dst, size_t rows, size_t cols, size_t ld);

/** dst[i, l] = v[l]: for tangents that come from a bias alone. */
dmq_status dmq_node_spread(const dmq_node *node, const dmq_backend *be, dmq_queue *queue,
                           dmq_real *dst, const dmq_real *v, int rows, int cols);

/** For infer: let zeros and ones of the tape be at least `count` numbers each. */
void dmq_tape_constants(dmq_tape *tape, size_t count);

/** dst = src, count numbers; add as everywhere. */
dmq_status dmq_node_copy(const dmq_backend *be, dmq_queue *queue, dmq_real *dst,
                         const dmq_real *src, size_t count, int add);

/** "x (2, 3, 8, 8)"; a result without a name goes by its operation. Valid until the fourth next call. */
const char *dmq_var_text(const dmq_var *v);

/** Product of all but the last axis; the last axis. */
int dmq_shape_rows(dmq_shape s);
int dmq_shape_cols(dmq_shape s);

/** Numbers of one sample: all but the first axis. */
size_t dmq_shape_per(dmq_shape s);

/** Replace what recorded patterns a fused node computes (fuse.c). */
void dmq_tape_fuse(dmq_tape *tape);

extern const dmq_op dmq_op_conv2d, dmq_op_group_norm, dmq_op_binary, dmq_op_unary,
    dmq_op_fake_quant, dmq_op_reshape;

#endif
