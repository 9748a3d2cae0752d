#include "eval/feature_set.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/path.h"
#include "base/progress.h"
#include "base/signal.h"
#include "io/file.h"
#include "io/h5.h"
#include "io/npz.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Images between two looks at whether a signal came, at first: more where they take no time, to keep all lanes busy. */
enum { STEP = 64 };
static const double short_seconds = 2;

static const char *const kinds[DMQ_FEATURE_KINDS] = { "pool", "spatial", "logits" };

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ------------------------------------------------------------------ images of a piece */

typedef struct piece {
    int64_t first;
    int n;
    uint8_t *images;
    int *label; /* NULL: the set has none */
    char hash[DMQ_HASH_TEXT];
} piece;

static void piece_release(piece *p)
{
    dmq_free(p->images);
    dmq_free(p->label);
    memset(p, 0, sizeof *p);
}

static dmq_status piece_read(piece *p, const dmq_image_set *set, int64_t first, int64_t end)
{
    size_t per = (size_t)set->h * (size_t)set->w * (size_t)set->c;
    dmq_status st = DMQ_OK;

    piece_release(p);
    p->first = first;
    p->n = (int)least(DMQ_FEATURE_PIECE, end - first);
    DMQ_TRY(dmq_alloc((void **)&p->images, (size_t)p->n * per, 1));
    if (set->has_labels)
        DMQ_TRY(dmq_alloc((void **)&p->label, (size_t)p->n, sizeof *p->label));
    DMQ_TRY(dmq_image_set_read(p->images, p->label, set, first, p->n));
    DMQ_TRY(dmq_hash_memory(p->hash, p->images, (size_t)p->n * per));
done:
    return st;
}

/* The hash of a set: of its size and of the hashes of its pieces. */
static dmq_status hash_begin(dmq_hash **out, const dmq_image_set *set, int64_t n)
{
    char text[96];
    dmq_hash *hash = NULL;
    dmq_status st = DMQ_OK;

    (void)snprintf(text, sizeof text, "%" PRId64 " images %d %d %d\n", n, set->h, set->w, set->c);
    DMQ_TRY(dmq_hash_create(&hash));
    DMQ_TRY(dmq_hash_add(hash, text, strlen(text)));
    *out = hash;
    hash = NULL;
done:
    dmq_hash_destroy(hash);
    return st;
}

static dmq_status stopped(void)
{
    return dmq_fail(DMQ_ESTOP, "stopped while making features");
}

dmq_status dmq_image_set_hash(char out[DMQ_HASH_TEXT], const dmq_image_set *images, int64_t n)
{
    piece p = { 0 };
    dmq_hash *hash = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(hash_begin(&hash, images, n));
    for (int64_t i = 0; i < n; i += DMQ_FEATURE_PIECE) {
        if (dmq_stop_requested()) {
            st = stopped();
            goto done;
        }
        DMQ_TRY(piece_read(&p, images, i, n));
        DMQ_TRY(dmq_hash_add(hash, p.hash, DMQ_HASH_TEXT - 1));
    }
    DMQ_TRY(dmq_hash_text(out, hash));
done:
    piece_release(&p);
    dmq_hash_destroy(hash);
    return st;
}

/* ------------------------------------------------------------------ files of pieces */

static dmq_status piece_path(char **out, const char *folder, const char *name, int64_t first)
{
    char *file = NULL;
    size_t room = strlen(name) + 32;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&file, room, 1));
    (void)snprintf(file, room, "%s-%08" PRId64 ".h5", name, first);
    DMQ_TRY(dmq_path_join(out, folder, file));
done:
    dmq_free(file);
    return st;
}

static dmq_status attr_is(int *same, dmq_h5 *file, const char *name, const char *text)
{
    char *have = NULL;
    dmq_status st = dmq_h5_attr_text(&have, file, "/", name);

    if (st == DMQ_OK && strcmp(have, text) != 0)
        *same = 0;
    dmq_free(have);
    return st;
}

