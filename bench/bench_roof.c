/*
 * The denominators of the other benches: FMA peak and read bandwidth of 1 and of all threads.
 */
#include "bench.h"

#include <omp.h>
#include <stdio.h>

int main(void)
{
    static const size_t sizes[] = { 16u << 10, 256u << 10, 4u << 20, 16u << 20, 256u << 20 };
    int all = omp_get_num_procs();

    (void)printf("roof\tthreads\tvalue\tunit\n");
    for (int threads = 1;; threads = all) {
        (void)printf("fma\t%d\t%.1f\tGFLOP/s\n", threads, bench_fma_gflops_threads(threads));
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            (void)printf("read %zu KiB each\t%d\t%.1f\tGB/s\n", sizes[i] >> 10, threads,
                         bench_read_gbs_threads(sizes[i], threads));
        }
        if (threads == all)
            break;
    }
    return 0;
}
