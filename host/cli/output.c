#include "cli/output.h"

#include "base/memory.h"
#include "io/file.h"

#include <string.h>

enum { LIMIT = 1 << 30 };

dmq_status dmq_output_write(const char *path, const char *text, int overwrite)
{
    dmq_status st = DMQ_OK;
    char *there = NULL;
    size_t size = 0;

    if (!overwrite && dmq_file_exists(path)) {
        DMQ_TRY(dmq_file_read(&there, &size, path, LIMIT));
        if (size == strlen(text) && memcmp(there, text, size) == 0)
            goto done;
        st = dmq_fail(DMQ_EEXIST, "%s exists and holds something else", path);
        st = dmq_fail_note(st, "  hint: --overwrite replaces it; -o PATH writes another file");
        goto done;
    }
    DMQ_TRY(dmq_file_write_text(path, text));
done:
    dmq_free(there);
    return st;
}
