/* The losses of a mixture: the example in core/mixture/README.md computed again, and that nothing
 * overflows. Argument: the source's root. Exit 77 where there is no OpenCL device. */
#include "base/files.h"
#include "graph/plan.h"
#include "test_device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { EXPERTS = 2, CLASSES = 3, MOST = 8 };

static clvi_device *device;
/* Instead of a dense gate: the CHOSEN largest of its logits, "after" or "before". */
enum { CHOSEN = 2 };
static const char *normalise;
static char *readme;

/* What a loss makes of one sample. */
typedef struct answer {
    float loss, logits[MOST], gate[MOST];
    float fused[MOST]; /* with FUSED: the fused logits */
} answer;

/* Not a term: the cross entropy of fused scores, of these. */
#define FUSED "fused "

static clvi_buf *upload(const void *data, size_t bytes)
{
    clvi_buf *buf = NULL;
    OK(clvi_buf_create(device, bytes, "test", &buf, error));
    OK(clvi_upload(device, buf, 0, data, bytes, error));
    return buf;
}

static clv_tensor add(clv_graph *g, const char *op, const clv_tensor *inputs, uint32_t count,
                      const clv_attr *attrs, uint32_t attr_count)
{
    clv_tensor out;
    OK(clvi_graph_add_op(g, op, op, inputs, count, attrs, attr_count, sizeof *attrs, &out, 1,
                         error));
    return out;
}

static clv_attr text_attr(const char *name, const char *text)
{
    return (clv_attr){
        .struct_size = sizeof(clv_attr), .type = CLV_ATTR_TEXT, .name = name, .text = text};
}

static clv_tensor add_gate(clv_graph *g, clv_tensor z)
{
    if (normalise == NULL)
        return add(g, "softmax", &z, 1, NULL, 0);
    const clv_attr attrs[] = {
        {.struct_size = sizeof(clv_attr), .type = CLV_ATTR_INT, .name = "k", .i = CHOSEN},
        text_attr("normalise", normalise)};
    return add(g, "topk_mask", &z, 1, attrs, 2);
}

/* Appends what makes the loss of logits, gate and labels; out[1] is the fused scores, where they
 * are. Returns how many of out there are. */
static uint32_t add_loss(clv_graph *g, const char *term, const clv_tensor *inputs,
                         clv_tensor out[2])
{
    if (strncmp(term, FUSED, strlen(FUSED)) == 0) {
        const clv_attr attrs[] = {text_attr("combine", "weighted"),
                                  text_attr("scores", term + strlen(FUSED))};
        out[1] = add(g, "fuse_scores", inputs, 2, attrs, 2);
        const clv_tensor both[] = {out[1], inputs[2]};
        out[0] = add(g, "cross_entropy", both, 2, NULL, 0);
        return 2;
    }
    const bool likelihood = strcmp(term, "mixture_nll") == 0;
    const clv_attr attrs[] = {text_attr("term", likelihood ? "jacobs_ce" : term),
                              {.struct_size = sizeof(clv_attr),
                               .type = CLV_ATTR_REAL,
                               .name = "beta",
                               .real = likelihood ? 1 : 0.5}};
    out[0] = add(g, "mixture_loss", inputs, 3, attrs, 2);
    return 1;
}

