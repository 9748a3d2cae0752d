#include "dist/meet_file.h"

#include "base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char format_name[] = "dmq-comm 1";

dmq_status dmq_meet_file_name(char **out, const char *folder, const dmq_meet *meet)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    char name[96];

    (void)snprintf(name, sizeof name, "comm-address%s%s", meet->job[0] ? "-" : "", meet->job);
    for (char *c = name; *c; c++) {
        if (!strchr(plain, *c))
            *c = '_';
    }
    return dmq_path_join(out, folder, name);
}

static dmq_status make_secret(char out[DMQ_MEET_SECRET])
{
    unsigned char bytes[16];
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, bytes, sizeof bytes) : -1;

    if (fd >= 0)
        (void)close(fd);
    if (got != (ssize_t)sizeof bytes)
        return dmq_fail(DMQ_EIO, "group: /dev/urandom: %s", strerror(errno));
    for (size_t i = 0; i < sizeof bytes; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    return DMQ_OK;
}

dmq_status dmq_meet_file_fill(dmq_meet_address *at, const dmq_meet *meet)
{
    const char *host = getenv("DMQ_COMM_HOST");
    int named = host && *host;

    (void)snprintf(at->host, sizeof at->host, "%s", named ? host : "");
    if (!named)
        (void)gethostname(at->host, sizeof at->host - 1);
    (void)snprintf(at->job, sizeof at->job, "%s", meet->job);
    return make_secret(at->secret);
}

static dmq_status failed(const char *path)
{
    return dmq_fail(DMQ_EIO, "group: rank 0 cannot leave its address in %s: %s", path,
                    strerror(errno));
}

dmq_status dmq_meet_file_write(const char *path, const dmq_meet_address *at)
{
    char text[1024], temp[1024];
    dmq_status st = DMQ_OK;
    int n, fd = -1;

    n = snprintf(text, sizeof text, "%s\nhost %s\nport %d\nsecret %s\njob %s\n", format_name,
                 at->host, at->port, at->secret, at->job);
    if ((size_t)snprintf(temp, sizeof temp, "%s.%ld.tmp", path, (long)getpid()) >= sizeof temp)
        return dmq_fail(DMQ_EIO, "group: the name of %s is too long", path);
    fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(temp);
    if (write(fd, text, (size_t)n) != n || fsync(fd) != 0)
        st = failed(temp);
    if (close(fd) != 0 && st == DMQ_OK)
        st = failed(temp);
    if (st == DMQ_OK && rename(temp, path) != 0)
        st = failed(path);
    if (st != DMQ_OK)
        (void)unlink(temp);
    return st;
}

/* The value of a line "key value"; 0 where there is none or it is too long. */
static int take(char *out, size_t room, const char *text, const char *key)
{
    char begin[32];
    const char *at;
    size_t n;

    (void)snprintf(begin, sizeof begin, "\n%s ", key);
    at = strstr(text, begin);
    if (!at)
        return 0;
    at += strlen(begin);
    n = strcspn(at, "\n");
    if (n >= room || at[n] != '\n')
        return 0;
    memcpy(out, at, n);
    out[n] = 0;
    return 1;
}

static int parse(dmq_meet_address *at, const char *text)
{
    char port[16];

    if (strncmp(text, format_name, sizeof format_name - 1) != 0 ||
        !take(at->host, sizeof at->host, text, "host") || !take(port, sizeof port, text, "port") ||
        !take(at->secret, sizeof at->secret, text, "secret") ||
        !take(at->job, sizeof at->job, text, "job"))
        return 0;
    at->port = atoi(port);
    return at->port > 0 && at->port < 65536;
}

int dmq_meet_file_read(dmq_meet_address *at, const char *path, const dmq_meet *meet, char *why,
                       size_t room)
{
    char text[1024], own[256] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;

    if (n < 0)
        (void)snprintf(why, room, "%s: %s", path, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    if (n < 0)
        return 0;
    text[n] = 0;
    if (!parse(at, text)) {
        (void)snprintf(why, room, "%s is no address of a rank 0", path);
        return 0;
    }
    if (strcmp(at->job, meet->job) != 0) {
        (void)snprintf(why, room, "%s is of job %s, this rank of %s", path, at->job, meet->job);
        return 0;
    }
    (void)gethostname(own, sizeof own - 1);
    if (meet->local || strcmp(own, at->host) == 0)
        (void)snprintf(at->host, sizeof at->host, "127.0.0.1");
    return 1;
}
