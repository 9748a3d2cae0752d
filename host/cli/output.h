/** A text as a result: a file that is not there yet, or that it replaces knowingly. */
#ifndef DMQ_CLI_OUTPUT_H
#define DMQ_CLI_OUTPUT_H

#include "base/status.h"

/** Complete or not there at all. EEXIST when path holds something else and overwrite is 0. */
dmq_status dmq_output_write(const char *path, const char *text, int overwrite);

#endif