/* Softmax of the gate's logits, then the loss; gradients to both inputs. */
static void compute(int experts, int classes, const char *term, const float *logits,
                    const float *gate, int32_t label, answer *out)
{
    clv_graph *g;
    clvi_store *store;
    clvi_plan *plan;
    uint32_t base;
    OK(clvi_graph_create("losses", &g, error));
    const clv_shape shapes[] = {CLVI_SHAPE(CLV_F32, CLV_BATCH, experts, classes),
                                CLVI_SHAPE(CLV_F32, CLV_BATCH, experts),
                                CLVI_SHAPE(CLV_I32, CLV_BATCH)};
    static const char *const roles[] = {"logits", "gate_logits", "labels"};
    clv_tensor inputs[3], out_of[2];
    for (int i = 0; i < 3; i++)
        OK(clvi_graph_input_tensor(g, roles[i], &shapes[i], &inputs[i], error));
    inputs[1] = add_gate(g, inputs[1]);
    const uint32_t outputs = add_loss(g, term, inputs, out_of);
    OK(clvi_store_create(device, &store, error));
    OK(clvi_store_add(store, g, "", NULL, NULL, &base, error));
    OK(clvi_store_commit(store, true, error));
    const clvi_plan_desc desc = {.graph = g,
                                 .store = store,
                                 .mode = CLV_MODE_TRAIN,
                                 .max_batch = 1,
                                 .outputs = out_of,
                                 .output_count = outputs,
                                 .outputs_with_grad = 1,
                                 .inputs_with_grad = 3};
    OK(clvi_plan_create(&desc, &plan, error));
    const size_t all = (size_t)(experts * classes) * 4, each = (size_t)experts * 4;
    const float one = 1;
    clvi_buf *values[] = {upload(logits, all), upload(gate, each), upload(&label, 4)};
    clvi_buf *grads[] = {upload(logits, all), upload(gate, each), NULL};
    for (size_t i = 0; i < 3; i++)
        clvi_plan_bind(plan, i, (clvi_view){values[i], 0}, (clvi_view){grads[i], 0});
    OK(clvi_plan_forward(plan, 1, NULL, error));
    const clvi_view seed = clvi_plan_grad(plan, 0, 1), result = clvi_plan_output(plan, 0, 1);
    OK(clvi_upload(device, seed.buf, seed.offset * 4, &one, 4, error));
    OK(clvi_download(device, result.buf, result.offset * 4, &out->loss, 4, error));
    if (outputs == 2) {
        const clvi_view fused = clvi_plan_output(plan, 1, 1);
        OK(clvi_download(device, fused.buf, fused.offset * 4, out->fused, (size_t)classes * 4,
                         error));
    }
    OK(clvi_plan_backward(plan, error));
    OK(clvi_download(device, grads[0], 0, out->logits, all, error));
    OK(clvi_download(device, grads[1], 0, out->gate, each, error));
    clvi_plan_destroy(plan);
    clvi_store_destroy(store);
    clvi_graph_destroy(g);
    for (int i = 0; i < 3; i++) {
        clvi_buf_destroy(values[i]);
        clvi_buf_destroy(grads[i]);
    }
}

/* The numbers behind `key` in the example, below the line `section`. */
static int read_numbers(const char *section, const char *key, double out[MOST])
{
    char line[64];
    snprintf(line, sizeof line, "\n    %s\n", section);
    const char *at = strstr(readme, line);
    assert_non_null(at);
    at += strlen(line);
    while (strncmp(at, "      ", 6) == 0) {
        const char *end = strchr(at, '\n');
        assert_non_null(end);
        const size_t length = strlen(key);
        if (strncmp(at + 6, key, length) == 0 && at[6 + length] == ' ') {
            int count = 0;
            for (char *next; at + 6 + length < end; count++) {
                const double value = strtod(at + 6 + length, &next);
                if (next > end || next == at + 6 + length)
                    break;
                assert_true(count < MOST);
                out[count] = value;
                at = next - 6 - length;
            }
            return count;
        }
        at = end + 1;
    }
    fail_msg("the example has no %s of %s", key, section);
    return 0;
}

static void expect(const char *section, const char *key, const float *got, int count)
{
    double wanted[MOST];
    assert_int_equal(read_numbers(section, key, wanted), count);
    for (int i = 0; i < count; i++)
        if (!(fabs((double)got[i] - wanted[i]) <= 5.1e-5))
            fail_msg("%s, %s, number %d: %g, core/mixture/README.md says %g", section, key, i,
                     (double)got[i], wanted[i]);
}

static const char *const terms[] = {"cooperative", "competitive", "competitive_ce", "jacobs_mse",
                                    "jacobs_ce",   "mixture_nll", "expert_ce"};
enum { TERMS = sizeof terms / sizeof *terms };

/* The terms, and what is fused before. */
enum { CHECKED = TERMS + 2 };
static const char *checked_at(int i)
{
    return i < TERMS ? terms[i] : i == TERMS ? FUSED "probabilities" : FUSED "logits";
}

