#include "base/machine.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* The number of kB behind "key:" in a file of the system; -1: there is none. */
static double kib_of(const char *path, const char *key)
{
    FILE *f = fopen(path, "re");
    size_t n = strlen(key);
    char line[256];
    double kib = -1;

    while (f && kib < 0 && fgets(line, sizeof line, f)) {
        if (strncmp(line, key, n) == 0 && line[n] == ':' && sscanf(line + n + 1, "%lf", &kib) != 1)
            kib = -1;
    }
    if (f)
        (void)fclose(f);
    return kib;
}

double dmq_machine_memory(void)
{
    double pages = (double)sysconf(_SC_PHYS_PAGES), size = (double)sysconf(_SC_PAGESIZE);

    return pages > 0 && size > 0 ? pages * size : 0;
}

double dmq_machine_memory_free(void)
{
    double kib = kib_of("/proc/meminfo", "MemAvailable");

    return kib > 0 ? kib * 1024 : 0;
}

double dmq_process_peak(void)
{
    double kib = kib_of("/proc/self/status", "VmHWM");
    struct rusage usage;

    if (kib > 0)
        return kib * 1024;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (double)usage.ru_maxrss * 1024 : 0;
}

void dmq_process_peak_begin(void)
{
    int fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    (void)!write(fd, "5", 1); /* of all that can be cleared there, the peak alone */
    (void)close(fd);
}
