#include "cuda/choices.h"

#include "backend/cuda.h"
#include "base/memory.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    dmq_cuda_choice *list;
    size_t count, room;
    char path[1024]; /* "": no file */
    pthread_mutex_t lock;
} choices = { .lock = PTHREAD_MUTEX_INITIALIZER };

static const dmq_cuda_choice *find(const char *key)
{
    for (size_t i = 0; i < choices.count; i++) {
        if (strcmp(choices.list[i].key, key) == 0)
            return &choices.list[i];
    }
    return NULL;
}

static dmq_status remember(const dmq_cuda_choice *choice)
{
    dmq_status st = DMQ_OK;
    size_t room = choices.room ? 2 * choices.room : 64;

    if (choices.count == choices.room) {
        DMQ_TRY(dmq_grow((void **)&choices.list, choices.room, room, sizeof *choices.list));
        choices.room = room;
    }
    choices.list[choices.count++] = *choice;
done:
    return st;
}

static int print(char *line, size_t room, const dmq_cuda_choice *c)
{
    char way[DMQ_ENGINE_NAME + 16], time[32] = "";

    if (c->algorithm == DMQ_CUDA_PLAIN)
        return snprintf(line, room, "%s: plain\n", c->key);
    if (c->algorithm == DMQ_CUDA_GRAPH) {
        (void)snprintf(way, sizeof way, "graph %s", c->engine);
    } else {
        (void)snprintf(way, sizeof way, "cudnn %d", c->algorithm);
    }
    if (c->time_ms > 0)
        (void)snprintf(time, sizeof time, ", %.4f ms", (double)c->time_ms);
    return snprintf(line, room, "%s: %s%s\n", c->key, way, time);
}

/* Whether a text is an engine's name: "67 2=0 13=-1". */
static int is_engine(const char *name)
{
    int used = 0, n = 0;

    if (sscanf(name, "%*d%n", &used) < 0 || used == 0 || name[0] == ' ')
        return 0;
    for (name += used; *name; name += n) {
        n = 0;
        (void)sscanf(name, " %*d=%*d%n", &n);
        if (n == 0 || name[0] != ' ')
            return 0;
    }
    return 1;
}

/* 1 for a line that print() could have written. */
static int parse(dmq_cuda_choice *c, char *line)
{
    char *colon = strchr(line, ':'), *comma, rest = 0;
    size_t used;

    if (!colon || colon == line || (size_t)(colon - line) >= sizeof c->key)
        return 0;
    memset(c, 0, sizeof *c);
    memcpy(c->key, line, (size_t)(colon - line));
    if (strcmp(colon, ": plain\n") == 0) {
        c->algorithm = DMQ_CUDA_PLAIN;
        return 1;
    }
    comma = strchr(colon, ',');
    if (comma && (sscanf(comma, ", %f ms%c", &c->time_ms, &rest) != 2 || rest != '\n'))
        return 0;
    colon[comma ? (size_t)(comma - colon) : strcspn(colon, "\n")] = 0;
    if (sscanf(colon, ": cudnn %d%c", &c->algorithm, &rest) == 1)
        return 1;
    if (strncmp(colon, ": graph ", 8) != 0 || !is_engine(colon + 8))
        return 0;
    used = strlen(colon + 8) + 1;
    if (used > sizeof c->engine)
        return 0;
    c->algorithm = DMQ_CUDA_GRAPH;
    memcpy(c->engine, colon + 8, used);
    return 1;
}

static dmq_status read_file(void)
{
    FILE *file = fopen(choices.path, "r");
    dmq_status st = DMQ_OK;
    char line[512];

    if (!file) {
        return errno == ENOENT ? DMQ_OK
                               : dmq_fail(DMQ_EIO, "cuda: DMQ_CUDA_CHOICES = %s: %s", choices.path,
                                          strerror(errno));
    }
    for (int number = 1; fgets(line, sizeof line, file); number++) {
        dmq_cuda_choice c;

        if (!parse(&c, line)) {
            DMQ_TRY(
                dmq_fail(DMQ_EDATA,
                         "cuda: %s:%d: not a choice of an algorithm\n  hint: remove the file, and "
                         "the shapes are timed again",
                         choices.path, number));
        }
        if (!find(c.key))
            DMQ_TRY(remember(&c));
    }
done:
    (void)fclose(file);
    return st;
}

dmq_status dmq_cuda_choices_open(void)
{
    const char *path = getenv("DMQ_CUDA_CHOICES");
    dmq_status st = DMQ_OK;

    (void)pthread_mutex_lock(&choices.lock);
    if (path && *path && !choices.path[0]) {
        if (strlen(path) >= sizeof choices.path)
            DMQ_TRY(dmq_fail(DMQ_EINVAL, "cuda: DMQ_CUDA_CHOICES: the path is too long"));
        memcpy(choices.path, path, strlen(path) + 1);
        DMQ_TRY(read_file());
    }
done:
    if (st != DMQ_OK)
        choices.path[0] = 0;
    (void)pthread_mutex_unlock(&choices.lock);
    return st;
}

int dmq_cuda_choices_timed(void)
{
    return choices.path[0] != 0;
}

int dmq_cuda_choices_find(dmq_cuda_choice *out, const char *key)
{
    const dmq_cuda_choice *c;

    (void)pthread_mutex_lock(&choices.lock);
    c = find(key);
    if (c)
        *out = *c;
    (void)pthread_mutex_unlock(&choices.lock);
    return c != NULL;
}

static dmq_status append(const dmq_cuda_choice *choice)
{
    FILE *file = fopen(choices.path, "a");
    char line[512];
    int bad;

    (void)print(line, sizeof line, choice);
    bad = !file || fputs(line, file) < 0;
    bad = (file && fclose(file) != 0) || bad;
    return bad ? dmq_fail(DMQ_EIO, "cuda: cannot write DMQ_CUDA_CHOICES = %s: %s", choices.path,
                          strerror(errno))
               : DMQ_OK;
}

dmq_status dmq_cuda_choices_add(const dmq_cuda_choice *choice)
{
    dmq_status st = DMQ_OK;

    (void)pthread_mutex_lock(&choices.lock);
    if (!find(choice->key)) {
        DMQ_TRY(remember(choice));
        if (choices.path[0])
            DMQ_TRY(append(choice));
    }
done:
    (void)pthread_mutex_unlock(&choices.lock);
    return st;
}

void dmq_cuda_choices_clear(void)
{
    (void)pthread_mutex_lock(&choices.lock);
    dmq_free(choices.list);
    choices.list = NULL;
    choices.count = choices.room = 0;
    choices.path[0] = 0;
    (void)pthread_mutex_unlock(&choices.lock);
}

void dmq_backend_cuda_choices(char *text, size_t room)
{
    size_t used = 0;

    if (room == 0)
        return;
    text[0] = 0;
    (void)pthread_mutex_lock(&choices.lock);
    for (size_t i = 0; i < choices.count && used + 1 < room; i++) {
        int n = print(text + used, room - used, &choices.list[i]);

        used += n > 0 ? (size_t)n : 0;
    }
    (void)pthread_mutex_unlock(&choices.lock);
}