static dmq_status look_into(int *same, const dmq_feature_set *set, const char *path, const piece *p)
{
    dmq_h5 *file = NULL;
    dmq_h5_info info;
    dmq_status st = DMQ_OK;

    *same = 1;
    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_READ));
    DMQ_TRY(dmq_h5_format_check(file, "dmq-features", 1));
    DMQ_TRY(attr_is(same, file, "extractor", set->extractor));
    DMQ_TRY(attr_is(same, file, "images_sha256", p->hash));
    for (int k = 0; k < DMQ_FEATURE_KINDS && *same; k++) {
        if (set->width[k] == 0)
            continue;
        *same = dmq_h5_has(file, kinds[k]);
        if (!*same)
            break;
        DMQ_TRY(dmq_h5_shape(&info, file, kinds[k]));
        *same = info.rank == 2 && info.dims[0] == p->n && info.dims[1] == set->width[k];
    }
done:
    dmq_h5_close(file);
    return st;
}

/* Whether the file holds what would be made; one that is anything else, or damaged, is made again. */
static dmq_status look(int *done, const dmq_feature_set *set, const char *path, const piece *p)
{
    dmq_status st;

    *done = 0;
    if (!dmq_file_exists(path))
        return DMQ_OK;
    st = look_into(done, set, path, p);
    if (st != DMQ_OK)
        *done = 0;
    return st == DMQ_ENOMEM ? st : DMQ_OK;
}

static dmq_status save(const char *path, const dmq_feature_set *set, const piece *p,
                       float *const rows[DMQ_FEATURE_KINDS])
{
    dmq_h5 *file = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_WRITE));
    DMQ_TRY(dmq_h5_format_set(file, "dmq-features", 1));
    DMQ_TRY(dmq_h5_attr_set_text(file, "/", "extractor", set->extractor));
    DMQ_TRY(dmq_h5_attr_set_text(file, "/", "images_sha256", p->hash));
    DMQ_TRY(dmq_h5_attr_set_i64(file, "/", "first", p->first));
    for (int k = 0; k < DMQ_FEATURE_KINDS; k++) {
        if (set->width[k] > 0)
            DMQ_TRY(dmq_h5_write_f32(file, kinds[k], DMQ_DIMS(p->n, set->width[k]), rows[k]));
    }
    DMQ_TRY(dmq_h5_commit(file));
done:
    dmq_h5_close(file);
    return st;
}

/* ------------------------------------------------------------------ making */

typedef struct making {
    const dmq_feature_job *job;
    dmq_feature_set *set;
    dmq_hash *hash;
    float *rows[DMQ_FEATURE_KINDS]; /* of the piece at hand, or of all: in memory */
    int step;
    int missing;
    int64_t first_missing;
} making;

static dmq_status check_finite(const dmq_feature_set *set, const float *x, size_t count, int width,
                               int64_t first, dmq_feature_kind kind)
{
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(x[i])) {
            return dmq_fail(DMQ_EDATA, "features: %s of image %" PRId64 " is not finite (%s)",
                            kinds[kind], first + (int64_t)(i / (size_t)width), set->extractor);
        }
    }
    return DMQ_OK;
}

/* Features of a piece behind the pointers of to. */
static dmq_status extract(making *m, float *const to[DMQ_FEATURE_KINDS], const piece *p)
{
    const dmq_image_set *im = m->job->images;
    size_t per = (size_t)im->h * (size_t)im->w * (size_t)im->c;
    dmq_status st = DMQ_OK;

    for (int i = 0, n; i < p->n; i += n) {
        float *at[DMQ_FEATURE_KINDS];
        double start = dmq_clock_seconds();

        n = p->n - i < m->step ? p->n - i : m->step;
        if (dmq_stop_requested()) {
            st = stopped();
            goto done;
        }
        for (int k = 0; k < DMQ_FEATURE_KINDS; k++)
            at[k] = to[k] ? to[k] + (size_t)i * (size_t)m->set->width[k] : NULL;
        DMQ_TRY(dmq_extractor_run(m->job->extractor, at[0], at[1], at[2],
                                  p->images + (size_t)i * per, n, im->h, im->w));
        if (m->job->progress)
            dmq_progress_add(n, "");
        if (dmq_clock_seconds() - start < short_seconds && m->step < DMQ_FEATURE_PIECE)
            m->step *= 2;
    }
    for (int k = 0; k < DMQ_FEATURE_KINDS; k++) {
        if (to[k]) {
            DMQ_TRY(check_finite(m->set, to[k], (size_t)p->n * (size_t)m->set->width[k],
                                 m->set->width[k], p->first, (dmq_feature_kind)k));
        }
    }
done:
    return st;
}

