/* The reference of a judge: found by its name, made of images where it is one of images, held against the network. */
#include "run/judge_inner.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "base/text.h"
#include "eval/moments.h"
#include "io/file.h"
#include "run/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Pieces of the reference's features, beside those of the images. */
#define PIECES "features-reference"

/* ------------------------------------------------------------------ what the reference is */

/* A name without anything of a path: one of a data set, right or wrong. */
static int is_plain(const char *name)
{
    return !strpbrk(name, "/:.") && !dmq_file_exists(name) && !dmq_folder_exists(name);
}

dmq_status dmq_judge_images(dmq_image_set **out, const dmq_config *c, const char *place, int size)
{
    int asked = dmq_config_int(c, "evaluate.prepare_size");
    dmq_image_set_config how = { .prepare = (dmq_prepare)dmq_config_enum(c, "evaluate.prepare"),
                                 .size = asked > 0 ? asked : size,
                                 .levels = (dmq_levels)dmq_config_enum(c, "sample.levels") };
    char *path = NULL;
    dmq_status st = DMQ_OK;

    if (how.prepare != DMQ_PREPARE_NONE && how.size == 0) {
        return dmq_config_refuse(c, "evaluate.prepare",
                                 "to which size? evaluate.prepare_size says it");
    }
    if (is_plain(place)) {
        how.count = dmq_config_int(c, "evaluate.reference_count");
        return dmq_image_set_open(out, place, &how);
    }
    DMQ_TRY(dmq_path_resolve(&path, place));
    DMQ_TRY(dmq_image_set_open(out, path, &how));
done:
    dmq_free(path);
    return st;
}

dmq_status dmq_judge_find_reference(dmq_image_set **set, char **path, const dmq_judge_config *at)
{
    const char *name = dmq_config_text(at->config, "evaluate.reference");
    int statistics = 0;
    char *where = NULL;
    dmq_status st = DMQ_OK;

    if (!is_plain(name)) {
        DMQ_TRY(dmq_path_resolve(&where, name));
        if (!dmq_file_exists(where) && !dmq_folder_exists(where)) {
            (void)dmq_config_refuse(at->config, "evaluate.reference",
                                    "there is no such file or folder");
            st =
                dmq_config_hints(at->config, "evaluate.source", DMQ_ENOINPUT,
                                 "data/fetch.sh tells where published references are; dmq evaluate "
                                 "--make-reference makes one of images");
            goto done;
        }
        if (!dmq_folder_exists(where))
            st = dmq_reference_is(&statistics, where);
    }
    if (st == DMQ_OK && !statistics)
        st = dmq_judge_images(set, at->config, name, at->h);
    if (st != DMQ_OK) {
        (void)dmq_origin_note(st, dmq_config_origin(at->config, "evaluate.reference"));
        goto done;
    }
    if (*set && at->h > 0 && ((*set)->h != at->h || (*set)->w != at->w || (*set)->c != at->c)) {
        st = dmq_config_refuse(at->config, "evaluate.reference",
                               "its images are %d x %d x %d, those to be scored %d x %d x %d",
                               (*set)->h, (*set)->w, (*set)->c, at->h, at->w, at->c);
        st = dmq_fail_note(st, "  hint: evaluate.prepare crops and shrinks larger ones");
        goto done;
    }
    if (statistics) {
        *path = where;
        where = NULL;
    }
done:
    if (st != DMQ_OK) {
        dmq_image_set_close(*set);
        *set = NULL;
    }
    dmq_free(where);
    return st;
}

/* ------------------------------------------------------------------ statistics of images */

/* "lsun/church.npz" and its hash: "church-3fa0c1d2e4b5" */
static void name_of_place(char *out, size_t size, const char *place, const char *hash)
{
    const char *name = dmq_path_name(place);
    size_t n = 0;

    for (; *name && n + 1 < size && n < 34; name++)
        out[n++] = (char)(strchr(" /,", *name) ? '_' : *name);
    out[n] = '\0';
    if (dmq_path_has_suffix(out, ".npz") || dmq_path_has_suffix(out, ".h5"))
        out[n -= dmq_path_has_suffix(out, ".h5") ? 3 : 4] = '\0';
    (void)snprintf(out + n, size - n, "-%.12s", hash);
}

