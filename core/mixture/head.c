#include "mixture/head.h"

static clv_status build(clv_graph *graph, int classes, double smoothing, clv_error *error)
{
    const clv_shape logits_shape = CLVI_SHAPE(CLV_F32, CLV_BATCH, classes);
    const clv_shape labels_shape = CLVI_SHAPE(CLV_I32, CLV_BATCH);
    clv_tensor inputs[2], nll, loss;
    CLV_TRY(
        clvi_graph_input_tensor(graph, "logits", &logits_shape, &inputs[CLVI_HEAD_LOGITS], error));
    CLV_TRY(
        clvi_graph_input_tensor(graph, "labels", &labels_shape, &inputs[CLVI_HEAD_LABELS], error));
    CLV_TRY(clvi_graph_add_op(graph, "cross_entropy", "ce", inputs, 2, NULL, 0, 0, &nll, 1, error));
    loss = nll;
    if (smoothing > 0) {
        const clv_attr smooth = {.struct_size = sizeof smooth,
                                 .name = "label_smoothing",
                                 .type = CLV_ATTR_REAL,
                                 .real = smoothing};
        CLV_TRY(clvi_graph_add_op(graph, "cross_entropy", "smooth_ce", inputs, 2, &smooth, 1,
                                  sizeof smooth, &loss, 1, error));
    }
    CLV_TRY(clvi_graph_output_add(graph, "nll", nll, error));
    return clvi_graph_output_add(graph, "loss", loss, error);
}

clv_status clvi_head_build(int classes, double smoothing, clv_graph **out, clv_error *error)
{
    clv_graph *graph;
    CLV_TRY(clvi_graph_create("head", &graph, error));
    const clv_status status = build(graph, classes, smoothing, error);
    if (status != CLV_OK) {
        clvi_graph_destroy(graph);
        return status;
    }
    *out = graph;
    return CLV_OK;
}
