#include "nccl_board.h"

#include "judge.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a rank leaves when it comes. */
typedef struct card {
    int rank, size, device;
} card;

static void path_of(char *out, size_t room, const board *b, const char *name, const char *ending)
{
    int n = snprintf(out, room, "%s/%s%s", b->folder, name, ending);

    if (n < 0 || (size_t)n >= room)
        pretend_die("NCCL: the path of %s is too long", name);
}

int board_make(char *key, size_t bytes)
{
    const char *place = getenv("TMPDIR");
    int n = snprintf(key, bytes, "%s/pretend-nccl-XXXXXX", place ? place : "/tmp");

    return n > 0 && (size_t)n < bytes && n < BOARD_FOLDER && mkdtemp(key);
}

int board_join(board *b, const char *key, int rank, int size, int device)
{
    const card c = { rank, size, device };
    char name[BOARD_NAME];
    struct stat is;

    if (!memchr(key, 0, BOARD_FOLDER) || !strstr(key, "/pretend-nccl-") || stat(key, &is) != 0)
        return 0;
    b->rank = rank;
    b->size = size;
    memcpy(b->folder, key, strlen(key) + 1);
    (void)snprintf(name, sizeof name, "rank.%d", rank);
    if (board_has(b, name))
        pretend_die("NCCL: there are two ranks %d", rank);
    board_write(b, name, &c, sizeof c);
    return 1;
}

int board_is_full(const board *b, int *twice)
{
    char name[BOARD_NAME];

    *twice = 0;
    for (int r = 0; r < b->size; r++) {
        (void)snprintf(name, sizeof name, "rank.%d", r);
        if (!board_has(b, name))
            return 0;
    }
    for (int r = 0; r < b->size; r++) {
        card c, other;

        (void)snprintf(name, sizeof name, "rank.%d", r);
        (void)board_read(b, name, &c, sizeof c);
        if (c.size != b->size)
            pretend_die("NCCL: rank %d counts %d ranks, rank %d counts %d", r, c.size, b->rank,
                        b->size);
        for (int q = 0; q < r; q++) {
            (void)snprintf(name, sizeof name, "rank.%d", q);
            (void)board_read(b, name, &other, sizeof other);
            *twice |= other.device == c.device;
        }
    }
    return 1;
}

void board_leave(const board *b)
{
    char name[BOARD_NAME], path[BOARD_FOLDER + 300];
    struct dirent *entry;
    DIR *folder;

    (void)snprintf(name, sizeof name, "gone.%d", b->rank);
    board_write(b, name, "", 0);
    for (int r = 0; r < b->size; r++) {
        (void)snprintf(name, sizeof name, "gone.%d", r);
        if (!board_has(b, name))
            return;
    }
    folder = opendir(b->folder);
    while (folder && (entry = readdir(folder)) != NULL) {
        (void)snprintf(path, sizeof path, "%s/%s", b->folder, entry->d_name);
        (void)unlink(path);
    }
    if (folder)
        (void)closedir(folder);
    (void)rmdir(b->folder);
}

void board_write(const board *b, const char *name, const void *data, size_t bytes)
{
    char path[BOARD_FOLDER + BOARD_NAME + 16], whole[BOARD_FOLDER + BOARD_NAME + 16];
    char ending[16];
    FILE *file;

    (void)snprintf(ending, sizeof ending, ".part%d", b->rank);
    path_of(path, sizeof path, b, name, ending);
    path_of(whole, sizeof whole, b, name, "");
    file = fopen(path, "wb");
    if (!file || fwrite(data, 1, bytes, file) != bytes || fclose(file) != 0 ||
        rename(path, whole) != 0)
        pretend_die("NCCL: %s cannot be written", whole);
}

int board_has(const board *b, const char *name)
{
    char path[BOARD_FOLDER + BOARD_NAME + 16];

    path_of(path, sizeof path, b, name, "");
    return access(path, F_OK) == 0;
}

size_t board_read(const board *b, const char *name, void *data, size_t room)
{
    char path[BOARD_FOLDER + BOARD_NAME + 16];
    FILE *file;
    size_t n;

    path_of(path, sizeof path, b, name, "");
    file = fopen(path, "rb");
    if (!file)
        pretend_die("NCCL: %s cannot be read", path);
    n = fread(data, 1, room, file);
    (void)fclose(file);
    return n;
}

void board_remove(const board *b, const char *name)
{
    char path[BOARD_FOLDER + BOARD_NAME + 16];

    path_of(path, sizeof path, b, name, "");
    (void)unlink(path);
}
