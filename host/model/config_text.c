#include "model/config_text.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** What stands behind "key: ", or NULL after a message. */
static const char *find(const char *text, const char *key)
{
    size_t n = strlen(key);

    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, n) == 0 && line[n] == ':')
            return line + n + 1;
    }
    (void)dmq_fail(DMQ_EDATA, "model configuration: there is no \"%s\"", key);
    return NULL;
}

static dmq_status whole(int *out, const char **at, const char *key)
{
    char *end;
    long v;

    errno = 0;
    v = strtol(*at, &end, 10);
    if (end == *at || errno || v < INT_MIN || v > INT_MAX)
        return dmq_fail(DMQ_EDATA, "model configuration: \"%s\" is not a whole number", key);
    *out = (int)v;
    *at = end;
    return DMQ_OK;
}

static dmq_status ends(const char *at, const char *key)
{
    if (*at != '\n' && *at != '\0') {
        return dmq_fail(DMQ_EDATA, "model configuration: \"%s\" has \"%.20s\" behind its value",
                        key, at);
    }
    return DMQ_OK;
}

dmq_status dmq_config_text_int(int *out, const char *text, const char *key)
{
    dmq_status st = DMQ_OK;
    const char *at = find(text, key);

    if (!at)
        return DMQ_EDATA;
    DMQ_TRY(whole(out, &at, key));
    DMQ_TRY(ends(at, key));
done:
    return st;
}

dmq_status dmq_config_text_double(double *out, const char *text, const char *key)
{
    const char *at = find(text, key);
    char *end;

    if (!at)
        return DMQ_EDATA;
    *out = strtod(at, &end);
    if (end == at || !isfinite(*out))
        return dmq_fail(DMQ_EDATA, "model configuration: \"%s\" is not a number", key);
    return ends(end, key);
}

dmq_status dmq_config_text_ints(int *out, int *n, int max, const char *text, const char *key)
{
    dmq_status st = DMQ_OK;
    const char *at = find(text, key);

    *n = 0;
    if (!at)
        return DMQ_EDATA;
    at += strspn(at, " ");
    if (*at++ != '[')
        return dmq_fail(DMQ_EDATA, "model configuration: \"%s\" is not a list", key);
    while (*at != ']') {
        if (*n == max) {
            return dmq_fail(DMQ_EDATA, "model configuration: \"%s\" has more than %d numbers", key,
                            max);
        }
        DMQ_TRY(whole(&out[(*n)++], &at, key));
        at += strspn(at, ", ");
    }
    DMQ_TRY(ends(at + 1, key));
done:
    return st;
}

void dmq_config_text_list(char *text, size_t size, const char *key, const int *value, int n)
{
    size_t at = strlen(text);

    at += (size_t)snprintf(text + at, size - at, "%s: [", key);
    for (int i = 0; i < n && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, i ? ", %d" : "%d", value[i]);
    if (at < size)
        snprintf(text + at, size - at, "]\n");
}
