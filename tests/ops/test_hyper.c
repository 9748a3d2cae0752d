/* The small arithmetic of a hypergradient and the step of the logits: a device against the reference, whose
   formulas test_hypergradient and test_learn hold against nested autograd. */
#include "check.h"

#include "kernels/logits.h"

enum { N = 37, K = 5, LD = 40, TOTAL = 301 };

/* Everything that the slots read or write, on one device. */
typedef struct side {
    const check_on *on;
    dmq_hyper_args h;
    dmq_logits_args l;
} side;

static double *doubles(const check_on *on, size_t n, uint64_t *stream)
{
    dmq_real *x = check_random(n, stream);
    double *wide = check_doubles(x, n);

    return check_up(on, wide, n, sizeof *wide);
}

static side open_side(const check_on *on)
{
    uint64_t stream = check_stream(5);
    dmq_real *w = check_random(LD, &stream), *zeros = check_reals(TOTAL);
    double *squares = check_doubles(check_random(N, &stream), N), *gram;
    int *pick = check_bytes(N, sizeof *pick), *visited = check_bytes(TOTAL, sizeof *visited);
    dmq_logits_state *state = check_bytes(1, sizeof *state);
    side s = { .on = on };
    dmq_hyper_args *h = &s.h;
    dmq_logits_args *l = &s.l;

    for (int i = 0; i < LD; i++)
        w[i] = (dmq_real)fabs((double)w[i]);
    for (int i = 0; i < N; i++) {
        squares[i] = i == 3 ? 0 : fabs(squares[i]);
        pick[i] = i * 7 % TOTAL;
    }
    gram = check_doubles(check_random((size_t)K * K, &stream), (size_t)K * K);
    for (int t = 0; t < K; t++)
        gram[t * K + t] = t == 2 ? 0 : 1 + fabs(gram[t * K + t]);
    *h = (dmq_hyper_args){ .n = N,
                           .k = K,
                           .ld = LD,
                           .eta = 0.7,
                           .rate = 0.3,
                           .move = 1e-2,
                           .joined = -0.7,
                           .n_theta = 1234,
                           .w = check_up_real(on, w, LD),
                           .squares = check_up(on, squares, N, sizeof *squares),
                           .products = doubles(on, (size_t)K * N, &stream),
                           .gram = check_up(on, gram, (size_t)K * K, sizeof *gram) };
    h->tangents = check_up_real(on, check_random((size_t)K * LD, &stream), (size_t)K * LD);
    h->scale = check_room(on, NULL, N);
    h->factor = check_room(on, NULL, (size_t)K * LD);
    h->w_walked = check_up_real(on, w, LD);
    h->d_mse = check_up_real(on, check_random(N, &stream), N);
    h->d_gm = check_up_real(on, check_random(N, &stream), N);
    h->points = check_room(on, NULL, (size_t)2 * K * (K + 1));
    h->joins = check_room(on, NULL, (size_t)2 * K);
    h->coefficient = doubles(on, (size_t)K * K, &stream);
    h->value = doubles(on, 1, &stream);
    *l = (dmq_logits_args){ .s = check_up_real(on, check_random(TOTAL, &stream), TOTAL),
                            .pick = check_up(on, pick, N, sizeof *pick),
                            .w = check_room(on, NULL, N),
                            .n = N,
                            .total = TOTAL,
                            .tau = 0.8,
                            .m = check_up_real(on, zeros, TOTAL),
                            .v = check_up_real(on, zeros, TOTAL),
                            .visited = check_up(on, visited, TOTAL, sizeof *visited),
                            .d_mse = h->d_mse,
                            .d_gm = h->d_gm,
                            .d = check_room(on, NULL, N),
                            .s_old = check_room(on, NULL, N),
                            .state = check_up(on, state, 1, sizeof *state),
                            .rho_0 = 1,
                            .lr = 0.05 };
    return s;
}

/* The same array on both sides. */
static void same(const char *what, const side *a, const dmq_real *x, const side *b,
                 const dmq_real *y, size_t n)
{
    dmq_real *got = check_reals(n), *want = check_reals(n);

    check_down_real(a->on, got, x, n);
    check_down_real(b->on, want, y, n);
    check_same(what, got, want, n, 1e-6, 1e-6, 1);
}

static void same_doubles(const side *a, const double *x, const side *b, const double *y, size_t n)
{
    double *got = check_bytes(n, sizeof *got), *want = check_bytes(n, sizeof *want);

    check_down(a->on, got, x, n * sizeof *got);
    check_down(b->on, want, y, n * sizeof *want);
    for (size_t i = 0; i < n; i++)
        assert_true(fabs(got[i] - want[i]) <= 1e-12 * (1 + fabs(want[i])));
}

/* Of rows with a distance only what lies in them. */
static void same_rows(const char *what, const side *a, const side *b)
{
    for (int t = 0; t < K; t++)
        same(what, a, a->h.factor + (size_t)t * LD, b, b->h.factor + (size_t)t * LD, N);
}

#define BOTH(slot, part)                \
    do {                                \
        CHECK_RUN(a.on, slot, &a.part); \
        CHECK_RUN(b.on, slot, &b.part); \
    } while (0)