static void name_of_set(char *out, size_t size, const dmq_image_set *set, int64_t n,
                        const char *place, const char *hash)
{
    if (strcmp(set->kind, "data set") == 0) {
        (void)snprintf(out, size, "%s-heldout-%" PRId64, place, n);
    } else if (strcmp(set->kind, "cifar10-binary") == 0 && !strpbrk(set->text, " ,")) {
        (void)snprintf(out, size, "%.*s", (int)size - 1, set->text);
    } else {
        name_of_place(out, size, place, hash);
    }
}

static dmq_status statistics(double **mean, double **cov, dmq_feature_set *set,
                             dmq_feature_kind kind)
{
    size_t d = (size_t)set->width[kind];
    const float *rows;
    dmq_moments *m = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_feature_set_rows(&rows, set, kind));
    DMQ_TRY(dmq_moments_create(&m, (int)d));
    DMQ_TRY(dmq_moments_add(m, rows, (size_t)set->n));
    DMQ_TRY(dmq_alloc((void **)mean, d, sizeof **mean));
    DMQ_TRY(dmq_alloc((void **)cov, d * d, sizeof **cov));
    DMQ_TRY(dmq_moments_result(m, *mean, *cov));
done:
    dmq_moments_destroy(m);
    return st;
}

static dmq_status keep_rows(dmq_reference *r, dmq_feature_set *set, int64_t rows)
{
    const float *all;
    dmq_status st = DMQ_OK;

    r->n_rows = rows < set->n ? rows : set->n;
    DMQ_TRY(dmq_feature_set_rows(&all, set, DMQ_FEATURE_POOL));
    DMQ_TRY(dmq_alloc((void **)&r->rows, (size_t)r->n_rows * (size_t)r->d, sizeof *r->rows));
    memcpy(r->rows, all, (size_t)r->n_rows * (size_t)r->d * sizeof *r->rows);
done:
    return st;
}

dmq_status dmq_judge_reference(dmq_reference **out, int *missing, const dmq_feature_job *job,
                               const char *name, const char *place, int64_t rows)
{
    dmq_feature_job all = *job;
    dmq_feature_set *set = NULL;
    dmq_reference *r = NULL;
    dmq_status st = DMQ_OK;

    all.spatial = job->extractor->spatial > 0;
    DMQ_TRY(dmq_feature_set_make(&set, missing, &all));
    if (*missing > 0)
        goto done;
    DMQ_TRY(dmq_alloc((void **)&r, 1, sizeof *r));
    r->n = set->n;
    (void)snprintf(r->extractor, sizeof r->extractor, "%s", set->extractor);
    if (name) {
        (void)snprintf(r->name, sizeof r->name, "%s", name);
    } else {
        name_of_set(r->name, sizeof r->name, job->images, set->n, place, set->images);
    }
    r->d = set->width[DMQ_FEATURE_POOL];
    DMQ_TRY(statistics(&r->mean, &r->cov, set, DMQ_FEATURE_POOL));
    if (rows > 0)
        DMQ_TRY(keep_rows(r, set, rows));
    dmq_feature_set_drop(set, DMQ_FEATURE_POOL);
    if (all.spatial) {
        r->d_spatial = set->width[DMQ_FEATURE_SPATIAL];
        DMQ_TRY(statistics(&r->mean_spatial, &r->cov_spatial, set, DMQ_FEATURE_SPATIAL));
    }
    *out = r;
    r = NULL;
done:
    dmq_reference_destroy(r);
    dmq_feature_set_destroy(set);
    return st;
}

/* ------------------------------------------------------------------ the reference of a judge */

typedef struct making {
    dmq_judge *judge;
    const dmq_image_set *images;
    const char *name; /* NULL: by the set */
} making;

