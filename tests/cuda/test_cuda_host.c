/* What the CUDA device does on the host, without a device: tables of plans, choices of algorithms, the search
   for libraries. */
#include "backend/cuda.h"
#include "base/log.h"
#include "base/memory.h"
#include "cuda/choices.h"
#include "cuda/libraries.h"
#include "cuda/plans.h"

#include "unit/scratch.h"

static dmq_cuda_key key_of(int64_t i)
{
    return (dmq_cuda_key){ .word = { i % 3, i / 3 % 5, 128, i / 15, 0, -i } };
}

static long destroyed;

static void count_destroyed(void *plan)
{
    destroyed += *(int *)plan >= 0;
}

static void a_plan_is_found_by_its_shape_alone(void **state)
{
    static int plan[5000];
    dmq_cuda_plans plans = { 0 };
    dmq_cuda_key other = key_of(7);
    long allocations;

    (void)state;
    assert_null(dmq_cuda_plans_find(&plans, &other));
    for (int i = 0; i < 5000; i++) {
        dmq_cuda_key key = key_of(i);

        plan[i] = i;
        assert_null(dmq_cuda_plans_find(&plans, &key));
        assert_int_equal(dmq_cuda_plans_add(&plans, &key, &plan[i]), DMQ_OK);
    }
    allocations = dmq_alloc_count();
    for (int i = 0; i < 5000; i++) {
        dmq_cuda_key key = key_of(i);

        assert_ptr_equal(dmq_cuda_plans_find(&plans, &key), &plan[i]);
    }
    other.word[DMQ_CUDA_KEY - 1] = 1;
    assert_null(dmq_cuda_plans_find(&plans, &other));
    assert_int_equal(dmq_alloc_count(), allocations);
    destroyed = 0;
    dmq_cuda_plans_release(&plans, count_destroyed);
    assert_int_equal(destroyed, 5000);
    assert_null(dmq_cuda_plans_find(&plans, &other));
}

static void without_memory_the_table_stays_as_it_was(void **state)
{
    int plan[2] = { 0, 1 };
    dmq_cuda_plans plans = { 0 };
    dmq_cuda_key first = key_of(0), second = key_of(1);

    (void)state;
    dmq_alloc_fail_at(1);
    assert_int_equal(dmq_cuda_plans_add(&plans, &first, &plan[0]), DMQ_ENOMEM);
    dmq_alloc_fail_at(0);
    assert_null(dmq_cuda_plans_find(&plans, &first));
    assert_int_equal(dmq_cuda_plans_add(&plans, &first, &plan[0]), DMQ_OK);
    assert_int_equal(dmq_cuda_plans_add(&plans, &second, &plan[1]), DMQ_OK);
    assert_ptr_equal(dmq_cuda_plans_find(&plans, &first), &plan[0]);
    dmq_cuda_plans_release(&plans, count_destroyed);
}

/* ------------------------------------------------------------------ choices */

static const dmq_cuda_choice some[] = {
    { "forward 32 32 32 128 128 3 3 1 1 1 fp32", 1, "", 0.25F },
    { "backward_data 32 32 32 128 128 3 3 1 1 1 tf32", 5, "", 0 },
    { "backward_weights 1 7 9 3 5 3 3 2 0 0 fp32", DMQ_CUDA_PLAIN, "", 0 },
    { "forward 32 32 32 128 128 3 3 2 0 0 to 16 16 tf32 bias", DMQ_CUDA_GRAPH, "51 2=0 12=-1 27=8",
      0.125F },
    { "forward 2 4 4 8 8 3 3 1 1 1 fp16", DMQ_CUDA_GRAPH, "7", 0 },
};
enum { SOME = sizeof some / sizeof *some };

static void choices_are_kept_and_told(void **state)
{
    char text[1024], little[20];
    dmq_cuda_choice c;

    (void)state;
    assert_int_equal(unsetenv("DMQ_CUDA_CHOICES"), 0);
    dmq_cuda_choices_clear();
    assert_int_equal(dmq_cuda_choices_open(), DMQ_OK);
    assert_int_equal(dmq_cuda_choices_timed(), 0);
    assert_int_equal(dmq_cuda_choices_find(&c, some[0].key), 0);
    for (int i = 0; i < SOME; i++)
        assert_int_equal(dmq_cuda_choices_add(&some[i]), DMQ_OK);
    assert_int_equal(dmq_cuda_choices_find(&c, some[1].key), 1);
    assert_int_equal(c.algorithm, 5);
    dmq_backend_cuda_choices(text, sizeof text);
    assert_string_equal(text, "forward 32 32 32 128 128 3 3 1 1 1 fp32: cudnn 1, 0.2500 ms\n"
                              "backward_data 32 32 32 128 128 3 3 1 1 1 tf32: cudnn 5\n"
                              "backward_weights 1 7 9 3 5 3 3 2 0 0 fp32: plain\n"
                              "forward 32 32 32 128 128 3 3 2 0 0 to 16 16 tf32 bias: graph 51 2=0 "
                              "12=-1 27=8, 0.1250 ms\n"
                              "forward 2 4 4 8 8 3 3 1 1 1 fp16: graph 7\n");
    dmq_backend_cuda_choices(little, sizeof little);
    assert_string_equal(little, "forward 32 32 32 12");
    dmq_cuda_choices_clear();
}

