#include "cuda/engines.h"

#include "cuda/device.h"
#include "cuda/plan_texts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KNOBS = CUDNN_KNOB_TYPE_COUNTS };

#define NN(call) DMQ_TRY(dmq_cudnn_status(nn->call, "cudnn" #call))

static void destroy(const dmq_cudnn *nn, cudnnBackendDescriptor_t *d, int count)
{
    for (int i = 0; i < count; i++) {
        if (d[i])
            (void)nn->BackendDestroyDescriptor(d[i]);
        d[i] = NULL;
    }
}

/* ------------------------------------------------------------------ notes and names */

static int is_wanted(dmq_precision precision, const cudnnBackendNumericalNote_t *note, int64_t n)
{
    int tensor_core = 0;

    for (int64_t i = 0; i < n && i < CUDNN_NUMERICAL_NOTE_TYPE_COUNT; i++) {
        switch (note[i]) {
        case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
        case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
        case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
        case CUDNN_NUMERICAL_NOTE_WINOGRAD:
        case CUDNN_NUMERICAL_NOTE_FFT:
            return 0;
        case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
            tensor_core = 1;
            break;
        default:
            break;
        }
    }
    return precision == DMQ_FP32 ? !tensor_core : precision == DMQ_TF32 || tensor_core;
}

static dmq_status engine_is_wanted(int *wanted, const dmq_cudnn *nn,
                                   cudnnBackendDescriptor_t engine, dmq_precision precision)
{
    cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t n = 0;
    dmq_status st = DMQ_OK;

    NN(BackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                           CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &n, note));
    *wanted = is_wanted(precision, note, n);
done:
    return st;
}

/* " type=value" behind the name so far; one that has no room there ends a name that no other config has. */
static dmq_status write_knobs(char *name, size_t used, const dmq_cudnn *nn,
                              cudnnBackendDescriptor_t config)
{
    cudnnBackendDescriptor_t knob[KNOBS] = { NULL };
    int64_t count = 0, n;
    dmq_status st = DMQ_OK;

    for (int i = 0; i < KNOBS; i++)
        NN(BackendCreateDescriptor(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, &knob[i]));
    NN(BackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                           KNOBS, &count, knob));
    for (int64_t i = 0; i < count && i < KNOBS; i++) {
        cudnnBackendKnobType_t type;
        int64_t value = 0;
        int wrote;

        NN(BackendGetAttribute(knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1,
                               &n, &type));
        NN(BackendGetAttribute(knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1, &n,
                               &value));
        wrote =
            snprintf(name + used, DMQ_ENGINE_NAME - used, " %d=%lld", (int)type, (long long)value);
        if (wrote < 0 || (size_t)wrote >= DMQ_ENGINE_NAME - used) {
            st = dmq_fail(DMQ_ENOTSUP, "cuda: the name of an engine of cuDNN is longer than %d: %s",
                          DMQ_ENGINE_NAME, name);
            goto done;
        }
        used += (size_t)wrote;
    }
done:
    destroy(nn, knob, KNOBS);
    return st;
}

/* Name and fitness of a configuration of the library's list. */
static dmq_status look_at(dmq_engine *e, int *wanted, const dmq_cudnn *nn, dmq_precision precision)
{
    cudnnBackendDescriptor_t engine = NULL;
    int64_t n = 0, number = -1;
    int used;
    dmq_status st = DMQ_OK;

    *wanted = 0;
    NN(BackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine));
    NN(BackendGetAttribute(e->config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                           &n, &engine));
    DMQ_TRY(engine_is_wanted(wanted, nn, engine, precision));
    if (!*wanted)
        goto done;
    NN(BackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &n,
                           &number));
    used = snprintf(e->name, sizeof e->name, "%lld", (long long)number);
    DMQ_TRY(write_knobs(e->name, (size_t)used, nn, e->config));
done:
    destroy(nn, &engine, 1);
    return st;
}

/* ------------------------------------------------------------------ lists */

static int is_listed(const dmq_engine *list, int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(list[i].name, name) == 0)
            return 1;
    }
    return 0;
}

