/* A graph under training, for golden tests: its store, plan and optimiser, batches from memory. */
#ifndef CLV_TEST_TRAINING_H
#define CLV_TEST_TRAINING_H

#include "graph/plan.h"
#include "train/optimizer.h"

typedef struct training {
    clvi_device *device;
    clv_graph *graph;       /* inputs: "image" and then "labels"; borrowed */
    clv_tensor outputs[2];  /* the loss [N], and what else is wanted or CLV_NO_TENSOR */
    clvi_store *store;      /* committed; borrowed */
    uint32_t base;          /* segment of the graph's first variable */
    int64_t n;              /* batch, at most 64 */
    int64_t image_elements; /* of one sample */
    clvi_plan *plan;
    clvi_optimizer *optimizer;
    clvi_buf *image, *labels;
} training;

/* Makes plan, optimiser and buffers; everything before `plan` is given. Fails the running test
 * where it cannot, as do the others. */
void training_open(training *t, const clvi_optimizer_desc *optimizer);
void training_close(training *t);
/* Forward and backward of the mean loss of n samples, which it returns. labels: whole numbers. */
double training_gradients(training *t, const float *images, const float *labels);

#endif
