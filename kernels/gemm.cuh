/**
 * The tile that kernels/matmul.cu and kernels/conv2d.cu are made of.
 *
 *   acc[i][j] += sum_k a(m, k) b(k, n),    k ascending, by fused multiply-adds
 *
 * A block of DMQ_GEMM_BLOCK threads takes 16 T lines of a and 16 T lines of b, T by T of them a thread;
 * 64/T steps of k lie in shared memory while the next ones are on their way. Every sum is taken in the
 * order of k whatever T is and wherever its line lies: neither the tile nor the batch changes its bits.
 *
 * An operand gives four neighbouring numbers at a time, along k or along its lines, as they lie in memory:
 *   ALONG_K      which of the two
 *   at(line)     the line of this thread (the first of four), once
 *   get(k)       the numbers at k (the first of four); zero beyond the ends
 */
#ifndef DMQ_KERNELS_GEMM_CUH
#define DMQ_KERNELS_GEMM_CUH

#include "kernels/device.cuh"

enum { DMQ_GEMM_BLOCK = 256, DMQ_GEMM_SIDE = 16 };

/** So many tiles of 128 lines fill a device. */
#ifdef DMQ_SIMT
enum { DMQ_GEMM_FILL = 1 }; /* so that large tiles are run */
#else
enum { DMQ_GEMM_FILL = 128 };
#endif

/** Up to four numbers of which `left` are there. four: the address is a multiple of 16 bytes. */
static __device__ __forceinline__ float4 dmq_gemm_take(const float *p, int left, bool four)
{
    if (four && left >= 4)
        return *reinterpret_cast<const float4 *>(p);
    return make_float4(left > 0 ? p[0] : 0, left > 1 ? p[1] : 0, left > 2 ? p[2] : 0,
                       left > 3 ? p[3] : 0);
}

/** A matrix in memory: number (line, k) is p[line step + k], or p[k step + line]. */
template <bool K> struct dmq_gemm_matrix {
    static constexpr bool ALONG_K = K;
    const float *p;
    size_t step;
    int lines, depth;
    bool four; /* p and step are multiples of four numbers */
    int line;

    __device__ void at(int first)
    {
        line = first;
    }
    __device__ float4 get(int k) const
    {
        if (line >= lines || k >= depth)
            return make_float4(0, 0, 0, 0);
        return K ? dmq_gemm_take(p + line * step + k, depth - k, four)
                 : dmq_gemm_take(p + k * step + line, lines - line, four);
    }
};

/** Which line and which k of a tile a thread loads: neighbouring threads, neighbouring memory. */
template <int T, bool K> static __device__ __forceinline__ int dmq_gemm_line()
{
    return K ? (int)threadIdx.x / (16 / T) : (int)threadIdx.x % (4 * T) * 4;
}

template <int T, bool K> static __device__ __forceinline__ int dmq_gemm_k()
{
    return K ? (int)threadIdx.x % (16 / T) * 4 : (int)threadIdx.x / (4 * T);
}

template <int T, bool K>
static __device__ __forceinline__ void dmq_gemm_put(float (*tile)[16 * T + 4], float4 v)
{
    int line = dmq_gemm_line<T, K>(), k = dmq_gemm_k<T, K>();

    tile[k][line] = v.x;
    tile[k + (K ? 1 : 0)][line + (K ? 0 : 1)] = v.y;
    tile[k + (K ? 2 : 0)][line + (K ? 0 : 2)] = v.z;
    tile[k + (K ? 3 : 0)][line + (K ? 0 : 3)] = v.w;
}

/* The lines of thread t are t*4..t*4+3, and 64 further: four words a read, no two threads in one bank. */
template <int T> static __device__ __forceinline__ int dmq_gemm_place(int t, int i)
{
    return i / 4 * 64 + t * 4 + i % 4;
}

