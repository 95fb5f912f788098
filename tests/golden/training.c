#include "training.h"

#include "../unit/test_device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

void training_open(training *t, const clvi_optimizer_desc *optimizer)
{
    const clvi_plan_desc desc = {.graph = t->graph,
                                 .store = t->store,
                                 .base = t->base,
                                 .mode = CLV_MODE_TRAIN,
                                 .max_batch = t->n,
                                 .outputs = t->outputs,
                                 .output_count = t->outputs[1] == CLV_NO_TENSOR ? 1 : 2,
                                 .outputs_with_grad = 1};
    OK(clvi_plan_create(&desc, &t->plan, error));
    OK(clvi_optimizer_create(t->store, optimizer, &t->optimizer, error));
    OK(clvi_buf_create(t->device, (size_t)(t->n * t->image_elements) * 4, "image", &t->image,
                       error));
    OK(clvi_buf_create(t->device, (size_t)t->n * 4, "labels", &t->labels, error));
    clvi_plan_bind(t->plan, 0, (clvi_view){t->image, 0}, (clvi_view){NULL, 0});
    clvi_plan_bind(t->plan, 1, (clvi_view){t->labels, 0}, (clvi_view){NULL, 0});
}

void training_close(training *t)
{
    clvi_optimizer_destroy(t->optimizer);
    clvi_plan_destroy(t->plan);
    clvi_buf_destroy(t->image);
    clvi_buf_destroy(t->labels);
}

double training_gradients(training *t, const float *images, const float *labels)
{
    float losses[64], shares[64];
    int32_t whole[64];
    double mean = 0;
    assert_true(t->n <= 64);
    for (int64_t k = 0; k < t->n; k++) {
        whole[k] = (int32_t)labels[k];
        shares[k] = 1 / (float)t->n;
    }
    const size_t bytes = (size_t)t->n * 4;
    OK(clvi_upload(t->device, t->image, 0, images, bytes * (size_t)t->image_elements, error));
    OK(clvi_upload(t->device, t->labels, 0, whole, bytes, error));
    OK(clvi_plan_forward(t->plan, t->n, NULL, error));
    const clvi_view loss = clvi_plan_output(t->plan, 0, t->n);
    const clvi_view grad = clvi_plan_grad(t->plan, 0, t->n);
    OK(clvi_download(t->device, loss.buf, (size_t)loss.offset * 4, losses, bytes, error));
    OK(clvi_upload(t->device, grad.buf, (size_t)grad.offset * 4, shares, bytes, error));
    for (int64_t k = 0; k < t->n; k++)
        mean += (double)losses[k] / (double)t->n;
    OK(clvi_plan_backward(t->plan, error));
    return mean;
}
