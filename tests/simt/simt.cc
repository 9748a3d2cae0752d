/* The threads of a block as fibers. */
#include "simt.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#define START_SWITCH(save, bottom, size)   __sanitizer_start_switch_fiber(save, bottom, size)
#define FINISH_SWITCH(saved, bottom, size) __sanitizer_finish_switch_fiber(saved, bottom, size)
#else
#define START_SWITCH(save, bottom, size)   ((void)(save), (void)(bottom), (void)(size))
#define FINISH_SWITCH(saved, bottom, size) ((void)(saved), (void)(bottom), (void)(size))
#endif

#if defined(__x86_64__)
/* swapcontext would ask the kernel for the mask of signals each time, which took half of a test's time. What a
   call must preserve is put on the stack that is left, whose top is then all that is to be kept. */
extern "C" void dmq_simt_change_places(void **from, void *to);
asm(".text\n"
    ".type dmq_simt_change_places, @function\n"
    "dmq_simt_change_places:\n"
    "    pushq %rbp\n"
    "    pushq %rbx\n"
    "    pushq %r12\n"
    "    pushq %r13\n"
    "    pushq %r14\n"
    "    pushq %r15\n"
    "    movq %rsp, (%rdi)\n"
    "    movq %rsi, %rsp\n"
    "    popq %r15\n"
    "    popq %r14\n"
    "    popq %r13\n"
    "    popq %r12\n"
    "    popq %rbx\n"
    "    popq %rbp\n"
    "    ret\n"
    ".size dmq_simt_change_places, . - dmq_simt_change_places\n");
#endif

namespace dmq_simt
{
thread_local place here;

namespace
{
/* ------------------------------------------------------------------ changing stacks */

#if defined(__x86_64__)
struct place_on_stack {
    void *top;
};

void change_places(place_on_stack *from, place_on_stack *to)
{
    dmq_simt_change_places(&from->top, to->top);
}

/* As if main had been called from nowhere and had left the registers at 0. */
void begin_at(place_on_stack *at, char *stack, size_t bytes, void (*main)())
{
    void **top = reinterpret_cast<void **>(stack + bytes) - 1;

    top[0] = nullptr;
    *--top = reinterpret_cast<void *>(main);
    at->top = top - 6;
}
#else
struct place_on_stack {
    ucontext_t context;
};

void change_places(place_on_stack *from, place_on_stack *to)
{
    swapcontext(&from->context, &to->context);
}

void begin_at(place_on_stack *at, char *stack, size_t bytes, void (*main)())
{
    getcontext(&at->context);
    at->context.uc_stack.ss_sp = stack;
    at->context.uc_stack.ss_size = bytes;
    at->context.uc_link = nullptr;
    makecontext(&at->context, main, 0);
}
#endif

/* ------------------------------------------------------------------ a block */

enum state { NEW, READY, AT_BLOCK, AT_WARP, DONE };

constexpr size_t STACK = 256 << 10;
constexpr unsigned WARP = 32, MOST = 1024;
constexpr unsigned AXIS_MOST = 65535;    /* blocks along y and z */
constexpr size_t SHARED_MOST = 48 << 10; /* more takes an attribute of the kernel */

struct fiber {
    place_on_stack at;
    char *stack;
    void *fake; /* of the sanitizer */
};

struct thread {
    state at;
    unsigned mask; /* of the warp barrier it waits at */
    fiber *on;
};

/* One block at a time on each thread of the host. */
struct block {
    const char *kernel;
    const std::function<void()> *body;
    std::vector<thread> threads;
    std::vector<uint64_t> given; /* (threads) of an exchange */
    std::vector<char> has_given;
    std::vector<fiber *> idle, all;
    place_on_stack scheduler;
    fiber *begins; /* the one that is entered for the first time */
    void *scheduler_fake;
    const void *scheduler_bottom;
    size_t scheduler_size;
    unsigned n, next, now; /* threads; not yet begun; the one that runs */
    int backwards;
    unsigned long launches;
    char *memory;

