/* Checkpoints that lie in several files, or in containers that have readers of their own. */
#include "scratch.h"

#include "io/checkpoint.h"
#include "io/h5.h"
#include "io/npz.h"
#include "io/safetensors.h"

#define OK(call) assert_int_equal(call, DMQ_OK)

static const float numbers[6] = { 0, 0.5F, 1, 1.5F, 2, 2.5F };

/* A shard of two tensors, one of them of 2 numbers from `first` on. */
static void shard(const char *file, const char *a, const char *b, int first)
{
    const dmq_st_source tensor[] = { { a, DMQ_ST_F32, 1, { 2 }, numbers + first },
                                     { b, DMQ_ST_BF16, 2, { 2, 1 }, numbers } };

    OK(dmq_safetensors_save(in_folder(file), tensor, 2, NULL, 0));
}

static dmq_status open_index(dmq_checkpoint **out, const char *text)
{
    put(in_folder("model.index.json"), text, strlen(text));
    return dmq_checkpoint_open(out, in_folder("model.index.json"), 0);
}

static void says(const char *what)
{
    if (!strstr(dmq_message(), what))
        fail_msg("no \"%s\" in: %s", what, dmq_message());
}

static void check(const dmq_checkpoint *c, const char *name, float first, float second)
{
    const dmq_stored *t = dmq_table_find(dmq_checkpoint_table(c), name);
    float y[2] = { -1, -1 };

    assert_non_null(t);
    assert_int_equal(t->count, 2);
    OK(dmq_checkpoint_read_f32(y, c, t));
    assert_true(y[0] == first && y[1] == second);
}

static void shards_are_one_table(void **state)
{
    dmq_checkpoint *c;

    (void)state;
    shard("one.safetensors", "a", "b", 0);
    shard("two.safetensors", "c", "d", 3);
    OK(open_index(
        &c,
        "{\"metadata\": {\"total_size\": 24}, \"weight_map\": {\"a\": \"one.safetensors\","
        "\"b\": \"one.safetensors\", \"c\": \"two.safetensors\", \"d\": \"two.safetensors\"}}"));
    assert_int_equal(dmq_checkpoint_container(c), DMQ_CONTAINER_SAFETENSORS);
    assert_int_equal(dmq_checkpoint_files(c), 2);
    assert_non_null(strstr(dmq_checkpoint_file(c, 1), "/two.safetensors"));
    assert_int_equal(dmq_checkpoint_table(c)->count, 4);
    check(c, "a", 0, 0.5F);
    check(c, "c", 1.5F, 2);
    check(c, "d", 0, 0.5F);
    dmq_checkpoint_close(c);
}

static void an_index_and_its_shards_must_agree(void **state)
{
    static const struct {
        const char *map, *said;
        dmq_status st;
    } of[] = {
        { "\"a\": \"one.safetensors\"", "lists 1 tensors, its files hold 2", DMQ_EDATA },
        { "\"a\": \"one.safetensors\", \"x\": \"one.safetensors\"", "holds \"x\", and it does not",
          DMQ_EDATA },
        { "\"a\": \"one.safetensors\", \"b\": \"two.safetensors\"", "two.safetensors holds \"b\"",
          DMQ_EDATA },
        { "\"a\": \"one.safetensors\", \"b\": \"nothere.safetensors\"", "nothere.safetensors",
          DMQ_ENOINPUT },
        { "\"a\": \"one.safetensors\", \"b\": \"model.index.json\"", "no checkpoint that dmq knows",
          DMQ_EDATA },
        { "\"a\": \"one.safetensors\", \"a\": \"one.safetensors\"", "duplicate", DMQ_EDATA },
        { "\"a\": \"twin.safetensors\", \"b\": \"one.safetensors\"", "there twice", DMQ_EDATA },
        { "\"a\": \"../one.safetensors\"", "must be a plain name", DMQ_EDATA },
        { "\"a\": null", "must be a plain name", DMQ_EDATA },
    };
    char text[512];
    dmq_checkpoint *c;

    (void)state;
    shard("one.safetensors", "a", "b", 0);
    shard("two.safetensors", "c", "d", 3);
    shard("twin.safetensors", "a", "b", 0);
    for (size_t i = 0; i < sizeof of / sizeof *of; i++) {
        (void)snprintf(text, sizeof text, "{\"weight_map\": {%s}}", of[i].map);
        if (open_index(&c, text) != of[i].st)
            fail_msg("case %zu: %s", i, dmq_message());
        says(of[i].said);
    }
}

static void containers_are_known_by_content(void **state)
{
    dmq_h5 *h5 = NULL;
    dmq_checkpoint *c;
    float y[6];

    (void)state;
    OK(dmq_npy_save(in_folder("array.pt"), DMQ_NPZ_F4, 2, (int64_t[]){ 3, 2 }, numbers));
    OK(dmq_checkpoint_open(&c, in_folder("array.pt"), 1));
    assert_int_equal(dmq_checkpoint_container(c), DMQ_CONTAINER_NPY);
    assert_string_equal(dmq_checkpoint_table(c)->tensor[0].name, "array");
    OK(dmq_checkpoint_read_f32(y, c, &dmq_checkpoint_table(c)->tensor[0]));
    assert_memory_equal(y, numbers, sizeof y);
    dmq_checkpoint_close(c);
    OK(dmq_h5_open(&h5, in_folder("groups.npz"), DMQ_H5_WRITE));
    OK(dmq_h5_write_f32(h5, "net/a", DMQ_DIMS(2), numbers));
    OK(dmq_h5_write_f16(h5, "b", DMQ_DIMS(2, 1), numbers + 1));
    OK(dmq_h5_write_text(h5, "note", "x"));
    OK(dmq_h5_commit(h5));
    dmq_h5_close(h5);
    OK(dmq_checkpoint_open(&c, in_folder("groups.npz"), 1));
    assert_int_equal(dmq_checkpoint_container(c), DMQ_CONTAINER_HDF5);
    assert_int_equal(dmq_checkpoint_table(c)->count, 3);
    check(c, "net/a", 0, 0.5F);
    check(c, "b", 0.5F, 1);
    assert_int_equal(dmq_table_find(dmq_checkpoint_table(c), "note")->type, DMQ_DTYPE_OTHER);
    assert_int_not_equal(
        dmq_checkpoint_read_f32(y, c, dmq_table_find(dmq_checkpoint_table(c), "note")), DMQ_OK);
    dmq_checkpoint_close(c);
    assert_int_equal(dmq_checkpoint_open(&c, in_folder("nothere"), 0), DMQ_ENOINPUT);
    assert_int_equal(dmq_checkpoint_open(&c, scratch_folder, 0), DMQ_EDATA);
    says("not a regular file");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_are_one_table),
        cmocka_unit_test(an_index_and_its_shards_must_agree),
        cmocka_unit_test(containers_are_known_by_content),
    };

    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
