/* Files of torch.save: those in golden/torch, and the same made anew where PyTorch is installed. */
#include "scratch.h"

#include "base/memory.h"
#include "io/checkpoint.h"
#include "io/file.h"

#include <math.h>

static char folder[256]; /* where the files are */

static dmq_status open_file(dmq_checkpoint **out, const char *name)
{
    char path[512];

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return dmq_checkpoint_open(out, path, 0);
}

static dmq_checkpoint *opened(const char *name)
{
    dmq_checkpoint *c;

    if (open_file(&c, name) != DMQ_OK)
        fail_msg("%s: %s", name, dmq_message());
    return c;
}

/* How each number of a view is found in numbers that count up by a half: first + (i . steps) / 2. */
typedef struct expected {
    const char *name, *type;
    int rank;
    int64_t dims[4];
    float first;
    int64_t steps[4];
} expected;

#define C4          \
    {               \
        12, 4, 2, 1 \
    }

static const expected kinds[] = {
    { "f32", "F32", 4, { 2, 3, 2, 2 }, 1, C4 },
    { "f16", "F16", 1, { 5 }, 2, { 1 } },
    { "bf16", "BF16", 1, { 5 }, 3, { 1 } },
    { "f64", "F64", 2, { 2, 2 }, 4, { 2, 1 } },
    { "scalar", "F32", 0, { 0 }, 2.5F, { 0 } },
    { "empty", "F32", 2, { 0, 3 }, 0, { 3, 1 } },
    { "base", "F32", 2, { 3, 4 }, 0, { 4, 1 } },
    { "base.again", "F32", 2, { 3, 4 }, 0, { 4, 1 } },
    { "base.transposed", "F32", 2, { 4, 3 }, 0, { 1, 4 } },
    { "base.column", "F32", 1, { 3 }, 1, { 4 } },
    { "base.rows", "F32", 2, { 2, 4 }, 2, { 4, 1 } },
    { "base.steps", "F32", 2, { 2, 2 }, 0, { 8, 3 } },
    { "base.diagonal", "F32", 1, { 3 }, 0, { 5 } },
    { "expanded", "F32", 2, { 3, 4 }, 6, { 1, 0 } },
    { "channels_last", "F32", 4, { 2, 3, 2, 2 }, 7, C4 },
    { "half.transposed", "F16", 2, { 3, 2 }, 8, { 1, 3 } },
    { "parameter", "F32", 1, { 2 }, 9, { 1 } },
};

enum { KINDS = sizeof kinds / sizeof *kinds };

static void check_tensor(const dmq_checkpoint *c, const expected *e)
{
    const dmq_stored *t = dmq_table_find(dmq_checkpoint_table(c), e->name);
    int64_t at[4] = { 0 };
    float y[64];

    if (!t)
        fail_msg("there is no %s", e->name);
    assert_string_equal(t->type_name, e->type);
    assert_int_equal(t->rank, e->rank);
    assert_memory_equal(t->dims, e->dims, (size_t)e->rank * sizeof *e->dims);
    assert_true(t->count <= 64);
    if (dmq_checkpoint_read_f32(y, c, t) != DMQ_OK)
        fail_msg("%s: %s", e->name, dmq_message());
    for (int64_t i = 0; i < t->count; i++) {
        int64_t place = 0;

        for (int d = 0; d < e->rank; d++)
            place += at[d] * e->steps[d];
        if (y[i] != e->first + (float)place / 2) /* all of them exact in each type */
            fail_msg("%s: number %d is %g, not %g", e->name, (int)i, (double)y[i],
                     (double)(e->first + (float)place / 2));
        for (int d = e->rank - 1; d >= 0 && ++at[d] == e->dims[d]; d--)
            at[d] = 0;
    }
}

static void every_kind_of_tensor_comes_back(void **state)
{
    static const char *const name[] = { "kinds.pt", "kinds-legacy.pt" };
    static const dmq_container container[] = { DMQ_CONTAINER_TORCH_ZIP,
                                               DMQ_CONTAINER_TORCH_LEGACY };
    const dmq_table *table;
    dmq_checkpoint *c;
    float y[4];

    (void)state;
    for (int i = 0; i < 2; i++) {
        c = opened(name[i]);
        table = dmq_checkpoint_table(c);
        assert_int_equal(dmq_checkpoint_container(c), container[i]);
        assert_int_equal(table->count, KINDS + 6); /* and six of whole numbers */
        assert_int_equal(dmq_checkpoint_foreign(c)->count, 0);
        assert_int_equal(dmq_checkpoint_check(c), DMQ_OK);
        for (int k = 0; k < KINDS; k++)
            check_tensor(c, &kinds[k]);
        assert_string_equal(table->tensor[0].name, "f32"); /* in the order of the file */
        assert_string_equal(dmq_table_find(table, "i16")->type_name, "I16");
        assert_int_equal(dmq_checkpoint_read_f32(y, c, dmq_table_find(table, "i64")), DMQ_EDATA);
        assert_non_null(strstr(dmq_message(), "\"i64\" is I64 [4]: floating-point numbers"));
        assert_true(dmq_stored_is_expanded(dmq_table_find(table, "expanded")));
        assert_true(dmq_stored_is_c_order(dmq_table_find(table, "base.rows")));
        assert_false(dmq_stored_is_c_order(dmq_table_find(table, "base.column")));
        assert_int_equal(dmq_table_find(table, "base")->offset,
                         dmq_table_find(table, "base.again")->offset);
        assert_null(dmq_table_find(table, "base."));
        dmq_checkpoint_close(c);
    }
}

