/* Which rank this process is, as those say who started it. */
#include "dist/meet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct starter {
    const char *name, *rank, *size, *local_rank, *local_size;
    const char *job[3];
    int half_is_none; /* a rank without a number of ranks is no rank */
} starter;

/* mpirun inside a job of Slurm sets both: Slurm's rank is then that of the daemon. */
static const starter starters[] = {
    { "dmq launch", "DMQ_RANK", "DMQ_SIZE", "DMQ_LOCAL_RANK", "DMQ_LOCAL_SIZE", { "DMQ_JOB" }, 0 },
    { "Open MPI",
      "OMPI_COMM_WORLD_RANK",
      "OMPI_COMM_WORLD_SIZE",
      "OMPI_COMM_WORLD_LOCAL_RANK",
      "OMPI_COMM_WORLD_LOCAL_SIZE",
      { "PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid" },
      0 },
    { "PMI",
      "PMI_RANK",
      "PMI_SIZE",
      "MPI_LOCALRANKID",
      "MPI_LOCALNRANKS",
      { "SLURM_JOB_ID", "SLURM_STEP_ID" },
      0 },
    { "Slurm",
      "SLURM_PROCID",
      "SLURM_STEP_NUM_TASKS",
      "SLURM_LOCALID",
      NULL,
      { "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT" },
      1 },
    { "torchrun",
      "RANK",
      "WORLD_SIZE",
      "LOCAL_RANK",
      "LOCAL_WORLD_SIZE",
      { "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT" },
      1 }, /* RANK alone may be anything */
};

static const char *look(const char *name)
{
    const char *text = name ? getenv(name) : NULL;

    return text && *text ? text : NULL;
}

static dmq_status read_whole(int *out, const char *name, int least, int most)
{
    const char *text = look(name);
    char *end = NULL;
    long value = text ? strtol(text, &end, 10) : -1;

    if (!text || end == text || *end || value < least || value > most) {
        return dmq_fail(DMQ_EINVAL, "group: %s = %s: must be a number from %d to %d", name,
                        text ? text : "(not set)", least, most);
    }
    *out = (int)value;
    return DMQ_OK;
}

static void read_job(dmq_meet *m, const starter *s)
{
    size_t n = 0;

    for (size_t i = 0; i < sizeof s->job / sizeof *s->job && n < sizeof m->job; i++) {
        const char *text = look(s->job[i]);

        if (text)
            n += (size_t)snprintf(m->job + n, sizeof m->job - n, "%s%s", n ? "." : "", text);
    }
}

static dmq_status read_starter(dmq_meet *m, const starter *s)
{
    dmq_status st = DMQ_OK;
    int local_size = 0;

    (void)snprintf(m->by, sizeof m->by, "%s", s->name);
    DMQ_TRY(read_whole(&m->size, s->size, 1, 1 << 16));
    DMQ_TRY(read_whole(&m->rank, s->rank, 0, m->size - 1));
    if (look(s->local_rank))
        DMQ_TRY(read_whole(&m->local_rank, s->local_rank, 0, m->size - 1));
    if (look(s->local_size))
        DMQ_TRY(read_whole(&local_size, s->local_size, 1, m->size));
    m->local = local_size == m->size;
    read_job(m, s);
done:
    return st;
}

static dmq_status read_place(dmq_meet *m)
{
    const char *folder = look("DMQ_COMM_FOLDER"), *host = look("MASTER_ADDR");
    const char *agent = look("TORCHELASTIC_USE_AGENT_STORE");
    dmq_status st = DMQ_OK;

    if (folder && (size_t)snprintf(m->folder, sizeof m->folder, "%s", folder) >= sizeof m->folder) {
        return dmq_fail(DMQ_EINVAL, "group: DMQ_COMM_FOLDER is longer than %zu characters",
                        sizeof m->folder - 1);
    }
    if (folder || !host || !look("MASTER_PORT") || (agent && strcmp(agent, "True") == 0))
        return DMQ_OK;
    if ((size_t)snprintf(m->host, sizeof m->host, "%s", host) >= sizeof m->host)
        return dmq_fail(DMQ_EINVAL, "group: MASTER_ADDR = %s: too long", host);
    DMQ_TRY(read_whole(&m->port, "MASTER_PORT", 1, 65535));
done:
    return st;
}

dmq_status dmq_meet_environment(dmq_meet *out)
{
    dmq_status st = DMQ_OK;

    *out = (dmq_meet){ .size = 1, .local_rank = -1 };
    for (size_t i = 0; i < sizeof starters / sizeof *starters; i++) {
        const starter *s = &starters[i];

        if (!look(s->size) && (!look(s->rank) || s->half_is_none))
            continue;
        DMQ_TRY(read_starter(out, s));
        break;
    }
    DMQ_TRY(read_place(out));
done:
    return st;
}
