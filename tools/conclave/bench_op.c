/* An op in a graph of its own, timed against what it computes and moves. */
#include "bench.h"

#include "base/clock.h"
#include "base/text.h"
#include "runtime/gemm.h"

#include <conclave/ops.h>
#include <stdio.h>

enum { MAX_SIZES = 8 };

typedef struct spec {
    char op[32];
    int64_t sizes[MAX_SIZES];
    int count;
} spec;

static clv_status parse(const char *text, spec *out, clv_error *error)
{
    const char *colon = strchr(text, ':');
    const size_t length = colon ? (size_t)(colon - text) : 0;
    if (length == 0 || length >= sizeof out->op)
        CLV_FAIL(error, CLV_E_USAGE, "--op '%s': write OP:SIZE,SIZE,… such as gemm:1024,1024,1024",
                 text);
    *out = (spec){0}; /* sizes that are not given are 0: each op's own default */
    memcpy(out->op, text, length);
    for (const char *p = colon + 1;; p++) {
        const size_t digits = strcspn(p, ",");
        char number[24];
        if (digits == 0 || digits >= sizeof number || out->count == MAX_SIZES)
            CLV_FAIL(error, CLV_E_USAGE, "--op '%s': sizes are numbers between commas", text);
        memcpy(number, p, digits);
        number[digits] = '\0';
        int64_t *size = &out->sizes[out->count++];
        if (!clvi_parse_int(number, size) || *size < 1 || *size > 1 << 24)
            CLV_FAIL(error, CLV_E_USAGE, "--op '%s': '%s' is no size", text, number);
        p += digits;
        if (*p == '\0')
            return CLV_OK;
    }
}

/* Fills a buffer with small numbers that repeat. */
static clv_status fill_random(clvi_device *device, clvi_view view, int64_t elements,
                              clv_error *error)
{
    float *values = clvi_malloc((size_t)elements * sizeof *values);
    if (!values)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for %lld numbers", (long long)elements);
    uint32_t state = 1;
    for (int64_t i = 0; i < elements; i++) {
        state = state * 1664525u + 1013904223u;
        values[i] = (float)(state >> 8) * (1.0f / 16777216.0f) - 0.5f;
    }
    const clv_status status =
        clvi_upload(device, view.buf, view.offset * 4, values, (size_t)elements * 4, error);
    clvi_free(values);
    return status;
}

typedef clv_status (*timed_call)(void *user, clv_error *error);

/* Best of `repeat` calls after two, each until the device is done. */
static clv_status best_of(clvi_device *device, timed_call call, void *user, int64_t repeat,
                          double *ms, clv_error *error)
{
    *ms = 1e30;
    for (int64_t i = -2; i < repeat; i++) {
        const double from = clvi_now();
        CLV_TRY(call(user, error));
        CLV_TRY(clvi_wait(device, error));
        const double took = (clvi_now() - from) * 1e3;
        if (i >= 0 && took < *ms)
            *ms = took;
    }
    return CLV_OK;
}

/* ---- The matrix product ---- */

typedef struct gemm_run {
    clvi_device *device;
    clvi_gemm gemm;
} gemm_run;

static clv_status call_gemm(void *user, clv_error *error)
{
    const gemm_run *r = user;
    return clvi_gemm_run(r->device, &r->gemm, error);
}

clv_status bench_product_open(clvi_device *device, const clvi_gemm *shape, clvi_gemm *out,
                              clv_error *error)
{
    clvi_gemm g = *shape;
    const int64_t rows_a = g.transpose_a ? g.k : g.m, rows_b = g.transpose_b ? g.n : g.k;
    const int64_t elements[4] = {rows_a * (g.lda > 0       ? g.lda
                                           : g.transpose_a ? g.m
                                                           : g.k),
                                 rows_b * (g.ldb > 0       ? g.ldb
                                           : g.transpose_b ? g.k
                                                           : g.n),
                                 g.m * (g.ldc > 0 ? g.ldc : g.n),
                                 (int64_t)clvi_gemm_workspace(device, &g)};
    clvi_view *const views[4] = {&g.a, &g.b, &g.c, &g.workspace};
    clv_status status = CLV_OK;
    for (int i = 0; i < 4 && status == CLV_OK; i++) {
        if (elements[i] == 0)
            continue;
        status = clvi_buf_create(device, (size_t)elements[i] * 4, "matrix", &views[i]->buf, error);
        if (status == CLV_OK)
            status = fill_random(device, *views[i], elements[i], error);
    }
    if (status != CLV_OK)
        bench_product_close(&g);
    else
        *out = g;
    return status;
}

