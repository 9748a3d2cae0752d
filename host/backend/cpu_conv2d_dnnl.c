#include "backend/cpu.h"
#include "backend/cpu_conv2d.h"
#include "backend/cpu_winograd.h"
#include "base/memory.h"

#include <assert.h>
#include <dnnl.h>
#include <pthread.h>
#include <string.h>

enum { BUCKETS = 64 };

typedef struct plan_key {
    int pass;
    int n, h, wd, c, k, r, s, stride, pad_top, pad_left, ho, wo;
    int bias, add;
} plan_key;

/* A primitive of oneDNN with its reorder of weights. Read-only once made: all queues share it. */
typedef struct plan {
    plan_key key;
    struct plan *next;
    int usable; /* 0: oneDNN has only its slow reference, or nothing, for this shape */
    char name[64];
    dnnl_primitive_t conv, reorder;
    dnnl_memory_desc_t in, w, bias,
        out;                   /* as the primitive wants them; in, out: x, y or their gradients */
    dnnl_memory_desc_t w_ours; /* KRSC */
    dnnl_memory_desc_t conv_pad, reorder_pad;
    size_t in_bytes, w_bytes, pad_bytes; /* of scratch; 0: used where it lies */
} plan;

static struct {
    pthread_mutex_t lock;
    int users;
    dnnl_engine_t engine;
    plan *bucket[BUCKETS];
} shared = { .lock = PTHREAD_MUTEX_INITIALIZER };

static const char *const pass_names[] = { "forward", "backward_data", "backward_weights" };

/* ------------------------------------------------------------------ life */

static dmq_status foreign(dnnl_status_t status, const char *what)
{
    return dmq_fail(status == dnnl_out_of_memory ? DMQ_ENOMEM : DMQ_EDEVICE,
                    "conv2d: oneDNN: %s: status %d", what, (int)status);
}