/* Room for n rows of each kind. */
static dmq_status rows_create(float *rows[DMQ_FEATURE_KINDS], const dmq_feature_set *set, int64_t n)
{
    dmq_status st = DMQ_OK;

    for (int k = 0; k < DMQ_FEATURE_KINDS; k++) {
        if (set->width[k] > 0)
            DMQ_TRY(dmq_alloc((void **)&rows[k], (size_t)n * (size_t)set->width[k], sizeof(float)));
    }
done:
    return st;
}

/* Whose turn it is: with shards, every n-th piece. */
static int mine(const dmq_feature_job *job, int64_t first)
{
    int64_t i = first / DMQ_FEATURE_PIECE;

    return !job->merge && (job->n_shards == 0 || i % job->n_shards == job->shard - 1);
}

static dmq_status make_piece(making *m, const piece *p)
{
    float *to[DMQ_FEATURE_KINDS] = { NULL };
    char *path = NULL;
    int done;
    dmq_status st = DMQ_OK;

    if (!m->set->folder) {
        for (int k = 0; k < DMQ_FEATURE_KINDS; k++) {
            if (m->set->rows[k])
                to[k] = m->set->rows[k] + (size_t)p->first * (size_t)m->set->width[k];
        }
        return extract(m, to, p);
    }
    DMQ_TRY(piece_path(&path, m->set->folder, m->set->name, p->first));
    DMQ_TRY(look(&done, m->set, path, p));
    if (done) {
        if (m->job->progress && mine(m->job, p->first))
            dmq_progress_add(p->n, "");
    } else if (mine(m->job, p->first)) {
        DMQ_TRY(extract(m, m->rows, p));
        DMQ_TRY(save(path, m->set, p, m->rows));
    } else if (m->missing++ == 0) {
        m->first_missing = p->first;
    }
done:
    dmq_free(path);
    return st;
}

static int64_t images_of_shard(const dmq_feature_job *job)
{
    int64_t n = 0;

    for (int64_t i = 0; i < job->n; i += DMQ_FEATURE_PIECE)
        n += mine(job, i) ? least(DMQ_FEATURE_PIECE, job->n - i) : 0;
    return n;
}

static dmq_status make_pieces(making *m)
{
    const dmq_feature_job *job = m->job;
    int64_t total = images_of_shard(job);
    piece p = { 0 };
    dmq_status st = DMQ_OK;

    if (job->progress && total > 0)
        dmq_progress_begin(job->progress, (double)total, 0, "images");
    for (int64_t i = 0; i < job->n; i += DMQ_FEATURE_PIECE) {
        if (dmq_stop_requested()) {
            st = stopped();
            goto done;
        }
        DMQ_TRY(piece_read(&p, job->images, i, job->n));
        DMQ_TRY(dmq_hash_add(m->hash, p.hash, DMQ_HASH_TEXT - 1));
        if (p.label)
            memcpy(m->set->label + i, p.label, (size_t)p.n * sizeof *p.label);
        DMQ_TRY(make_piece(m, &p));
    }
    if (job->progress && total > 0)
        dmq_progress_end();
    DMQ_TRY(dmq_hash_text(m->set->images, m->hash));
done:
    piece_release(&p);
    return st;
}

