#include "run/block_file.h"

#include "base/log.h"
#include "base/memory.h"
#include "io/file.h"

#include <stdio.h>
#include <string.h>

static dmq_status path_of(char **out, const dmq_job *job, int unit, const char *tail)
{
    char name[64];

    (void)snprintf(name, sizeof name, "ckpt/block-%03d%s.h5", unit, tail);
    return dmq_folder_file(out, job->folder, name);
}

/* A kill cannot leave a damaged file behind (files appear complete), a disk can. */
static int damaged(dmq_status st)
{
    if (st != DMQ_EDATA && st != DMQ_ESHAPE)
        return 0;
    dmq_log_warn("checkpoint", "%s; it is made again", dmq_message());
    return 1;
}

/* Open a file of this stage's key; *file stays NULL when there is none. */
static dmq_status open_own(dmq_h5 **file, const dmq_job *job, const char *path, const char *format)
{
    dmq_status st = DMQ_OK;
    char *key = NULL;

    *file = NULL;
    if (!dmq_file_exists(path))
        return DMQ_OK;
    st = dmq_h5_open(file, path, DMQ_H5_READ);
    if (st == DMQ_OK)
        st = dmq_h5_format_check(*file, format, 1);
    if (st == DMQ_OK)
        st = dmq_h5_attr_text(&key, *file, "/", "key");
    if (damaged(st) || (st == DMQ_OK && strcmp(key, job->key) != 0)) {
        dmq_h5_close(*file);
        *file = NULL;
        st = DMQ_OK;
    }
    dmq_free(key);
    return st;
}

/* ------------------------------------------------------------------ sums */

/* HDF5 keeps no sums of contiguous arrays: the attribute "sum" is over what a restart needs, in order. */
typedef struct piece {
    const void *data;
    size_t size;
} piece;

static dmq_status sum_of(char out[DMQ_HASH_TEXT], const piece *pieces, int n)
{
    dmq_status st = DMQ_OK;
    dmq_hash *hash = NULL;

    DMQ_TRY(dmq_hash_create(&hash));
    for (int i = 0; i < n; i++)
        DMQ_TRY(dmq_hash_add(hash, pieces[i].data, pieces[i].size));
    DMQ_TRY(dmq_hash_text(out, hash));
done:
    dmq_hash_destroy(hash);
    return st;
}

static dmq_status write_sum(dmq_h5 *file, const piece *pieces, int n)
{
    char sum[DMQ_HASH_TEXT];
    dmq_status st = sum_of(sum, pieces, n);

    return st == DMQ_OK ? dmq_h5_attr_set_text(file, "/", "sum", sum) : st;
}

static dmq_status check_sum(dmq_h5 *file, const piece *pieces, int n)
{
    char sum[DMQ_HASH_TEXT], *want = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_attr_text(&want, file, "/", "sum"));
    DMQ_TRY(sum_of(sum, pieces, n));
    if (strcmp(sum, want) != 0)
        st = dmq_fail(DMQ_EDATA, "%s: is damaged", dmq_h5_path(file));
done:
    dmq_free(want);
    return st;
}

/* ------------------------------------------------------------------ units that are done */

static size_t code_count(const dmq_qmodel *q, const dmq_unit *u)
{
    size_t n = 0;

    for (int i = 0; i < u->n_layers; i++) {
        const dmq_qlayer *l = &q->layer[u->layer[i]];

        n += dmq_qmodel_learns(q, u->layer[i]) ? (size_t)l->rows * (size_t)l->per : 0;
    }
    return n;
}

/* codes of all layers, one behind the other, and the log */
static dmq_status read_block(uint8_t *codes, char **log, dmq_h5 *file, const dmq_qmodel *q,
                             const dmq_unit *u)
{
    dmq_status st = DMQ_OK;
    uint8_t *at = codes;

    for (int i = 0; i < u->n_layers; i++) {
        const dmq_qlayer *l = &q->layer[u->layer[i]];

        if (!dmq_qmodel_learns(q, u->layer[i]))
            continue;
        DMQ_TRY(
            dmq_h5_read_u8(at, file, q->model->layer[u->layer[i]].name, DMQ_DIMS(l->rows, l->per)));
        at += (size_t)l->rows * (size_t)l->per;
    }
    DMQ_TRY(dmq_h5_read_text(log, file, "log"));
    DMQ_TRY(
        check_sum(file, (piece[]){ { codes, (size_t)(at - codes) }, { *log, strlen(*log) } }, 2));
done:
    return st;
}

