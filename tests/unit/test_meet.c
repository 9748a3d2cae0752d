/* Which rank a process is, as those say who started it. */
#include "dist/meet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static const char *const names[] = { "DMQ_RANK",
                                     "DMQ_SIZE",
                                     "OMPI_COMM_WORLD_RANK",
                                     "OMPI_COMM_WORLD_SIZE",
                                     "PMI_RANK",
                                     "PMI_SIZE",
                                     "SLURM_PROCID",
                                     "SLURM_STEP_NUM_TASKS",
                                     "SLURM_LOCALID",
                                     "SLURM_JOB_ID",
                                     "SLURM_STEP_ID",
                                     "SLURM_RESTART_COUNT",
                                     "RANK",
                                     "WORLD_SIZE",
                                     "LOCAL_WORLD_SIZE",
                                     "MASTER_ADDR",
                                     "MASTER_PORT",
                                     "TORCHELASTIC_USE_AGENT_STORE",
                                     "DMQ_COMM_FOLDER",
                                     "TORCHELASTIC_RUN_ID" };

static dmq_meet meet_of(const char *const set[][2], dmq_status want)
{
    dmq_meet m;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        (void)unsetenv(names[i]);
    for (int i = 0; set[i][0]; i++)
        (void)setenv(set[i][0], set[i][1], 1);
    assert_int_equal(dmq_meet_environment(&m), want);
    return m;
}

static void the_environment_says_who_is_who(void **state)
{
    static const char *const none[][2] = { { NULL, NULL } };
    static const char *const slurm[][2] = {
        { "SLURM_PROCID", "3" },  { "SLURM_STEP_NUM_TASKS", "8" }, { "SLURM_LOCALID", "1" },
        { "SLURM_JOB_ID", "77" }, { "SLURM_STEP_ID", "0" },        { NULL, NULL }
    };
    static const char *const batch[][2] = { { "SLURM_PROCID", "0" },
                                            { "SLURM_JOB_ID", "77" },
                                            { NULL, NULL } };
    static const char *const mpirun[][2] = { { "OMPI_COMM_WORLD_RANK", "5" },
                                             { "OMPI_COMM_WORLD_SIZE", "6" },
                                             { "SLURM_PROCID", "0" },
                                             { "SLURM_STEP_NUM_TASKS", "2" },
                                             { NULL, NULL } };
    static const char *const torchrun[][2] = { { "RANK", "1" },
                                               { "WORLD_SIZE", "2" },
                                               { "LOCAL_WORLD_SIZE", "2" },
                                               { "MASTER_ADDR", "node1" },
                                               { "MASTER_PORT", "29500" },
                                               { NULL, NULL } };
    static const char *const half[][2] = { { "PMI_RANK", "1" }, { NULL, NULL } };
    static const char *const beyond[][2] = { { "DMQ_RANK", "4" },
                                             { "DMQ_SIZE", "4" },
                                             { NULL, NULL } };
    dmq_meet m = meet_of(none, DMQ_OK);

    (void)state;
    assert_int_equal(m.size, 1);
    assert_string_equal(m.by, "");
    m = meet_of(slurm, DMQ_OK);
    assert_string_equal(m.by, "Slurm");
    assert_int_equal(m.rank, 3);
    assert_int_equal(m.size, 8);
    assert_int_equal(m.local_rank, 1);
    assert_string_equal(m.job, "77.0");
    assert_string_equal(m.host, "");
    assert_int_equal(meet_of(batch, DMQ_OK).size, 1);
    m = meet_of(mpirun, DMQ_OK);
    assert_string_equal(m.by, "Open MPI");
    assert_int_equal(m.rank, 5);
    m = meet_of(torchrun, DMQ_OK);
    assert_int_equal(m.rank, 1);
    assert_int_equal(m.local, 1);
    assert_string_equal(m.host, "node1");
    assert_int_equal(m.port, 29500);
    (void)meet_of(half, DMQ_EINVAL);
    contains(dmq_message(), "PMI_SIZE = (not set)");
    (void)meet_of(beyond, DMQ_EINVAL);
    contains(dmq_message(), "DMQ_RANK = 4: must be a number from 0 to 3");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_environment_says_who_is_who) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