static dmq_status make_of_images(dmq_reference **out, const making *m)
{
    const dmq_judge_config *at = &m->judge->at;
    dmq_feature_job job = { .extractor = m->judge->extractor,
                            .images = m->images,
                            .n = m->images->n,
                            .folder = at->folder,
                            .name = PIECES,
                            .shard = at->shard,
                            .n_shards = at->n_shards,
                            .merge = at->merge,
                            .progress = "reference" };

    return dmq_judge_reference(out, &m->judge->missing, &job, m->name,
                               dmq_config_text(at->config, "evaluate.reference"),
                               dmq_config_int(at->config, "evaluate.reference_rows"));
}

static dmq_status make_file(const char *path, void *context)
{
    const making *m = context;
    dmq_reference *r = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(make_of_images(&r, m));
    if (r)
        DMQ_TRY(dmq_reference_save(path, r));
done:
    dmq_reference_destroy(r);
    return st;
}

/* What the statistics are made of: another network, device or image gives others. */
static dmq_status key_of(char out[DMQ_HASH_TEXT], const making *m)
{
    const dmq_judge_config *at = &m->judge->at;
    const char *device = dmq_lanes_backend(at->lanes)->name;
    char images[DMQ_HASH_TEXT], *all = NULL;
    dmq_text t = { 0 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_image_set_hash(images, m->images, m->images->n));
    dmq_text_add(&t, "reference 1\nextractor %s\nimages %s\nname %s %s\nrows %d\n",
                 m->judge->extractor->id, images, m->name ? m->name : "",
                 dmq_config_text(at->config, "evaluate.reference"),
                 dmq_config_int(at->config, "evaluate.reference_rows"));
    dmq_text_add(&t, "device %s\n", strcmp(device, "check") == 0 ? "ref" : device);
    DMQ_TRY(dmq_text_take(&all, &t));
    DMQ_TRY(dmq_hash_memory(out, all, strlen(all)));
done:
    dmq_text_release(&t);
    dmq_free(all);
    return st;
}

/* From the store if it is there; a shard makes its part beside it, so that shards do not wait for each other. */
static dmq_status take_of_images(const making *m)
{
    dmq_judge *j = m->judge;
    char key[DMQ_HASH_TEXT], *path = NULL;
    dmq_status st = DMQ_OK;

    j->pieces =
        m->images->n; /* also where the store has it: of a start that made it and was killed then */
    if (!j->at.store)
        return make_of_images(&j->reference, m);
    DMQ_TRY(key_of(key, m));
    DMQ_TRY(dmq_store_path(&path, j->at.store, key, "reference.h5"));
    if (j->at.n_shards > 0 && !dmq_file_exists(path)) {
        DMQ_TRY(make_of_images(&j->reference, m));
        goto done;
    }
    DMQ_TRY(dmq_store_take(NULL, j->at.store, key, "reference.h5", make_file, (void *)m));
    DMQ_TRY(dmq_reference_load(&j->reference, path));
done:
    dmq_free(path);
    return st;
}

/* ------------------------------------------------------------------ statistics of a file */

static dmq_status refuse_network(const dmq_judge *j, const char *path, const char *theirs)
{
    const dmq_config *c = j->at.config;
    dmq_status st =
        dmq_fail(DMQ_EDATA, "reference %s holds features of %s, the images are scored with %s",
                 path, theirs, j->id);

    (void)dmq_origin_note(st, dmq_config_origin(c, "evaluate.reference"));
    return dmq_fail_note(
        st,
        "  hint: name that network by evaluate.features and evaluate.resize, or make the reference "
        "anew: dmq evaluate --make-reference");
}