template <int T>
static __device__ __forceinline__ void dmq_gemm_read(float (&out)[T], const float *row, int t)
{
#pragma unroll
    for (int i = 0; i < T; i += 4) {
        float4 v = *reinterpret_cast<const float4 *>(row + dmq_gemm_place<T>(t, i));

        out[i] = v.x;
        out[i + 1] = v.y;
        out[i + 2] = v.z;
        out[i + 3] = v.w;
    }
}

/** Add the products over k = 0..depth-1. All threads of the block call; a and b stand at their lines. */
template <int T, class A, class B>
static __device__ void dmq_gemm_tile(float (&acc)[T][T], const A &a, const B &b, int depth)
{
    __shared__ __align__(16) float as[64 / T][16 * T + 4];
    __shared__ __align__(16) float bs[64 / T][16 * T + 4];
    int ka = dmq_gemm_k<T, A::ALONG_K>(), kb = dmq_gemm_k<T, B::ALONG_K>();
    int tm = (int)threadIdx.x / DMQ_GEMM_SIDE, tn = (int)threadIdx.x % DMQ_GEMM_SIDE;
    float4 next_a = a.get(ka), next_b = b.get(kb);

    for (int k = 0; k < depth; k += 64 / T) {
        __syncthreads(); /* all have read the tile before */
        dmq_gemm_put<T, A::ALONG_K>(as, next_a);
        dmq_gemm_put<T, B::ALONG_K>(bs, next_b);
        __syncthreads();
        if (k + 64 / T < depth) {
            next_a = a.get(k + 64 / T + ka);
            next_b = b.get(k + 64 / T + kb);
        }
#pragma unroll
        for (int d = 0; d < 64 / T; d++) {
            float x[T], y[T];

            dmq_gemm_read(x, as[d], tm);
            dmq_gemm_read(y, bs[d], tn);
#pragma unroll
            for (int i = 0; i < T; i++) {
#pragma unroll
                for (int j = 0; j < T; j++)
                    acc[i][j] = fmaf(x[i], y[j], acc[i][j]);
            }
        }
    }
}

template <int T> static __device__ __forceinline__ void dmq_gemm_zero(float (&acc)[T][T])
{
#pragma unroll
    for (int i = 0; i < T; i++) {
#pragma unroll
        for (int j = 0; j < T; j++)
            acc[i][j] = 0;
    }
}

/** put(m, n, sum) for the sums of this thread that lie in 0..lines_m-1 by 0..lines_n-1. */
template <int T, class Put>
static __device__ __forceinline__ void dmq_gemm_each(const float (&acc)[T][T], int m0, int n0,
                                                     int lines_m, int lines_n, Put put)
{
    int tm = (int)threadIdx.x / DMQ_GEMM_SIDE, tn = (int)threadIdx.x % DMQ_GEMM_SIDE;

#pragma unroll
    for (int i = 0; i < T; i++) {
        int m = m0 + dmq_gemm_place<T>(tm, i);

#pragma unroll
        for (int j = 0; j < T; j++) {
            int n = n0 + dmq_gemm_place<T>(tn, j);

            if (m < lines_m && n < lines_n)
                put(m, n, acc[i][j]);
        }
    }
}

/** Tiles of 16 T lines. */
static inline unsigned dmq_gemm_tiles(int lines, int t)
{
    return (unsigned)((lines + 16 * t - 1) / (16 * t));
}

/** Whether to take tiles of 128 lines: those of 64 keep more of the device at work where there are few. */
static inline bool dmq_gemm_large(int lines_m, int lines_n, unsigned others)
{
    return lines_n > 64 &&
           (size_t)dmq_gemm_tiles(lines_m, 8) * dmq_gemm_tiles(lines_n, 8) * others >=
               DMQ_GEMM_FILL;
}

/** Whether four numbers from here on may be read at once, row after row. */
static inline bool dmq_gemm_four(const float *p, ptrdiff_t step)
{
    return (uintptr_t)p % 16 == 0 && step % 4 == 0;
}

#endif
