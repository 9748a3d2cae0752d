/**
 * Talk. All of it goes to stderr, because stdout is for data; one call is one write, so lines of several
 * threads do not mix.
 *
 *   dmq: error: quant.act.bits = 9: must be 2..8
 *     at experiments/cifar10/w4a8.yaml:23:18
 *     hint: for no activation quantization write "act: off"
 *   dmq: warning [zero-step]: layer up.0.block.1.conv1 has a constant channel; its step is set to 1
 *   dmq: reconstructing down.1.block.0
 */
#ifndef DMQ_BASE_LOG_H
#define DMQ_BASE_LOG_H

#include "base/status.h"

/** A warning of one name is printed this often; the rest is counted and told at the end. */
#define DMQ_LOG_REPEATS 5

typedef enum dmq_verbosity {
    DMQ_QUIET,  /**< errors and warnings     (-q) */
    DMQ_NORMAL, /**< and what is being done       */
    DMQ_VERBOSE /**< and why                 (-v) */
} dmq_verbosity;

void dmq_log_verbosity_set(dmq_verbosity verbosity);

dmq_verbosity dmq_log_verbosity(void);

/** Where the talk goes; 2 (stderr) at the start. Other numbers are for tests. */
void dmq_log_fd_set(int fd);

int dmq_log_fd(void);

/**
 * Also append every line, whatever the verbosity, to a file, with the wall time before it. A second call
 * closes the first file; NULL only closes. EIO with the path when it cannot be opened.
 */
dmq_status dmq_log_copy(const char *path);

/** What is being done. From NORMAL on. */
void dmq_log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Details. From VERBOSE on. */
void dmq_log_detail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** Something a person must know though the program goes on. name: a short word with dashes, for counts. */
void dmq_log_warn(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** "dmq: error: " and the text; lines after the first one keep their indent. Always printed. */
void dmq_log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** How many warnings of this name (NULL: of all names) there were. */
long dmq_log_warnings(const char *name);

/** The i-th name that warned, in order of first occurrence; NULL behind the last. */
const char *dmq_log_warning_name(int i);

/** One line for every name that was cut off at DMQ_LOG_REPEATS. Called once at the end. */
void dmq_log_summary(void);

/**
 * The transient last line on a terminal: drawn anew under every line of talk; NULL takes it away. Only
 * progress.c calls this. Not copied to the file.
 */
void dmq_log_bar(const char *text);

/** A whole line as it is (no prefix, no copy), in the order of the talk. For progress lines. */
void dmq_log_line(const char *text);

#endif