/* Adds what is wanted of one of the library's lists and is not there yet. */
static dmq_status list_by(dmq_engine *out, int most, int *count, const dmq_engine_ask *ask,
                          cudnnBackendHeurMode_t mode)
{
    cudnnBackendDescriptor_t heuristic = NULL, config[DMQ_ENGINES_MOST] = { NULL };
    const dmq_cudnn *nn = NULL;
    int64_t found = 0;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cudnn_load(&nn));
    NN(BackendCreateDescriptor(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristic));
    DMQ_TRY(dmq_cudnn_set(nn, heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH,
                          CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &ask->graph));
    DMQ_TRY(
        dmq_cudnn_set(nn, heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode));
    if (!ask->handle) {
        DMQ_TRY(dmq_cudnn_set(nn, heuristic, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP,
                              CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &ask->device));
    }
    NN(BackendFinalize(heuristic));
    for (int i = 0; i < DMQ_ENGINES_MOST; i++)
        NN(BackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &config[i]));
    NN(BackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                           DMQ_ENGINES_MOST, &found, config));
    for (int i = 0; i < DMQ_ENGINES_MOST && i < found && *count < most; i++) {
        dmq_engine e = { .config = config[i] };
        int wanted;

        DMQ_TRY(look_at(&e, &wanted, nn, ask->precision));
        if (wanted && !is_listed(out, *count, e.name)) {
            out[(*count)++] = e;
            config[i] = NULL;
        }
    }
done:
    if (nn) {
        destroy(nn, config, DMQ_ENGINES_MOST);
        destroy(nn, &heuristic, 1);
    }
    return st;
}

dmq_status dmq_engines_list(dmq_engine *out, int most, int *count, const dmq_engine_ask *ask)
{
    dmq_status st = DMQ_OK;

    *count = 0;
    DMQ_TRY(list_by(out, most, count, ask, CUDNN_HEUR_MODE_A));
    DMQ_TRY(list_by(out, most, count, ask, CUDNN_HEUR_MODE_FALLBACK));
done:
    return st;
}

/* ------------------------------------------------------------------ plans */

static dmq_status new_plan(cudnnBackendDescriptor_t *plan, const dmq_cudnn *nn,
                           const dmq_engine_ask *ask)
{
    dmq_status st = DMQ_OK;

    NN(BackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, plan));
    if (ask->handle) {
        DMQ_TRY(dmq_cudnn_set(nn, *plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1,
                              &ask->handle));
    } else {
        DMQ_TRY(dmq_cudnn_set(nn, *plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP,
                              CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &ask->device));
    }
done:
    return st;
}

/* Finish a plan; 0 where the engine refuses. */
static dmq_status compile(int *made, const dmq_cudnn *nn, cudnnBackendDescriptor_t plan,
                          const dmq_engine *e)
{
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cudnn_set(nn, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                          CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &e->config));
    *made = nn->BackendFinalize(plan) == CUDNN_STATUS_SUCCESS;
done:
    return st;
}

dmq_status dmq_engine_plan(dmq_engine *e, int *made, const dmq_engine_ask *ask)
{
    /* engines of halves are compiled when they are asked for, and no other ones that we want */
    int kept = ask->key && ask->precision == DMQ_FP16 && dmq_plan_texts_kept(), loaded = 0;
    char key[DMQ_ENGINE_NAME + DMQ_ENGINE_KEY];
    cudnnBackendDescriptor_t plan = NULL;
    const dmq_cudnn *nn = NULL;
    int64_t n = 0, bytes = 0;
    dmq_status st = DMQ_OK;

    *made = 0;
    DMQ_TRY(dmq_cudnn_load(&nn));
    DMQ_TRY(new_plan(&plan, nn, ask));
    if (kept) {
        (void)snprintf(key, sizeof key, "%s by %s", ask->key, e->name);
        *made = loaded = dmq_plan_text_load(plan, key);
        if (!loaded) {
            destroy(nn, &plan, 1);
            DMQ_TRY(new_plan(&plan, nn, ask));
        }
    }
    if (!loaded)
        DMQ_TRY(compile(made, nn, plan, e));
    if (!*made)
        goto done;
    if (kept && !loaded)
        dmq_plan_text_save(plan, key);
    *made = 0;
    NN(BackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &n,
                           &bytes));
    if (bytes < 0 || (size_t)bytes > ask->workspace)
        goto done;
    e->workspace = (size_t)bytes;
    e->plan = plan;
    plan = NULL;
    *made = 1;
