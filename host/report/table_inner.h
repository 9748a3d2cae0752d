/** One file a form of the table; for table.c. */
#ifndef DMQ_REPORT_TABLE_INNER_H
#define DMQ_REPORT_TABLE_INNER_H

#include "report/table.h"

dmq_status dmq_table_md(dmq_text *out, const dmq_results *all);

#endif
