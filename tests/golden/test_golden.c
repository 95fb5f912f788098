/* Golden vectors: what PyTorch answered, replayed: test_golden FOLDER. Each file of FOLDER/MANIFEST
 * is a case of one operation, which goes through the operations' tests with PyTorch's results for
 * the reference, or the trajectory of a network under training. Exit status 77: there is no device.
 */
#include "golden.h"
#include "training.h"

#include "../ops/compare.h"
#include "../ops/op_data.h"
#include "../unit/test_device.h"
#include "base/files.h"
#include "plugin/plugin_host.h"

#include <conclave/ops.h>

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static clvi_device *device;
static const char *folder;

/* ---- One operation
 * -------------------------------------------------------------------------------- */

static const golden *replayed; /* what the reference functions below answer with */

static void answer(double *to, int64_t elements, golden_role role, uint32_t index)
{
    const golden_tensor *t = golden_find(replayed, role, index);
    if (t == NULL || t->d == NULL || t->elements != elements)
        fail_msg("the file lacks tensor %u of role %d with %lld elements", index, (int)role,
                 (long long)elements);
    memcpy(to, t->d, (size_t)elements * sizeof *to);
}

static void golden_forward(ref_call *c)
{
    const bool infer = !c->train && golden_find(replayed, GOLDEN_INFER, 0) != NULL;
    answer(c->out[0].data, c->out[0].elements, infer ? GOLDEN_INFER : GOLDEN_TRAIN, 0);
    for (int i = 0; i < c->input_count; i++)
        if (c->train && c->state[i].data != NULL)
            answer(c->state[i].data, c->state[i].elements, GOLDEN_AFTER, (uint32_t)i);
}

static void golden_backward(ref_call *c)
{
    for (int i = 0; i < c->input_count; i++)
        if (c->grad_in[i].data != NULL)
            answer(c->grad_in[i].data, c->grad_in[i].elements, GOLDEN_GRAD_IN, (uint32_t)i);
}

/* Input i of the case as the file has it. */
static void take_input(op_case *test, const golden_tensor *t)
{
    static const op_kind kinds[] = {[GOLDEN_INPUT] = OP_INPUT,
                                    [GOLDEN_PARAMETER] = OP_PARAMETER,
                                    [GOLDEN_STATE] = OP_STATE,
                                    [GOLDEN_ABSENT] = OP_ABSENT};
    op_input *input = &test->inputs[t->index];
    const int batched = t->role == GOLDEN_INPUT;
    assert_true(t->index < REF_MAX_INPUTS && t->rank >= batched && t->f != NULL);
    *input = (op_input){.kind = kinds[t->role],
                        .fill = t->is_integer ? OP_LABELS : OP_NORMAL,
                        .rank = t->rank - batched};
    for (int axis = batched; axis < t->rank; axis++)
        input->dims[axis - batched] = t->dims[axis];
    if (batched)
        test->n = t->dims[0];
    test->values[t->index] = t->f;
}

static void replay_op(const golden *g, const char *name)
{
    op_case test = {.name = name, .flags = OP_NO_DIFFERENCES | OP_WHOLE};
    const op_suite suite = {g->op, golden_forward, golden_backward, &test, 1};
    for (uint32_t i = 0; i < g->tensor_count; i++) {
        const golden_tensor *t = &g->tensors[i];
        if (t->role <= GOLDEN_ABSENT)
            take_input(&test, t);
        if (t->role == GOLDEN_GRAD_OUT && t->index < REF_MAX_OUTPUTS)
            test.grad_out[t->index] = t->f;
    }
    for (uint32_t i = 0; i < g->attr_count; i++)
        test.attrs[i] = g->attrs[i];
    replayed = g;
    op_test_run(device, &suite, &test);
}

/* ---- A network under training
 * --------------------------------------------------------------------- */

/* The network of make.py's trajectory. */
static clv_status build(training *t, const golden *g, clv_error *error)
{
    const golden_tensor *images = golden_find(g, GOLDEN_INPUT, 0);
    clv_builder b = clv_builder_begin(clvi_host_table(), t->graph, error);
    const clv_shape labels_shape = CLVI_SHAPE(CLV_I32, CLV_BATCH);
    clv_tensor labels, x, s;
    x = clv_image(&b, (int)images->dims[2], (int)images->dims[3], (int)images->dims[4], NULL, NULL);
    CLV_TRY(clvi_graph_input_tensor(t->graph, "labels", &labels_shape, &labels, error));
    const clv_conv2d_desc first = {.filters = 16, .kernel = 3, .activation = "relu"};
    const clv_conv2d_desc middle = {.kernel = 3, .activation = "silu"};
    const clv_conv2d_desc second = {.filters = 24, .kernel = 1, .activation = "silu"};
    x = clv_conv2d_bn(&b, "conv1", "bn1", x, &first);
    x = clv_max_pool2d(&b, "pool", x, 2, 0, 0);
    x = clv_depthwise_conv2d(&b, "depthwise", x, &middle);
    x = clv_conv2d_bn(&b, "conv2", "bn2", x, &second);
    s = clv_global_avg_pool(&b, "mean", x);
    s = clv_dense(&b, "squeeze", s, 6, "silu");
    s = clv_sigmoid(&b, "gate", clv_dense(&b, "excite", s, 24, NULL));
    x = clv_multiply(&b, "scale", x, s);
    x = clv_dense(&b, "head", clv_global_avg_pool(&b, "features", x), 5, NULL);
    t->outputs[0] =
        clv_op(&b, "cross_entropy", "loss", (const clv_tensor[]){x, labels}, 2, NULL, 0);
    return clv_builder_end(&b);
}