done:
    if (nn)
        destroy(nn, &plan, 1);
    return st;
}

/* The knobs of a name, one descriptor each; EDATA for a text that is no name. */
static dmq_status read_knobs(cudnnBackendDescriptor_t knob[KNOBS], int *count, const dmq_cudnn *nn,
                             const char *text, const char *name)
{
    dmq_status st = DMQ_OK;

    while (*text) {
        cudnnBackendKnobType_t type;
        int64_t value;
        char *end = NULL;

        type = (cudnnBackendKnobType_t)strtol(text, &end, 10);
        if (*text != ' ' || *end != '=' || *count == KNOBS)
            goto bad;
        text = end + 1;
        value = strtoll(text, &end, 10);
        if (end == text || (*end && *end != ' '))
            goto bad;
        text = end;
        NN(BackendCreateDescriptor(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, &knob[*count]));
        (*count)++;
        DMQ_TRY(dmq_cudnn_set(nn, knob[*count - 1], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE,
                              CUDNN_TYPE_KNOB_TYPE, 1, &type));
        DMQ_TRY(dmq_cudnn_set(nn, knob[*count - 1], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE,
                              CUDNN_TYPE_INT64, 1, &value));
        NN(BackendFinalize(knob[*count - 1]));
    }
done:
    return st;
bad:
    return dmq_fail(DMQ_EDATA, "cuda: \"%s\" is not the name of an engine of cuDNN", name);
}

dmq_status dmq_engine_named(dmq_engine *out, const char *name, const dmq_engine_ask *ask)
{
    cudnnBackendDescriptor_t engine = NULL, knob[KNOBS] = { NULL };
    dmq_engine e = { .config = NULL };
    const dmq_cudnn *nn = NULL;
    int64_t number;
    int count = 0, wanted = 0, made = 0;
    char *end = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cudnn_load(&nn));
    number = strtoll(name, &end, 10);
    if (end == name || strlen(name) >= sizeof e.name) {
        st = dmq_fail(DMQ_EDATA, "cuda: \"%s\" is not the name of an engine of cuDNN", name);
        goto done;
    }
    (void)snprintf(e.name, sizeof e.name, "%s", name);
    DMQ_TRY(read_knobs(knob, &count, nn, end, name));
    NN(BackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine));
    DMQ_TRY(dmq_cudnn_set(nn, engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH,
                          CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &ask->graph));
    DMQ_TRY(
        dmq_cudnn_set(nn, engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &number));
    if (!ask->handle) {
        DMQ_TRY(dmq_cudnn_set(nn, engine, CUDNN_ATTR_ENGINE_DEVICEPROP,
                              CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &ask->device));
    }
    NN(BackendFinalize(engine));
    DMQ_TRY(engine_is_wanted(&wanted, nn, engine, ask->precision));
    if (wanted) {
        NN(BackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &e.config));
        DMQ_TRY(dmq_cudnn_set(nn, e.config, CUDNN_ATTR_ENGINECFG_ENGINE,
                              CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &engine));
        if (count) {
            DMQ_TRY(dmq_cudnn_set(nn, e.config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                                  CUDNN_TYPE_BACKEND_DESCRIPTOR, count, knob));
        }
        NN(BackendFinalize(e.config));
        DMQ_TRY(dmq_engine_plan(&e, &made, ask));
    }
    if (made) {
        *out = e;
        e = (dmq_engine){ .config = NULL };
    }
done:
    if (nn) {
        destroy(nn, knob, KNOBS);
        destroy(nn, &engine, 1);
    }
    dmq_engine_release(&e);
    if (st == DMQ_EDEVICE || (st == DMQ_OK && !made))
        st = dmq_fail(DMQ_EDATA, "cuda: cuDNN does not take engine \"%s\" here", name);
    return st;
}

void dmq_engine_release(dmq_engine *e)
{
    const dmq_cudnn *nn = NULL;

    if (dmq_cudnn_load(&nn) == DMQ_OK) {
        destroy(nn, &e->plan, 1);
        destroy(nn, &e->config, 1);
    }
    *e = (dmq_engine){ .config = NULL };
}
