/* dmq run, calibrate, quantize, sample: all stages, or one and what it needs */
#include "cli/setup.h"
#include "cli/verbs.h"

dmq_status dmq_cmd_run(const dmq_options *o)
{
    return dmq_setup_stages(o, -1);
}

dmq_status dmq_cmd_calibrate(const dmq_options *o)
{
    return dmq_setup_stages(o, DMQ_RUN_CALIBRATE);
}

dmq_status dmq_cmd_quantize(const dmq_options *o)
{
    return dmq_setup_stages(o, DMQ_RUN_QUANTIZE);
}

dmq_status dmq_cmd_sample(const dmq_options *o)
{
    return dmq_setup_stages(o, o->fp ? DMQ_RUN_SAMPLE_FP : DMQ_RUN_SAMPLE);
}
