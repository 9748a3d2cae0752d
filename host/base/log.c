#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_SIZE = 4608, NAMES = 64, NAME_SIZE = 48, BAR_SIZE = 256 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static dmq_verbosity level = DMQ_NORMAL;
static int out_fd = 2;
static int copy_fd = -1;
static char bar[BAR_SIZE];
static char names[NAMES][NAME_SIZE];
static long counts[NAMES];
static int name_count;

static void write_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, text, size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nowhere to complain */
        text += n;
        size -= (size_t)n;
    }
}

/* The bar is erased, the line written, the bar drawn again: one write, or a terminal flickers. */
static void emit_locked(const char *line)
{
    char buffer[LINE_SIZE + 2 * BAR_SIZE];
    int n = snprintf(buffer, sizeof buffer, "%s%s%s%s", bar[0] ? "\r\033[K" : "", line,
                     line[0] ? "\n" : "", bar);

    if (n > 0)
        write_all(out_fd, buffer, (size_t)n < sizeof buffer ? (size_t)n : sizeof buffer - 1);
}

static void copy_locked(const char *line)
{
    char buffer[LINE_SIZE + DMQ_CLOCK_TEXT];
    char when[DMQ_CLOCK_TEXT];
    int n;

    if (copy_fd < 0)
        return;
    dmq_clock_iso(when);
    n = snprintf(buffer, sizeof buffer, "%s %s\n", when, line);
    if (n > 0)
        write_all(copy_fd, buffer, (size_t)n < sizeof buffer ? (size_t)n : sizeof buffer - 1);
}

static void say(dmq_verbosity from, const char *prefix, const char *format, va_list args)
{
    char line[LINE_SIZE];
    int n = snprintf(line, sizeof line, "dmq: %s", prefix);

    (void)vsnprintf(line + n, sizeof line - (size_t)n, format, args);
    pthread_mutex_lock(&lock);
    copy_locked(line);
    if (level >= from)
        emit_locked(line);
    pthread_mutex_unlock(&lock);
}

void dmq_log_verbosity_set(dmq_verbosity verbosity)
{
    level = verbosity;
}

dmq_verbosity dmq_log_verbosity(void)
{
    return level;
}

void dmq_log_fd_set(int fd)
{
    out_fd = fd;
}

int dmq_log_fd(void)
{
    return out_fd;
}

dmq_status dmq_log_copy(const char *path)
{
    int fd = -1;

    if (path) {
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (fd < 0)
            return dmq_fail(DMQ_EIO, "%s: the log cannot be written (%s)", path, strerror(errno));
    }
    pthread_mutex_lock(&lock);
    if (copy_fd >= 0)
        (void)close(copy_fd);
    copy_fd = fd;
    pthread_mutex_unlock(&lock);
    return DMQ_OK;
}

void dmq_log_info(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(DMQ_NORMAL, "", format, args);
    va_end(args);
}

void dmq_log_detail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(DMQ_VERBOSE, "", format, args);
    va_end(args);
}

void dmq_log_error(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    say(DMQ_QUIET, "error: ", format, args);
    va_end(args);
}

/* Index of the name, added when new; the last slot takes all names when the table is full. */
static int find_name_locked(const char *name)
{
    for (int i = 0; i < name_count; i++) {
        if (strncmp(names[i], name, NAME_SIZE - 1) == 0)
            return i;
    }
    if (name_count == NAMES)
        return NAMES - 1;
    (void)snprintf(names[name_count], NAME_SIZE, "%s", name);
    return name_count++;
}

void dmq_log_warn(const char *name, const char *format, ...)
{
    char prefix[NAME_SIZE + 16];
    long count;
    va_list args;

    pthread_mutex_lock(&lock);
    count = ++counts[find_name_locked(name)];
    pthread_mutex_unlock(&lock);
    (void)snprintf(prefix, sizeof prefix, "warning [%.*s]: ", NAME_SIZE - 1, name);
    va_start(args, format);
    say(count <= DMQ_LOG_REPEATS ? DMQ_QUIET : (dmq_verbosity)(DMQ_VERBOSE + 1), prefix, format,
        args);
    va_end(args);
}

long dmq_log_warnings(const char *name)
{
    long sum = 0;

    pthread_mutex_lock(&lock);
    for (int i = 0; i < name_count; i++) {
        if (!name || strncmp(names[i], name, NAME_SIZE - 1) == 0)
            sum += counts[i];
    }
    pthread_mutex_unlock(&lock);
    return sum;
}

const char *dmq_log_warning_name(int i)
{
    return i >= 0 && i < name_count ? names[i] : NULL;
}

void dmq_log_summary(void)
{
    for (int i = 0; i < name_count; i++) {
        if (counts[i] > DMQ_LOG_REPEATS) {
            dmq_log_info("warning [%s] came %ld times, %d of them shown", names[i], counts[i],
                         DMQ_LOG_REPEATS);
        }
    }
}

void dmq_log_bar(const char *text)
{
    pthread_mutex_lock(&lock);
    if (text || bar[0]) {
        char old = bar[0];

        bar[0] = '\0';
        write_all(out_fd, "\r\033[K", old ? 4 : 0);
        if (text)
            (void)snprintf(bar, sizeof bar, "%s", text);
        emit_locked("");
    }
    pthread_mutex_unlock(&lock);
}

void dmq_log_line(const char *text)
{
    pthread_mutex_lock(&lock);
    emit_locked(text);
    pthread_mutex_unlock(&lock);
}
