/* What `conclave devices` and the choice of a device run in a child process, on one device: moving
 * bytes, a matrix product, a convolution, a reduction with their gradients, and waiting, against
 * what plain C gives; at last the speed of a matrix product.
 *
 * The report goes to the parent line by line: "begin STEP", then, if something is wrong, "bad
 * TEXT"; "speed GFLOPS"; at last "end". */
#include "check/rig.h"
#include "driver_cache.h"
#include "command.h"

#include "base/child.h"

#include "base/clock.h"
#include "runtime/gemm.h"

#include <conclave/ops.h>
#include <math.h>
#include <stdarg.h>
#include <unistd.h>

typedef struct self_check {
    FILE *report;
    clvi_runtime *runtime;
    clvi_device *device;
    rig_dice dice;
    bool wrong;
} self_check;

/* ---- Reporting ---- */

static void begin(self_check *c, const char *step)
{
    fprintf(c->report, "begin %s\n", step);
    fflush(c->report);
}

static void say_bad(self_check *c, const char *format, ...) CLV_PRINTF(2, 3);
static void say_bad(self_check *c, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    for (char *newline; (newline = strchr(text, '\n')) != NULL;)
        *newline = ' '; /* a compiler's words */
    if (!c->wrong)
        fprintf(c->report, "bad %s\n", text);
    fflush(c->report);
    c->wrong = true;
}

/* Compares with an exact result: rounding errors are relative to the largest number. */
static void compare(self_check *c, const char *what, const float *got, const double *want,
                    int64_t count)
{
    double largest = 0;
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(want[i]));
    for (int64_t i = 0; i < count; i++) {
        if (fabs((double)got[i] - want[i]) <= 1e-4 * largest) /* NaN is not */
            continue;
        say_bad(c, "%s[%lld] is %g where %g was expected", what, (long long)i, (double)got[i],
                want[i]);
        return;
    }
}

/* ---- Bytes ---- */

static clv_status check_bytes(self_check *c, clv_error *error)
{
    enum { BYTES = 100003, FROM = 17 };
    clvi_buf *buf = NULL;
    uint8_t *sent = clvi_malloc(BYTES), *got = clvi_malloc(BYTES);
    clv_status status = CLV_OK;
    if (sent == NULL || got == NULL)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory");
    for (uint32_t i = 0; status == CLV_OK && i < BYTES; i++)
        sent[i] = (uint8_t)((i * 2654435761u) >> 24);
    if (status == CLV_OK)
        status = clvi_buf_create(c->device, BYTES + FROM, "bytes", &buf, error);
    if (status == CLV_OK)
        status = clvi_upload(c->device, buf, FROM, sent, BYTES, error);
    if (status == CLV_OK)
        status = clvi_download(c->device, buf, FROM, got, BYTES, error);
    for (int i = 0; status == CLV_OK && i < BYTES; i++) {
        if (got[i] != sent[i]) {
            say_bad(c, "byte %d came back as %d where %d was sent", i, got[i], sent[i]);
            break;
        }
    }
    clvi_buf_destroy(buf);
    clvi_free(sent);
    clvi_free(got);
    return status;
}

/* ---- The matrix product ---- */

typedef struct product {
    clvi_gemm gemm;
    float *values[3]; /* a, b, c */
} product;

static void product_close(product *p)
{
    clvi_view *const views[4] = {&p->gemm.a, &p->gemm.b, &p->gemm.c, &p->gemm.workspace};
    for (int i = 0; i < 4; i++)
        clvi_buf_destroy(views[i]->buf);
    for (int i = 0; i < 3; i++)
        clvi_free(p->values[i]);
}

/* Buffers, and normal numbers in a and b. To be closed also after a failure. */
static clv_status product_open(self_check *c, int64_t m, int64_t n, int64_t k, product *p,
                               clv_error *error)
{
    *p = (product){.gemm = {.m = m, .n = n, .k = k}};
    clvi_view *const views[4] = {&p->gemm.a, &p->gemm.b, &p->gemm.c, &p->gemm.workspace};
    const int64_t counts[4] = {m * k, k * n, m * n,
                               (int64_t)clvi_gemm_workspace(c->device, &p->gemm)};
    for (int i = 0; i < 4; i++) {
        if (counts[i] > 0)
            CLV_TRY(
                clvi_buf_create(c->device, (size_t)counts[i] * 4, "matrix", &views[i]->buf, error));
    }
    for (int i = 0; i < 3; i++) {
        p->values[i] = rig_floats(counts[i]);
        if (p->values[i] == NULL)
            CLV_FAIL(error, CLV_E_MEMORY, "out of memory");
    }
    for (int i = 0; i < 2; i++) {
        /* Random numbers cost more than the product of large matrices does. */
        for (int64_t at = 0; at < counts[i]; at++)
            p->values[i][at] = at < 4096 ? (float)rig_normal(&c->dice) : p->values[i][at - 4096];
        CLV_TRY(
            clvi_upload(c->device, views[i]->buf, 0, p->values[i], (size_t)counts[i] * 4, error));
    }
    return CLV_OK;
}

