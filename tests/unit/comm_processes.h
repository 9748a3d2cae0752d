/**
 * Ranks as processes of this machine, for tests: forked by the test, which has opened no device and no thread itself,
 * they meet in its scratch folder.
 */
#ifndef DMQ_TESTS_COMM_PROCESSES_H
#define DMQ_TESTS_COMM_PROCESSES_H

#include "base/clock.h"
#include "dist/meet.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "comm_parts.h"
#include "scratch.h"

/* What a process leaves for the test. */
typedef struct outcome {
    dmq_status status;
    double seconds;
    char message[2048];
} outcome;

typedef struct process {
    dmq_meet meet;
    const char *folder, *word;
    const char *backend;
    dmq_comm_way way;
    double limit;
    rank_fn *fn;
    void *context;
    pid_t pid;
    outcome *out;
} process;

static process rank[RANKS];
static outcome *outcomes; /* (RANKS), shared with the processes */

static inline void contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static inline dmq_status run_rank(process *p)
{
    dmq_comm_config config = { .way = p->way, .seconds = p->limit };
    rank_place at = { .rank = p->meet.rank, .size = p->meet.size, .context = p->context };
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_backend_open(&at.be, p->backend));
    config.backend = at.be;
    DMQ_TRY(at.be->queue_create(&at.queue, 0));
    DMQ_TRY(dmq_comm_meet(&at.comm, &p->meet, p->folder, p->word, &config));
    DMQ_TRY(p->fn(&at));
done:
    if (st != DMQ_OK)
        (void)snprintf(p->out->message, sizeof p->out->message, "%s", dmq_message());
    dmq_comm_destroy(at.comm);
    if (at.be)
        at.be->queue_destroy(at.queue);
    return st;
}

static inline void start(process *p)
{
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0) {
        double begin = dmq_clock_seconds();

        p->out->status = run_rank(p);
        p->out->seconds = dmq_clock_seconds() - begin;
        _exit(dmq_exit_code(p->out->status));
    }
}

/* Its exit code; 128 and more where a signal ended it. */
static inline int finish(process *p)
{
    int status = 0;

    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static inline void prepare(int size, double limit, rank_fn *fn, void *context)
{
    memset(outcomes, 0, RANKS * sizeof *outcomes);
    for (int r = 0; r < size; r++) {
        rank[r] = (process){
            .meet = { .rank = r, .size = size, .local_rank = r, .local = 1, .job = "7.0" },
            .folder = scratch_folder,
            .word = "test",
            .backend = "ref",
            .limit = limit,
            .fn = fn,
            .context = context,
            .out = &outcomes[r]
        };
    }
}

static inline void start_all(int size)
{
    for (int r = size - 1; r >= 0; r--) /* rank 0 comes last: the others wait for its address */
        start(&rank[r]);
}

static inline void all_well(int size)
{
    for (int r = 0; r < size; r++) {
        int code = finish(&rank[r]);

        if (code != 0)
            fail_msg("rank %d of %d: exit %d: %s", r, size, code, outcomes[r].message);
    }
    assert_int_not_equal(access(in_folder("comm-address-7_0"), F_OK), 0); /* taken away */
}

/** Shared memory for what the processes leave; 0 where there is none. */
static inline int outcomes_open(void)
{
    FILE *shared = tmpfile();

    if (!shared || ftruncate(fileno(shared), RANKS * sizeof *outcomes) != 0)
        return 0;
    outcomes =
        mmap(NULL, RANKS * sizeof *outcomes, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(shared), 0);
    return outcomes != MAP_FAILED;
}

#endif
