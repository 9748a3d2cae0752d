/**
 * A network: its parameters by name, its layers, and its reconstruction units in order of execution.
 *
 * The network is a straight list of units over numbered values. Value 0 is the input x; every unit
 * reads one or two values (a decoder block: h and the skip), at most one embedding value, and makes
 * one value; the first unit, the temporal information block, turns t and, where the model knows classes,
 * the label into all embedding values. So everything that goes through a model one unit at a time
 * (reconstruction, caches, observers) is a loop over units, and a whole pass is the same loop on one tape.
 *
 * A label is a class 0..n_classes-1, or n_classes for none (the null label), where the model was trained
 * with one. What is recorded for a model without classes takes NULL for labels.
 *
 * Quantization is not known here. Each layer is recorded through hooks, which may put something in
 * front of its input and in place of its weight; without hooks the full-precision layer is recorded.
 *
 *   conv2d(input hook(x), weight hook(w)) + bias
 */
#ifndef DMQ_MODEL_MODEL_H
#define DMQ_MODEL_MODEL_H

#include "backend/lanes.h"
#include "backend/mirror.h"
#include "kernels/noise.h"
#include "tape/ops.h"
#include "tape/tape.h"

#define DMQ_NAME_MAX 96

/** One named tensor in the parameter block. */
typedef struct dmq_entry {
    char name[DMQ_NAME_MAX]; /**< as in the state dict: "down.0.block.0.conv1.weight" */
    dmq_shape shape;         /**< in memory: (K,R,S,C), (K,D) or (C) */
    int rank4;               /**< 1: a convolution weight, told and stored in files as (K,C,R,S) */
    int conv1d;              /**< 1: (K,D) in memory, (K,D,1) in files: a convolution over tokens */
    size_t offset; /**< in numbers, in dmq_model.params; each entry starts at a multiple of 16 */
} dmq_entry;

/** Dims of an entry as files hold it; how many. */
int dmq_entry_dims(int64_t dims[4], const dmq_entry *entry);

typedef enum dmq_layer_kind {
    DMQ_LAYER_CONV,
    DMQ_LAYER_LINEAR,
    DMQ_LAYER_OPERAND /**< of an attention product: an input alone, weight and bias -1 (attention.h) */
} dmq_layer_kind;

/** What a quantizer can be attached to: a convolution or linear layer, an operand of attention. */
typedef struct dmq_layer {
    char name[DMQ_NAME_MAX]; /**< without ".weight": "down.0.block.0.conv1" */
    dmq_layer_kind kind;
    int index;        /**< position in dmq_model.layer, in order of execution */
    int unit;         /**< the unit that records it */
    int weight, bias; /**< entries; bias -1: none */
    int out, in;      /**< channels */
    int kernel, stride;
    dmq_pad pad;
    int temporal; /**< belongs to the temporal information block */
    int shortcut; /**< nin_shortcut: the 1x1 beside a residual block */
    int downsample;
    int idle;      /**< its result reaches nothing, so it is never recorded; it counts as a layer */
    int from_zero; /**< its input is never below 0, and there its range begins: probabilities */
    int split;     /**< > 0: its input is a concatenation cut at this channel */
    int first, last; /**< first / last layer of the network on x */
} dmq_layer;

typedef enum dmq_unit_kind {
    DMQ_UNIT_TEMPORAL, /**< t and label -> all embedding values */
    DMQ_UNIT_LAYER,    /**< one layer alone, with the norm and activation in front of it, if any */
    DMQ_UNIT_RESBLOCK,
    DMQ_UNIT_ATTENTION,
    DMQ_UNIT_TRANSFORMER /**< attention and feed-forward over tokens, in front and behind none of an image */
} dmq_unit_kind;

#define DMQ_MAX_LAYERS_IN_UNIT 64

typedef struct dmq_unit {
    char name[DMQ_NAME_MAX]; /**< "down.0.block.0" */
    dmq_unit_kind kind;
    int index;
    int in[2]; /**< values; in[1] -1: none, else the skip behind in[0], or the x that is added */
    int emb;   /**< embedding value, -1: none */
    int out;   /**< value made */
    int layer[DMQ_MAX_LAYERS_IN_UNIT]; /**< its layers in order; the temporal unit's too */
    int n_layers;
    int reference_order; /**< position in the module-registration order of the released code */
    int arch;            /**< for the architecture's own use */
} dmq_unit;

/**
 * What an embedding value is a function of: caches keep a row for each such (t, label) that occurs, not
 * one a sample. Those of t, with or without the label, are all of one kind (dmq_model_temporal_of); those
 * of the label alone are looked up: no layer that could be quantized is on their way.
 */
enum { DMQ_OF_T = 1, DMQ_OF_LABEL = 2, DMQ_OF_KINDS = 4 };

/** A value between units. */
typedef struct dmq_value {
    dmq_shape shape; /**< with N = 1 */
    int emb_of; /**< made by the temporal unit, from DMQ_OF_T | DMQ_OF_LABEL; 0: not made by it */
    int last_reader; /**< last unit that reads it, in order of execution */
} dmq_value;

