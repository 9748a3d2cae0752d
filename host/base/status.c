#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[4096];

dmq_status dmq_fail(dmq_status code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return code;
}

dmq_status dmq_fail_note(dmq_status code, const char *format, ...)
{
    size_t n = strlen(message);
    va_list args;

    if (n + 2 >= sizeof message)
        return code;
    if (n > 0)
        message[n++] = '\n';
    va_start(args, format);
    (void)vsnprintf(message + n, sizeof message - n, format, args);
    va_end(args);
    return code;
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
