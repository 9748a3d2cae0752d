#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[4096];

void dmq_message_write(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
}

/* Where a new line goes: a place stands before the first hint, all else at the end. */
static size_t place_of(const char *line)
{
    const char *hint = strncmp(line, "  at ", 5) == 0 ? strstr(message, "\n  hint: ") : NULL;

    return hint ? (size_t)(hint - message) : strlen(message);
}

void dmq_message_note(const char *format, ...)
{
    char line[sizeof message], rest[sizeof message];
    size_t n;
    va_list args;

    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    n = place_of(line);
    (void)snprintf(rest, sizeof rest, "%s", message + n);
    (void)snprintf(message + n, sizeof message - n, "%s%s%s", message[0] ? "\n" : "", line, rest);
}

const char *dmq_message(void)
{
    return message;
}

void dmq_message_set(const char *text)
{
    (void)snprintf(message, sizeof message, "%s", text);
}

int dmq_exit_code(dmq_status code)
{
    switch (code) {
    case DMQ_OK:
        return 0;
    case DMQ_EUSAGE:
        return 64;
    case DMQ_EDATA:
    case DMQ_ESHAPE:
    case DMQ_EDIVERGE:
        return 65;
    case DMQ_ENOINPUT:
        return 66;
    case DMQ_ENOTSUP:
    case DMQ_EDEVICE:
        return 69;
    case DMQ_ENOMEM:
        return 71;
    case DMQ_EEXIST:
        return 73;
    case DMQ_EIO:
        return 74;
    case DMQ_ESTOP:
        return 75;
    case DMQ_EPEER:
        return 76;
    case DMQ_EINVAL:
        return 78;
    case DMQ_EEXPECT:
        return 10;
    }
    return 1;
}