dmq_status dmq_block_file_load(const dmq_job *job, dmq_qmodel *q, int unit, int *done)
{
    const dmq_unit *u = &q->model->unit[unit];
    dmq_status st = DMQ_OK;
    char *path = NULL, *log = NULL;
    dmq_h5 *file = NULL;
    uint8_t *codes = NULL, *at;

    *done = 0;
    DMQ_TRY(path_of(&path, job, unit, ""));
    DMQ_TRY(open_own(&file, job, path, "dmq-block"));
    if (!file)
        goto done;
    DMQ_TRY(dmq_alloc((void **)&codes, code_count(q, u), 1));
    st = read_block(codes, &log, file, q, u);
    if (damaged(st)) {
        st = DMQ_OK;
        goto done;
    }
    DMQ_TRY(st);
    at = codes;
    for (int i = 0; i < u->n_layers; i++) {
        dmq_qlayer *l = &q->layer[u->layer[i]];

        if (!dmq_qmodel_learns(q, u->layer[i]))
            continue;
        for (size_t j = 0; j < (size_t)l->rows * (size_t)l->per; j++)
            l->code[j] = (int16_t)*at++;
        l->learned = 1;
        dmq_qmodel_dequantize(q, u->layer[i]);
        DMQ_TRY(dmq_qmodel_push_weight(q, dmq_lanes_queue(job->experiment->lanes, 0), u->layer[i]));
    }
    *done = 1;
done:
    dmq_free(codes);
    dmq_free(log);
    dmq_h5_close(file);
    dmq_free(path);
    return st;
}

static dmq_status log_text(char **out, const dmq_unit_log *log, int without_times)
{
    dmq_status st = DMQ_OK;
    dmq_json *json = NULL;

    DMQ_TRY(dmq_json_object(&json));
    DMQ_TRY(dmq_unit_log_json(json, log, without_times));
    DMQ_TRY(dmq_json_dump(out, json, 0));
done:
    dmq_json_destroy(json);
    return st;
}

static dmq_status write_codes(uint8_t *codes, dmq_h5 *file, const dmq_qmodel *q, const dmq_unit *u)
{
    dmq_status st = DMQ_OK;
    uint8_t *at = codes;

    for (int i = 0; i < u->n_layers; i++) {
        const dmq_qlayer *l = &q->layer[u->layer[i]];
        size_t count = (size_t)l->rows * (size_t)l->per;

        if (!dmq_qmodel_learns(q, u->layer[i]))
            continue;
        for (size_t j = 0; j < count; j++)
            at[j] = (uint8_t)l->code[j];
        DMQ_TRY(dmq_h5_write_u8(file, q->model->layer[u->layer[i]].name, DMQ_DIMS(l->rows, l->per),
                                at));
        at += count;
    }
done:
    return st;
}

dmq_status dmq_block_file_save(const dmq_job *job, const dmq_qmodel *q, const dmq_block *b,
                               const dmq_real *s, int n_s, const dmq_unit_log *log)
{
    const dmq_unit *u = &q->model->unit[b->unit];
    size_t count = code_count(q, u);
    dmq_status st = DMQ_OK;
    char *path = NULL, *part = NULL, *text = NULL;
    dmq_h5 *file = NULL;
    uint8_t *codes = NULL;

    DMQ_TRY(path_of(&path, job, b->unit, ""));
    DMQ_TRY(path_of(&part, job, b->unit, ".part"));
    DMQ_TRY(dmq_alloc((void **)&codes, count, 1));
    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_WRITE));
    DMQ_TRY(dmq_h5_format_set(file, "dmq-block", 1));
    DMQ_TRY(dmq_h5_attr_set_text(file, "/", "key", job->key));
    DMQ_TRY(write_codes(codes, file, q, u));
    if (n_s > 0)
        DMQ_TRY(dmq_h5_write_real(file, "sample_logits", DMQ_DIMS(n_s), s));
    DMQ_TRY(log_text(&text, log, 1));
    DMQ_TRY(dmq_h5_write_text(file, "log", text));
    DMQ_TRY(write_sum(file, (piece[]){ { codes, count }, { text, strlen(text) } }, 2));
    DMQ_TRY(dmq_h5_commit(file));
    if (dmq_file_exists(part))
        DMQ_TRY(dmq_file_remove(part));
