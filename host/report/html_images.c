/* The first images of every run beside those of the full-precision model from the same noise. */
#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "io/file.h"
#include "io/h5.h"
#include "io/png.h"
#include "report/html_inner.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST = 12, LEAST = 4, BUDGET = 24 << 20 }; /* images a strip; pixels of all strips, bytes */

/* A few images in memory: (n, h, w, c). */
typedef struct few {
    float *data;
    int n, h, w, c;
} few;

static void release(few *f)
{
    dmq_free(f->data);
    memset(f, 0, sizeof *f);
}

/* The first images of a file; f stays empty when it is not there: people remove big files. */
static dmq_status load(few *f, const dmq_result *run, const char *name, int most)
{
    char *path = NULL;
    dmq_h5 *file = NULL;
    dmq_h5_info info;
    float *nchw = NULL;
    size_t plane;
    dmq_status st = DMQ_OK;

    memset(f, 0, sizeof *f);
    DMQ_TRY(dmq_path_join(&path, run->path, name));
    if (!dmq_file_exists(path))
        goto done;
    DMQ_TRY(dmq_h5_open(&file, path, DMQ_H5_READ));
    DMQ_TRY(dmq_h5_format_check(file, "dmq-images", 1));
    DMQ_TRY(dmq_h5_shape(&info, file, "images"));
    if (info.rank != 4 || info.count < 1 || (info.dims[1] != 1 && info.dims[1] != 3)) {
        st = dmq_fail(DMQ_ESHAPE, "%s: images must be (N, 1 or 3, H, W)", path);
        goto done;
    }
    f->n = info.dims[0] < most ? (int)info.dims[0] : most;
    f->c = (int)info.dims[1];
    f->h = (int)info.dims[2];
    f->w = (int)info.dims[3];
    plane = (size_t)f->h * (size_t)f->w;
    DMQ_TRY(dmq_alloc((void **)&nchw, (size_t)(f->n * f->c) * plane, sizeof *nchw));
    DMQ_TRY(dmq_alloc((void **)&f->data, (size_t)(f->n * f->c) * plane, sizeof *f->data));
    DMQ_TRY(dmq_h5_read_rows(nchw, file, "images", 0, f->n, DMQ_H5_F32, info.rank, info.dims));
    for (int i = 0; i < f->n; i++) {
        for (int c = 0; c < f->c; c++) {
            for (size_t p = 0; p < plane; p++) {
                f->data[((size_t)i * plane + p) * (size_t)f->c + (size_t)c] =
                    nchw[((size_t)i * (size_t)f->c + (size_t)c) * plane + p];
            }
        }
    }
done:
    dmq_free(nchw);
    dmq_h5_close(file);
    dmq_free(path);
    return st;
}

static int fits(const few *a, const few *b)
{
    return a->n > 0 && a->n == b->n && a->h == b->h && a->w == b->w && a->c == b->c;
}

/* ------------------------------------------------------------------ strips */

static dmq_status image(dmq_text *out, const few *f, int i, const char *alt)
{
    dmq_picture picture = { 0 };
    uint8_t *png = NULL;
    size_t size = 0, per = (size_t)f->h * (size_t)f->w * (size_t)f->c;
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_png_grid(&picture, f->data + (size_t)i * per, 1, f->h, f->w, f->c, 1, 0, 1));
    DMQ_TRY(dmq_png_encode(&png, &size, &picture, NULL, 0));
    dmq_text_add(out, "<img width=\"%d\" height=\"%d\" alt=\"", f->w, f->h);
    dmq_html_text(out, alt);
    dmq_text_add(out, "\" src=\"data:image/png;base64,");
    dmq_text_add_base64(out, png, size);
    dmq_text_add(out, "\">\n");
done:
    dmq_free(png);
    dmq_picture_release(&picture);
    return st;
}