static clv_status run_product(self_check *c, product *p, clv_error *error)
{
    const clvi_gemm *g = &p->gemm;
    const int64_t count = g->m * g->n;
    double *want = clvi_calloc((size_t)count, sizeof(*want));
    if (want == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory");
    for (int64_t i = 0; i < g->m; i++)
        for (int64_t j = 0; j < g->n; j++)
            for (int64_t k = 0; k < g->k; k++)
                want[i * g->n + j] +=
                    (double)p->values[0][i * g->k + k] * (double)p->values[1][k * g->n + j];
    clv_status status = clvi_gemm_run(c->device, g, error);
    if (status == CLV_OK)
        status = clvi_download(c->device, g->c.buf, 0, p->values[2], (size_t)count * 4, error);
    if (status == CLV_OK)
        compare(c, "c", p->values[2], want, count);
    clvi_free(want);
    return status;
}

static clv_status check_product(self_check *c, clv_error *error)
{
    product p;
    clv_status status = product_open(c, 37, 45, 67, &p, error);
    if (status == CLV_OK)
        status = run_product(c, &p, error);
    product_close(&p);
    return status;
}

/* ---- Operations, forward and backward ---- */

enum { BATCH = 3, HEIGHT = 9, WIDTH = 6, IN = 5, OUT = 7, KERNEL = 3, PIXELS = HEIGHT * WIDTH };

/* Places of rig.h: the picture, then the variables. */
enum { PLACE_X, PLACE_FIRST, PLACE_SECOND };

/* y, and gradients of the three places for gradients r of y. */
typedef struct expected {
    double *y, *grads[3];
} expected;
typedef void (*reference_call)(const rig *r, const float *gradient, expected *out);

/* y = conv(x) + bias; x [n, h, w, IN], weight [KERNEL, KERNEL, IN, OUT], zeros around. */
static void convolution_reference(const rig *r, const float *gradient, expected *out)
{
    const float *x = rig_values(r, PLACE_X), *weight = rig_values(r, PLACE_FIRST);
    const float *bias = rig_values(r, PLACE_SECOND);
    for (int at = 0; at < BATCH * PIXELS * OUT; at++) {
        const int o = at % OUT, column = at / OUT % WIDTH, row = at / OUT / WIDTH % HEIGHT;
        const int first = at / OUT / PIXELS * PIXELS;
        const double g = (double)gradient[at];
        out->y[at] += (double)bias[o];
        out->grads[PLACE_SECOND][o] += g;
        for (int tap = 0; tap < KERNEL * KERNEL; tap++) {
            const int h = row + tap / KERNEL - 1, w = column + tap % KERNEL - 1;
            if (h < 0 || h >= HEIGHT || w < 0 || w >= WIDTH)
                continue;
            for (int i = 0; i < IN; i++) {
                const int from = (first + h * WIDTH + w) * IN + i, by = (tap * IN + i) * OUT + o;
                out->y[at] += (double)x[from] * (double)weight[by];
                out->grads[PLACE_X][from] += g * (double)weight[by];
                out->grads[PLACE_FIRST][by] += g * (double)x[from];
            }
        }
    }
}

/* y = (x - mean)/sqrt(variance + 1e-5)·weight + bias per channel, over the batch. */
static void norm_reference(const rig *r, const float *gradient, expected *out)
{
    const float *x = rig_values(r, PLACE_X), *weight = rig_values(r, PLACE_FIRST);
    const float *bias = rig_values(r, PLACE_SECOND);
    const int m = BATCH * PIXELS;
    for (int ch = 0; ch < IN; ch++) {
        double mean = 0, variance = 0;
        for (int i = 0; i < m; i++)
            mean += (double)x[i * IN + ch] / m;
        for (int i = 0; i < m; i++)
            variance += pow((double)x[i * IN + ch] - mean, 2) / m;
        const double scale = 1 / sqrt(variance + 1e-5);
        double *of_weight = &out->grads[PLACE_FIRST][ch], *of_bias = &out->grads[PLACE_SECOND][ch];
        for (int i = 0; i < m; i++) {
            const double unit = ((double)x[i * IN + ch] - mean) * scale;
            out->y[i * IN + ch] = unit * (double)weight[ch] + (double)bias[ch];
            *of_weight += (double)gradient[i * IN + ch] * unit;
            *of_bias += (double)gradient[i * IN + ch];
        }
        for (int i = 0; i < m; i++) { /* Ioffe and Szegedy 2015 */
            const double unit = ((double)x[i * IN + ch] - mean) * scale;
            out->grads[PLACE_X][i * IN + ch] =
                (double)weight[ch] * scale / m *
                (m * (double)gradient[i * IN + ch] - *of_bias - unit * *of_weight);
        }
    }
}

static clv_status compare_operation(self_check *c, rig *r, const float *gradient,
                                    const expected *want, clv_error *error)
{
    static const char *const names[] = {"the gradient of x", "the gradient of the weight",
                                        "the gradient of the bias"};
    float *const gradients[] = {(float *)gradient}; /* rig_backward only reads it */
    const int64_t most = rig_output_elements(r, 0);
    clv_status status = CLV_OK;
    float *got = rig_floats(most > BATCH * PIXELS * IN ? most : BATCH * PIXELS * IN);
    if (got == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory");
    status = rig_output(r, 0, got, error);
    if (status == CLV_OK)
        compare(c, "y", got, want->y, most);
    if (status == CLV_OK)
        status = rig_backward(r, gradients, error);
    for (size_t place = PLACE_X; status == CLV_OK && place <= PLACE_SECOND; place++) {
        status = rig_grad(r, place, got, error);
        if (status == CLV_OK)
            compare(c, names[place], got, want->grads[place], rig_elements(r, place, BATCH));
    }
    clvi_free(got);
    return status;
}

static clv_status run_operation(self_check *c, rig *r, reference_call reference, clv_error *error)
{
    CLV_TRY(rig_forward(r, BATCH, error));
    const int64_t count = rig_output_elements(r, 0);
    float *gradient = rig_floats(count);
    expected want = {.y = clvi_calloc((size_t)count, sizeof(double))};
    bool failed = gradient == NULL || want.y == NULL;
    for (size_t place = PLACE_X; place <= PLACE_SECOND; place++) {
        want.grads[place] = clvi_calloc((size_t)rig_elements(r, place, BATCH), sizeof(double));
        failed |= want.grads[place] == NULL;
    }
    clv_status status = failed ? clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory") : CLV_OK;
    if (status == CLV_OK) {
        for (int64_t i = 0; i < count; i++)
            gradient[i] = (float)rig_normal(&c->dice);
        reference(r, gradient, &want);
        status = compare_operation(c, r, gradient, &want, error);
    }
    for (size_t place = PLACE_X; place <= PLACE_SECOND; place++)
        clvi_free(want.grads[place]);
    clvi_free(want.y);
    clvi_free(gradient);
    return status;
}

static clv_status check_operation(self_check *c, bool convolution, clv_error *error)
{
    const clv_shape shape = CLVI_SHAPE(CLV_F32, CLV_BATCH, HEIGHT, WIDTH, IN);
    const clv_conv2d_desc conv = {.filters = OUT, .kernel = KERNEL};
    clv_graph *graph = NULL;
    clv_tensor x;
    rig r = {0};
    CLV_TRY(clvi_graph_create("self-check", &graph, error));
    clv_status status = clvi_graph_input_tensor(graph, "x", &shape, &x, error);
    if (status == CLV_OK) {
        clv_builder b = clv_builder_begin(clvi_host_table(), graph, error);
        const clv_tensor y = convolution ? clv_conv2d(&b, "op", x, &conv)
                                         : clv_batch_norm(&b, "op", x, "none", 0, 0);
        status = clv_builder_end(&b);
        const rig_desc desc = {.device = c->device,
                               .graph = graph,
                               .mode = CLV_MODE_TRAIN,
                               .batch = BATCH,
                               .outputs = &y,
                               .output_count = 1,
                               .input_grads = true,
                               .only = -1};
        if (status == CLV_OK) {
            status = rig_open(&r, &desc, error);
            if (status == CLV_OK)
                status = run_operation(c, &r, convolution ? convolution_reference : norm_reference,
                                       error);
            rig_close(&r);
        }
    }
    clvi_graph_destroy(graph);
    return status;
}

static clv_status check_convolution(self_check *c, clv_error *error)
{
    return check_operation(c, true, error);
}

static clv_status check_reduction(self_check *c, clv_error *error)
{
    return check_operation(c, false, error);
}

/* ---- Waiting and speed ---- */

/* Seconds of one product until clvi_wait returns, and of reading a number after that. */
static clv_status time_product(self_check *c, const product *p, double *seconds, double *after,
                               clv_error *error)
{
    float one;
    const double from = clvi_now();
    CLV_TRY(clvi_gemm_run(c->device, &p->gemm, error));
    CLV_TRY(clvi_wait(c->device, error));
    *seconds = clvi_now() - from;
    CLV_TRY(clvi_download(c->device, p->gemm.c.buf, 0, &one, sizeof(one), error));
    *after = clvi_now() - from - *seconds;
    return CLV_OK;
}

enum { REPETITIONS = 5 };

/* A wait that does not wait leaves the time to the read behind it: every time, and for long. */
static clv_status measure(self_check *c, const product *p, bool *enough, clv_error *error)
{
    double best = 1e30;
    int late = 0;
    for (int i = -1; i < REPETITIONS; i++) {
        double seconds, after;
        CLV_TRY(time_product(c, p, &seconds, &after, error));
        if (i < 0)
            continue;
        late += after > 5e-3 && after > 5 * seconds;
        best = fmin(best, seconds + after);
    }
    if (late == REPETITIONS)
        say_bad(c, "waiting for the device returns before its work is done");
    const double size = (double)p->gemm.n;
    *enough = best > 0.01;
    if (*enough && !c->wrong)
        fprintf(c->report, "speed %.6g\n", 2e-9 * size * size * size / best);
    return CLV_OK;
}

/* Larger and larger products until one takes long enough to be measured. */
static clv_status check_speed(self_check *c, clv_error *error)
{
    enum { LEAST = 32, MOST = 4096 };
    const clvi_device_info *info = clvi_device_get_info(c->device);
    for (int64_t size = LEAST;; size *= 2) {
        product p;
        bool enough = false;
        const uint64_t next = (uint64_t)(4 * size * size) * 4; /* bytes of a matrix */
        const bool last =
            size >= MOST || next > info->max_alloc_bytes || 6 * next > info->global_bytes;
        clv_status status = product_open(c, size, size, size, &p, error);
        if (status == CLV_OK)
            status = measure(c, &p, &enough, error);
        product_close(&p);
        CLV_TRY(status);
        if (enough || c->wrong)
            return CLV_OK;
        if (last) { /* faster than can be told */
            fprintf(c->report, "speed %.6g\n", 2e-9 * pow((double)size, 3) / 0.01);
            return CLV_OK;
        }
        begin(c, "speed"); /* not silent */
    }
}

/* ---- All of it ---- */

static const struct {
    const char *name;
    clv_status (*run)(self_check *c, clv_error *error);
} steps[] = {
    {"bytes", check_bytes},
    {"matrix product", check_product},
    {"convolution", check_convolution},
    {"reduction", check_reduction},
    {"speed", check_speed},
};

static void run_steps(self_check *c, const char *select)
{
    const clvi_device_options options = {.select = select};
    clv_error error = CLV_ERROR_INIT;
    begin(c, "start");
    clv_status status = cli_runtime_create(&c->runtime, &error);
    if (status == CLV_OK)
        status = clvi_device_open(c->runtime, &options, &c->device, &error);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && status == CLV_OK && !c->wrong; i++) {
        begin(c, steps[i].name);
        status = steps[i].run(c, &error);
    }
    if (status != CLV_OK)
        say_bad(c, "%s", error.message);
    if (c->device != NULL && !c->wrong)
        clvi_device_save_programs(c->device);
    if (!c->wrong)
        begin(c, "end");
    clvi_device_close(c->device);
    clvi_runtime_destroy(c->runtime);
}

static clv_status run(const cli_args *args, clv_error *error)
{
    enum { CPU_SECONDS = 900 }; /* should the parent be gone */
    self_check c = {0};
    /* A driver that takes all of the memory harms more than itself. */
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    const uint64_t bytes = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page / 2 : 0;
    if (cli_count(args) != 1)
        CLV_FAIL(error, CLV_E_USAGE, "devices-child takes a device");
    const clvi_child_limits limits = {.cpu_seconds = CPU_SECONDS, .memory = bytes};
    CLV_TRY(clvi_child_begin(&limits, &c.report, error));
    run_steps(&c, cli_at(args, 0));
    fputs("end\n", c.report);
    fclose(c.report);
    return CLV_OK;
}

const cli_command cmd_devices_child = {
    .name = "devices-child",
    .summary = "The part of devices that may die",
    .usage = "DEVICE",
    .example = "conclave devices",
    .run = run,
};
