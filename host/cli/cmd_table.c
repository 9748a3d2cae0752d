/* dmq table: results side by side, on stdout or in a file */
#include "base/memory.h"
#include "cli/output.h"
#include "cli/setup.h"
#include "cli/verbs.h"
#include "report/table.h"

#include <stdio.h>

dmq_status dmq_cmd_table(const dmq_options *o)
{
    dmq_results *results = NULL;
    dmq_table_format format;
    char *text = NULL;
    dmq_status st = DMQ_OK;

    if (o->n_arg == 0) {
        st = dmq_fail(DMQ_EUSAGE, "dmq table needs the folder of a run or of a sweep");
        return dmq_fail_note(st, "  hint: dmq table runs/NAME");
    }
    DMQ_TRY(dmq_table_format_parse(&format, o->format));
    DMQ_TRY(dmq_setup_results(&results, o));
    DMQ_TRY(dmq_table_render(&text, results, format));
    if (o->out) {
        DMQ_TRY(dmq_output_write(o->out, text, o->overwrite));
    } else if (fputs(text, stdout) == EOF || fflush(stdout) != 0) {
        st = dmq_fail(DMQ_EIO, "dmq table: stdout cannot be written");
    }
done:
    dmq_results_destroy(results);
    dmq_free(text);
    return st;
}
