/* Run folders: what the manifest tells of a stage that was stopped, shared or joined. */
#include "run/folder.h"
#include "scratch.h"

#include "base/memory.h"
#include "io/file.h"

#define OK(call) assert_int_equal((call), DMQ_OK)

static dmq_folder *folder_open(void)
{
    dmq_folder *f = NULL;

    OK(dmq_folder_open(&f, &(dmq_folder_options){ .path = in_folder("run") }));
    OK(dmq_file_write_text(in_folder("run/quant.h5"), "codes"));
    return f;
}

static const dmq_json *record(const dmq_folder *f)
{
    return dmq_json_find(f->manifest, "stages.quantize");
}

static dmq_status done(dmq_folder *f, const char *key, double seconds, int shared)
{
    return dmq_folder_done(f, "quantize",
                           &(dmq_folder_stage){ .key = key,
                                                .text = "stage quantize",
                                                .file = "quant.h5",
                                                .seconds = seconds,
                                                .shared = shared });
}

static void seconds_of_all_starts_are_told(void **state)
{
    dmq_folder *f = folder_open();
    dmq_json *kept = NULL;

    (void)state;
    OK(dmq_folder_stopped(f, "quantize", "a", 2));
    OK(dmq_folder_stopped(f, "quantize", "a", 3));
    OK(done(f, "a", 4, 0));
    assert_true(dmq_json_real(dmq_json_get(record(f), "seconds"), 0) == 9);
    assert_null(dmq_json_get(record(f), "shared"));
    assert_null(dmq_json_get(record(f), "joined"));
    OK(dmq_json_load(&kept, in_folder("run/run.json")));
    assert_true(dmq_json_real(dmq_json_find(kept, "stages.quantize.seconds"), 0) == 9);
    assert_null(dmq_json_get(kept, "stopped"));
    dmq_json_destroy(kept);
    OK(done(f, "a", 4, 0)); /* made again: nothing is left of the first time */
    assert_true(dmq_json_real(dmq_json_get(record(f), "seconds"), 0) == 4);
    dmq_folder_close(f);
}

/* What was stopped with another configuration is another's work. */
static void seconds_of_another_key_are_not(void **state)
{
    dmq_folder *f = folder_open();

    (void)state;
    OK(dmq_folder_stopped(f, "quantize", "a", 2));
    OK(dmq_folder_stopped(f, "quantize", "b", 3));
    OK(done(f, "b", 4, 1));
    assert_true(dmq_json_real(dmq_json_get(record(f), "seconds"), 0) == 7);
    assert_true(dmq_json_bool(dmq_json_get(record(f), "shared"), false));
    OK(dmq_folder_stopped(f, "quantize", "b", 3));
    OK(done(f, "a", 4, 0));
    assert_true(dmq_json_real(dmq_json_get(record(f), "seconds"), 0) == 4);
    dmq_folder_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(seconds_of_all_starts_are_told, scratch_make,
                                        scratch_remove),
        cmocka_unit_test_setup_teardown(seconds_of_another_key_are_not, scratch_make,
                                        scratch_remove),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
