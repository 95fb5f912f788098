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
    memcpy(out->op, text, length);
    out->op[length] = '\0';
    out->count = 0;
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

static clv_status time_gemm(clvi_device *device, const spec *s, int64_t repeat, bench_op_row *row,
                            clv_error *error)
{
    if (s->count != 3)
        CLV_FAIL(error, CLV_E_USAGE, "gemm takes M,N,K");
    gemm_run r = {.device = device, .gemm = {.m = s->sizes[0], .n = s->sizes[1], .k = s->sizes[2]}};
    const int64_t m = r.gemm.m, n = r.gemm.n, k = r.gemm.k;
    const int64_t elements[4] = {m * k, k * n, m * n,
                                 (int64_t)clvi_gemm_workspace(device, &r.gemm)};
    clvi_view *const views[4] = {&r.gemm.a, &r.gemm.b, &r.gemm.c, &r.gemm.workspace};
    clv_status status = CLV_OK;
    for (int i = 0; i < 4 && status == CLV_OK; i++) {
        if (elements[i] == 0)
            continue;
        status = clvi_buf_create(device, (size_t)elements[i] * 4, "matrix", &views[i]->buf, error);
        if (status == CLV_OK)
            status = fill_random(device, *views[i], elements[i], error);
    }
    if (status == CLV_OK)
        status = best_of(device, call_gemm, &r, repeat, &row->ms, error);
    for (int i = 0; i < 4; i++)
        clvi_buf_destroy(views[i]->buf);
    snprintf(row->name, sizeof row->name, "forward");
    row->gflops = 2.0 * (double)m * (double)n * (double)k / row->ms * 1e-6;
    return status;
}

/* ---- Ops in graphs ---- */

typedef struct graph_run {
    clvi_plan *plan;
    int64_t n;
} graph_run;

static clv_status call_forward(void *user, clv_error *error)
{
    const graph_run *r = user;
    return clvi_plan_forward(r->plan, r->n, NULL, error);
}

static clv_status call_backward(void *user, clv_error *error)
{
    return clvi_plan_backward(((const graph_run *)user)->plan, error);
}

/* Builds the op on input x; multiply-adds per sample of forward in *macs where it is a product. */
static clv_status build_op(const spec *s, clv_graph *graph, clv_tensor *x, clv_tensor *y,
                           double *macs, clv_error *error)
{
    const bool conv = strncmp(s->op, "conv2d", 6) == 0, dense = strcmp(s->op, "dense") == 0;
    const bool flat = dense || strcmp(s->op, "softmax") == 0;
    const int least = conv ? 6 : dense ? 3 : flat ? 2 : 4;
    if (s->count != least && !(conv && s->count == 7))
        CLV_FAIL(error, CLV_E_USAGE, "%s takes %s", s->op,
                 conv    ? "N,H,W,CIN,COUT,KERNEL[,STRIDE]"
                 : dense ? "N,IN,OUT"
                 : flat  ? "N,C"
                         : "N,H,W,C");
    const clv_shape shape =
        flat ? CLVI_SHAPE(CLV_F32, CLV_BATCH, s->sizes[1])
             : CLVI_SHAPE(CLV_F32, CLV_BATCH, s->sizes[1], s->sizes[2], s->sizes[3]);
    CLV_TRY(clvi_graph_input_tensor(graph, "x", &shape, x, error));
    clv_builder b = clv_builder_begin(clvi_host_table(), graph, error);
    clv_conv2d_desc desc = {.filters = s->sizes[4], .kernel = s->sizes[5]};
    desc.stride = s->count == 7 ? s->sizes[6] : 1;
    if (strcmp(s->op, "conv2d") == 0)
        *y = clv_conv2d(&b, "op", *x, &desc);
    else if (strcmp(s->op, "conv2d_bn") == 0)
        *y = clv_conv2d_bn(&b, "op", "norm", *x, &desc);
    else if (dense)
        *y = clv_dense(&b, "op", *x, s->sizes[2], NULL);
    else if (strcmp(s->op, "batch_norm") == 0)
        *y = clv_batch_norm(&b, "op", *x, "relu", 0, 0);
    else if (strcmp(s->op, "max_pool2d") == 0)
        *y = clv_max_pool2d(&b, "op", *x, 2, 2, 0);
    else if (strcmp(s->op, "add") == 0)
        *y = clv_add(&b, "op", *x, *x);
    else
        *y = clv_op(&b, s->op, "op", x, 1, NULL, 0);
    CLV_TRY(clv_builder_end(&b));
    const clv_shape out = graph->tensors[*y].shape;
    *macs =
        conv ? (double)clvi_shape_elements(&out) * (double)(s->sizes[3] * s->sizes[5] * s->sizes[5])
        : dense ? (double)(s->sizes[1] * s->sizes[2])
                : 0;
    return CLV_OK;
}

static clv_status time_plan(clvi_device *device, const spec *s, clv_graph *graph, clvi_store *store,
                            int64_t repeat, bench_op_row rows[BENCH_OP_ROWS], clv_error *error)
{
    clv_tensor x, y;
    double macs = 0;
    uint32_t base;
    const int64_t n = s->sizes[0];
    CLV_TRY(build_op(s, graph, &x, &y, &macs, error));
    CLV_TRY(clvi_store_add(store, graph, "", NULL, NULL, &base, error));
    CLV_TRY(clvi_store_commit(store, true, error));
    CLV_TRY(clvi_store_initialise(store, 1, error));
    const clvi_plan_desc desc = {.graph = graph,
                                 .store = store,
                                 .mode = CLV_MODE_TRAIN,
                                 .max_batch = n,
                                 .outputs = &y,
                                 .output_count = 1,
                                 .outputs_with_grad = 1,
                                 .inputs_with_grad = 1};
    const int64_t in = clvi_shape_elements(&graph->tensors[x].shape) * n;
    const int64_t out = clvi_shape_elements(&graph->tensors[y].shape) * n;
    graph_run r = {.n = n};
    clvi_view values = {NULL, 0}, grads = {NULL, 0};
    clv_status status = clvi_plan_create(&desc, &r.plan, error);
    if (status == CLV_OK)
        status = clvi_buf_create(device, (size_t)in * 4, "input", &values.buf, error);
    if (status == CLV_OK)
        status = clvi_buf_create(device, (size_t)in * 4, "gradient", &grads.buf, error);
    if (status == CLV_OK) {
        clvi_plan_bind(r.plan, 0, values, grads);
        status = fill_random(device, values, in, error);
    }
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
        rows[i].gbs = macs > 0 ? 0 : 4.0 * (double)((i + 1) * in + out) / rows[i].ms * 1e-6;
    }
    clvi_plan_destroy(r.plan);
    clvi_buf_destroy(values.buf);
    clvi_buf_destroy(grads.buf);
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