static dmq_status set_create(dmq_feature_set **out, const dmq_feature_job *job)
{
    const dmq_extractor *x = job->extractor;
    dmq_feature_set *set = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_alloc((void **)&set, 1, sizeof *set));
    set->n = job->n;
    set->width[DMQ_FEATURE_POOL] = x->pool;
    set->width[DMQ_FEATURE_SPATIAL] = job->spatial ? x->spatial : 0;
    set->width[DMQ_FEATURE_LOGITS] = job->logits ? x->classes : 0;
    (void)snprintf(set->extractor, sizeof set->extractor, "%s", x->id);
    if (job->images->has_labels)
        DMQ_TRY(dmq_alloc((void **)&set->label, (size_t)job->n, sizeof *set->label));
    if (job->folder) {
        DMQ_TRY(dmq_strdup(&set->folder, job->folder));
        DMQ_TRY(dmq_strdup(&set->name, job->name));
        DMQ_TRY(dmq_folder_create(job->folder));
    } else {
        DMQ_TRY(rows_create(set->rows, set, job->n));
    }
    *out = set;
    set = NULL;
done:
    dmq_feature_set_destroy(set);
    return st;
}

/* A piece is kept as numbers of 4 bytes, and all pieces are there at once. */
static dmq_status check_disk(const dmq_feature_set *set)
{
    uint64_t bytes = 0;

    for (int k = 0; k < DMQ_FEATURE_KINDS; k++)
        bytes += (uint64_t)set->n * (uint64_t)set->width[k] * sizeof(float);
    return dmq_disk_check(set->folder, bytes);
}

dmq_status dmq_feature_set_make(dmq_feature_set **out, int *missing, const dmq_feature_job *job)
{
    making m = { .job = job, .step = STEP };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_extractor_takes(job->extractor, job->images->h, job->images->w, job->images->c));
    DMQ_TRY(set_create(&m.set, job));
    DMQ_TRY(hash_begin(&m.hash, job->images, job->n));
    if (m.set->folder) {
        DMQ_TRY(check_disk(m.set));
        DMQ_TRY(rows_create(m.rows, m.set, DMQ_FEATURE_PIECE));
    }
    DMQ_TRY(make_pieces(&m));
    if (m.missing > 0 && job->merge) {
        st = dmq_fail(DMQ_ENOINPUT,
                      "%s: features of %d pieces of %d images are missing, the first is that of "
                      "image %" PRId64,
                      job->folder, m.missing, DMQ_FEATURE_PIECE, m.first_missing);
        st = dmq_fail_note(st, "  hint: run the shards that are left, for the same images with the "
                               "same evaluate.features");
        goto done;
    }
    *missing = m.missing;
    if (m.missing == 0) {
        *out = m.set;
        m.set = NULL;
    }
done:
    for (int k = 0; k < DMQ_FEATURE_KINDS; k++)
        dmq_free(m.rows[k]);
    dmq_hash_destroy(m.hash);
    dmq_feature_set_destroy(m.set);
    return st;
}

/* ------------------------------------------------------------------ ready ones */

static int npz_has(const dmq_npz *file, const char *name)
{
    for (int i = 0; i < dmq_npz_count(file); i++) {
        if (strcmp(dmq_npz_name(file, i), name) == 0)
            return 1;
    }
    return 0;
}

static dmq_status measure_ready(dmq_feature_set *set, dmq_npz *file, const char *path)
{
    dmq_npz_info info;
    dmq_status st = DMQ_OK;

    if (!npz_has(file, kinds[DMQ_FEATURE_POOL])) {
        st = dmq_fail(DMQ_EDATA, "%s holds no array \"pool\"", path);
        st = dmq_fail_note(st, "  hint: ready features are pool (n, F), and if wanted spatial (n, "
                               "S), logits (n, classes)");
        goto done;
    }
    for (int k = 0; k < DMQ_FEATURE_KINDS; k++) {
        if (!npz_has(file, kinds[k]))
            continue;
        DMQ_TRY(dmq_npz_shape(&info, file, kinds[k]));
        if (info.rank != 2 || info.dims[0] < 2 || info.dims[1] < 1 || info.dims[1] > 1 << 20 ||
            (k > 0 && info.dims[0] != set->n)) {
            st = dmq_fail(DMQ_ESHAPE, "%s: %s must be (n, width) with one row an image", path,
                          kinds[k]);
            if (k > 0 && info.rank == 2) {
                st = dmq_fail_note(st, "  pool has %" PRId64 " rows, %s has %" PRId64, set->n,
                                   kinds[k], info.dims[0]);
            }
            goto done;
        }
        set->n = info.dims[0];
        set->width[k] = (int)info.dims[1];
    }
done:
    return st;
}

