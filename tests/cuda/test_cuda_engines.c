/* What the real cuDNN has for our convolutions on an H200, asked without one: the library takes the properties
   of a device as a text. Engines that it compiles when it runs are listed where the driver's library, or the
   toolkit's stand-in for it, is here; their plans are not made. */
#include "cuda/conv2d_graph.h"
#include "cuda/plan_texts.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char h200[] =
    "{\"deviceName\":\"NVIDIA H200\",\"deviceVer\":900,\"driverVer\":13000,\"cudaDeviceId\":0,"
    "\"multiProcessorCount\":132,\"warpSize\":32,\"maxGridSize\":[2147483647,65535,65535],"
    "\"maxBlockSize\":[1024,1024,64],\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":2048,"
    "\"maxCtasPerSM\":32,\"regsPerBlock\":65536,\"maxRegistersPerSM\":65536,"
    "\"maxSharedMemoryPerBlock\":49152,\"maxSharedMemoryPerBlockOptin\":232448,"
    "\"reservedSharedMemoryPerBlock\":1024,\"totalGlobalMem\":150121545728,"
    "\"l2CacheSize\":62914560,\"smClockRateKHz\":1980000,\"memClockRateKHz\":3201000,"
    "\"supportCoopLaunch\":1,\"isTccDriver\":0,\"pciDeviceId\":0}";

enum { WORKSPACE = 256 << 20 };

static const dmq_cudnn *nn;
static cudnnBackendDescriptor_t device;

static int open_library(void **state)
{
    (void)state;
    if (dmq_cudnn_load(&nn) != DMQ_OK) {
        print_message("skipped: %s\n", dmq_message());
        exit(77);
    }
    if (nn->BackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &device) !=
            CUDNN_STATUS_SUCCESS ||
        nn->BackendSetAttribute(device, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                                sizeof h200 - 1, h200) != CUDNN_STATUS_SUCCESS ||
        nn->BackendFinalize(device) != CUDNN_STATUS_SUCCESS) {
        print_message("skipped: cuDNN %zu takes no device as a text\n", nn->GetVersion());
        exit(77);
    }
    return 0;
}

static int close_library(void **state)
{
    (void)state;
    (void)nn->BackendDestroyDescriptor(device);
    return 0;
}

/* ------------------------------------------------------------------ shapes */

typedef struct layer {
    const char *name;
    int n, c, h, k, r, stride, before, behind;
} layer;

/* DDPM UNet of CIFAR-10 and LDM-4 of beds, batches of reconstruction; what differs in its way alone. */
static const layer layers[] = {
    { "ddpm conv_in", 32, 3, 32, 128, 3, 1, 1, 1 },
    { "ddpm down.0.conv", 32, 128, 32, 128, 3, 1, 1, 1 },
    { "ddpm down.0.sample", 32, 128, 32, 128, 3, 2, 0, 1 },
    { "ddpm down.2.sample", 32, 256, 8, 256, 3, 2, 0, 1 },
    { "ddpm up.3.conv1", 32, 512, 4, 256, 3, 1, 1, 1 },
    { "ddpm conv_out", 32, 128, 32, 3, 3, 1, 1, 1 },
    { "ldm input.1", 32, 224, 64, 224, 3, 1, 1, 1 },
    { "ldm down.3", 32, 224, 64, 224, 3, 2, 1, 1 },
    { "ldm middle", 32, 896, 8, 896, 3, 1, 1, 1 },
};
enum { LAYERS = sizeof layers / sizeof *layers };

static dmq_conv2d_args args_of(const layer *l)
{
    int out = (l->h + l->before + l->behind - l->r) / l->stride + 1;

    return (dmq_conv2d_args){ .n = l->n,
                              .h = l->h,
                              .wd = l->h,
                              .c = l->c,
                              .k = l->k,
                              .r = l->r,
                              .s = l->r,
                              .stride = l->stride,
                              .pad_top = l->before,
                              .pad_left = l->before,
                              .ho = out,
                              .wo = out };
}

static dmq_conv_form form_of(dmq_conv_direction pass, dmq_precision precision)
{
    dmq_conv_form f = { .pass = pass, .precision = precision };

    for (int k = 0; k < DMQ_CONV_TENSORS; k++)
        f.align[k] = 16;
    f.align[DMQ_CONV_FACTOR] = 4;
    return f;
}

typedef struct question {
    dmq_conv_ops ops;
    dmq_engine_ask ask;
    dmq_engine list[DMQ_ENGINES_MOST];
    int count;
} question;

static void ask(question *q, const layer *l, const dmq_conv_form *f)
{
    dmq_conv2d_args a = args_of(l);

    memset(q, 0, sizeof *q);
    assert_int_equal(dmq_conv_ops_make(&q->ops, NULL, &a, f), DMQ_OK);
    q->ask = (dmq_engine_ask){
        .graph = q->ops.graph, .device = device, .precision = f->precision, .workspace = WORKSPACE
    };
    assert_int_equal(dmq_engines_list(q->list, DMQ_ENGINES_MOST, &q->count, &q->ask), DMQ_OK);
}