static void the_file_decides_for_the_next_run(void **state)
{
    dmq_cuda_choice c, other = some[0];

    (void)state;
    assert_int_equal(setenv("DMQ_CUDA_CHOICES", in_folder("choices"), 1), 0);
    dmq_cuda_choices_clear();
    assert_int_equal(dmq_cuda_choices_open(), DMQ_OK); /* none yet */
    assert_int_equal(dmq_cuda_choices_timed(), 1);
    for (int i = 0; i < SOME; i++)
        assert_int_equal(dmq_cuda_choices_add(&some[i]), DMQ_OK);
    other.algorithm = 7;
    assert_int_equal(dmq_cuda_choices_add(&other), DMQ_OK); /* another lane came first */
    dmq_cuda_choices_clear();
    assert_int_equal(dmq_cuda_choices_open(), DMQ_OK);
    for (int i = 0; i < SOME; i++) {
        assert_int_equal(dmq_cuda_choices_find(&c, some[i].key), 1);
        assert_int_equal(c.algorithm, some[i].algorithm);
        assert_string_equal(c.engine, some[i].engine);
        assert_true(c.time_ms == some[i].time_ms);
    }
    dmq_cuda_choices_clear();
}

static void a_damaged_file_is_refused_by_its_line(void **state)
{
    static const char *const lines[] = {
        "forward 1 fp32: cudnn\n",
        "forward 1 fp32: cudnn 1, 2 s\n",
        "forward 1 fp32\n",
        ": plain\n",
        "forward 1 fp32: plain text\n",
        "forward 1 fp32: cudnn 1, x\n",
        "forward 1 fp32: cudnn 1 \n",
        "forward 1 fp32: cudnn 1, 2 ms, 3 ms\n",
        "forward 1 fp32: graph\n",
        "forward 1 fp32: graph \n",
        "forward 1 fp32: graph x\n",
        "forward 1 fp32: graph 1 2\n",
        "forward 1 fp32: graph 1 2=\n",
        "forward 1 fp32: graph 1 2=3x\n",
        "forward 1 fp32: graph 1 2=3 4\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char text[128];
        int n = snprintf(text, sizeof text, "forward 2 fp32: plain\n%s", lines[i]);

        put(in_folder("damaged"), text, (size_t)n);
        assert_int_equal(setenv("DMQ_CUDA_CHOICES", in_folder("damaged"), 1), 0);
        dmq_cuda_choices_clear();
        assert_int_equal(dmq_cuda_choices_open(), DMQ_EDATA);
        assert_non_null(strstr(dmq_message(), "damaged:2:"));
        assert_int_equal(dmq_cuda_choices_timed(), 0);
    }
    dmq_cuda_choices_clear();
    assert_int_equal(unsetenv("DMQ_CUDA_CHOICES"), 0);
}

/* ------------------------------------------------------------------ libraries */

static void a_library_that_is_not_here_is_named(void **state)
{
    static const char *const symbols[] = { "nothing" };
    void *table[1] = { NULL };
    dmq_cuda_library nothing = { .title = "Nothing",
                                 .file = "libdmq-nothing.so.7",
                                 .symbols = symbols,
                                 .count = 1,
                                 .table = table };

    (void)state;
    assert_int_equal(setenv("DMQ_CUDA_LIBS", "/nowhere:/else", 1), 0);
    for (int i = 0; i < 2; i++) { /* the second time it is not looked for again */
        assert_int_equal(dmq_cuda_library_load(&nothing), DMQ_ENOTSUP);
        assert_non_null(strstr(dmq_message(), "Nothing is not here"));
        assert_non_null(strstr(dmq_message(), "libdmq-nothing.so.7"));
        assert_non_null(strstr(dmq_message(), "/nowhere:/else"));
        assert_non_null(strstr(dmq_message(), "hint: "));
        assert_int_equal(unsetenv("DMQ_CUDA_LIBS"), 0);
    }
}

