/**
 * Where the ranks of a pretended NCCL leave what is for each other: files of one folder, so that a rank may be a
 * thread or a process. A file is there whole or not at all. The folder of ranks that die
 * stays behind.
 */
#ifndef DMQ_TESTS_NCCL_BOARD_H
#define DMQ_TESTS_NCCL_BOARD_H

#include <stddef.h>
#include <stdint.h>

enum { BOARD_FOLDER = 96, BOARD_NAME = 64 };

typedef struct board {
    char folder[BOARD_FOLDER];
    int rank, size;
} board;

/** A folder of its own, whose path is the key; 0 where the host has none. */
int board_make(char *key, size_t bytes);

/** Come to the folder that a key tells; 0 where it is none. device: of this rank, to be told from others'. */
int board_join(board *b, const char *key, int rank, int size, int device);

/** Whether all have come. *twice: 1 when two ranks are on one device. Dies where sizes or ranks differ. */
int board_is_full(const board *b, int *twice);

/** The last to leave takes the folder with it. */
void board_leave(const board *b);

void board_write(const board *b, const char *name, const void *data, size_t bytes);
int board_has(const board *b, const char *name);

/** Reads at most `room` bytes; how many there were. Dies without the file. */
size_t board_read(const board *b, const char *name, void *data, size_t room);
void board_remove(const board *b, const char *name);

#endif