#define DNNL_TRY(call)                    \
    do {                                  \
        dnnl_status_t status_ = (call);   \
        if (status_ != dnnl_success) {    \
            st = foreign(status_, #call); \
            goto done;                    \
        }                                 \
    } while (0)

static void plan_destroy(plan *p)
{
    if (!p)
        return;
    (void)dnnl_primitive_destroy(p->conv);
    (void)dnnl_primitive_destroy(p->reorder);
    dmq_free(p);
}

static void shared_release(void)
{
    for (int i = 0; i < BUCKETS; i++) {
        while (shared.bucket[i]) {
            plan *p = shared.bucket[i];

            shared.bucket[i] = p->next;
            plan_destroy(p);
        }
    }
    dmq_cpu_prepared_clear();
    (void)dnnl_engine_destroy(shared.engine);
    shared.engine = NULL;
}

dmq_status dmq_cpu_conv_open(void **stream)
{
    dmq_status st = DMQ_OK;
    dnnl_stream_t made = NULL;

    *stream = NULL;
    pthread_mutex_lock(&shared.lock);
    if (!shared.engine)
        DNNL_TRY(dnnl_engine_create(&shared.engine, dnnl_cpu, 0));
    DNNL_TRY(dnnl_stream_create(&made, shared.engine, dnnl_stream_default_flags));
    shared.users++;
    *stream = made;
done:
    if (st != DMQ_OK && shared.users == 0)
        shared_release();
    pthread_mutex_unlock(&shared.lock);
    return st;
}

void dmq_cpu_conv_close(void *stream)
{
    if (!stream)
        return;
    pthread_mutex_lock(&shared.lock);
    (void)dnnl_stream_destroy(stream);
    if (--shared.users == 0)
        shared_release();
    pthread_mutex_unlock(&shared.lock);
}

/* ------------------------------------------------------------------ plans */

static plan_key key_of(dmq_conv_pass pass, const dmq_conv2d_args *a)
{
    plan_key k;

    memset(&k, 0, sizeof k);
    k.pass = (int)pass;
    k.n = a->n;
    k.h = a->h;
    k.wd = a->wd;
    k.c = a->c;
    k.k = a->k;
    k.r = a->r;
    k.s = a->s;
    k.stride = a->stride;
    k.pad_top = a->pad_top;
    k.pad_left = a->pad_left;
    k.ho = a->ho;
    k.wo = a->wo;
    k.bias = pass == DMQ_CONV_FORWARD && a->bias;
    k.add = a->add;
    return k;
}

static unsigned bucket_of(const plan_key *k)
{
    const unsigned char *byte = (const unsigned char *)k;
    unsigned hash = 2166136261u;

    for (size_t i = 0; i < sizeof *k; i++)
        hash = (hash ^ byte[i]) * 16777619u;
    return hash % BUCKETS;
}

/* The primitive descriptor of the convolution of a plan, *out = NULL if oneDNN has none. */
static dmq_status describe(dnnl_primitive_desc_t *out, plan *p, dnnl_primitive_attr_t attr)
{
    dmq_status st = DMQ_OK;
    const plan_key *k = &p->key;
    dnnl_dims_t in = { k->n, k->c, k->h, k->wd }, y = { k->n, k->k, k->ho, k->wo };
    dnnl_dims_t w = { k->k, k->c, k->r, k->s }, bias = { k->k };
    dnnl_dims_t stride = { k->stride, k->stride }, before = { k->pad_top, k->pad_left };
    dnnl_dims_t after = { (k->ho - 1) * k->stride - k->pad_top + k->r - k->h,
                          (k->wo - 1) * k->stride - k->pad_left + k->s - k->wd };
    dnnl_alg_kind_t kind = dnnl_convolution_direct;
    dnnl_memory_desc_t in_md, w_md, bias_md, out_md;
    dnnl_convolution_desc_t desc;
    dnnl_status_t status;

    *out = NULL;
    DNNL_TRY(dnnl_memory_desc_init_by_tag(&in_md, 4, in, dnnl_f32, dnnl_nhwc));
    DNNL_TRY(dnnl_memory_desc_init_by_tag(&out_md, 4, y, dnnl_f32, dnnl_nhwc));
    DNNL_TRY(dnnl_memory_desc_init_by_tag(&w_md, 4, w, dnnl_f32, dnnl_format_tag_any));
    DNNL_TRY(dnnl_memory_desc_init_by_tag(&bias_md, 1, bias, dnnl_f32, dnnl_x));
    DNNL_TRY(dnnl_memory_desc_init_by_tag(&p->w_ours, 4, w, dnnl_f32, dnnl_ohwi));
    if (k->pass == DMQ_CONV_FORWARD) {
        DNNL_TRY(dnnl_convolution_forward_desc_init(&desc, dnnl_forward_training, kind, &in_md,
                                                    &w_md, k->bias ? &bias_md : NULL, &out_md,
                                                    stride, before, after));
    } else if (k->pass == DMQ_CONV_BACKWARD_DATA) {
        DNNL_TRY(dnnl_convolution_backward_data_desc_init(&desc, kind, &in_md, &w_md, &out_md,
                                                          stride, before, after));
    } else {
        DNNL_TRY(dnnl_convolution_backward_weights_desc_init(&desc, kind, &in_md, &w_md, NULL,
                                                             &out_md, stride, before, after));
    }
    status = dnnl_primitive_desc_create(out, &desc, attr, shared.engine, NULL);
    if (status != dnnl_success && status != dnnl_unimplemented)
        st = foreign(status, "dnnl_primitive_desc_create");
done:
    return st;
}

static dmq_status describe_reorder(plan *p, dnnl_primitive_attr_t attr)
{
    dmq_status st = DMQ_OK;
    int back = p->key.pass == DMQ_CONV_BACKWARD_WEIGHTS;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_post_ops_t sum = NULL;
    const dnnl_memory_desc_t *md;

    if (dnnl_memory_desc_equal(&p->w, &p->w_ours) && !p->key.add)
        goto done;
    if (back && p->key.add) {
        DNNL_TRY(dnnl_post_ops_create(&sum));
        DNNL_TRY(dnnl_post_ops_append_sum(sum, 1.0f));
        DNNL_TRY(dnnl_primitive_attr_set_post_ops(attr, sum));
    }
    DNNL_TRY(dnnl_reorder_primitive_desc_create(&pd, back ? &p->w : &p->w_ours, shared.engine,
                                                back ? &p->w_ours : &p->w, shared.engine, attr));
    DNNL_TRY(dnnl_primitive_create(&p->reorder, pd));
    md = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    p->reorder_pad = *md;
    p->w_bytes = dnnl_memory_desc_get_size(&p->w);
done:
    (void)dnnl_post_ops_destroy(sum);
    (void)dnnl_primitive_desc_destroy(pd);
    return st;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* What the primitive wants, where it is not what the caller has. */
static dmq_status plan_layout(plan *p, const_dnnl_primitive_desc_t pd)
{
    int pass = p->key.pass;
    dnnl_query_t in = pass == DMQ_CONV_BACKWARD_DATA ? dnnl_query_diff_src_md : dnnl_query_src_md;
    dnnl_query_t out = pass == DMQ_CONV_FORWARD ? dnnl_query_dst_md : dnnl_query_diff_dst_md;
    dnnl_query_t w =
        pass == DMQ_CONV_BACKWARD_WEIGHTS ? dnnl_query_diff_weights_md : dnnl_query_weights_md;

    p->in = *dnnl_primitive_desc_query_md(pd, in, 0);
    p->out = *dnnl_primitive_desc_query_md(pd, out, 0);
    p->w = *dnnl_primitive_desc_query_md(pd, w, 0);
    if (p->key.bias)
        p->bias = *dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 1);
    p->conv_pad = *dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    if (pass == DMQ_CONV_BACKWARD_DATA && p->key.add) /* it knows no sum there: we add */
        p->in_bytes = dnnl_memory_desc_get_size(&p->in);
    return DMQ_OK;
}

static dmq_status plan_build(plan *p)
{
    dmq_status st = DMQ_OK;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_attr_t attr = NULL, plain = NULL;
    dnnl_post_ops_t sum = NULL;
    const char *name = NULL;

    DNNL_TRY(dnnl_primitive_attr_create(&attr));
    DNNL_TRY(dnnl_primitive_attr_create(&plain));
    DNNL_TRY(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user));
    DNNL_TRY(dnnl_primitive_attr_set_scratchpad_mode(plain, dnnl_scratchpad_mode_user));
    if (p->key.pass == DMQ_CONV_FORWARD && p->key.add) {
        DNNL_TRY(dnnl_post_ops_create(&sum));
        DNNL_TRY(dnnl_post_ops_append_sum(sum, 1.0f));
        DNNL_TRY(dnnl_primitive_attr_set_post_ops(attr, sum));
    }
    DMQ_TRY(describe(&pd, p, attr));
    if (!pd) {
        (void)strcpy(p->name, "none");
        goto done;
    }
    DNNL_TRY(dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name));
    (void)strncpy(p->name, name, sizeof p->name - 1);
    /* Its reference loops are thousands of times slower and would pass in silence. */
    if (strstr(name, "ref"))
        goto done;
    DMQ_TRY(plan_layout(p, pd));
    DMQ_TRY(describe_reorder(p, plain));
    DNNL_TRY(dnnl_primitive_create(&p->conv, pd));
    p->pad_bytes =
        larger(dnnl_memory_desc_get_size(&p->conv_pad), dnnl_memory_desc_get_size(&p->reorder_pad));
    p->usable = 1;
