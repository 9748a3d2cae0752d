/**
 * Stopping in order: a signal sets a flag, the step under way ends, the checkpoint is written, and the
 * program leaves with DMQ_ESTOP (exit 75).
 */
#ifndef DMQ_BASE_SIGNAL_H
#define DMQ_BASE_SIGNAL_H

#include <stdbool.h>

/**
 * Let TERM, INT and USR2 set the flag and do nothing else. A second INT ends the program at once, for
 * the person at the keyboard. PIPE and XFSZ are ignored, so that a closed pipe and a
 * file beyond a limit are failed writes with a message.
 */
void dmq_signal_install(void);

/** True once a signal came. Loops ask it once an iteration; it costs one load. */
bool dmq_stop_requested(void);

/** The signal's number, 0 when none came. */
int dmq_stop_signal(void);

/** Set the flag as a signal would (sig > 0), or clear it (0): for tests and --stop-after. */
void dmq_stop_request(int sig);

#endif