typedef struct dmq_hooks {
    void *context;
    /** In front of a layer's input; returns x itself to leave it. NULL: nothing. */
    dmq_var *(*input)(void *context, dmq_tape *tape, const dmq_layer *layer, dmq_var *x);
    /** Whether `input` would put something in front: what operands are asked first. NULL: never. */
    int (*wants)(void *context, const dmq_layer *layer);
    /** In place of its weight; NULL result or NULL hook: the full-precision constant. */
    dmq_var *(*weight)(void *context, dmq_tape *tape, const dmq_layer *layer);
} dmq_hooks;

struct dmq_model;

/** What an architecture provides (model/ddpm_unet.c is the first). */
typedef struct dmq_arch {
    const char *kind; /**< "ddpm_unet" */
    /** Record a unit: in and emb as its fields say. */
    dmq_var *(*record)(const struct dmq_model *model, const dmq_unit *unit, dmq_tape *tape,
                       const dmq_hooks *hooks, dmq_var *in0, dmq_var *in1, dmq_var *emb);
    /** The temporal unit, of t (N) and label (N): emb[v] is set for every embedding value v. */
    dmq_status (*record_temporal)(const struct dmq_model *model, dmq_tape *tape,
                                  const dmq_hooks *hooks, dmq_var *t, const dmq_index *label,
                                  dmq_var **emb);
} dmq_arch;

typedef struct dmq_model {
    const dmq_arch *arch;
    void *config;      /**< the architecture's, owned by the model */
    char *config_text; /**< canonical "key: value" lines of it: stored in files, hashed */
    dmq_shape input;   /**< (1, H, W, C) */
    int n_classes;     /**< 0: unconditional */
    int n_labels;      /**< n_classes, + 1 with a null label */
    dmq_entry *entry;
    int n_entries;
    dmq_layer *layer;
    int n_layers;
    dmq_unit *unit;
    int n_units;
    dmq_value *value;
    int n_values;
    int output;       /**< value that is the network's result */
    dmq_real *params; /**< one block; host memory */
    dmq_mirror place; /**< of params on a device; see dmq_model_place */
    size_t n_params;  /**< numbers in the block, padding included */
    int as_params;    /**< 1: weights are recorded as parameters (training), 0: as constants */
} dmq_model;

/** Takes NULL. */
void dmq_model_destroy(dmq_model *model);

/**
 * Bring the parameters to the device of the lanes: before tapes are recorded for it, and after params were
 * written. They stay where they are, one copy for all tapes, until the model is destroyed or placed on
 * another device.
 */
dmq_status dmq_model_place(dmq_model *model, dmq_lanes *lanes);

/** NULL when there is none. Accepts names with a "module." prefix. */
const dmq_entry *dmq_model_entry(const dmq_model *model, const char *name);
const dmq_layer *dmq_model_layer(const dmq_model *model, const char *name);

/** Numbers that a state dict would hold (35,746,307 for the CIFAR-10 UNet). */
size_t dmq_model_count(const dmq_model *model);

/** Leaf of an entry on a tape: a parameter at its offset if model->as_params, else a constant. */
dmq_var *dmq_model_leaf(const dmq_model *model, dmq_tape *tape, int entry);

/** Record a layer with its hooks: what architectures call for every conv and linear. */
dmq_var *dmq_model_record_layer(const dmq_model *model, dmq_tape *tape, const dmq_hooks *hooks,
                                int layer, dmq_var *x);

/** Record one unit other than the temporal one. */
dmq_var *dmq_model_record_unit(const dmq_model *model, int unit, dmq_tape *tape,
                               const dmq_hooks *hooks, dmq_var *in0, dmq_var *in1, dmq_var *emb);

/** DMQ_OF_T, or DMQ_OF_T | DMQ_OF_LABEL: what the embedding values of t depend on. */
int dmq_model_temporal_of(const dmq_model *model);

/** A class, uniform, drawn for a sample: kernels/noise.h. */
int dmq_model_draw_label(const dmq_model *model, uint64_t seed, dmq_purpose purpose,
                         uint64_t sample);

/** EDATA unless all n labels are 0..n_labels-1; what: whose they are, for the message. */
dmq_status dmq_model_check_labels(const dmq_model *model, const int *label, int n,
                                  const char *what);

/** Record the temporal unit of t (N) and label (N); emb has room for n_values, set at embedding values. */
dmq_status dmq_model_record_temporal(const dmq_model *model, dmq_tape *tape, const dmq_hooks *hooks,
                                     dmq_var *t, const dmq_index *label, dmq_var **emb);

/** Record the whole network: x (N,H,W,C), t (N), label (N) or NULL -> eps (N,H,W,C). */
dmq_var *dmq_model_record(const dmq_model *model, dmq_tape *tape, const dmq_hooks *hooks,
                          dmq_var *x, dmq_var *t, const dmq_index *label);

#endif
