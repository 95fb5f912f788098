/* States that change after each step (clv_host.step_sum, after_step; core/graph/step_sum.c,
 * after_step.c): three steps by hand, and what is refused. Exit 77 without a device, failure when
 * CONCLAVE_REQUIRE_DEVICE=1. */
#include "graph/after_step.h"

#include "plugin/plugin_host.h"
#include "test_device.h"

#include <conclave/ops.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { K = 3, MOST = 4 };

static clvi_device *device;

/* States: bias [K], which evens out how often x [N, K] is not 0, a quarter at a time; seen [1], the
 * samples so far; before [K], what bias was. The training plan gives the two tensors that are
 * summed. */
typedef struct bench {
    clv_graph *graph;
    clvi_store *store;
    clvi_plan *plan;
    clvi_buf *x;
    clvi_after_step *after;
} bench;

static clv_tensor state(clv_builder *b, const char *name, int64_t elements)
{
    const clv_variable_desc desc = clv_variable(name, CLV_INIT_ZEROS, 0, 1, elements, 0, 0, 0);
    return clv_state(b, &desc);
}

static void describe(clv_builder *b, clv_tensor x)
{
    const clv_tensor bias = state(b, "bias", K), seen = state(b, "seen", 1);
    const clv_tensor before = state(b, "before", K), zero = state(b, "zero", K);
    const clv_tensor load = clv_step_sum(b, clv_sign(b, "chosen", x));
    const clv_tensor samples = clv_step_sum(b, clv_fill(b, "one", x, 1, 1));
    clv_after_step(b, bias, clv_add(b, "next", bias, clv_below_mean(b, "low", load, 0.25)));
    clv_after_step(b, before, clv_add(b, "copy", bias, zero));
    clv_after_step(b, seen, clv_add(b, "more", seen, samples));
}

static void bench_open(bench *t)
{
    const clv_shape shape = CLVI_SHAPE(CLV_F32, CLV_BATCH, K);
    clv_tensor input, sources[CLVI_MAX_STEP_SUMS];
    uint32_t base;
    *t = (bench){0};
    OK(clvi_graph_create("test", &t->graph, error));
    OK(clvi_graph_input_tensor(t->graph, "x", &shape, &input, error));
    clv_error described = CLV_ERROR_INIT;
    clv_builder b = clv_builder_begin(clvi_host_table(), t->graph, &described);
    describe(&b, input);
    if (clv_builder_end(&b) != CLV_OK)
        fail_msg("%s", described.message);
    assert_int_equal(t->graph->step_sum_count, 2);
    assert_int_equal(t->graph->new_state_count, 3);
    OK(clvi_store_create(device, &t->store, error));
    OK(clvi_store_add(t->store, t->graph, "", NULL, NULL, &base, error));
    OK(clvi_store_commit(t->store, true, error));
    OK(clvi_store_initialise(t->store, 1, error));
    clvi_after_step_sources(t->graph, sources);
    const clvi_plan_desc desc = {.graph = t->graph,
                                 .store = t->store,
                                 .mode = CLV_MODE_TRAIN,
                                 .max_batch = MOST,
                                 .outputs = sources,
                                 .output_count = 2};
    OK(clvi_plan_create(&desc, &t->plan, error));
    OK(clvi_buf_create(device, MOST * K * 4, "x", &t->x, error));
    clvi_plan_bind(t->plan, 0, (clvi_view){t->x, 0}, (clvi_view){NULL, 0});
    OK(clvi_after_step_create(t->graph, t->store, base, &t->after, error));
}

static void bench_close(bench *t)
{
    clvi_after_step_destroy(t->after);
    clvi_plan_destroy(t->plan);
    clvi_buf_destroy(t->x);
    clvi_store_destroy(t->store);
    clvi_graph_destroy(t->graph);
}

static void batch(bench *t, const float *x, int64_t n)
{
    clvi_view sources[2];
    OK(clvi_upload(device, t->x, 0, x, (size_t)n * K * 4, error));
    OK(clvi_plan_forward(t->plan, n, NULL, error));
    for (size_t i = 0; i < 2; i++)
        sources[i] = clvi_plan_output(t->plan, i, n);
    OK(clvi_after_step_add(t->after, sources, n, error));
}

static void expect(const bench *t, const char *name, const float *wanted, size_t count)
{
    float got[K];
    const int64_t index = clvi_store_find(t->store, name);
    assert_true(index >= 0);
    OK(clvi_store_read(t->store, (size_t)index, CLVI_STORE_VALUE, got, error));
    for (size_t i = 0; i < count; i++)
        if (got[i] < wanted[i] || got[i] > wanted[i])
            fail_msg("%s[%zu] is %g, wanted is %g", name, i, (double)got[i], (double)wanted[i]);
}

