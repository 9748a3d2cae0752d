/**
 * What a run will take, before it begins.
 *
 * Passes, iterations and bytes on disk are counted from the configuration. Seconds and
 * memory are measured on a miniature, on the machine and with the network of the run, and scaled:
 *
 *   passes           seconds of a pass of the network, full precision and quantized, times passes; what
 *                    lanes take in turn is counted in whole rounds
 *   reconstruction   every unit of another shape is opened, frozen, weighed and iterated a few times on a
 *                    few dozen samples of noise. An iteration costs the same whatever the calibration set
 *                    is; all else goes by its samples
 *   memory           what the process held at most while the miniature of a stage ran, with the parts
 *                    that grow (states, caches, Jacobian, images) at their real sizes
 *
 * Nothing is written. Speed that changes while the run goes on (other programs, a cooler clock) is beyond a
 * forecast.
 */
#ifndef DMQ_RUN_FORECAST_H
#define DMQ_RUN_FORECAST_H

#include "io/json.h"
#include "run/stage.h"

/** Seconds of the parts of quantize. */
typedef struct dmq_forecast_quantize {
    double ranges;  /**< search of weight ranges and nearest rounding */
    double prefix;  /**< what the units are fed, on both paths */
    double weigh;   /**< sample weights, and the cosines of the log */
    double learn;   /**< iterations */
    double measure; /**< block losses before and after */
    double tables;  /**< activation ranges */
} dmq_forecast_quantize;

typedef struct dmq_forecast_unit {
    const char *name; /**< the model's */
    size_t n_theta;   /**< weights that are learned */
    int iterations;
    int like;         /**< unit of the same shape that was measured for it; itself */
    double iteration; /**< seconds of one */
    double seconds;   /**< in all, without its inputs */
    double bytes;     /**< of caches, block and Jacobian */
} dmq_forecast_unit;

typedef struct dmq_forecast_stage {
    double passes; /**< of one sample through the network */
    double seconds;
    double host_bytes;   /**< of the process, at most */
    double device_bytes; /**< of what grows there; 0: the backend computes on the host */
    double disk_bytes;   /**< of what it leaves, and needs on the way */
} dmq_forecast_stage;

typedef struct dmq_forecast {
    double params;        /**< numbers of a state dict */
    double macs_per_pass; /**< of one sample */
    double pass, pass_q;  /**< seconds of a round: one shard on every lane */
    int round;            /**< samples of it */
    double decode;        /**< seconds of an image of the first stage; 0: there is none */
    dmq_forecast_stage stage[DMQ_RUN_STAGES];
    dmq_forecast_quantize quantize;
    dmq_forecast_unit *unit; /**< (n_units) that are learned, in order */
    int n_units;
    double cache_bytes; /**< that inputs and targets of units take at most, if all are kept */
    int recomputes;     /**< 1: they are not: the prefix is run again for every unit */
    int counts_only;    /**< nothing was measured */
    double seconds;     /**< of all stages */
    double host_bytes;  /**< of the largest */
    double device_bytes;
    double disk_bytes; /**< of all */
} dmq_forecast;

/**
 * Takes seconds for small networks, minutes for large ones. ESTOP on a signal.
 *
 * @param counts_only  run nothing: passes, iterations and disk are told, times and memory are 0
 */
dmq_status dmq_forecast_make(dmq_forecast **out, const dmq_experiment *experiment, int counts_only);

/** Takes NULL. */
void dmq_forecast_destroy(dmq_forecast *forecast);

dmq_status dmq_forecast_json(dmq_json *out, const dmq_forecast *forecast);

#endif