void bench_product_close(clvi_gemm *product)
{
    clvi_buf_destroy(product->a.buf);
    clvi_buf_destroy(product->b.buf);
    clvi_buf_destroy(product->c.buf);
    clvi_buf_destroy(product->workspace.buf);
}

static clv_status time_gemm(clvi_device *device, const spec *s, int64_t repeat, bench_op_row *row,
                            clv_error *error)
{
    if (s->count != 3)
        CLV_FAIL(error, CLV_E_USAGE, "gemm takes M,N,K");
    const clvi_gemm shape = {.m = s->sizes[0], .n = s->sizes[1], .k = s->sizes[2]};
    gemm_run r = {.device = device};
    CLV_TRY(bench_product_open(device, &shape, &r.gemm, error));
    const clv_status status = best_of(device, call_gemm, &r, repeat, &row->ms, error);
    bench_product_close(&r.gemm);
    snprintf(row->name, sizeof row->name, "forward");
    row->gflops = 2.0 * (double)shape.m * (double)shape.n * (double)shape.k / row->ms * 1e-6;
    return status;
}

/* ---- Ops in graphs ---- */

typedef struct graph_run {
    clvi_plan *plan;
    int64_t n;
    clvi_run_random random;
} graph_run;

static clv_status call_forward(void *user, clv_error *error)
{
    const graph_run *r = user;
    return clvi_plan_forward(r->plan, r->n, &r->random, error);
}

static clv_status call_backward(void *user, clv_error *error)
{
    return clvi_plan_backward(((const graph_run *)user)->plan, error);
}

/* What `--op` takes, and the sizes of each. */
typedef enum kind { FLAT, MAP, DENSE, CONV, DEPTHWISE } kind;
static const struct {
    const char *sizes;
    int least, most;
} kinds[] = {[FLAT] = {"N,C", 2, 2},
             [MAP] = {"N,H,W,C", 4, 4},
             [DENSE] = {"N,IN,OUT", 3, 3},
             [CONV] = {"N,H,W,CIN,COUT,KERNEL[,STRIDE[,GROUPS]]", 6, 8},
             [DEPTHWISE] = {"N,H,W,C,KERNEL[,STRIDE]", 5, 6}};
static const struct {
    const char *op;
    kind kind;
} timed_ops[] = {
    {"conv2d", CONV},
    {"conv2d_bn", CONV},
    {"depthwise_conv2d", DEPTHWISE},
    {"depthwise_conv2d_bn", DEPTHWISE},
    {"dense", DENSE},
    {"batch_norm", MAP},
    {"relu", MAP},
    {"silu", MAP},
    {"sigmoid", MAP},
    {"add", MAP},
    {"multiply", MAP},
    {"concat", MAP},
    {"pad", MAP},
    {"max_pool2d", MAP},
    {"avg_pool2d", MAP},
    {"global_avg_pool", MAP},
    {"dropout", MAP},
    {"drop_path", MAP},
    {"softmax", FLAT},
    {"cross_entropy", FLAT},
    {"topk_mask", FLAT},
    {"column_topk", FLAT},
};

static clv_status kind_of(const spec *s, kind *out, clv_error *error)
{
    const char *names[sizeof timed_ops / sizeof *timed_ops + 1] = {"gemm"};
    char known[512] = "gemm";
    for (size_t i = 0; i < sizeof timed_ops / sizeof *timed_ops; i++) {
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, ", %s", timed_ops[i].op);
        names[i + 1] = timed_ops[i].op;
        if (strcmp(timed_ops[i].op, s->op) != 0)
            continue;
        *out = timed_ops[i].kind;
        if (s->count < kinds[*out].least || s->count > kinds[*out].most)
            CLV_FAIL(error, CLV_E_USAGE, "%s takes %s", s->op, kinds[*out].sizes);
        return CLV_OK;
    }
    const char *near = clvi_nearest(s->op, names, sizeof names / sizeof *names);
    if (near != NULL)
        CLV_FAIL(error, CLV_E_USAGE, "--op '%s': there is no such op to time; did you mean %s?",
                 s->op, near);
    CLV_FAIL(error, CLV_E_USAGE, "--op '%s': there is no such op to time; there are %s", s->op,
             known);
}