static void check_network(const dmq_checkpoint *c, const char *prefix, float first)
{
    static const struct {
        const char *name;
        expected is;
    } of[] = {
        { "0.weight", { NULL, "F32", 2, { 3, 2 }, 0, { 2, 1 } } },
        { "0.bias", { NULL, "F32", 1, { 3 }, 1, { 1 } } },
        { "1.weight", { NULL, "F32", 2, { 1, 3 }, 2, { 3, 1 } } },
        { "1.bias", { NULL, "F32", 1, { 1 }, 3, { 1 } } },
    };

    for (int i = 0; i < 4; i++) {
        expected e = of[i].is;
        char name[64];

        (void)snprintf(name, sizeof name, "%s%s", prefix, of[i].name);
        e.name = name;
        e.first += first;
        check_tensor(c, &e);
    }
}

static void containers_are_walked_by_text_and_place(void **state)
{
    dmq_checkpoint *c;
    expected e = { "tensor", "F32", 2, { 2, 2 }, 1, { 2, 1 } };

    (void)state;
    for (int legacy = 0; legacy < 2; legacy++) {
        c = opened(legacy ? "ddim-legacy.ckpt" : "ddim.ckpt");
        assert_int_equal(dmq_checkpoint_table(c)->count,
                         8); /* the optimizer counts by whole numbers */
        check_network(c, "0/module.", 0);
        check_network(c, "4/", 100);
        dmq_checkpoint_close(c);
    }
    c = opened("dit.pt");
    assert_int_equal(dmq_checkpoint_table(c)->count, 8);
    check_network(c, "model/", 0);
    check_network(c, "ema/", 100);
    assert_int_equal(dmq_checkpoint_foreign(c)->count, 1);
    assert_string_equal(dmq_checkpoint_foreign(c)->name[0], "argparse.Namespace");
    dmq_checkpoint_close(c);
    c = opened("tensor.pt");
    check_tensor(c, &e);
    dmq_checkpoint_close(c);
}

static void foreign_classes_are_passed_over_or_refused(void **state)
{
    const dmq_torch_foreign *f;
    dmq_checkpoint *c;
    int named = 0;
    char path[512];

    (void)state;
    for (int legacy = 0; legacy < 2; legacy++) {
        const char *name = legacy ? "lightning-legacy.ckpt" : "lightning.ckpt";

        c = opened(name);
        assert_int_equal(dmq_checkpoint_table(c)->count, 4);
        check_network(c, "state_dict/", 0);
        f = dmq_checkpoint_foreign(c);
        for (int i = 0; i < f->count; i++) {
            named += strcmp(f->name[i], "somewhere.else.Thing") == 0;
            named += strcmp(f->name[i],
                            "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint") == 0;
        }
        assert_int_equal(named, 2 * (legacy + 1));
        dmq_checkpoint_close(c);
        (void)snprintf(path, sizeof path, "%s/%s", folder, name);
        assert_int_equal(dmq_checkpoint_open(&c, path, 1), DMQ_EDATA);
        assert_non_null(strstr(dmq_message(), "somewhere.else.Thing"));
        assert_null(strstr(dmq_message(), "pytorch_lightning"));
    }
    (void)snprintf(path, sizeof path, "%s/kinds.pt", folder);
    assert_int_equal(dmq_checkpoint_open(&c, path, 1), DMQ_OK);
    dmq_checkpoint_close(c);
}

static void what_is_no_table_of_tensors_is_told(void **state)
{
    dmq_checkpoint *c;
    const dmq_stored *t;
    float y[4];

    (void)state;
    c = opened("odd.pt");
    t = dmq_table_find(dmq_checkpoint_table(c), "quantized");
    assert_string_equal(t->type_name, "torch._utils._rebuild_qtensor");
    assert_int_equal(dmq_checkpoint_read_f32(y, c, t), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "_rebuild_qtensor"));
    t = dmq_table_find(dmq_checkpoint_table(c), "plain");
    assert_int_equal(dmq_checkpoint_read_f32(y, c, t), DMQ_OK);
    dmq_checkpoint_close(c);
    assert_int_equal(open_file(&c, "module.pt"), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "model.state_dict()"));
    assert_int_equal(open_file(&c, "script.pt"), DMQ_EDATA);
    assert_non_null(strstr(dmq_message(), "is TorchScript"));
}

