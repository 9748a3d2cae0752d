/* The header of a NumPy array, by a fixed grammar. */
#include "io/npz_inner.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_LIMIT (INT64_C(1) << 40)

const dmq_npz_kind dmq_npz_kinds[DMQ_NPZ_KINDS] = { { "|u1", "u1", 1 },
                                                    { "<f4", "f4", 4 },
                                                    { "<f8", "f8", 8 },
                                                    { "<i4", "i4", 4 },
                                                    { "<i8", "i8", 8 } };

static const char *skip(const char *p)
{
    return p + strspn(p, " ");
}

/* 'text' -> the length of text, p behind it; -1 when there is none. */
static int quoted(const char **p)
{
    const char *end;

    *p = skip(*p);
    if (**p != '\'' && **p != '"')
        return -1;
    end = strchr(*p + 1, **p);
    if (!end)
        return -1;
    (*p)++;
    return (int)(end - *p);
}

static bool tuple(dmq_npz_info *info, const char **p)
{
    const char *q = skip(*p);

    info->rank = 0;
    info->count = 1;
    if (*q++ != '(')
        return false;
    for (q = skip(q); *q != ')'; q = skip(q)) {
        char *end;
        long long n;

        if (info->rank == DMQ_NPZ_RANK || *q < '0' || *q > '9')
            return false;
        errno = 0;
        n = strtoll(q, &end, 10);
        if (errno || __builtin_mul_overflow(info->count, (int64_t)n, &info->count) ||
            info->count > COUNT_LIMIT)
            return false;
        info->dims[info->rank++] = n;
        q = skip(end + (*end == 'L'));
        if (*q == ',') {
            q++;
        } else if (*q != ')') {
            return false;
        }
    }
    *p = q + 1;
    return true;
}

/* {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } and nothing else. NULL when it is so. */
const char *dmq_npz_parse(dmq_npz_info *info, const char *p)
{
    unsigned seen = 0;

    p = skip(p);
    if (*p++ != '{')
        return "its header is not a dictionary";
    for (p = skip(p); *p != '}'; p = skip(p)) {
        const char *key;
        int n = quoted(&p);

        if (n < 0)
            return "its header holds a key that is no text";
        key = p;
        p = skip(p + n + 1);
        if (*p++ != ':')
            return "its header has a key without a value";
        p = skip(p);
        if (n == 5 && strncmp(key, "descr", 5) == 0) {
            int length = quoted(&p), type = 0;

            while (type < DMQ_NPZ_KINDS &&
                   (length != 3 || strncmp(p, dmq_npz_kinds[type].descr, 3) != 0))
                type++;
            if (type == DMQ_NPZ_KINDS)
                return "its numbers are not |u1, <f4, <f8, <i4 or <i8";
            info->type = (dmq_npz_type)type;
            p += length + 1;
            seen |= 1U;
        } else if (n == 13 && strncmp(key, "fortran_order", 13) == 0) {
            if (strncmp(p, "False", 5) != 0)
                return "it is in Fortran order: save numpy.ascontiguousarray of it";
            p += 5;
            seen |= 2U;
        } else if (n == 5 && strncmp(key, "shape", 5) == 0) {
            if (!tuple(info, &p))
                return "its shape is not a tuple of at most 8 sizes below 2^40 elements";
            seen |= 4U;
        } else {
            return "its header has an unknown key";
        }
        p = skip(p);
        if (*p == ',') {
            p++;
        } else if (*p != '}') {
            return "its header is not a dictionary";
        }
    }
    p++;
    if (seen != 7 || p[strspn(p, " \n")] != '\0')
        return "its header must have descr, fortran_order and shape, nothing else";
    return NULL;
}