static dmq_status film(dmq_text *out, const few *f, const char *class, const char *what,
                       const char *alt)
{
    dmq_status st = DMQ_OK;

    dmq_text_add(out, "<div class=\"film%s\"><div class=\"what\">", class);
    dmq_html_text(out, what);
    dmq_text_add(out, "</div><div class=\"strip%s\" style=\"--n:%d;--half:%d\">\n",
                 f->w <= 64 ? " pixels" : "", f->n, (f->n + 1) / 2);
    for (int i = 0; i < f->n; i++) {
        char text[192];

        (void)snprintf(text, sizeof text, "%.120s, image %d", alt, i + 1);
        DMQ_TRY(image(out, f, i, text));
    }
    dmq_text_add(out, "</div></div>\n");
done:
    return st;
}

/* q becomes grey + factor (q - fp): grey where they agree. */
static void subtract(few *q, const few *fp, double factor)
{
    size_t count = (size_t)q->n * (size_t)q->h * (size_t)q->w * (size_t)q->c;

    for (size_t i = 0; i < count; i++)
        q->data[i] = (float)(factor * ((double)q->data[i] - (double)fp->data[i]));
}

/* ------------------------------------------------------------------ how many, and how much stronger */

typedef struct plan {
    int n;         /* images a strip */
    double factor; /* of differences, the same everywhere, so that arms can be compared */
} plan;

static int count_images(const dmq_results *all, const few *one)
{
    int strips = 1, n;

    for (int i = 0; i < all->n_arms; i++)
        strips += 2 * all->arm[i].n_runs;
    n = (int)(BUDGET / ((double)strips * one->h * one->w * one->c));
    return n < LEAST ? LEAST : n > MOST ? MOST : n;
}

/* Root mean square of the difference of a run; 0 when there is nothing to compare. */
static dmq_status difference(double *out, const dmq_result *run, int n)
{
    few fp = { 0 }, q = { 0 };
    double sum = 0;
    size_t count;
    dmq_status st = DMQ_OK;

    *out = 0;
    DMQ_TRY(load(&fp, run, "images-fp.h5", n));
    DMQ_TRY(load(&q, run, "images-q.h5", n));
    if (!fits(&fp, &q))
        goto done;
    count = (size_t)q.n * (size_t)q.h * (size_t)q.w * (size_t)q.c;
    for (size_t i = 0; i < count; i++) {
        double d = (double)q.data[i] - (double)fp.data[i];

        sum += d * d / (double)count;
    }
    *out = sqrt(sum);
done:
    release(&fp);
    release(&q);
    return st;
}

/* The largest power of two that leaves the typical run (geometric mean) short of clipping. */
static dmq_status choose(plan *p, const dmq_results *all)
{
    few one = { 0 };
    double sum = 0, rms;
    int n = 0;
    dmq_status st = DMQ_OK;

    p->n = 0;
    p->factor = 1;
    for (int i = 0; i < all->n_arms && one.n == 0; i++) {
        for (int j = 0; j < all->arm[i].n_runs && one.n == 0; j++)
            DMQ_TRY(load(&one, all->arm[i].run[j], "images-q.h5", 1));
    }
    if (one.n == 0)
        goto done;
    p->n = count_images(all, &one);
    for (int i = 0; i < all->n_arms; i++) {
        for (int j = 0; j < all->arm[i].n_runs; j++) {
            DMQ_TRY(difference(&rms, all->arm[i].run[j], p->n));
            if (rms > 0 && isfinite(rms)) {
                sum += log(rms);
                n++;
            }
        }
    }
    while (n > 0 && p->factor < 64 && 2 * p->factor * exp(sum / n) < 0.4)
        p->factor *= 2;
done:
    release(&one);
    return st;
}

/* ------------------------------------------------------------------ the part */

