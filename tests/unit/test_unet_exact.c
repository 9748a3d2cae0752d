/*
 * The whole DDPM UNet against PyTorch in float64 (also in double, where what is left is rounding).
 */
#include "backend/backend.h"
#include "base/memory.h"
#include "io/h5.h"
#include "model/ddpm_unet.h"
#include "model/model_file.h"
#include "tensor/layout.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { N = 3, SIZE = 16, PER = 3 * SIZE * SIZE };

#define OK(call)                                      \
    do {                                              \
        dmq_status status_of_call = (call);           \
        if (status_of_call != DMQ_OK)                 \
            fail_msg("%s: %s", #call, dmq_message()); \
    } while (0)

static const dmq_ddpm_unet_config small = {
    .in_channels = 3,
    .out_channels = 3,
    .resolution = SIZE,
    .ch = 16,
    .ch_mult = { 1, 2 },
    .n_levels = 2,
    .num_res_blocks = 1,
    .attention = { 8 },
    .n_attention = 1,
    .norm_groups = 8,
    .norm_eps = 1e-6,
};

static void output_equals_pytorch_to_rounding(void **state)
{
    (void)state;
    static dmq_real image[N * PER], expected[N * PER];
    const double limit = sizeof(dmq_real) == 8 ? 1e-13 : 1e-6;
    const dmq_backend *be = dmq_backend_ref();
    double difference = 0, norm = 0;
    dmq_queue *queue = NULL;
    dmq_model *model = NULL;
    dmq_tape *tape = NULL;
    dmq_h5 *file = NULL;
    dmq_var *x, *t, *y;

    OK(be->queue_create(&queue, 0));
    OK(dmq_h5_open(&file, DMQ_GOLDEN_DIR "/unet.h5", DMQ_H5_READ));
    OK(dmq_ddpm_unet_create(&model, &small));
    OK(dmq_model_block_read(model->params, file, "model", model));
    OK(dmq_tape_create(&tape, be, DMQ_TAPE_FORWARD));
    x = dmq_tape_input(tape, "x", dmq_shape4(N, SIZE, SIZE, 3));
    t = dmq_tape_input(tape, "t", dmq_shape1(N));
    y = dmq_model_record(model, tape, NULL, x, t, NULL);
    dmq_tape_output(tape, y);
    OK(dmq_tape_plan(tape));
    OK(dmq_h5_read_real(image, file, "x", DMQ_DIMS(N, 3, SIZE, SIZE)));
    dmq_nhwc_from_nchw(x->value, image, N, 3, SIZE, SIZE);
    OK(dmq_h5_read_real(t->value, file, "t", DMQ_DIMS(N)));
    OK(dmq_tape_forward(tape, queue, DMQ_PART_ALL));
    OK(dmq_h5_read_real(image, file, "output", DMQ_DIMS(N, 3, SIZE, SIZE)));
    dmq_nhwc_from_nchw(expected, image, N, 3, SIZE, SIZE);
    for (int i = 0; i < N * PER; i++) {
        double d = (double)y->value[i] - (double)expected[i];
        difference += d * d;
        norm += (double)expected[i] * (double)expected[i];
    }
    if (!(sqrt(difference / norm) <= limit))
        fail_msg("relative L2 %.2e, at most %.0e", sqrt(difference / norm), limit);
    dmq_tape_destroy(tape);
    dmq_model_destroy(model);
    dmq_h5_close(file);
    be->queue_destroy(queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_equals_pytorch_to_rounding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