/* Graph and store with the file's parameters, then everything else. */
static void open_trajectory(training *t, const golden *g)
{
    const golden_tensor *images = golden_find(g, GOLDEN_INPUT, 0);
    *t = (training){.device = device, .n = images->dims[1], .outputs = {0, CLV_NO_TENSOR}};
    t->image_elements = images->dims[2] * images->dims[3] * images->dims[4];
    OK(clvi_graph_create("trajectory", &t->graph, error));
    OK(build(t, g, error));
    OK(clvi_store_create(device, &t->store, error));
    OK(clvi_store_add(t->store, t->graph, "", NULL, NULL, &t->base, error));
    OK(clvi_store_commit(t->store, true, error));
    OK(clvi_store_initialise(t->store, 1, error));
    for (uint32_t i = 0; i < g->tensor_count; i++) {
        const golden_tensor *p = &g->tensors[i];
        if (p->role != GOLDEN_PARAMETER)
            continue;
        const int64_t at = clvi_store_find(t->store, p->name);
        if (at < 0 || clvi_store_segment(t->store, (size_t)at)->elements != p->elements)
            fail_msg("the network has no parameter %s of %lld elements", p->name,
                     (long long)p->elements);
        OK(clvi_store_write(t->store, (size_t)at, CLVI_STORE_VALUE, p->f, error));
    }
    const clvi_optimizer_desc adamw = {.kind = CLVI_ADAMW,
                                       .betas = {golden_real(g, "beta1"), golden_real(g, "beta2")},
                                       .eps = golden_real(g, "eps"),
                                       .weight_decay = golden_real(g, "weight_decay"),
                                       .decay_all = true};
    training_open(t, &adamw);
}

static void close_trajectory(training *t)
{
    training_close(t);
    clvi_store_destroy(t->store);
    clvi_graph_destroy(t->graph);
}

/* One step on batch `step`; returns the mean loss before it. */
static double take_step(training *t, const golden *g, int64_t step)
{
    const golden_tensor *images = golden_find(g, GOLDEN_INPUT, 0);
    const golden_tensor *labels = golden_find(g, GOLDEN_INPUT, 1);
    assert_true(labels->dims[1] == t->n);
    const double mean =
        training_gradients(t, images->f + step * t->n * t->image_elements, labels->f + step * t->n);
    OK(clvi_optimizer_step(t->optimizer, golden_real(g, "lr"), NULL, error));
    return mean;
}

/* All variables after the steps. Adam divides a gradient by its own size: where the terms of a
 * small gradient cancel, the rounding of these decides, so single elements may lie apart by a part
 * of what the steps moved them. */
static void check_trained(const training *t, const golden *g)
{
    const double moved = golden_real(g, "lr") * (double)golden_find(g, GOLDEN_LOSS, 0)->elements;
    for (uint32_t i = 0; i < g->tensor_count; i++) {
        const golden_tensor *e = &g->tensors[i];
        compare_result result;
        char text[256];
        if (e->role != GOLDEN_TRAINED)
            continue;
        const int64_t at = clvi_store_find(t->store, e->name);
        assert_true(at >= 0);
        float *values = malloc((size_t)e->elements * sizeof *values);
        assert_non_null(values);
        OK(clvi_store_read(t->store, (size_t)at, CLVI_STORE_VALUE, values, error));
        if (!compare(values, e->d, e->elements, 1e-4 * moved, 1e-5, &result))
            fail_msg("%s after the last step: %s", e->name, compare_text(&result, text));
        free(values);
    }
}

static void replay_trajectory(const golden *g)
{
    const golden_tensor *expected = golden_find(g, GOLDEN_LOSS, 0);
    training t;
    open_trajectory(&t, g);
    for (int64_t step = 0; step < expected->elements; step++) {
        const double loss = take_step(&t, g, step), wanted = expected->d[step];
        if (!(fabs(loss - wanted) <= 1e-6 * wanted))
            fail_msg("the loss of step %lld is %.9g, PyTorch's is %.9g", (long long)step, loss,
                     wanted);
    }
    check_trained(&t, g);
    close_trajectory(&t);
}

/* ---- The manifest
 * --------------------------------------------------------------------------------- */

static void replay(void **state)
{
    const golden_entry *e = *state;
    golden g;
    char *path = clvi_path_join(folder, e->name);
    assert_non_null(path);
    golden_read(&g, path, e->sha256);
    if (strcmp(g.op, "trajectory") == 0)
        replay_trajectory(&g);
    else
        replay_op(&g, e->name);
    golden_fini(&g);
    clvi_free(path);
}

static golden_entry entries[GOLDEN_MAX_ENTRIES];
static size_t entry_count;

static void test_manifest(void **state)
{
    (void)state;
    golden_check_manifest(folder, entries, entry_count);
}

static int close_device(void **state)
{
    (void)state;
    return test_device_close();
}

int main(int argc, char **argv)
{
    int status = 0;
    if (argc != 2) {
        fprintf(stderr, "usage: test_golden FOLDER\n");
        return 2;
    }
    folder = argv[1];
    entry_count = golden_manifest(folder, entries);
    if (entry_count == 0) {
        fprintf(stderr, "%s/MANIFEST cannot be read or is empty\n", folder);
        return EXIT_FAILURE;
    }
    device = test_device_open(&status);
    if (device == NULL)
        return status;
    struct CMUnitTest tests[GOLDEN_MAX_ENTRIES + 1] = {cmocka_unit_test(test_manifest)};
    for (size_t i = 0; i < entry_count; i++)
        tests[i + 1] = (struct CMUnitTest){
            .name = entries[i].name, .test_func = replay, .initial_state = &entries[i]};
    return _cmocka_run_group_tests("golden", tests, entry_count + 1, NULL, close_device) != 0;
}
