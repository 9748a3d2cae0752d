/** Which libraries this program runs with: their versions as they tell them at run time. */
#ifndef DMQ_IO_LIBRARIES_H
#define DMQ_IO_LIBRARIES_H

#include <stdio.h>

/** One line each, to a stream. */
void dmq_libraries_print(FILE *out);

#endif