static dmq_status read_bytes(dmq_checkpoint **out, const char *bytes, size_t size)
{
    dmq_input *input;

    assert_int_equal(dmq_input_memory(&input, "memory", bytes, size), DMQ_OK);
    return dmq_checkpoint_read(out, input, 0);
}

/* Every tensor, if there is a table of them; 1 when there is. */
static int read_all(const char *bytes, size_t size)
{
    const dmq_table *table;
    dmq_checkpoint *c;
    float y[64];

    if (read_bytes(&c, bytes, size) != DMQ_OK)
        return 0;
    table = dmq_checkpoint_table(c);
    for (int t = 0; t < table->count; t++) {
        if (table->tensor[t].count <= 64)
            (void)dmq_checkpoint_read_f32(y, c, &table->tensor[t]);
    }
    dmq_checkpoint_close(c);
    return 1;
}

/* The whole of a file but for its last bytes, and with each byte turned over: told or read, never a crash. */
static void cut_and_flipped_files_never_crash(void **state)
{
    static const char *const name[] = { "ddim.ckpt", "ddim-legacy.ckpt", "lightning.ckpt" };

    (void)state;
    for (int k = 0; k < 3; k++) {
        char path[512], *bytes;
        size_t size;
        int read = 0;

        (void)snprintf(path, sizeof path, "%s/%s", folder, name[k]);
        assert_int_equal(dmq_file_read(&bytes, &size, path, 100000), DMQ_OK);
        for (size_t n = 0; n < size; n++) {
            dmq_checkpoint *c;

            if (read_bytes(&c, bytes, n) == DMQ_OK)
                fail_msg("%s: cut at %zu, and read", name[k], n);
        }
        for (size_t i = 0; i < size; i++) {
            bytes[i] = (char)(bytes[i] ^ 1 << i % 8);
            read += read_all(bytes, size);
            bytes[i] = (char)(bytes[i] ^ 1 << i % 8);
        }
        assert_true(read > 0); /* a weight's own bits may be anything */
        dmq_free(bytes);
    }
}

static void every_failed_allocation_is_clean(void **state)
{
    static const char *const name[] = { "ddim.ckpt", "lightning-legacy.ckpt" };

    (void)state;
    for (int k = 0; k < 2; k++) {
        dmq_status st = DMQ_ENOMEM;
        int n;

        for (n = 1; st != DMQ_OK && n < 2000; n++) {
            dmq_checkpoint *c = NULL;

            dmq_alloc_fail_at(n);
            st = open_file(&c, name[k]);
            if (st == DMQ_OK)
                st = dmq_checkpoint_check(c);
            dmq_alloc_fail_at(0);
            dmq_checkpoint_close(c);
            if (st != DMQ_OK && st != DMQ_ENOMEM)
                fail_msg("allocation %d: %s", n, dmq_message());
        }
        assert_true(n > 20 && n < 2000);
    }
}

/* The same of the files as the PyTorch that is here writes them. */
static int written_now(const struct CMUnitTest *tests, size_t n)
{
    char command[700];
    int failed;

    if (system("/usr/bin/python3 -c 'import torch' 2>/dev/null") != 0) { /* NOLINT(cert-env33-c) */
        (void)puts("skipped: no PyTorch in /usr/bin/python3");
        return 0;
    }
    (void)snprintf(folder, sizeof folder, "/tmp/dmq-torch-%d", (int)getpid());
    (void)snprintf(command, sizeof command, "/usr/bin/python3 %s/make_torch.py %s 2>/dev/null",
                   DMQ_GOLDEN_DIR, folder);
    failed = system(command) != 0; /* NOLINT(cert-env33-c): both words are ours */
    if (!failed)
        failed = _cmocka_run_group_tests("written now", tests, n, NULL, NULL);
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    return failed + (system(command) != 0); /* NOLINT(cert-env33-c) */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_tensor_comes_back),
        cmocka_unit_test(containers_are_walked_by_text_and_place),
        cmocka_unit_test(foreign_classes_are_passed_over_or_refused),
        cmocka_unit_test(what_is_no_table_of_tensors_is_told),
    };
    const struct CMUnitTest damaged[] = {
        cmocka_unit_test(cut_and_flipped_files_never_crash),
        cmocka_unit_test(every_failed_allocation_is_clean),
    };
    int failed;

    (void)snprintf(folder, sizeof folder, "%s/torch", DMQ_GOLDEN_DIR);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    failed += cmocka_run_group_tests(damaged, NULL, NULL);
    return written_now(tests, sizeof tests / sizeof *tests) + failed;
}