/* The inputs of the example: the experts' logits and the gate's. */
static void read_inputs(float logits[EXPERTS * CLASSES], float gate[EXPERTS])
{
    double numbers[MOST];
    static const char *const keys[] = {"o_1", "o_2"};
    for (int i = 0; i < EXPERTS; i++) {
        assert_int_equal(read_numbers("forward", keys[i], numbers), CLASSES);
        for (int c = 0; c < CLASSES; c++)
            logits[i * CLASSES + c] = (float)numbers[c];
    }
    assert_int_equal(read_numbers("forward", "z", numbers), EXPERTS);
    for (int i = 0; i < EXPERTS; i++)
        gate[i] = (float)numbers[i];
}

static void test_example(void **state)
{
    (void)state;
    float logits[EXPERTS * CLASSES], gate[EXPERTS];
    read_inputs(logits, gate);
    for (int t = 0; t < TERMS; t++) {
        answer a;
        compute(EXPERTS, CLASSES, terms[t], logits, gate, 0, &a);
        expect(terms[t], "L", &a.loss, 1);
        expect(terms[t], "∂L/∂o_1", a.logits, CLASSES);
        expect(terms[t], "∂L/∂o_2", a.logits + CLASSES, CLASSES);
        expect(terms[t], "∂L/∂z", a.gate, EXPERTS);
    }
}

/* ∂L/∂z = G - h: the gate that the example shows, less what reaches it, is the posterior that the
 * example shows. */
static void test_posterior(void **state)
{
    (void)state;
    static const char *const with[] = {"jacobs_mse", "jacobs_ce", "mixture_nll"};
    float logits[EXPERTS * CLASSES], gate[EXPERTS], route[EXPERTS], posterior[EXPERTS];
    double sum = 0;
    read_inputs(logits, gate);
    for (int i = 0; i < EXPERTS; i++)
        sum += exp((double)gate[i]);
    for (int i = 0; i < EXPERTS; i++)
        route[i] = (float)(exp((double)gate[i]) / sum);
    expect("forward", "G", route, EXPERTS);
    for (int t = 0; t < 3; t++) {
        answer a;
        compute(EXPERTS, CLASSES, with[t], logits, gate, 0, &a);
        for (int i = 0; i < EXPERTS; i++)
            posterior[i] = route[i] - a.gate[i];
        expect(with[t], "h", posterior, EXPERTS);
    }
}

/* The rows between inputs and losses: of each expert alone, with the gate's whole weight, the
 * squared distance and the cross entropy, whose gradient is p - e_y; of both, the fused answer. */
static void test_forward(void **state)
{
    (void)state;
    static const char *const keys[EXPERTS] = {"p_1", "p_2"};
    float logits[EXPERTS * CLASSES], gate[EXPERTS], distance[EXPERTS], entropy[EXPERTS], p[CLASSES];
    answer a;
    read_inputs(logits, gate);
    for (int i = 0; i < EXPERTS; i++) {
        compute(1, CLASSES, "competitive", logits + i * CLASSES, gate, 0, &a);
        distance[i] = a.loss;
        compute(1, CLASSES, "competitive_ce", logits + i * CLASSES, gate, 0, &a);
        entropy[i] = a.loss;
        for (int c = 0; c < CLASSES; c++)
            p[c] = a.logits[c] + (c == 0 ? 1.0f : 0.0f);
        expect("forward", keys[i], p, CLASSES);
    }
    expect("forward", "d", distance, EXPERTS);
    expect("forward", "CE", entropy, EXPERTS);
    compute(EXPERTS, CLASSES, FUSED "probabilities", logits, gate, 0, &a);
    for (int c = 0; c < CLASSES; c++)
        p[c] = expf(a.fused[c]);
    expect("forward", "prediction", p, CLASSES);
    /* Its cross entropy is mixture_nll, gradients too. */
    expect("mixture_nll", "L", &a.loss, 1);
    expect("mixture_nll", "∂L/∂o_1", a.logits, CLASSES);
    expect("mixture_nll", "∂L/∂o_2", a.logits + CLASSES, CLASSES);
    expect("mixture_nll", "∂L/∂z", a.gate, EXPERTS);
}