done:
    dmq_free(codes);
    dmq_free(text);
    dmq_h5_close(file);
    dmq_free(part);
    dmq_free(path);
    return st;
}

/* ------------------------------------------------------------------ a unit under way */

enum { PART_PIECES = 5 };

/* blocks: alpha, m and v of n numbers each */
static void part_pieces(piece out[PART_PIECES], const dmq_real *blocks, size_t n, const dmq_real *s,
                        int n_s, const char *log)
{
    for (size_t i = 0; i < 3; i++)
        out[i] = (piece){ blocks + i * n, n * sizeof *blocks };
    out[3] = (piece){ s, (size_t)n_s * sizeof *s };
    out[4] = (piece){ log, strlen(log) };
}

dmq_status dmq_part_save(const dmq_job *job, int unit, const dmq_recon_state *state,
                         const dmq_real *s, int n_s, const dmq_unit_log *log)
{
    size_t n = state->n_theta;
    int64_t p = (int64_t)n;
    dmq_status st = DMQ_OK;
    char *path = NULL, *text = NULL;
    piece pieces[PART_PIECES];
    dmq_real *blocks = NULL;
    dmq_h5 *file = NULL;

    DMQ_TRY(dmq_alloc((void **)&blocks, 3 * n, sizeof *blocks));
    DMQ_TRY(dmq_recon_state_get(blocks, state));
    DMQ_TRY(path_of(&path, job, unit, ".part"));
    DMQ_TRY(log_text(&text, log, 0));
    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_WRITE));
    DMQ_TRY(dmq_h5_format_set(file, "dmq-part", 1));
    DMQ_TRY(dmq_h5_attr_set_text(file, "/", "key", job->key));
    DMQ_TRY(dmq_h5_attr_set_i64(file, "/", "iteration", state->iteration));
    DMQ_TRY(dmq_h5_write_real(file, "alpha", DMQ_DIMS(p), blocks));
    DMQ_TRY(dmq_h5_write_real(file, "m", DMQ_DIMS(p), blocks + n));
    DMQ_TRY(dmq_h5_write_real(file, "v", DMQ_DIMS(p), blocks + 2 * n));
    if (n_s > 0)
        DMQ_TRY(dmq_h5_write_real(file, "sample_logits", DMQ_DIMS(n_s), s));
    DMQ_TRY(dmq_h5_write_text(file, "log", text));
    part_pieces(pieces, blocks, n, s, n_s, text);
    DMQ_TRY(write_sum(file, pieces, PART_PIECES));
    DMQ_TRY(dmq_h5_commit(file));
done:
    dmq_h5_close(file);
    dmq_free(path);
    dmq_free(text);
    dmq_free(blocks);
    return st;
}

/* The state is written when all is known to be whole. */
static dmq_status read_part(dmq_h5 *file, dmq_recon_state *state, dmq_real *s, int n_s,
                            dmq_unit_log *log)
{
    size_t n = state->n_theta;
    int64_t p = (int64_t)n, iteration;
    dmq_status st = DMQ_OK;
    piece pieces[PART_PIECES];
    dmq_real *blocks = NULL;
    dmq_json *json = NULL;
    char *text = NULL;

    DMQ_TRY(dmq_alloc((void **)&blocks, 3 * n, sizeof *blocks));
    DMQ_TRY(dmq_h5_attr_i64(&iteration, file, "/", "iteration"));
    DMQ_TRY(dmq_h5_read_real(blocks, file, "alpha", DMQ_DIMS(p)));
    DMQ_TRY(dmq_h5_read_real(blocks + n, file, "m", DMQ_DIMS(p)));
    DMQ_TRY(dmq_h5_read_real(blocks + 2 * n, file, "v", DMQ_DIMS(p)));
    if (n_s > 0)
        DMQ_TRY(dmq_h5_read_real(s, file, "sample_logits", DMQ_DIMS(n_s)));
    DMQ_TRY(dmq_h5_read_text(&text, file, "log"));
    part_pieces(pieces, blocks, n, s, n_s, text);
    DMQ_TRY(check_sum(file, pieces, PART_PIECES));
    DMQ_TRY(dmq_json_parse(&json, text, strlen(text), dmq_h5_path(file)));
    dmq_unit_log_read(log, json);
    DMQ_TRY(dmq_recon_state_put(state, blocks));
    state->iteration = (int)iteration;
done:
    dmq_json_destroy(json);
    dmq_free(text);
    dmq_free(blocks);
    return st;
}