/* Of the positive diagonal that is given: the same on both sides, and what the header says of each wave. */
static void steps(side *a, side *b, int wave)
{
    int vectors = wave == 1 ? 1 : K;
    size_t row = (size_t)(1 + vectors), points = 2 * K * row, joins = (size_t)2 * K;
    dmq_real *p = check_reals(points), *q = check_reals(joins);

    a->h.wave = b->h.wave = wave;
    CHECK_RUN(a->on, hyper_steps, &a->h);
    CHECK_RUN(b->on, hyper_steps, &b->h);
    same("points", a, a->h.points, b, b->h.points, points);
    same("joins", a, a->h.joins, b, b->h.joins, joins);
    check_down_real(a->on, p, a->h.points, points);
    check_down_real(a->on, q, a->h.joins, joins);
    for (int t = 0; t < K; t++) {
        const dmq_real *up = p + (size_t)(2 * t) * row, *down = up + row;
        int own = wave == 1 ? 1 : 1 + t;
        dmq_real e = up[own], half = q[2 * t];

        assert_true(up[0] == 1 && down[0] == 1 && down[own] == -e && q[2 * t + 1] == -half);
        assert_true(t == 2 ? e == 0 && half == 0 : fabs(2 * (double)(e * half) - 1) < 1e-6);
        for (int j = 1; j <= vectors; j++)
            assert_true(j == own || (up[j] == 0 && down[j] == 0));
    }
}

static void hypergradients(void **state)
{
    (void)state;
    for (int way = 0; way < 8; way++) {
        side a = open_side(&check_device), b = open_side(&check_ref);

        a.h.surrogate = b.h.surrogate = way & 1;
        a.h.cosine = b.h.cosine = way >> 1 & 1;
        if (way & 4) {
            a.h.products = b.h.products = NULL;
            a.h.squares = b.h.squares = NULL;
        }
        BOTH(hyper_scale, h);
        if (a.h.squares) /* else all of them are 1 */
            same("c", &a, a.h.scale, &b, b.h.scale, N);
        same("c w", &a, a.h.factor, &b, b.h.factor, N);
        BOTH(hyper_mse, h);
        same("d_mse", &a, a.h.d_mse, &b, b.h.d_mse, N);
        for (int wave = 1; wave <= K; wave++)
            steps(&a, &b, wave);
        BOTH(hyper_align, h);
        if (a.h.surrogate)
            same_rows("factors", &a, &b);
        else
            same("C", &a, a.h.factor, &b, b.h.factor, (size_t)K * K);
        same_doubles(&a, a.h.gram, &b, b.h.gram, (size_t)K * K);
        same_doubles(&a, a.h.value, &b, b.h.value, 1);
        BOTH(hyper_walk, h);
        same("w~", &a, a.h.w_walked, &b, b.h.w_walked, N);
        same("c w~", &a, a.h.factor, &b, b.h.factor, N);
        a.h.walked = b.h.walked = way & 1;
        BOTH(hyper_join, h);
        same("d_gm", &a, a.h.d_gm, &b, b.h.d_gm, N);
        (void)check_release(NULL);
    }
    check_report("hyper");
}

static dmq_logits_state state_of(const side *s)
{
    dmq_logits_state state;

    check_down(s->on, &state, s->l.state, sizeof state);
    return state;
}

static void steps_of_the_logits(void **state)
{
    (void)state;
    for (int policy = DMQ_GM_OFF; policy <= DMQ_GM_PROJECTED; policy++) {
        side a = open_side(&check_device), b = open_side(&check_ref);
        dmq_logits_state x, y;

        a.l.policy = b.l.policy = (dmq_gm_weight)policy;
        for (int i = 0; i < DMQ_LOGITS_FREEZE + 3; i++) {
            BOTH(logits_take, l);
            same("w", &a, a.l.w, &b, b.l.w, N);
            BOTH(logits_step, l);
            x = state_of(&a);
            y = state_of(&b);
            assert_int_equal(x.steps, i + 1);
            assert_true(fabs(x.ess - y.ess) < 1e-6);
            assert_true(fabs(x.used - y.used) <= 1e-5 * fabs(y.used));
            assert_int_equal(x.scale > 0, i >= DMQ_LOGITS_FREEZE - 1);
        }
        same("s", &a, a.l.s, &b, b.l.s, TOTAL);
        same("v", &a, a.l.d, &b, b.l.d, N);
        (void)check_release(NULL);
    }
    check_report("logits");
}

/* The step that brings the effective sample size below the limit is taken back, and is the last one. */
static void a_collapse_stops(void **state)
{
    side a = open_side(&check_device);
    dmq_real *before = check_reals(TOTAL), *after = check_reals(TOTAL);
    dmq_logits_state now;

    (void)state;
    CHECK_RUN(a.on, logits_take, &a.l);
    CHECK_RUN(a.on, logits_step, &a.l);
    check_down_real(a.on, before, a.l.s, TOTAL);
    a.l.ess_stop = state_of(&a).ess + 0.01;
    for (int i = 0; i < 2; i++) {
        CHECK_RUN(a.on, logits_step, &a.l);
        now = state_of(&a);
        assert_int_equal(now.stopped, 1);
        assert_int_equal(now.steps, 2);
        check_down_real(a.on, after, a.l.s, TOTAL);
        check_equal("s", after, before, TOTAL);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(hypergradients),
        CHECK_TEST(steps_of_the_logits),
        CHECK_TEST(a_collapse_stops),
    };

    check_open(argc, argv);
    return check_close(cmocka_run_group_tests(tests, NULL, NULL));
}
