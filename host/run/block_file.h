/**
 * What a run keeps of units while it quantizes, so that a stopped run goes on with the same bits.
 *
 *   ckpt/block-NNN.h5       a unit that is done: codes of its layers, logits of its sample weights, log
 *   ckpt/block-NNN.part.h5  a unit under way: alpha, Adam's moments, iteration, logits
 *   blocks.json             the logs of all units, when the stage ends
 *
 * Each file carries the stage's key; one of another key is ignored, as if it were not there, and so is a
 * damaged one, with a warning. Times are in the events alone, so that equal results give equal files.
 */
#ifndef DMQ_RUN_BLOCK_FILE_H
#define DMQ_RUN_BLOCK_FILE_H

#include "recon/block.h"
#include "run/stage.h"
#include "run/unit_log.h"

/** Codes of the unit into q, if its file is there. */
dmq_status dmq_block_file_load(const dmq_job *job, dmq_qmodel *q, int unit, int *done);

/** Rounds are hard by now. s (n_s) may be NULL. Removes the part file. */
dmq_status dmq_block_file_save(const dmq_job *job, const dmq_qmodel *q, const dmq_block *block,
                               const dmq_real *s, int n_s, const dmq_unit_log *log);

/** log: what is known before reconstruction ends. */
dmq_status dmq_part_save(const dmq_job *job, int unit, const dmq_recon_state *state,
                         const dmq_real *s, int n_s, const dmq_unit_log *log);

/** state, s (n_s) and log stay as they are when there is no part file. */
dmq_status dmq_part_load(const dmq_job *job, int unit, dmq_recon_state *state, dmq_real *s, int n_s,
                         dmq_unit_log *log, int *resumed);

/** One event and one line of log. */
dmq_status dmq_unit_log_tell(const dmq_job *job, const dmq_unit *unit, const dmq_unit_log *log);

/** Gather the logs into blocks.json. */
dmq_status dmq_block_files_finish(const dmq_job *job, const dmq_model *model);

#endif
