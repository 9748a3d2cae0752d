/**
 * A run folder: what is in it is enough to repeat, audit and compare the run.
 *
 *   run.json            manifest, written first and after every stage: versions, device, seeds, restarts,
 *                       the configuration's hash, and for each stage its key, file, sha256, seconds
 *   config.yaml         the configuration, resolved; stands alone
 *   config.origin.json  where each value came from
 *   events.jsonl        one line an event, append-only       log.txt   what was said
 *
 * One process works in a folder at a time; shards of a sampling job are several that share it, and only
 * one that is alone writes the manifest. A folder whose files were made with another configuration is not
 * touched (EEXIST) unless told to overwrite, and neither is one where nothing is left to do.
 */
#ifndef DMQ_RUN_FOLDER_H
#define DMQ_RUN_FOLDER_H

#include "io/json.h"
#include "run/experiment.h"

typedef enum dmq_resume_rule {
    DMQ_RESUME_IF_THERE, /**< go on where a stopped run was, start where there is none */
    DMQ_RESUME_AFRESH,   /**< what is there is made again */
    DMQ_RESUME_REQUIRED  /**< ENOINPUT when there is nothing to go on with */
} dmq_resume_rule;

typedef struct dmq_folder_options {
    const char *path;
    const char *label; /**< row of the table; NULL: the configuration's name */
    const char *store; /**< results that arms of a sweep share; NULL: none */
    int task;          /**< its number in the sweep, which orders the table; with a label only */
    dmq_resume_rule resume;
    int overwrite;
    int shared;  /**< other shards may work here too */
    int dry_run; /**< look, but make and write nothing */
} dmq_folder_options;

typedef struct dmq_folder {
    char *path;
    char *store;
    char *label; /**< may be NULL */
    int task;
    dmq_json *manifest;
    int lock;
    int overwrite, afresh;
    int alone; /**< nobody else works here, and nobody will */
    int begun; /**< this start has written the manifest */
    double opened;
} dmq_folder;

/** What is known of a stage's result. */
typedef enum dmq_stage_state {
    DMQ_STAGE_MISSING, /**< never finished, or its file is gone */
    DMQ_STAGE_DONE,    /**< finished with this key */
    DMQ_STAGE_OTHER    /**< finished with another key */
} dmq_stage_state;

/**
 * Makes the folder, takes the lock, reads the manifest; nothing of an earlier run is changed yet.
 *
 * @return  EEXIST when another process works there, or when the folder holds something else; ENOINPUT
 *          when there has to be a run to go on with
 */
dmq_status dmq_folder_open(dmq_folder **out, const dmq_folder_options *options);

/** The process that works in a folder; 0: none of this machine. Takes no lock and writes nothing. */
long dmq_folder_worker(const char *folder);

/** Be the only one, if the other shards are gone: 1 when it is so. */
int dmq_folder_claim(dmq_folder *folder);

/** Write manifest and configuration of this start, open the log; once, however often it is called. */
dmq_status dmq_folder_begin(dmq_folder *folder, const dmq_experiment *experiment);

/** Writes the manifest a last time. Takes NULL. */
void dmq_folder_close(dmq_folder *folder);

/** Path of a file of the folder; the caller frees. */
dmq_status dmq_folder_file(char **out, const dmq_folder *folder, const char *name);

/** Missing, done or another's: what the manifest and the file of a stage are to a key. */
dmq_status dmq_folder_look(dmq_stage_state *out, const dmq_folder *folder, const char *stage,
                           const char *key);

/** The text that an earlier key was made of, to tell what differs; NULL when there is none. */
const char *dmq_folder_text_of(const dmq_folder *folder, const char *stage);

/** A stage that is finished. */
typedef struct dmq_folder_stage {
    const char *key, *text; /**< the key, and what it is the hash of */
    const char *file;
    double seconds; /**< of this start */
    int shared;     /**< its file was there already, another run's */
    int joined;     /**< of shards, which have their own seconds */
} dmq_folder_stage;

/** Record a finished stage, with the seconds of the starts before: hashes its file and replaces the manifest. */
dmq_status dmq_folder_done(dmq_folder *folder, const char *stage, const dmq_folder_stage *done);

/** A stage was stopped: its seconds are kept in the manifest until it is done. */
dmq_status dmq_folder_stopped(dmq_folder *folder, const char *stage, const char *key,
                              double seconds);

/**
 * EDATA when a stage's file is not the one that it left: a later stage would go on with damaged numbers.
 */
dmq_status dmq_folder_check(const dmq_folder *folder, const char *stage);

/** Forget a stage and remove its file, so that it is made again. */
dmq_status dmq_folder_forget(dmq_folder *folder, const char *stage, const char *file);

/** Append to events.jsonl; "t" (seconds since 1970) is set here. The event stays the caller's. */
dmq_status dmq_folder_event(const dmq_folder *folder, dmq_json *event);

#endif
