#include "base/clock.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

static double fake_seconds = -1.0;

static double read_clock(clockid_t id)
{
    struct timespec ts = { 0, 0 };

    (void)clock_gettime(id, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

double dmq_clock_seconds(void)
{
    return fake_seconds >= 0.0 ? fake_seconds : read_clock(CLOCK_MONOTONIC);
}

double dmq_clock_cpu_seconds(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

double dmq_clock_unix(void)
{
    return read_clock(CLOCK_REALTIME);
}

void dmq_clock_iso(char out[DMQ_CLOCK_TEXT])
{
    time_t now = time(NULL);
    struct tm utc;

    if (!gmtime_r(&now, &utc) || strftime(out, DMQ_CLOCK_TEXT, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        (void)snprintf(out, DMQ_CLOCK_TEXT, "1970-01-01T00:00:00Z");
}

void dmq_clock_duration(char out[DMQ_CLOCK_TEXT], double seconds)
{
    long s;

    if (!isfinite(seconds) || seconds < 0.0 || seconds > 3e9) {
        (void)snprintf(out, DMQ_CLOCK_TEXT, "?");
        return;
    }
    if (seconds < 9.95) {
        (void)snprintf(out, DMQ_CLOCK_TEXT, "%.1fs", seconds);
        return;
    }
    s = lround(seconds);
    if (s < 60) {
        (void)snprintf(out, DMQ_CLOCK_TEXT, "%lds", s);
    } else if (s < 3600) {
        (void)snprintf(out, DMQ_CLOCK_TEXT, "%ldm%02lds", s / 60, s % 60);
    } else if (s < 24L * 3600) {
        (void)snprintf(out, DMQ_CLOCK_TEXT, "%ldh%02ldm", s / 3600, s % 3600 / 60);
    } else {
        (void)snprintf(out, DMQ_CLOCK_TEXT, "%ldd%02ldh", s / 86400, s % 86400 / 3600);
    }
}

void dmq_clock_fake(double seconds)
{
    fake_seconds = seconds;
}