dmq_status dmq_part_load(const dmq_job *job, int unit, dmq_recon_state *state, dmq_real *s, int n_s,
                         dmq_unit_log *log, int *resumed)
{
    dmq_status st = DMQ_OK;
    char *path = NULL;
    dmq_h5 *file = NULL;

    *resumed = 0;
    DMQ_TRY(path_of(&path, job, unit, ".part"));
    DMQ_TRY(open_own(&file, job, path, "dmq-part"));
    if (!file)
        goto done;
    st = read_part(file, state, s, n_s, log);
    if (damaged(st)) {
        memset(s, 0, (size_t)n_s * sizeof *s);
        st = DMQ_OK;
        goto done;
    }
    DMQ_TRY(st);
    *resumed = 1;
    dmq_log_info("quantize: goes on inside a unit, at iteration %d", state->iteration);
done:
    dmq_h5_close(file);
    dmq_free(path);
    return st;
}

/* ------------------------------------------------------------------ logs */

dmq_status dmq_unit_log_tell(const dmq_job *job, const dmq_unit *unit, const dmq_unit_log *log)
{
    const dmq_recon_report *r = &log->recon;
    dmq_status st = DMQ_OK;
    dmq_json *event = NULL;

    DMQ_TRY(dmq_json_object(&event));
    DMQ_TRY(dmq_json_set_text(event, "stage", "quantize"));
    DMQ_TRY(dmq_json_set_text(event, "block", unit->name));
    DMQ_TRY(dmq_unit_log_json(event, log, 0));
    DMQ_TRY(dmq_folder_event(job->folder, event));
    if (log->weighted) {
        dmq_log_detail(
            "%s: loss %.3g -> %.3g, held out %.3g -> %.3g; ESS %.3f, cos(mse, gm) %+.2f, "
            "group cosine %.2f -> %.2f",
            unit->name, r->nearest_train, r->final_train, r->nearest_held, r->final_held,
            log->weights.ess, log->weights.cosine_mse_gm, log->cosine_before, log->cosine_after);
    } else {
        dmq_log_detail("%s: loss %.3g -> %.3g, held out %.3g -> %.3g", unit->name, r->nearest_train,
                       r->final_train, r->nearest_held, r->final_held);
    }
done:
    dmq_json_destroy(event);
    return st;
}

static dmq_status add_block(dmq_json *list, const dmq_job *job, const dmq_unit *unit)
{
    dmq_status st = DMQ_OK;
    char *path = NULL, *text = NULL;
    dmq_h5 *file = NULL;
    dmq_json *log = NULL, *entry;

    DMQ_TRY(path_of(&path, job, unit->index, ""));
    DMQ_TRY(open_own(&file, job, path, "dmq-block"));
    if (!file)
        goto done;
    DMQ_TRY(dmq_h5_read_text(&text, file, "log"));
    DMQ_TRY(dmq_json_parse(&log, text, strlen(text), path));
    DMQ_TRY(dmq_json_add_object(&entry, list));
    DMQ_TRY(dmq_json_set_text(entry, "block", unit->name));
    for (void *m = dmq_json_first(log); m; m = dmq_json_next(log, m))
        DMQ_TRY(dmq_json_set_copy(entry, dmq_json_member_key(m), dmq_json_member_value(m)));
done:
    dmq_json_destroy(log);
    dmq_h5_close(file);
    dmq_free(text);
    dmq_free(path);
    return st;
}

dmq_status dmq_block_files_finish(const dmq_job *job, const dmq_model *model)
{
    dmq_status st = DMQ_OK;
    char *path = NULL;
    dmq_json *root = NULL, *list;

    DMQ_TRY(dmq_folder_file(&path, job->folder, "blocks.json"));
    DMQ_TRY(dmq_json_object(&root));
    DMQ_TRY(dmq_json_set_text(root, "format", "dmq-blocks"));
    DMQ_TRY(dmq_json_set_array(&list, root, "blocks"));
    for (int i = 0; i < model->n_units; i++)
        DMQ_TRY(add_block(list, job, &model->unit[i]));
    DMQ_TRY(dmq_json_save(path, root));
done:
    dmq_json_destroy(root);
    dmq_free(path);
    return st;
}