/* Of four experts the best two, experts 0 and 2: the posterior h is over these, ∂L/∂z = q - h. q is
 * the softmax of the chosen and 0 for the others, or ("before") of all four. */
static void test_chosen(void **state)
{
    (void)state;
    enum { K = 4, C = 2 };
    static const float logits[K * C] = {1, 0, -2, 3, 0.5f, -1, 4, 4}, z[K] = {1, 0.25f, 2, -1};
    static const char *const norms[] = {"after", "before"};
    for (int n = 0; n < 2; n++) {
        double q[K], h[K], all = 0, reached = 0;
        answer a;
        normalise = norms[n];
        compute(K, C, "jacobs_ce", logits, z, 1, &a);
        normalise = NULL;
        for (int i = 0; i < K; i++) {
            const bool chosen = i % 2 == 0;
            const double p = 1 / (1 + exp((double)logits[i * C] - (double)logits[i * C + 1]));
            q[i] = chosen || n == 1 ? exp((double)z[i]) : 0;
            all += q[i];
            h[i] = chosen ? exp((double)z[i]) * sqrt(p) : 0;
            reached += h[i];
        }
        for (int i = 0; i < K; i++)
            if (!(fabs((double)a.gate[i] - (q[i] / all - h[i] / reached)) <= 2e-6))
                fail_msg("%s, expert %d: %g for %g", norms[n], i, (double)a.gate[i],
                         q[i] / all - h[i] / reached);
        if (!(fabs((double)a.loss + log(reached / all)) <= 2e-6))
            fail_msg("%s: %g for %g", norms[n], (double)a.loss, -log(reached / all));
    }
}

/* A gate that is sure, experts that are sure, right or wrong, and a single expert. */
static void test_finite(void **state)
{
    (void)state;
    static const float big[] = {1e4f, -1e4f, 0, -1e4f, 1e4f, 0};
    static const float gates[][EXPERTS] = {{0, 0}, {1e4f, -1e4f}, {-1e4f, 1e4f}, {50, 0}};
    for (int t = 0; t < CHECKED; t++)
        for (int k = 0; k < 4; k++)
            for (int32_t label = 0; label < CLASSES; label++) {
                answer a;
                double sum = 0, gate = 0;
                compute(EXPERTS, CLASSES, checked_at(t), big, gates[k], label, &a);
                for (int i = 0; i < EXPERTS * CLASSES; i++)
                    sum += fabs((double)a.logits[i]);
                for (int i = 0; i < EXPERTS; i++)
                    gate += (double)a.gate[i];
                if (!isfinite(a.loss) || !isfinite(sum) || !(fabs(gate) <= 1e-2))
                    fail_msg("%s, gate %d, label %d: loss %g, gradients %g and %g", checked_at(t),
                             k, (int)label, (double)a.loss, sum, gate);
            }
    for (int t = 0; t < CHECKED; t++)
        for (int32_t label = 0; label < CLASSES; label++) {
            answer a;
            const float gate = 3;
            compute(1, CLASSES, checked_at(t), big, &gate, label, &a);
            assert_true(isfinite(a.loss) && a.gate[0] == 0);
            for (int c = 0; c < CLASSES; c++)
                assert_true(isfinite(a.logits[c]));
        }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example), cmocka_unit_test(test_posterior),
        cmocka_unit_test(test_forward), cmocka_unit_test(test_chosen),
        cmocka_unit_test(test_finite)};
    char path[4096];
    size_t bytes;
    int status = 0;
    if (argc != 2) {
        fprintf(stderr, "usage: test_losses SOURCE_ROOT\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/core/mixture/README.md", argv[1]);
    if (clvi_file_read(path, 1 << 20, &readme, &bytes, NULL) != CLV_OK)
        return 2;
    device = test_device_open(&status);
    if (device == NULL) {
        clvi_free(readme);
        return status;
    }
    const int failed = cmocka_run_group_tests_name("losses", tests, NULL, NULL);
    clvi_free(readme);
    return test_device_close() != 0 || failed != 0;
}