dmq_status dmq_feature_set_ready(dmq_feature_set **out, const char *path)
{
    dmq_feature_set *set = NULL;
    dmq_npz *file = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_npz_open(&file, path));
    DMQ_TRY(dmq_alloc((void **)&set, 1, sizeof *set));
    DMQ_TRY(dmq_strdup(&set->ready, path));
    DMQ_TRY(measure_ready(set, file, path));
    *out = set;
    set = NULL;
done:
    dmq_npz_close(file);
    dmq_feature_set_destroy(set);
    return st;
}

/* ------------------------------------------------------------------ rows */

static dmq_status load_ready(float *rows, const dmq_feature_set *set, dmq_feature_kind kind)
{
    dmq_npz *file = NULL;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_npz_open(&file, set->ready));
    DMQ_TRY(dmq_npz_read_f32(rows, file, kinds[kind], DMQ_DIMS(set->n, set->width[kind])));
done:
    dmq_npz_close(file);
    return st;
}

static dmq_status load_pieces(float *rows, const dmq_feature_set *set, dmq_feature_kind kind)
{
    size_t width = (size_t)set->width[kind];
    dmq_h5 *file = NULL;
    char *path = NULL;
    dmq_status st = DMQ_OK;

    for (int64_t i = 0; i < set->n; i += DMQ_FEATURE_PIECE) {
        DMQ_TRY(piece_path(&path, set->folder, set->name, i));
        DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_READ));
        DMQ_TRY(dmq_h5_read_f32(rows + (size_t)i * width, file, kinds[kind],
                                DMQ_DIMS(least(DMQ_FEATURE_PIECE, set->n - i), (int64_t)width)));
        dmq_h5_close(file);
        file = NULL;
        dmq_free(path);
        path = NULL;
    }
done:
    dmq_h5_close(file);
    dmq_free(path);
    return st;
}

dmq_status dmq_feature_set_rows(const float **out, dmq_feature_set *set, dmq_feature_kind kind)
{
    float *rows = NULL;
    dmq_status st = DMQ_OK;

    if (!set->rows[kind]) {
        DMQ_TRY(dmq_alloc((void **)&rows, (size_t)set->n * (size_t)set->width[kind], sizeof *rows));
        DMQ_TRY(set->ready ? load_ready(rows, set, kind) : load_pieces(rows, set, kind));
        set->rows[kind] = rows;
        rows = NULL;
    }
    *out = set->rows[kind];
done:
    dmq_free(rows);
    return st;
}

void dmq_feature_set_drop(dmq_feature_set *set, dmq_feature_kind kind)
{
    if (!set->folder && !set->ready)
        return;
    dmq_free(set->rows[kind]);
    set->rows[kind] = NULL;
}

dmq_status dmq_feature_set_remove(const char *folder, const char *name, int64_t n)
{
    char *path = NULL;
    dmq_status st = DMQ_OK;

    for (int64_t i = 0; i < n; i += DMQ_FEATURE_PIECE) {
        DMQ_TRY(piece_path(&path, folder, name, i));
        DMQ_TRY(dmq_file_remove(path));
        dmq_free(path);
        path = NULL;
    }
done:
    dmq_free(path);
    return st;
}

void dmq_feature_set_destroy(dmq_feature_set *set)
{
    if (!set)
        return;
    for (int k = 0; k < DMQ_FEATURE_KINDS; k++)
        dmq_free(set->rows[k]);
    dmq_free(set->label);
    dmq_free(set->folder);
    dmq_free(set->name);
    dmq_free(set->ready);
    dmq_free(set);
}