done:
    (void)dnnl_post_ops_destroy(sum);
    (void)dnnl_primitive_attr_destroy(attr);
    (void)dnnl_primitive_attr_destroy(plain);
    (void)dnnl_primitive_desc_destroy(pd);
    return st;
}

/* The plan of a key, made at its first use. The thread is single-threaded here: primitives are made for
 * the number of threads of their maker. */
static dmq_status plan_get(const plan **out, const plan_key *key)
{
    dmq_status st = DMQ_OK;
    plan **bucket = &shared.bucket[bucket_of(key)], *p;

    pthread_mutex_lock(&shared.lock);
    for (p = *bucket; p; p = p->next) {
        if (memcmp(&p->key, key, sizeof *key) == 0) {
            *out = p;
            p = NULL;
            goto done;
        }
    }
    DMQ_TRY(dmq_alloc((void **)&p, 1, sizeof *p));
    p->key = *key;
    DMQ_TRY(plan_build(p));
    p->next = *bucket;
    *bucket = p;
    *out = p;
    p = NULL;
done:
    pthread_mutex_unlock(&shared.lock);
    plan_destroy(p);
    return st;
}

/* ------------------------------------------------------------------ running */

typedef struct arg_list {
    dnnl_exec_arg_t arg[6];
    int count;
} arg_list;

static dmq_status bind(arg_list *list, int id, const dnnl_memory_desc_t *md, const void *data)
{
    dmq_status st = DMQ_OK;
    dnnl_memory_t memory = NULL;
    union {
        const void *given;
        void *taken; /* oneDNN's handles know no const */
    } at = { data };

    assert((size_t)list->count < sizeof list->arg / sizeof list->arg[0]);
    DNNL_TRY(dnnl_memory_create(&memory, md, shared.engine, at.taken));
    list->arg[list->count++] = (dnnl_exec_arg_t){ id, memory };
done:
    return st;
}

static void unbind(arg_list *list)
{
    for (int i = 0; i < list->count; i++)
        (void)dnnl_memory_destroy(list->arg[i].memory);
    list->count = 0;
}