/* Whose features a file holds: it says so, or evaluate.reference_features does. */
static dmq_status check_network(const dmq_judge *j, const dmq_reference *r, const char *path)
{
    const char *stated = dmq_config_text(j->at.config, "evaluate.reference_features");
    const char *theirs = *r->extractor ? r->extractor : stated;

    if (*r->extractor && *stated && strcmp(stated, r->extractor) != 0) {
        return dmq_config_refuse(j->at.config, "evaluate.reference_features", "%s itself says %s",
                                 path, r->extractor);
    }
    if (*theirs && strcmp(theirs, j->id) != 0)
        return refuse_network(j, path, theirs);
    if (j->extractor && r->d != j->extractor->pool) {
        return dmq_fail(DMQ_EDATA, "reference %s is of features of %d numbers, %s has %d", path,
                        r->d, j->id, j->extractor->pool);
    }
    return DMQ_OK;
}

/* Statistics that do not tell their network have a name with the file's hash. */
static void name_file(dmq_judge *j, const char *path)
{
    enum { STEM = 40 }; /* leaves room for hash and "-unstated" */
    int stated = *dmq_config_text(j->at.config, "evaluate.reference_features") != '\0';
    dmq_reference *r = j->reference;
    size_t n = strlen(r->name);

    if (*r->extractor)
        return;
    if (n > STEM)
        n = STEM;
    (void)snprintf(r->name + n, sizeof r->name - n, "-%.12s%s", r->hash, stated ? "" : "-unstated");
    if (stated)
        return;
    dmq_log_warn(
        "reference-unstated",
        "%s does not tell which network and resize made it; evaluate.reference_features says it "
        "(the images' own: %s)",
        path, j->id);
}

dmq_status dmq_judge_check_statistics(const dmq_judge *j, const dmq_score_config *how,
                                      const char *path)
{
    dmq_reference *r = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_reference_load(&r, path));
    DMQ_TRY(check_network(j, r, path));
    if (r->n_rows == 0 && j->extractor) /* they will be made */
        r->n_rows = r->n_images;
    DMQ_TRY(dmq_metrics_check_reference(how, r));
done:
    dmq_reference_destroy(r);
    return st;
}

/* An ADM pack has the images of its rows, but not the rows. */
static dmq_status add_rows(dmq_judge *j, const char *path)
{
    const dmq_image_set_config how = { .prepare = DMQ_PREPARE_NONE };
    dmq_reference *of_images = NULL, *r = j->reference;
    dmq_image_set *set = NULL;
    making m = { .judge = j, .name = r->name };
    dmq_status st = DMQ_OK;

    if (!dmq_metrics_need_rows(j->metrics) || r->n_rows > 0 || r->n_images == 0 || !j->extractor)
        return DMQ_OK;
    DMQ_TRY(dmq_image_set_open(&set, path, &how));
    m.images = set;
    j->reference = NULL;
    st = take_of_images(&m);
    of_images = j->reference;
    j->reference = r;
    DMQ_TRY(st);
    if (of_images) {
        r->rows = of_images->rows;
        r->n_rows = of_images->n_rows;
        of_images->rows = NULL;
    }
done:
    dmq_reference_destroy(of_images);
    dmq_image_set_close(set);
    return st;
}

dmq_status dmq_judge_take_reference(dmq_judge *j)
{
    dmq_image_set *set = NULL;
    making m = { .judge = j };
    char *path = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_judge_find_reference(&set, &path, &j->at));
    if (set && !j->extractor) {
        st = dmq_config_refuse(
            j->at.config, "evaluate.reference",
            "these are images: ready features can be compared with statistics alone");
        st = dmq_fail_note(st, "  hint: dmq evaluate --make-reference makes them of the images");
    } else if (set) {
        m.images = set;
        st = take_of_images(&m);
    } else {
        DMQ_TRY(dmq_reference_load(&j->reference, path));
        DMQ_TRY(check_network(j, j->reference, path));
        name_file(j, path);
        st = add_rows(j, path);
    }
done:
    dmq_image_set_close(set);
    dmq_free(path);
    return st;
}

dmq_status dmq_judge_clean(const dmq_judge *j)
{
    return j->at.folder && j->pieces > 0 ? dmq_feature_set_remove(j->at.folder, PIECES, j->pieces)
                                         : DMQ_OK;
}
