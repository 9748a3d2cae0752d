/**
 * Ranks that are processes, on one machine or several, and how they find each other.
 *
 * Who started them says which rank a process is (environment, the first that is set counts):
 *
 *   dmq launch   DMQ_RANK, DMQ_SIZE
 *   Open MPI     OMPI_COMM_WORLD_RANK, OMPI_COMM_WORLD_SIZE
 *   MPICH (PMI)  PMI_RANK, PMI_SIZE
 *   Slurm        SLURM_PROCID, SLURM_STEP_NUM_TASKS (inside srun; a batch script itself is no rank)
 *   torchrun     RANK, WORLD_SIZE
 *
 * Rank 0 listens, the others connect to it; MPI itself is not needed. Where it listens they are told by
 *
 *   DMQ_COMM_FOLDER            a folder that all ranks see; rank 0 leaves its address there
 *   MASTER_ADDR, MASTER_PORT   the address itself (not under torchrun's agent, which listens there)
 *   the folder of the caller   that of the run
 *
 * The file (comm-address or comm-address-JOB, for its owner alone) holds host, port, job and a secret of that start; it is
 * taken away when all have come. A left one does no harm: job or secret is another, or nobody listens, and the
 * others go on looking. DMQ_COMM_HOST is the name or address of rank 0's machine that the others know it by, where its
 * host name is not. Nothing on the way is encrypted.
 *
 * Two jobs do not meet: the job's name as the scheduler has it, the secret and the caller's word must be
 * those of rank 0. Another number of ranks, or two processes of one rank, fail on all.
 */
#ifndef DMQ_DIST_MEET_H
#define DMQ_DIST_MEET_H

#include "dist/comm.h"

typedef struct dmq_meet {
    int rank, size;
    int local_rank;   /**< among those of its machine; -1: not told */
    int local;        /**< 1: all ranks are on this machine: rank 0 listens to no other */
    char by[16];      /**< who started it, "" for nobody */
    char job[64];     /**< "" where nobody told */
    char host[256];   /**< MASTER_ADDR; "": by the file */
    int port;         /**< MASTER_PORT */
    char folder[512]; /**< DMQ_COMM_FOLDER; "": the caller's */
} dmq_meet;

/** Of the environment; where nobody started ranks, one of one. EINVAL where it is told by halves. */
dmq_status dmq_meet_environment(dmq_meet *out);

/**
 * All ranks at once; of size 1, dmq_comm_self. Waits for the others as long as for a call.
 *
 * @param folder  of the caller; NULL: it has none
 * @param word    what all ranks of this group say alike ("quantize, runs/a"); up to 63 characters count
 * @return        EPEER with the ranks that did not come, or with what two of them differ in; EIO; EINVAL without a place
 */
dmq_status dmq_comm_meet(dmq_comm **out, const dmq_meet *meet, const char *folder, const char *word,
                         const dmq_comm_config *config);

#endif
