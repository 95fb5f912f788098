/* What load_prob says of a noisy gate is how often it happens: the noise of one expert is drawn ten
 * thousand times by add_noise, that of the others held, and the times are counted at which the
 * expert is among the k largest. Both ops with the floor that they have on their own. Exit 77 where
 * there is no OpenCL device. */
#include "base/memory.h"
#include "graph/plan.h"
#include "test_device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { EXPERTS = 4, DRAWS = 10000, HELD = 4 };

static clvi_device *device;

typedef float table[DRAWS][EXPERTS];
static table noisy, probability;

/* A sample's clean logits and spreads, and how many are chosen. */
typedef struct gate {
    const char *name;
    int64_t k;
    float logits[EXPERTS], spread[EXPERTS];
} gate;

static const gate gates[] = {
    {"1 of 4", 1, {0.5f, 0, -0.5f, 0.2f}, {0, 0.5f, -1, 1}},
    {"2 of 4", 2, {0.5f, 0, -0.5f, 0.2f}, {0, 0.5f, -1, 1}},
    {"3 of 4", 3, {1, 0.9f, -1, -0.4f}, {-2, -3, 1, 0}},
    /* Only the floor is left. */
    {"floor, 1 of 4", 1, {0, 0.01f, -0.005f, 0.004f}, {-30, -30, -30, -30}},
    {"floor, 2 of 4", 2, {0, 0.01f, -0.005f, 0.004f}, {-30, -30, -30, -30}},
};
enum { GATES = sizeof gates / sizeof *gates };

static clvi_buf *repeat(const void *row, size_t bytes)
{
    clvi_buf *buf = NULL;
    char *all = clvi_malloc(DRAWS * bytes);
    assert_non_null(all);
    for (size_t i = 0; i < DRAWS; i++)
        memcpy(all + i * bytes, row, bytes);
    OK(clvi_buf_create(device, DRAWS * bytes, "test", &buf, error));
    OK(clvi_upload(device, buf, 0, all, DRAWS * bytes, error));
    clvi_free(all);
    return buf;
}

static void download(const clvi_plan *plan, size_t output, table out)
{
    const clvi_view view = clvi_plan_output(plan, output, DRAWS);
    OK(clvi_download(device, view.buf, view.offset * sizeof(float), out, sizeof(table), error));
}

/* Fills noisy and probability: DRAWS samples, alike but for their ids. */
static void draw(const gate *g)
{
    clv_graph *graph;
    clvi_store *store;
    clvi_plan *plan;
    uint32_t base, list[DRAWS];
    clv_tensor in[3], out[2];
    const clv_shape shape = CLVI_SHAPE(CLV_F32, CLV_BATCH, EXPERTS);
    const clv_attr k = {
        .struct_size = sizeof(clv_attr), .type = CLV_ATTR_INT, .name = "k", .i = g->k};
    OK(clvi_graph_create("load", &graph, error));
    OK(clvi_graph_input_tensor(graph, "clean", &shape, &in[0], error));
    OK(clvi_graph_input_tensor(graph, "spread", &shape, &in[1], error));
    OK(clvi_graph_add_op(graph, "add_noise", "noisy", in, 2, NULL, 0, sizeof k, &out[0], 1, error));
    in[2] = out[0];
    OK(clvi_graph_add_op(graph, "load_prob", "load", in, 3, &k, 1, sizeof k, &out[1], 1, error));
    OK(clvi_store_create(device, &store, error));
    OK(clvi_store_add(store, graph, "", NULL, NULL, &base, error));
    OK(clvi_store_commit(store, true, error));
    const clvi_plan_desc desc = {.graph = graph,
                                 .store = store,
                                 .mode = CLV_MODE_TRAIN,
                                 .max_batch = DRAWS,
                                 .outputs = out,
                                 .output_count = 2};
    OK(clvi_plan_create(&desc, &plan, error));
    for (uint32_t i = 0; i < DRAWS; i++)
        list[i] = i;
    clvi_buf *clean = repeat(g->logits, sizeof g->logits),
             *spread = repeat(g->spread, sizeof g->spread), *ids = NULL;
    OK(clvi_buf_create(device, sizeof list, "ids", &ids, error));
    OK(clvi_upload(device, ids, 0, list, sizeof list, error));
    clvi_plan_bind(plan, 0, (clvi_view){clean, 0}, (clvi_view){0});
    clvi_plan_bind(plan, 1, (clvi_view){spread, 0}, (clvi_view){0});
    const clvi_run_random random = {.key = {3, 4}, .epoch = 1, .ids = {ids, 0}};
    OK(clvi_plan_forward(plan, DRAWS, &random, error));
    download(plan, 0, noisy);
    download(plan, 1, probability);
    clvi_plan_destroy(plan);
    clvi_store_destroy(store);
    clvi_graph_destroy(graph);
    clvi_buf_destroy(clean);
    clvi_buf_destroy(spread);
    clvi_buf_destroy(ids);
}

/* Whether expert i is among the k largest, with h in place of its own. */
static bool is_chosen(const float *row, int i, float h, int64_t k)
{
    int64_t larger = 0;
    for (int j = 0; j < EXPERTS; j++)
        larger += j != i && row[j] > h;
    return larger < k;
}

static void test_frequency(void **state)
{
    (void)state;
    int open = 0;
    for (int g = 0; g < GATES; g++) {
        draw(&gates[g]);
        for (int held = 0; held < HELD; held++)
            for (int i = 0; i < EXPERTS; i++) {
                int chosen = 0;
                for (int d = HELD; d < DRAWS; d++)
                    chosen += is_chosen(noisy[held], i, noisy[d][i], gates[g].k);
                const double n = DRAWS - HELD, seen = chosen / n, p = (double)probability[held][i];
                assert_true(p >= 0 && p <= 1);
                open += p > 0.1 && p < 0.9;
                if (!(fabs(seen - p) <= 4 * sqrt(p * (1 - p) / n) + 1 / n))
                    fail_msg("%s, sample %d, expert %d: load_prob %.4f, chosen %.4f of %d times",
                             gates[g].name, held, i, p, seen, DRAWS - HELD);
            }
    }
    assert_true(open >= 20); /* not only what is sure anyway */
}

/* The smallest noise is of standard deviation 0.01, which is the paper's. */
static void test_floor(void **state)
{
    (void)state;
    draw(&gates[GATES - 1]);
    for (int i = 0; i < EXPERTS; i++) {
        double sum = 0, square = 0;
        for (int d = 0; d < DRAWS; d++) {
            const double apart = (double)noisy[d][i] - (double)gates[GATES - 1].logits[i];
            sum += apart;
            square += apart * apart;
        }
        assert_true(fabs(sum / DRAWS) <= 4 * 0.01 / sqrt(DRAWS));
        if (!(fabs(sqrt(square / DRAWS) - 0.01) <= 4 * 0.01 / sqrt(2.0 * DRAWS)))
            fail_msg("expert %d: the noise has a deviation of %g", i, sqrt(square / DRAWS));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_frequency),
                                       cmocka_unit_test(test_floor)};
    int status = 0;
    device = test_device_open(&status);
    if (device == NULL)
        return status;
    const int failed = cmocka_run_group_tests_name("load_frequency", tests, NULL, NULL);
    return test_device_close() != 0 || failed != 0;
}