/* A library of the system under another name, where a Python environment has them. */
static void a_library_is_found_below_site_packages(void **state)
{
    static const char *const symbols[] = { "cos", "sin" }, *const more[] = { "cos", "dmq_no_such" };
    double (*table[2])(double) = { NULL, NULL };
    dmq_cuda_library math = {
        .title = "Math", .file = "libdmq-math.so.1", .symbols = symbols, .count = 2, .table = table
    };
    dmq_cuda_library newer = math;
    char command[1024], libs[512];

    (void)state;
    (void)snprintf(
        command, sizeof command,
        "f=$(ls /lib/*-linux-gnu/libm.so.6 /usr/lib*/libm.so.6 2>/dev/null | head -1) && "
        "[ -n \"$f\" ] && mkdir -p %s/site/nvidia/math/lib && ln -s \"$f\" "
        "%s/site/nvidia/math/lib/libdmq-math.so.1",
        scratch_folder, scratch_folder);
    if (system(command) != 0) { /* NOLINT(cert-env33-c) */
        print_message("skipped: the C library's libm.so.6 is not where it is looked for\n");
        skip();
    }
    (void)snprintf(libs, sizeof libs, "/nowhere:%s/site", scratch_folder);
    assert_int_equal(setenv("DMQ_CUDA_LIBS", libs, 1), 0);
    assert_int_equal(dmq_cuda_library_load(&math), DMQ_OK);
    assert_true(table[0](0) == 1 && table[1](0) == 0);
    assert_non_null(strstr(math.place, "/site/nvidia/math/lib/libdmq-math.so.1"));
    newer.symbols = more;
    assert_int_equal(dmq_cuda_library_load(&newer), DMQ_ENOTSUP);
    assert_non_null(strstr(dmq_message(), "dmq_no_such"));
    assert_int_equal(unsetenv("DMQ_CUDA_LIBS"), 0);
}

static void what_is_loaded_tells_its_version(void **state)
{
    const dmq_cudnn *nn = NULL;
    const dmq_cublaslt *lt = NULL;
    const dmq_nccl *nccl = NULL;
    int version = 0;

    (void)state;
    if (dmq_cublaslt_load(&lt) != DMQ_OK || dmq_cudnn_load(&nn) != DMQ_OK ||
        dmq_nccl_load(&nccl) != DMQ_OK) {
        print_message("skipped: %s\n", dmq_message());
        skip();
    }
    assert_int_equal(nn->GetVersion() / 10000, CUDNN_MAJOR);
    assert_int_equal(lt->GetVersion() / 10000, CUBLAS_VER_MAJOR);
    assert_int_equal(nccl->GetVersion(&version), ncclSuccess);
    assert_int_equal(version / 10000, NCCL_MAJOR);
    assert_true(dmq_cudnn_place()[0] && dmq_cublaslt_place()[0] && dmq_nccl_place()[0]);
}

static void other_precisions_are_for_the_device(void **state)
{
    (void)state;
    assert_int_equal(dmq_backend_precision(dmq_backend_cpu(), DMQ_FP32), DMQ_OK);
    assert_int_equal(dmq_backend_precision(dmq_backend_cpu(), DMQ_TF32), DMQ_ENOTSUP);
    assert_non_null(strstr(dmq_message(), "device.precision = tf32"));
    assert_int_equal(dmq_backend_cuda_precision(DMQ_TF32), DMQ_OK);
    assert_int_equal(dmq_backend_cuda_precision(DMQ_FP16), DMQ_OK);
    assert_int_equal(dmq_backend_cuda_precision(DMQ_FP32), DMQ_OK);
}

/* What turns products into others behind our back is told. */
static void the_environment_is_looked_at(void **state)
{
    long before = dmq_log_warnings("precision-override");

    (void)state;
    assert_int_equal(unsetenv("NVIDIA_TF32_OVERRIDE"), 0);
    assert_int_equal(dmq_backend_cuda_precision(DMQ_FP32), DMQ_OK);
    assert_int_equal(dmq_log_warnings("precision-override"), before);
    assert_int_equal(setenv("NVIDIA_TF32_OVERRIDE", "1", 1), 0);
    assert_int_equal(dmq_backend_cuda_precision(DMQ_FP32), DMQ_OK);
    assert_int_equal(dmq_log_warnings("precision-override"), before + 1);
    assert_int_equal(unsetenv("NVIDIA_TF32_OVERRIDE"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_is_found_by_its_shape_alone),
        cmocka_unit_test(without_memory_the_table_stays_as_it_was),
        cmocka_unit_test(choices_are_kept_and_told),
        cmocka_unit_test(the_file_decides_for_the_next_run),
        cmocka_unit_test(a_damaged_file_is_refused_by_its_line),
        cmocka_unit_test(a_library_that_is_not_here_is_named),
        cmocka_unit_test(a_library_is_found_below_site_packages),
        cmocka_unit_test(what_is_loaded_tells_its_version),
        cmocka_unit_test(other_precisions_are_for_the_device),
        cmocka_unit_test(the_environment_is_looked_at),
    };

    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