static void forget(question *q)
{
    for (int i = 0; i < q->count; i++)
        dmq_engine_release(&q->list[i]);
    dmq_conv_ops_release(&q->ops);
}

/* The first with a plan, as the device would take it; -1: none. */
static int first_of(question *q)
{
    for (int i = 0; i < q->count; i++) {
        int made = 0;

        assert_int_equal(dmq_engine_plan(&q->list[i], &made, &q->ask), DMQ_OK);
        if (made)
            return i;
    }
    return -1;
}

static const char *const passes[] = { "forward", "data", "weights" };

static void tell(const layer *l, const dmq_conv_form *f, const question *q, int first)
{
    static const char *const precisions[] = { "fp32", "tf32", "fp16" };

    print_message("%-18s %-7s %s%s%s %2d wanted, %s", l->name, passes[f->pass],
                  precisions[f->precision], f->bias ? " bias" : "", f->add ? " add" : "", q->count,
                  first < 0 ? "none" : q->list[first].name);
    if (first >= 0 && q->list[first].plan)
        print_message(", %.1f MiB", (double)q->list[first].workspace / (1 << 20));
    print_message("\n");
}

/* ------------------------------------------------------------------ tests */

/* Passes as the tape asks for them. */
static void has_engines(dmq_precision precision)
{
    for (int i = 0; i < LAYERS; i++) {
        for (int pass = DMQ_CONV_FORWARD; pass <= DMQ_CONV_BACKWARD_WEIGHTS; pass++) {
            dmq_conv_form f = form_of((dmq_conv_direction)pass, precision);
            question q;
            int first;

            f.bias = pass == DMQ_CONV_FORWARD;
            f.add = pass == DMQ_CONV_BACKWARD_DATA;
            ask(&q, &layers[i], &f);
            first = first_of(&q);
            tell(&layers[i], &f, &q, first);
            assert_true(first >= 0);
            forget(&q);
        }
    }
}

static void every_convolution_has_an_fp32_engine(void **state)
{
    (void)state;
    has_engines(DMQ_FP32);
}

static void every_convolution_has_a_tf32_engine(void **state)
{
    (void)state;
    has_engines(DMQ_TF32);
}

/* A view into a block of parameters begins anywhere. */
static void views_that_begin_anywhere_have_engines(void **state)
{
    (void)state;
    for (int pass = DMQ_CONV_FORWARD; pass <= DMQ_CONV_BACKWARD_WEIGHTS; pass++) {
        dmq_conv_form f = form_of((dmq_conv_direction)pass, DMQ_FP32);
        question q;

        f.align[DMQ_CONV_W] = f.align[DMQ_CONV_RESULT] = 4;
        ask(&q, &layers[1], &f);
        assert_true(first_of(&q) >= 0);
        forget(&q);
    }
}

/* cuDNN does not look for the driver's library where it looks for its own; one that is open it takes by name. */
static int driver_is_here(void)
{
    return dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL) ||
           dlopen("/usr/local/cuda/lib64/stubs/libcuda.so", RTLD_NOW | RTLD_GLOBAL);
}

static void halves_have_engines_where_channels_are_eights(void **state)
{
    (void)state;
    if (!driver_is_here()) {
        print_message("skipped: the driver's library is not here, nor the toolkit's for it\n");
        skip();
    }
    for (int i = 0; i < LAYERS; i++) {
        if (layers[i].c % 8 != 0 || layers[i].k % 8 != 0)
            continue;
        for (int pass = DMQ_CONV_FORWARD; pass <= DMQ_CONV_BACKWARD_WEIGHTS; pass++) {
            dmq_conv_form f = form_of((dmq_conv_direction)pass, DMQ_FP16);
            question q;

            f.bias = pass == DMQ_CONV_FORWARD;
            ask(&q, &layers[i], &f);
            tell(&layers[i], &f, &q, q.count ? 0 : -1);
            assert_true(q.count > 0);
            forget(&q);
        }
    }
}

/* All that makes a plan, as a text of the library's. */
static char *text_of(const dmq_engine *e)
{
    int64_t n = 0;
    char *text;

    assert_int_equal(nn->BackendGetAttribute(e->plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                             CUDNN_TYPE_CHAR, 0, &n, NULL),
                     CUDNN_STATUS_SUCCESS);
    assert_true(n > 0);
    text = calloc((size_t)n + 1, 1);
    assert_non_null(text);
    assert_int_equal(nn->BackendGetAttribute(e->plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION,
                                             CUDNN_TYPE_CHAR, n, &n, text),
                     CUDNN_STATUS_SUCCESS);
    return text;
}

