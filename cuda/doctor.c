/* What dmq doctor tells of the device: build, driver, devices, libraries, and tests of what the table of the
   backend does not reach. */
#include "cuda/device.h"

#include "backend/device_group.h"
#include "kernels/matmul.h"

#include <math.h>
#include <string.h>

dmq_status dmq_matmul_plain_cuda(dmq_queue *queue, const dmq_matmul_args *a);

static void print_library(FILE *out, const char *name, dmq_status st, const char *version,
                          const char *place)
{
    if (st == DMQ_OK) {
        (void)fprintf(out, "%-8s %s (%s)\n", name, version, place);
    } else { /* the first line says which; the rest, where it was looked for */
        (void)fprintf(out, "%-8s not here: %s\n", name, dmq_message());
    }
}

static void print_libraries(FILE *out)
{
    const dmq_cublaslt *lt = NULL;
    const dmq_cudnn *nn = NULL;
    const dmq_nccl *nccl = NULL;
    char version[64] = "";
    dmq_status st;
    size_t v;
    int n = 0;

    st = dmq_cublaslt_load(&lt);
    v = lt ? lt->GetVersion() : 0; /* 130100: 13.1.0 */
    (void)snprintf(version, sizeof version, "%zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
    print_library(out, "cuBLASLt", st, version, dmq_cublaslt_place());
    st = dmq_cudnn_load(&nn);
    v = nn ? nn->GetVersion() : 0; /* 91900: 9.19.0 */
    (void)snprintf(version, sizeof version, "%zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
    print_library(out, "cuDNN", st, version, dmq_cudnn_place());
    st = dmq_nccl_load(&nccl);
    if (nccl)
        (void)nccl->GetVersion(&n); /* 22809: 2.28.9 */
    (void)snprintf(version, sizeof version, "%d.%d.%d", n / 10000, n / 100 % 100, n % 100);
    print_library(out, "NCCL", st, version, dmq_nccl_place());
}

static void print_devices(FILE *out)
{
    const char *why = NULL;
    int count = dmq_cuda_count(&why);

    if (count == 0)
        (void)fprintf(out, "devices  none: %s\n", why);
    for (int i = 0; i < count; i++) {
        struct cudaDeviceProp p;

        if (cudaGetDeviceProperties(&p, i) != cudaSuccess)
            continue;
        (void)fprintf(out, "cuda:%d   %s, %.0f MiB, compute capability %d.%d, %d multiprocessors\n",
                      i, p.name, (double)p.totalGlobalMem / 1048576, p.major, p.minor,
                      p.multiProcessorCount);
    }
}

void dmq_backend_cuda_print(FILE *out)
{
    int driver = 0;

    (void)cudaDriverGetVersion(&driver);
    (void)fprintf(out, "CUDA     built with %d.%d, ", CUDART_VERSION / 1000,
                  CUDART_VERSION % 1000 / 10);
    if (driver > 0) {
        (void)fprintf(out, "the driver is for %d.%d\n", driver / 1000, driver % 1000 / 10);
    } else {
        (void)fprintf(out, "no driver\n");
    }
    print_libraries(out);
    print_devices(out);
}

/* The kernels that stand in for the libraries: a product of whole numbers is exact. */
static dmq_status test_plain(dmq_queue *queue)
{
    enum { M = 9, N = 70, K = 33 };
    float a[M * K], b[K * N], c[M * N];
    float *memory = NULL;
    dmq_status st = DMQ_OK;
    dmq_matmul_args args = {
        .batch = 1, .m = M, .n = N, .k = K, .lda = K, .ldb = N, .ldc = N, .alpha = 1
    };

    for (int i = 0; i < M * K; i++)
        a[i] = (float)(i * 7 % 11 - 5);
    for (int i = 0; i < K * N; i++)
        b[i] = (float)(i * 5 % 7 - 3);
    DMQ_TRY(dmq_cuda_alloc((void **)&memory, sizeof a + sizeof b + sizeof c));
    args.a = memory;
    args.b = memory + M * K;
    args.c = memory + M * K + K * N;
    DMQ_TRY(dmq_cuda_upload(queue, memory, a, sizeof a));
    DMQ_TRY(dmq_cuda_upload(queue, memory + M * K, b, sizeof b));
    DMQ_TRY(dmq_matmul_plain_cuda(queue, &args));
    DMQ_TRY(dmq_cuda_download(queue, c, args.c, sizeof c));
    for (int i = 0; i < M * N; i++) {
        float want = 0;

        for (int k = 0; k < K; k++)
            want += a[i / N * K + k] * b[k * N + i % N];
        if (c[i] != want)
            DMQ_TRY(dmq_fail(DMQ_EDEVICE, "number %d is %g, must be %g", i, (double)c[i],
                             (double)want));
    }
done:
    dmq_cuda_free(memory);
    return st;
}

static dmq_status alone(void *context)
{
    (void)context;
    return DMQ_OK;
}

static dmq_status compare(dmq_queue *queue, const float *memory, const float *want, size_t bytes,
                          const char *call)
{
    float got[1000];
    dmq_status st = DMQ_OK;

    DMQ_TRY(dmq_cuda_download(queue, got, memory, bytes));
    if (memcmp(got, want, bytes) != 0)
        st = dmq_fail(DMQ_EDEVICE, "%s over one device gives not what went in", call);
done:
    return st;
}

/* What goes round a group of one device is what went in. */
static dmq_status test_nccl(dmq_queue *queue)
{
    enum { COUNT = 1000 };
    float x[COUNT];
    float *memory = NULL;
    dmq_device_group_config config = { .size = 1, .seconds = 60, .watch = alone };
    dmq_device_group *group = NULL;
    char name[DMQ_DEVICE_NAME];
    dmq_status st = DMQ_OK;

    for (int i = 0; i < COUNT; i++)
        x[i] = (float)i;
    DMQ_TRY(dmq_device_group_cuda_ready(name));
    DMQ_TRY(dmq_cuda_alloc((void **)&memory, 2 * sizeof x));
    DMQ_TRY(dmq_cuda_upload(queue, memory, x, sizeof x));
    DMQ_TRY(dmq_device_group_cuda_key(config.key));
    DMQ_TRY(dmq_device_group_cuda_open(&group, &config));
    DMQ_TRY(group->all_gather(group, queue, memory, sizeof x));
    DMQ_TRY(compare(queue, memory, x, sizeof x, "an all_gather"));
    DMQ_TRY(group->broadcast(group, queue, memory, sizeof x, 0));
    DMQ_TRY(compare(queue, memory, x, sizeof x, "a broadcast"));
    DMQ_TRY(group->all_to_all(group, queue, memory + COUNT, memory, sizeof x));
    DMQ_TRY(compare(queue, memory + COUNT, x, sizeof x, "an all_to_all"));
done:
    if (group)
        group->close(group);
    dmq_cuda_free(memory);
    return st;
}

static int report(FILE *out, const char *name, dmq_status st)
{
    if (st == DMQ_ENOTSUP) /* said among the libraries */
        return 0;
    (void)fprintf(out, "%-8s %s%s\n", name,
                  st == DMQ_OK ? "works" : "FAILED: ", st == DMQ_OK ? "" : dmq_message());
    return st != DMQ_OK;
}

int dmq_backend_cuda_self_test(FILE *out)
{
    const dmq_backend *be = NULL;
    dmq_queue *queue = NULL;
    char text[4096];
    int failed = 0;

    if (dmq_backend_cuda_open(&be, 0) != DMQ_OK) /* said among the devices */
        return 0;
    if (be->queue_create(&queue, 0) != DMQ_OK)
        return report(out, "queue", DMQ_EDEVICE);
    failed += report(out, "plain", test_plain(queue));
    failed += report(out, "NCCL", test_nccl(queue));
    be->queue_destroy(queue);
    dmq_backend_cuda_choices(text, sizeof text);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        (void)fprintf(out, "conv2d   %s\n", line);
    return failed;
}