/* The op on inputs x and other (the second factor, the labels). */
static clv_tensor add_op(clv_builder *b, const spec *s, kind k, clv_tensor x, clv_tensor other)
{
    const int64_t *sizes = s->sizes;
    clv_conv2d_desc desc = {.filters = sizes[4], .kernel = sizes[5], .stride = sizes[6]};
    desc.groups = sizes[7];
    if (k == DEPTHWISE) {
        desc = (clv_conv2d_desc){.kernel = sizes[4], .stride = sizes[5]};
        return strcmp(s->op, "depthwise_conv2d") == 0
                   ? clv_depthwise_conv2d(b, "op", x, &desc)
                   : clv_depthwise_conv2d_bn(b, "op", "norm", x, &desc);
    }
    if (k == CONV)
        return strcmp(s->op, "conv2d") == 0 ? clv_conv2d(b, "op", x, &desc)
                                            : clv_conv2d_bn(b, "op", "norm", x, &desc);
    if (k == DENSE)
        return clv_dense(b, "op", x, sizes[2], NULL);
    if (strcmp(s->op, "batch_norm") == 0)
        return clv_batch_norm(b, "op", x, "relu", 0, 0);
    if (strcmp(s->op, "max_pool2d") == 0)
        return clv_max_pool2d(b, "op", x, 2, 2, 0);
    if (strcmp(s->op, "avg_pool2d") == 0)
        return clv_avg_pool2d(b, "op", x, 2, 2, 0);
    if (strcmp(s->op, "add") == 0)
        return clv_add(b, "op", x, x);
    if (strcmp(s->op, "concat") == 0)
        return clv_concat(b, "op", (const clv_tensor[]){x, x}, 2);
    const clv_tensor inputs[] = {x, other};
    const clv_attr one = strcmp(s->op, "topk_mask") == 0     ? clv_attr_int("k", 1)
                         : strcmp(s->op, "column_topk") == 0 ? clv_attr_real("k", 1)
                                                             : (clv_attr){0};
    return clv_op(b, s->op, "op", inputs, other != CLV_NO_TENSOR ? 2 : 1, &one,
                  one.name != NULL ? 1 : 0);
}

/* Builds the op; multiply-adds per sample of forward in *macs where it is a product. */
static clv_status build_op(const spec *s, clv_graph *graph, clv_tensor *y, double *macs,
                           clv_error *error)
{
    kind k = FLAT;
    clv_tensor x, other = CLV_NO_TENSOR;
    CLV_TRY(kind_of(s, &k, error));
    const bool flat = k == FLAT || k == DENSE;
    const int64_t channels = flat ? s->sizes[1] : s->sizes[3];
    const clv_shape shape =
        flat ? CLVI_SHAPE(CLV_F32, CLV_BATCH, channels)
             : CLVI_SHAPE(CLV_F32, CLV_BATCH, s->sizes[1], s->sizes[2], channels);
    const clv_shape factors = CLVI_SHAPE(CLV_F32, CLV_BATCH, channels);
    const clv_shape labels = CLVI_SHAPE(CLV_I32, CLV_BATCH);
    CLV_TRY(clvi_graph_input_tensor(graph, "x", &shape, &x, error));
    if (strcmp(s->op, "multiply") == 0)
        CLV_TRY(clvi_graph_input_tensor(graph, "factors", &factors, &other, error));
    if (strcmp(s->op, "cross_entropy") == 0)
        CLV_TRY(clvi_graph_input_tensor(graph, "labels", &labels, &other, error));
    clv_builder b = clv_builder_begin(clvi_host_table(), graph, error);
    *y = add_op(&b, s, k, x, other);
    CLV_TRY(clv_builder_end(&b));
    const clvi_node *node = &graph->nodes[graph->node_count - 1];
    /* Depthwise convolution is bound by memory. */
    *macs = node->op->macs && k != DEPTHWISE ? (double)node->op->macs(graph, node) : 0;
    return CLV_OK;
}

/* What the plan is bound to. */
enum { MOST_INPUTS = 2 };
typedef struct bound {
    clvi_view values[MOST_INPUTS], grads[MOST_INPUTS], ids;
} bound;