static void a_name_gives_the_same_plan_again(void **state)
{
    static const dmq_precision precisions[] = { DMQ_FP32, DMQ_TF32 };

    (void)state;
    for (int i = 0; i < 2; i++) {
        for (int pass = DMQ_CONV_FORWARD; pass <= DMQ_CONV_BACKWARD_WEIGHTS; pass++) {
            dmq_conv_form f = form_of((dmq_conv_direction)pass, precisions[i]);
            dmq_engine again = { .config = NULL };
            question q;
            char *plan, *other;
            int first;

            ask(&q, &layers[2], &f);
            first = first_of(&q);
            assert_true(first >= 0);
            assert_int_equal(dmq_engine_named(&again, q.list[first].name, &q.ask), DMQ_OK);
            assert_string_equal(again.name, q.list[first].name);
            assert_int_equal(again.workspace, q.list[first].workspace);
            plan = text_of(&q.list[first]);
            other = text_of(&again);
            assert_string_equal(plan, other);
            free(plan);
            free(other);
            dmq_engine_release(&again);
            forget(&q);
        }
    }
}

/* A plan without its engine: the text has to say all of it. */
static cudnnBackendDescriptor_t empty_plan(void)
{
    cudnnBackendDescriptor_t plan = NULL;

    assert_int_equal(nn->BackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan),
                     CUDNN_STATUS_SUCCESS);
    assert_int_equal(nn->BackendSetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP,
                                             CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &device),
                     CUDNN_STATUS_SUCCESS);
    return plan;
}

static int loads(const char *key, const char *want)
{
    dmq_engine e = { .plan = empty_plan() };
    int loaded = dmq_plan_text_load(e.plan, key);

    if (loaded) {
        char *text = text_of(&e);

        assert_string_equal(text, want);
        free(text);
    }
    dmq_engine_release(&e);
    return loaded;
}

static void a_plan_comes_back_from_its_text(void **state)
{
    dmq_conv_form f = form_of(DMQ_CONV_BACKWARD_WEIGHTS, DMQ_TF32);
    char folder[] = "/tmp/dmq_plans_XXXXXX", command[128], *text;
    question q;
    int first;

    (void)state;
    assert_int_equal(unsetenv("DMQ_CUDA_PLANS"), 0);
    assert_int_equal(dmq_plan_texts_kept(), 0);
    assert_non_null(mkdtemp(folder));
    assert_int_equal(setenv("DMQ_CUDA_PLANS", folder, 1), 0);
    assert_int_equal(dmq_plan_texts_kept(), 1);
    ask(&q, &layers[1], &f);
    first = first_of(&q);
    assert_true(first >= 0);
    text = text_of(&q.list[first]);
    assert_int_equal(loads("a", text), 0); /* none yet */
    dmq_plan_text_save(q.list[first].plan, "a");
    assert_int_equal(loads("a", text), 1);
    assert_int_equal(loads("b", text), 0);
    /* one that was cut off, one under the name of another */
    (void)snprintf(command, sizeof command, "cd %s && for f in *.plan; do truncate -s -9 $f; done",
                   folder);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
    assert_int_equal(loads("a", text), 0);
    dmq_plan_text_save(q.list[first].plan, "a");
    assert_int_equal(loads("a", text), 1);
    (void)snprintf(command, sizeof command, "cd %s && sed -i '1s/: a/: b/' *.plan", folder);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
    assert_int_equal(loads("a", text), 0);
    (void)snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
    assert_int_equal(unsetenv("DMQ_CUDA_PLANS"), 0);
    free(text);
    forget(&q);
}

static void what_is_not_wanted_is_not_had_by_name(void **state)
{
    static const char *const none[] = { "",        "x",          "70 2", "70 2=", "70 =3",
                                        "70 2=3x", "70  2=3 3=", "-1",   "9999",  "70 2=999" };
    dmq_conv_form f = form_of(DMQ_CONV_FORWARD, DMQ_TF32);
    dmq_engine e = { .config = NULL };
    question rounds, q;

    (void)state;
    ask(&rounds, &layers[1], &f);
    assert_true(rounds.count > 0);
    f.precision = DMQ_FP32;
    ask(&q, &layers[1], &f);
    /* the library expects the most of tensor cores, which round operands */
    assert_int_equal(dmq_engine_named(&e, rounds.list[0].name, &q.ask), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), rounds.list[0].name));
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_int_equal(dmq_engine_named(&e, none[i], &q.ask), DMQ_EDATA);
        assert_null(e.plan);
    }
    q.ask.workspace = 0;
    assert_int_equal(dmq_engine_named(&e, q.list[0].name, &q.ask), DMQ_EDATA);
    forget(&q);
    forget(&rounds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_convolution_has_an_fp32_engine),
        cmocka_unit_test(every_convolution_has_a_tf32_engine),
        cmocka_unit_test(views_that_begin_anywhere_have_engines),
        cmocka_unit_test(a_name_gives_the_same_plan_again),
        cmocka_unit_test(a_plan_comes_back_from_its_text),
        cmocka_unit_test(what_is_not_wanted_is_not_had_by_name),
        cmocka_unit_test(halves_have_engines_where_channels_are_eights),
    };

    return cmocka_run_group_tests(tests, open_library, close_library);
}
