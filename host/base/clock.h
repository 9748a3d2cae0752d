/**
 * Time: seconds that never run backwards for durations, wall time for people and records.
 */
#ifndef DMQ_BASE_CLOCK_H
#define DMQ_BASE_CLOCK_H

#include <stddef.h>

/** Room for any text of this header. */
#define DMQ_CLOCK_TEXT 32

/** Monotonic seconds since an arbitrary start. */
double dmq_clock_seconds(void);

/** CPU seconds of the whole process, all threads. */
double dmq_clock_cpu_seconds(void);

/** Wall time in UTC, ISO 8601: "2026-11-22T13:05:09Z". */
void dmq_clock_iso(char out[DMQ_CLOCK_TEXT]);

/** Seconds since 1970, with a fraction. */
double dmq_clock_unix(void);

/**
 * A duration as people say it: "0.4s", "42s", "3m05s", "1h02m", "2d03h"; "?" when it is not known (NaN,
 * infinite or negative).
 */
void dmq_clock_duration(char out[DMQ_CLOCK_TEXT], double seconds);

/** For tests: dmq_clock_seconds() answers this until it is called with a negative number. */
void dmq_clock_fake(double seconds);

#endif