static void test_steps(void **unused)
{
    (void)unused;
    bench t;
    bench_open(&t);
    /* What a step that was never ended left behind does not count. */
    batch(&t, (const float[]){1, 0, 0, 1, 0, 0}, 2);
    /* Two batches together: loads 3, 1, 2. One by one it would be 2, 0, 1 and 1, 1, 1. */
    OK(clvi_after_step_begin(t.after, error));
    batch(&t, (const float[]){0.5f, 0, 0.5f, 1, 0, 0}, 2);
    batch(&t, (const float[]){0, 0, 0.2f, 0.3f, 0.7f, 0}, 2);
    expect(&t, "bias", (const float[]){0, 0, 0}, K);
    OK(clvi_after_step_run(t.after, error));
    expect(&t, "bias", (const float[]){-0.25f, 0.25f, 0}, K);
    expect(&t, "before", (const float[]){0, 0, 0}, K);
    expect(&t, "seen", (const float[]){4}, 1);
    /* Loads 1, 3, 0; the mean is 4/3. */
    OK(clvi_after_step_begin(t.after, error));
    batch(&t, (const float[]){0, 1, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0}, 4);
    OK(clvi_after_step_run(t.after, error));
    expect(&t, "bias", (const float[]){0, 0, 0.25f}, K);
    expect(&t, "before", (const float[]){-0.25f, 0.25f, 0}, K);
    /* All alike: nothing moves. */
    OK(clvi_after_step_begin(t.after, error));
    batch(&t, (const float[]){1, 1, 1}, 1);
    OK(clvi_after_step_run(t.after, error));
    expect(&t, "bias", (const float[]){0, 0, 0.25f}, K);
    expect(&t, "seen", (const float[]){9}, 1);
    bench_close(&t);
}

/* ---- What is refused ---- */

static void sum_of_state(clv_builder *b, clv_tensor x)
{
    (void)x;
    clv_step_sum(b, state(b, "s", K));
}

static void sum_of_sum(clv_builder *b, clv_tensor x)
{
    const clv_tensor sum = clv_step_sum(b, x);
    const clv_tensor inputs[2] = {x, sum};
    const clv_attr attrs[] = {clv_attr_int("k", 1)};
    clv_step_sum(b, clv_op(b, "topk_mask", "top", inputs, 2, attrs, 1));
}

static void of_parameter(clv_builder *b, clv_tensor x)
{
    const clv_variable_desc desc = clv_variable("w", CLV_INIT_ZEROS, 0, 1, K, 0, 0, 0);
    const clv_tensor w = clv_parameter(b, &desc);
    clv_after_step(b, w, clv_add(b, "next", w, clv_step_sum(b, x)));
}

static void wrong_shape(clv_builder *b, clv_tensor x)
{
    clv_after_step(b, state(b, "s", K + 1), clv_sign(b, "next", clv_step_sum(b, x)));
}

static void no_operation(clv_builder *b, clv_tensor x)
{
    clv_after_step(b, state(b, "s", K), clv_step_sum(b, x));
}

static void of_samples(clv_builder *b, clv_tensor x)
{
    const clv_attr attrs[] = {clv_attr_text("term", "variation")};
    const clv_tensor s = state(b, "s", 1), of = clv_op(b, "balance_loss", "cv", &x, 1, attrs, 1);
    clv_after_step(b, s, clv_add(b, "next", s, of));
}

static void twice(clv_builder *b, clv_tensor x)
{
    const clv_tensor s = state(b, "s", K), next = clv_sign(b, "next", clv_step_sum(b, x));
    clv_after_step(b, s, next);
    clv_after_step(b, s, next);
}

static void too_many(clv_builder *b, clv_tensor x)
{
    for (int i = 0; i <= CLVI_MAX_STEP_SUMS; i++)
        clv_step_sum(b, x);
}

static void output_of_sum(clv_builder *b, clv_tensor x)
{
    const clv_tensor inputs[2] = {x, clv_step_sum(b, x)};
    const clv_attr attrs[] = {clv_attr_int("k", 1)};
    clv_output(b, "route", clv_op(b, "topk_mask", "top", inputs, 2, attrs, 1));
}

static const struct {
    void (*build)(clv_builder *b, clv_tensor x);
    const char *says;
} refusals[] = {
    {sum_of_state, "step_sum of s, which is [3]; it must be led by the batch"},
    {sum_of_sum, "step_sum of top, which reads another sum"},
    {of_parameter, "after_step of w, which is no state"},
    {wrong_shape, "the state s is [4] and would become next, [3]"},
    {no_operation, "after_step of s: step_sum.0 is computed by no operation"},
    {of_samples, "after_step of s: next reads samples of a batch"},
    {twice, "after_step of s is declared twice"},
    {too_many, "there are 4 already"},
    {output_of_sum, "the output \"route\" reads a sum over the step"},
};

static void test_refusals(void **unused)
{
    (void)unused;
    const clv_shape shape = CLVI_SHAPE(CLV_F32, CLV_BATCH, K);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        clv_graph *graph;
        clv_tensor x;
        clv_error error = CLV_ERROR_INIT;
        assert_int_equal(clvi_graph_create("test", &graph, &error), CLV_OK);
        assert_int_equal(clvi_graph_input_tensor(graph, "x", &shape, &x, &error), CLV_OK);
        clv_builder b = clv_builder_begin(clvi_host_table(), graph, &error);
        refusals[i].build(&b, x);
        clv_status status = clv_builder_end(&b);
        if (status == CLV_OK)
            status = clvi_graph_check_step_sums(graph, &error);
        if (status == CLV_OK || !strstr(error.message, refusals[i].says))
            fail_msg("case %zu: '%s', wanted is '%s'", i, error.message, refusals[i].says);
        clvi_graph_destroy(graph);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps),
                                       cmocka_unit_test(test_refusals)};
    int status;
    device = test_device_open(&status);
    if (!device)
        return status;
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return test_device_close() || failed;
}