static dmq_status reorder(const plan *p, dmq_queue *queue, const void *from, void *to, void *pad)
{
    dmq_status st = DMQ_OK;
    int back = p->key.pass == DMQ_CONV_BACKWARD_WEIGHTS;
    arg_list list = { .count = 0 };

    DMQ_TRY(bind(&list, DNNL_ARG_FROM, back ? &p->w : &p->w_ours, from));
    DMQ_TRY(bind(&list, DNNL_ARG_TO, back ? &p->w_ours : &p->w, to));
    DMQ_TRY(bind(&list, DNNL_ARG_SCRATCHPAD, &p->reorder_pad, pad));
    DNNL_TRY(dnnl_primitive_execute(p->reorder, dmq_cpu_stream(queue), list.count, list.arg));
done:
    unbind(&list);
    return st;
}

/* Where the arrays of one call lie that are not the caller's: in scratch. */
typedef struct places {
    float *in, *w;
    char *pad;
} places;

static size_t round_up(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static dmq_status place(places *at, const plan *p, dmq_queue *queue)
{
    dmq_status st = DMQ_OK;
    size_t in = round_up(p->in_bytes), w = round_up(p->w_bytes);
    void *scratch = NULL;

    DMQ_TRY(dmq_cpu_scratch(&scratch, queue, in + w + p->pad_bytes + 64));
    at->in = scratch;
    at->w = (float *)((char *)scratch + in);
    at->pad = (char *)scratch + in + w;
done:
    return st;
}

static dmq_status execute(const plan *p, dmq_queue *queue, const dmq_conv2d_args *a)
{
    static const int in_id[] = { DNNL_ARG_SRC, DNNL_ARG_DIFF_SRC, DNNL_ARG_SRC };
    static const int w_id[] = { DNNL_ARG_WEIGHTS, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_WEIGHTS };
    static const int out_id[] = { DNNL_ARG_DST, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_DST };
    int pass = p->key.pass, weights = pass == DMQ_CONV_BACKWARD_WEIGHTS;
    size_t count = (size_t)a->n * (size_t)a->h * (size_t)a->wd * (size_t)a->c;
    const float *in = pass == DMQ_CONV_BACKWARD_DATA ? a->dx : a->x;
    const float *w = weights ? a->dw : a->w, *out = pass == DMQ_CONV_FORWARD ? a->y : a->dy;
    dmq_status st = DMQ_OK;
    arg_list list = { .count = 0 };
    places at;

    DMQ_TRY(place(&at, p, queue));
    if (!weights && p->w_bytes)
        DMQ_TRY(reorder(p, queue, a->w, at.w, at.pad));
    DMQ_TRY(bind(&list, in_id[pass], &p->in, p->in_bytes ? at.in : in));
    DMQ_TRY(bind(&list, w_id[pass], &p->w, p->w_bytes ? at.w : w));
    DMQ_TRY(bind(&list, out_id[pass], &p->out, out));
    if (p->key.bias)
        DMQ_TRY(bind(&list, DNNL_ARG_BIAS, &p->bias, a->bias));
    DMQ_TRY(bind(&list, DNNL_ARG_SCRATCHPAD, &p->conv_pad, at.pad));
    DNNL_TRY(dnnl_primitive_execute(p->conv, dmq_cpu_stream(queue), list.count, list.arg));
    if (weights && p->w_bytes)
        DMQ_TRY(reorder(p, queue, at.w, a->dw, at.pad));
    for (size_t i = 0; i < count && p->in_bytes; i++)
        a->dx[i] += at.in[i];
done:
    unbind(&list);
    return st;
}

static dmq_status unsupported(const plan *p, dmq_conv_pass pass, const dmq_conv2d_args *a)
{
    return dmq_fail(
        DMQ_ENOTSUP,
        "conv2d: %s: oneDNN has no fast code for x (%d, %d, %d, %d), w (%d, %d, %d, %d), "
        "stride %d: only \"%s\"",
        pass_names[pass], a->n, a->c, a->h, a->wd, a->k, a->c, a->r, a->s, a->stride, p->name);
}

dmq_status dmq_cpu_conv_dnnl(dmq_queue *queue, dmq_conv_pass pass, const dmq_conv2d_args *a,
                             const char **name)
{
    dmq_status st = DMQ_OK;
    plan_key key = key_of(pass, a);
    const plan *p = NULL;

    DMQ_TRY(plan_get(&p, &key));
    if (name)
        *name = p->name;
    if (!p->usable)
        return unsupported(p, pass, a);
    if (queue)
        st = execute(p, queue, a);
done:
    return st;
}
