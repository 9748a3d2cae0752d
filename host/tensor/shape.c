#include "tensor/shape.h"

#include <stdio.h>

dmq_shape dmq_shape1(int a)
{
    return (dmq_shape){ .rank = 1, .dim = { a, 1, 1, 1 } };
}

dmq_shape dmq_shape2(int a, int b)
{
    return (dmq_shape){ .rank = 2, .dim = { a, b, 1, 1 } };
}

dmq_shape dmq_shape3(int a, int b, int c)
{
    return (dmq_shape){ .rank = 3, .dim = { a, b, c, 1 } };
}

dmq_shape dmq_shape4(int a, int b, int c, int d)
{
    return (dmq_shape){ .rank = 4, .dim = { a, b, c, d } };
}

size_t dmq_shape_count(dmq_shape s)
{
    return (size_t)s.dim[0] * (size_t)s.dim[1] * (size_t)s.dim[2] * (size_t)s.dim[3];
}

int dmq_shape_equal(dmq_shape a, dmq_shape b)
{
    return a.rank == b.rank && a.dim[0] == b.dim[0] && a.dim[1] == b.dim[1] &&
           a.dim[2] == b.dim[2] && a.dim[3] == b.dim[3];
}

const char *dmq_shape_text(dmq_shape s)
{
    static _Thread_local char ring[4][64];
    static _Thread_local int turn;
    char *text = ring[turn];

    turn = (turn + 1) % 4;
    if (s.rank == 1) {
        (void)snprintf(text, sizeof ring[0], "(%d)", s.dim[0]);
    } else if (s.rank == 2) {
        (void)snprintf(text, sizeof ring[0], "(%d, %d)", s.dim[0], s.dim[1]);
    } else if (s.rank == 3) {
        (void)snprintf(text, sizeof ring[0], "(%d, %d, %d)", s.dim[0], s.dim[1], s.dim[2]);
    } else {
        (void)snprintf(text, sizeof ring[0], "(%d, %d, %d, %d)", s.dim[0], s.dim[3], s.dim[1],
                       s.dim[2]);
    }
    return text;
}
