/* dmq report: one self-contained HTML file, beside the runs or where -o says */
#include "base/log.h"
#include "base/memory.h"
#include "base/path.h"
#include "cli/output.h"
#include "cli/setup.h"
#include "cli/verbs.h"
#include "report/html.h"

#include <string.h>

dmq_status dmq_cmd_report(const dmq_options *o)
{
    dmq_results *results = NULL;
    char *text = NULL, *path = NULL;
    dmq_status st = DMQ_OK;

    if (o->n_arg == 0) {
        st = dmq_fail(DMQ_EUSAGE, "dmq report needs the folder of a run or of a sweep");
        return dmq_fail_note(st, "  hint: dmq report runs/NAME");
    }
    if (o->out) {
        DMQ_TRY(dmq_strdup(&path, o->out));
    } else {
        DMQ_TRY(dmq_path_join(&path, o->arg[0], "report.html"));
    }
    DMQ_TRY(dmq_setup_results(&results, o));
    DMQ_TRY(dmq_html_render(&text, results));
    DMQ_TRY(dmq_output_write(path, text, o->overwrite));
    dmq_log_info("report: %s, %.2f MB", path, (double)strlen(text) / 1e6);
done:
    dmq_results_destroy(results);
    dmq_free(text);
    dmq_free(path);
    return st;
}