static clv_status bind_inputs(clvi_device *device, const clv_graph *graph, clvi_plan *plan,
                              int64_t n, bound *to, clv_error *error)
{
    for (size_t i = 0; i < graph->input_count; i++) {
        const clv_shape *shape = &graph->tensors[graph->inputs[i].tensor].shape;
        const size_t bytes = (size_t)(clvi_shape_elements(shape) * n) * 4;
        CLV_TRY(clvi_buf_create(device, bytes, "input", &to->values[i].buf, error));
        if (shape->dtype != CLV_F32) { /* labels: all of class 0 */
            CLV_TRY(clvi_fill(device, to->values[i].buf, 0, bytes, 0, error));
        } else {
            CLV_TRY(clvi_buf_create(device, bytes, "gradient", &to->grads[i].buf, error));
            CLV_TRY(fill_random(device, to->values[i], (int64_t)(bytes / 4), error));
        }
        clvi_plan_bind(plan, i, to->values[i], to->grads[i]);
    }
    CLV_TRY(clvi_buf_create(device, (size_t)n * 4, "ids", &to->ids.buf, error));
    return clvi_fill(device, to->ids.buf, 0, (size_t)n * 4, 0, error);
}

static clv_status time_plan(clvi_device *device, const spec *s, clv_graph *graph, clvi_store *store,
                            int64_t repeat, bench_op_row rows[BENCH_OP_ROWS], clv_error *error)
{
    clv_tensor y;
    double macs = 0, in = 0;
    uint32_t base, with_grad = 0;
    const int64_t n = s->sizes[0];
    CLV_TRY(build_op(s, graph, &y, &macs, error));
    CLV_TRY(clvi_store_add(store, graph, "", NULL, NULL, &base, error));
    CLV_TRY(clvi_store_commit(store, true, error));
    CLV_TRY(clvi_store_initialise(store, 1, error));
    for (size_t i = 0; i < graph->input_count; i++) {
        const clv_shape *shape = &graph->tensors[graph->inputs[i].tensor].shape;
        in += (double)(clvi_shape_elements(shape) * n);
        with_grad |= (uint32_t)(shape->dtype == CLV_F32) << i;
    }
    const clvi_plan_desc desc = {.graph = graph,
                                 .store = store,
                                 .mode = CLV_MODE_TRAIN,
                                 .max_batch = n,
                                 .outputs = &y,
                                 .output_count = 1,
                                 .outputs_with_grad = 1,
                                 .inputs_with_grad = with_grad};
    const int64_t out = clvi_shape_elements(&graph->tensors[y].shape) * n;
    graph_run r = {.n = n};
    bound b = {0};
    clv_status status = clvi_plan_create(&desc, &r.plan, error);
    if (status == CLV_OK)
        status = bind_inputs(device, graph, r.plan, n, &b, error);
    r.random.ids = b.ids;
    if (status == CLV_OK)
        status = fill_random(device, clvi_plan_grad(r.plan, 0, n), out, error);
    if (status == CLV_OK)
        status = best_of(device, call_forward, &r, repeat, &rows[0].ms, error);
    if (status == CLV_OK)
        status = best_of(device, call_backward, &r, repeat, &rows[1].ms, error);
    for (int i = 0; i < 2; i++) {
        snprintf(rows[i].name, sizeof rows[i].name, "%s", i ? "backward" : "forward");
        rows[i].gflops = 2.0 * macs * (double)n * (i + 1) / rows[i].ms * 1e-6;
        /* Least traffic: forward reads x, writes y; backward reads x and grad y, writes grad x. */
        rows[i].gbs = macs > 0 ? 0 : 4.0 * ((i + 1) * in + (double)out) / rows[i].ms * 1e-6;
    }
    clvi_plan_destroy(r.plan);
    for (size_t i = 0; i < MOST_INPUTS; i++) {
        clvi_buf_destroy(b.values[i].buf);
        clvi_buf_destroy(b.grads[i].buf);
    }
    clvi_buf_destroy(b.ids.buf);
    return status;
}

clv_status bench_op(clvi_device *device, const char *text, int64_t repeat,
                    bench_op_row rows[BENCH_OP_ROWS], size_t *count, clv_error *error)
{
    spec s;
    CLV_TRY(parse(text, &s, error));
    memset(rows, 0, BENCH_OP_ROWS * sizeof *rows);
    if (strcmp(s.op, "gemm") == 0) {
        *count = 1;
        return time_gemm(device, &s, repeat, rows, error);
    }
    clv_graph *graph = NULL;
    clvi_store *store = NULL;
    clv_status status = clvi_graph_create("bench", &graph, error);
    if (status == CLV_OK)
        status = clvi_store_create(device, &store, error);
    if (status == CLV_OK)
        status = time_plan(device, &s, graph, store, repeat, rows, error);
    clvi_store_destroy(store);
    clvi_graph_destroy(graph);
    *count = 2;
    return status;
}
