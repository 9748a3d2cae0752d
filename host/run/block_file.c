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

/* Open a file of this stage's key; *file stays NULL when there is none. A damaged one counts as none: a
   kill cannot leave one behind (files appear complete), a disk can, and the unit is then made again. */
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
    if (st == DMQ_EDATA)
        dmq_log_warn("checkpoint", "%s; it is made again", dmq_message());
    if (st == DMQ_EDATA || (st == DMQ_OK && strcmp(key, job->key) != 0)) {
        dmq_h5_close(*file);
        *file = NULL;
        st = DMQ_OK;
    }
    dmq_free(key);
    return st;
}

dmq_status dmq_block_file_load(const dmq_job *job, dmq_qmodel *q, int unit, int *done)
{
    const dmq_unit *u = &q->model->unit[unit];
    dmq_status st = DMQ_OK;
    char *path = NULL;
    dmq_h5 *file = NULL;
    int32_t *codes = NULL;

    *done = 0;
    DMQ_TRY(path_of(&path, job, unit, ""));
    DMQ_TRY(open_own(&file, job, path, "dmq-block"));
    if (!file)
        goto done;
    for (int i = 0; i < u->n_layers; i++) {
        dmq_qlayer *l = &q->layer[u->layer[i]];
        size_t count = (size_t)l->rows * (size_t)l->per;

        if (l->weight_bits == 0)
            continue;
        dmq_free(codes);
        codes = NULL;
        DMQ_TRY(dmq_alloc((void **)&codes, count, sizeof *codes));
        DMQ_TRY(dmq_h5_read_i32(codes, file, q->model->layer[u->layer[i]].name,
                                DMQ_DIMS(l->rows, l->per)));
        for (size_t j = 0; j < count; j++)
            l->code[j] = (int16_t)codes[j];
        l->learned = 1;
        dmq_qmodel_dequantize(q, u->layer[i]);
    }
    *done = 1;
done:
    dmq_free(codes);
    dmq_h5_close(file);
    dmq_free(path);
    return st;
}

static dmq_status write_log(dmq_h5 *file, const dmq_unit_log *log)
{
    dmq_status st = DMQ_OK;
    dmq_json *json = NULL;
    char *text = NULL;

    DMQ_TRY(dmq_json_object(&json));
    DMQ_TRY(dmq_unit_log_json(json, log, 0));
    DMQ_TRY(dmq_json_dump(&text, json, 0));
    DMQ_TRY(dmq_h5_write_text(file, "log", text));
done:
    dmq_free(text);
    dmq_json_destroy(json);
    return st;
}

dmq_status dmq_block_file_save(const dmq_job *job, const dmq_qmodel *q, const dmq_block *b,
                               const dmq_real *s, int n_s, const dmq_unit_log *log)
{
    dmq_status st = DMQ_OK;
    char *path = NULL, *part = NULL;
    dmq_h5 *file = NULL;
    uint8_t *codes = NULL;

    DMQ_TRY(path_of(&path, job, b->unit, ""));
    DMQ_TRY(path_of(&part, job, b->unit, ".part"));
    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_WRITE));
    DMQ_TRY(dmq_h5_format_set(file, "dmq-block", 1));
    DMQ_TRY(dmq_h5_attr_set_text(file, "/", "key", job->key));
    for (int i = 0; i < b->n_layers; i++) {
        const dmq_qlayer *l = &q->layer[b->layer[i]];
        size_t count = (size_t)l->rows * (size_t)l->per;

        dmq_free(codes);
        codes = NULL;
        DMQ_TRY(dmq_alloc((void **)&codes, count, 1));
        for (size_t j = 0; j < count; j++)
            codes[j] = (uint8_t)l->code[j];
        DMQ_TRY(dmq_h5_write_u8(file, q->model->layer[b->layer[i]].name, DMQ_DIMS(l->rows, l->per),
                                codes));
    }
    if (n_s > 0)
        DMQ_TRY(dmq_h5_write_real(file, "sample_logits", DMQ_DIMS(n_s), s));
    DMQ_TRY(write_log(file, log));
    DMQ_TRY(dmq_h5_commit(file));
    if (dmq_file_exists(part))
        DMQ_TRY(dmq_file_remove(part));
done:
    dmq_free(codes);
    dmq_h5_close(file);
    dmq_free(part);
    dmq_free(path);
    return st;
}

dmq_status dmq_part_save(const dmq_job *job, int unit, const dmq_recon_state *state,
                         const dmq_real *s, int n_s)
{
    int64_t p = (int64_t)state->n_theta;
    dmq_status st = DMQ_OK;
    char *path = NULL;
    dmq_h5 *file = NULL;

    DMQ_TRY(path_of(&path, job, unit, ".part"));
    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_WRITE));
    DMQ_TRY(dmq_h5_format_set(file, "dmq-part", 1));
    DMQ_TRY(dmq_h5_attr_set_text(file, "/", "key", job->key));
    DMQ_TRY(dmq_h5_attr_set_i64(file, "/", "iteration", state->iteration));
    DMQ_TRY(dmq_h5_write_real(file, "alpha", DMQ_DIMS(p), state->alpha));
    DMQ_TRY(dmq_h5_write_real(file, "m", DMQ_DIMS(p), state->m));
    DMQ_TRY(dmq_h5_write_real(file, "v", DMQ_DIMS(p), state->v));
    if (n_s > 0)
        DMQ_TRY(dmq_h5_write_real(file, "sample_logits", DMQ_DIMS(n_s), s));
    DMQ_TRY(dmq_h5_commit(file));
done:
    dmq_h5_close(file);
    dmq_free(path);
    return st;
}

dmq_status dmq_part_load(const dmq_job *job, int unit, dmq_recon_state *state, dmq_real *s, int n_s,
                         int *resumed)
{
    int64_t p = (int64_t)state->n_theta, iteration;
    dmq_status st = DMQ_OK;
    char *path = NULL;
    dmq_h5 *file = NULL;

    *resumed = 0;
    DMQ_TRY(path_of(&path, job, unit, ".part"));
    DMQ_TRY(open_own(&file, job, path, "dmq-part"));
    if (!file)
        goto done;
    DMQ_TRY(dmq_h5_attr_i64(&iteration, file, "/", "iteration"));
    DMQ_TRY(dmq_h5_read_real(state->alpha, file, "alpha", DMQ_DIMS(p)));
    DMQ_TRY(dmq_h5_read_real(state->m, file, "m", DMQ_DIMS(p)));
    DMQ_TRY(dmq_h5_read_real(state->v, file, "v", DMQ_DIMS(p)));
    if (n_s > 0)
        DMQ_TRY(dmq_h5_read_real(s, file, "sample_logits", DMQ_DIMS(n_s)));
    state->iteration = (int)iteration;
    *resumed = 1;
    dmq_log_info("quantize: goes on inside a unit, at iteration %d", state->iteration);
done:
    dmq_h5_close(file);
    dmq_free(path);
    return st;
}

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
    if (log->weighted)
        dmq_log_detail(
            "%s: loss %.3g -> %.3g, held out %.3g -> %.3g; ESS %.3f, cos(mse, gm) %+.2f, "
            "group cosine %.2f -> %.2f",
            unit->name, r->nearest_train, r->final_train, r->nearest_held, r->final_held,
            log->weights.ess, log->weights.cosine_mse_gm, log->cosine_before, log->cosine_after);
    else
        dmq_log_detail("%s: loss %.3g -> %.3g, held out %.3g -> %.3g", unit->name, r->nearest_train,
                       r->final_train, r->nearest_held, r->final_held);
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