    ~block()
    {
        for (fiber *f : all) {
            munmap(f->stack, STACK);
            delete f;
        }
    }
};

thread_local block b;

[[noreturn]] void give_up(const char *what)
{
    (void)fprintf(stderr, "simt: kernel %s, block (%u, %u, %u): %s\n", b.kernel, here.block.x,
                  here.block.y, here.block.z, what);
    abort();
}

void stand_at(unsigned t)
{
    b.now = t;
    here.thread.x = t % here.block_dim.x;
    here.thread.y = t / here.block_dim.x % here.block_dim.y;
    here.thread.z = t / here.block_dim.x / here.block_dim.y;
}

void to_scheduler(fiber *f)
{
    START_SWITCH(&f->fake, b.scheduler_bottom, b.scheduler_size);
    change_places(&f->at, &b.scheduler);
    FINISH_SWITCH(f->fake, &b.scheduler_bottom, &b.scheduler_size);
}

/* A fiber takes threads that have not begun, one after the other, until one of them waits. */
void fiber_main()
{
    fiber *f = b.begins;

    FINISH_SWITCH(nullptr, &b.scheduler_bottom, &b.scheduler_size);
    for (;;) {
        while (b.next < b.n) {
            unsigned t = b.backwards ? b.n - 1 - b.next : b.next;

            b.next++;
            b.threads[t].on = f;
            stand_at(t);
            (*b.body)();
            b.threads[b.now].at = DONE;
        }
        b.idle.push_back(f);
        to_scheduler(f);
    }
}

void resume(fiber *f)
{
    b.begins = f;
    START_SWITCH(&b.scheduler_fake, f->stack, STACK);
    change_places(&b.scheduler, &f->at);
    FINISH_SWITCH(b.scheduler_fake, nullptr, nullptr);
}

fiber *take_fiber()
{
    fiber *f;

    if (!b.idle.empty()) {
        f = b.idle.back();
        b.idle.pop_back();
        return f;
    }
    f = new fiber();
    b.all.push_back(f);
    f->stack = static_cast<char *>(mmap(nullptr, STACK, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (f->stack == MAP_FAILED)
        give_up("no memory for a fiber");
    begin_at(&f->at, f->stack, STACK, fiber_main);
    return f;
}

void wait(state where, unsigned mask)
{
    unsigned t = b.now;

    b.threads[t].at = where;
    b.threads[t].mask = mask;
    to_scheduler(b.threads[t].on);
}

/* Let go the warps whose members have all come, else the block. False: nobody can move. */
bool release()
{
    bool any = false, whole = true;

    for (unsigned t = 0; t < b.n; t++) {
        unsigned first = t / WARP * WARP;
        bool all = b.threads[t].at == AT_WARP;

        for (unsigned k = 0; all && k < WARP && first + k < b.n; k++) {
            const thread &o = b.threads[first + k];

            if (b.threads[t].mask >> k & 1)
                all = o.at == DONE || (o.at == AT_WARP && o.mask == b.threads[t].mask) ||
                      (any && o.at == READY && o.mask == b.threads[t].mask);
        }
        if (all) {
            b.threads[t].at = READY;
            any = true;
        }
    }
    if (any)
        return true;
    for (unsigned t = 0; t < b.n; t++) {
        any = any || b.threads[t].at == AT_BLOCK;
        whole = whole && (b.threads[t].at == AT_BLOCK || b.threads[t].at == DONE);
    }
    if (!any || !whole)
        return false;
    for (unsigned t = 0; t < b.n; t++) {
        if (b.threads[t].at == DONE)
            give_up("a thread has ended where others wait at __syncthreads");
        b.threads[t].at = READY;
        b.threads[t].mask = 0;
    }
    return true;
}

void run_block()
{
    b.next = 0;
    for (thread &t : b.threads)
        t = { NEW, 0, nullptr };
    for (char &g : b.has_given)
        g = 0;
    while (b.next < b.n)
        resume(take_fiber());
    for (;;) {
        bool waits = false;

        for (unsigned i = 0; i < b.n; i++) {
            unsigned t = b.backwards ? b.n - 1 - i : i;

            if (b.threads[t].at == READY) {
                stand_at(t);
                resume(b.threads[t].on);
            }
            waits = waits || b.threads[t].at != DONE;
        }
        if (!waits)
            return;
        bool ready = false;
        for (const thread &t : b.threads)
            ready = ready || t.at == READY;
        if (!ready && !release())
            give_up(
                "threads wait for each other: a barrier in a branch that not all of them take?");
    }
}
} // namespace

void *shared()
{
    return b.memory;
}

unsigned lane()
{
    return b.now % WARP;
}

void block_barrier()
{
    wait(AT_BLOCK, 0);
}

void warp_barrier(unsigned mask)
{
    if (!(mask >> lane() & 1))
        give_up("a lane waits at a warp barrier that its mask leaves out");
    wait(AT_WARP, mask);
}

uint64_t exchange(unsigned mask, uint64_t bits, unsigned from)
{
    unsigned first = b.now / WARP * WARP;
    uint64_t got;

    b.given[b.now] = bits;
    b.has_given[b.now] = 1;
    warp_barrier(mask);
    if (first + from >= b.n || !(mask >> from & 1) || !b.has_given[first + from])
        give_up("a shuffle reads a lane that takes no part in it");
    got = b.given[first + from];
    warp_barrier(mask);
    b.has_given[b.now] = 0;
    return got;
}

dmq_status launch(const char *kernel, dim3 grid, dim3 block_dim, size_t shared_bytes,
                  const std::function<void()> &body)
{
    unsigned blocks = grid.x * grid.y * grid.z;

    if (block_dim.x * block_dim.y * block_dim.z > MOST || grid.x > INT32_MAX ||
        grid.y > AXIS_MOST || grid.z > AXIS_MOST || shared_bytes > SHARED_MOST) {
        return dmq_fail(DMQ_EDEVICE,
                        "simt: launch of %s refused: grid (%u, %u, %u), block %u, shared %zu bytes",
                        kernel, grid.x, grid.y, grid.z, block_dim.x * block_dim.y * block_dim.z,
                        shared_bytes);
    }
    if (blocks == 0)
        return DMQ_OK;
    here.grid_dim = grid;
    here.block_dim = block_dim;
    b.kernel = kernel;
    b.body = &body;
    b.n = block_dim.x * block_dim.y * block_dim.z;
    b.threads.resize(b.n);
    b.given.resize(b.n);
    b.has_given.resize(b.n);
    b.backwards = (int)(b.launches++ % 2);
    b.memory = static_cast<char *>(aligned_alloc(16, (shared_bytes + 15) / 16 * 16));
    for (unsigned i = 0; i < blocks; i++) {
        unsigned at = b.backwards ? blocks - 1 - i : i;

        here.block.x = at % grid.x;
        here.block.y = at / grid.x % grid.y;
        here.block.z = at / grid.x / grid.y;
        memset(b.memory, 0xff, shared_bytes);
        run_block();
    }
    free(b.memory);
    b.memory = nullptr;
    return DMQ_OK;
}
} // namespace dmq_simt

unsigned __ballot_sync(unsigned mask, int predicate)
{
    unsigned all = 0;

    for (unsigned k = 0; k < 32; k++)
        if (mask >> k & 1)
            all |= (unsigned)(dmq_simt::shuffle(mask, predicate != 0 ? 1 : 0, k)) << k;
    return all;
}