static dmq_status show_run(dmq_page *page, const dmq_arm *arm, const dmq_result *run, const plan *p)
{
    few fp = { 0 }, q = { 0 };
    char what[64], alt[192];
    dmq_status st = DMQ_OK;

    DMQ_TRY(load(&fp, run, "images-fp.h5", p->n));
    DMQ_TRY(load(&q, run, "images-q.h5", p->n));
    if (q.n == 0) {
        dmq_log_warn("no-images", "%s/images-q.h5 is not there: no images of this run", run->path);
        dmq_text_add(&page->out, "<p class=\"note\">The images of seed %lld are not there.</p>\n",
                     (long long)run->seed);
        goto done;
    }
    (void)snprintf(what, sizeof what, "quantized, seed %lld", (long long)run->seed);
    (void)snprintf(alt, sizeof alt, "%.80s, seed %lld", arm->label, (long long)run->seed);
    DMQ_TRY(film(&page->out, &q, "", what, alt));
    if (!fits(&fp, &q))
        goto done;
    subtract(&q, &fp, p->factor);
    (void)snprintf(what, sizeof what, "difference × %g", p->factor);
    (void)snprintf(alt, sizeof alt, "%.60s, seed %lld, difference to full precision", arm->label,
                   (long long)run->seed);
    DMQ_TRY(film(&page->out, &q, "", what, alt));
done:
    release(&fp);
    release(&q);
    return st;
}

static dmq_status show_arm(dmq_page *page, int i, const plan *p)
{
    const dmq_arm *arm = &page->all->arm[i];
    dmq_stat psnr = dmq_stat_of(arm, dmq_measure_find("psnr"));
    const dmq_column column = { .decimals = 1 };
    char text[DMQ_CELL];
    dmq_status st = DMQ_OK;

    dmq_text_add(&page->out, "<div class=\"arm\"><h3>");
    dmq_svg_swatch(&page->out, page->style[i], 0);
    dmq_html_text(&page->out, arm->label);
    dmq_cell_text(text, &column, psnr, "−");
    if (text[0] != '\0')
        dmq_text_add(&page->out, "<small>PSNR %s dB over all images</small>", text);
    dmq_text_add(&page->out, "</h3>\n");
    for (int j = 0; j < arm->n_runs; j++) {
        if (j == 1) {
            dmq_text_add(&page->out, "<details><summary>%d more seed%s</summary>\n",
                         arm->n_runs - 1, arm->n_runs == 2 ? "" : "s");
        }
        DMQ_TRY(show_run(page, arm, arm->run[j], p));
    }
    if (arm->n_runs > 1)
        dmq_text_add(&page->out, "</details>\n");
    dmq_text_add(&page->out, "</div>\n");
done:
    return st;
}

/* A full-precision model, and under it the arms that come from it. */
static dmq_status show_model(dmq_page *page, const dmq_baseline *b, const plan *p)
{
    few fp = { 0 };
    dmq_status st = DMQ_OK;

    DMQ_TRY(load(&fp, b->run, "images-fp.h5", p->n));
    if (fp.n > 0) {
        DMQ_TRY(film(&page->out, &fp, " fpfilm", page->all->n_fp == 1 ? "full precision" : b->label,
                     "full precision"));
    }
    for (int i = 0; i < page->all->n_arms; i++) {
        if (strcmp(dmq_result_fp_key(page->all->arm[i].run[0]), dmq_result_fp_key(b->run)) == 0)
            DMQ_TRY(show_arm(page, i, p));
    }
done:
    release(&fp);
    return st;
}

dmq_status dmq_page_images(dmq_page *page)
{
    char lead[256];
    plan p;
    dmq_status st = DMQ_OK;

    DMQ_TRY(choose(&p, page->all));
    if (p.n == 0)
        goto done;
    (void)snprintf(
        lead, sizeof lead,
        "The first %d images. Each column starts from one noise. Differences are drawn around "
        "grey and %g times as strong, in all arms alike: grey is no difference.",
        p.n, p.factor);
    dmq_page_open(page, "images", "Images", lead);
    for (int i = 0; i < page->all->n_fp; i++)
        DMQ_TRY(show_model(page, &page->all->fp[i], &p));
    dmq_page_close(page);
done:
    return st;
}
