/* The sums of core/mixture/metrics.c. Exit 77: no device. */
#include "mixture/metrics.h"
#include "test_device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static clvi_device *device;

enum { MOST = 700, EXPERTS = 3, AT = 32 /* where the data begin in their buffers */ };

typedef struct batch {
    float *logits, *loss;
    int32_t *labels;
    const float *route, *wanted; /* [n, EXPERTS]; NULL: none */
} batch;

static clvi_view upload(const void *data, size_t words)
{
    clvi_buf *buf = NULL;
    OK(clvi_buf_create(device, (AT + words) * 4, "test", &buf, error));
    OK(clvi_upload(device, buf, AT * 4, data, words * 4, error));
    return (clvi_view){buf, AT};
}

static void add(clvi_metrics *m, const batch *b, int n, int classes)
{
    const clvi_view logits = upload(b->logits, (size_t)(n * classes));
    const clvi_view labels = upload(b->labels, (size_t)n), loss = upload(b->loss, (size_t)n);
    clvi_metrics_batch all = {.n = n, .logits = logits, .labels = labels, .loss = loss};
    if (b->route) {
        all.experts = EXPERTS;
        all.route = upload(b->route, (size_t)n * EXPERTS);
        if (b->wanted)
            all.wanted = upload(b->wanted, (size_t)n * EXPERTS);
    }
    OK(clvi_metrics_add(m, &all, error));
    clvi_buf_destroy(all.route.buf);
    clvi_buf_destroy(all.wanted.buf);
    clvi_buf_destroy(logits.buf);
    clvi_buf_destroy(labels.buf);
    clvi_buf_destroy(loss.buf);
}

/* The same on the host; labels that are no class are never right. */
static void expect(clvi_metrics_sums *s, const batch *b, int n, int classes)
{
    for (int r = 0; r < n; r++) {
        const float *x = b->logits + (size_t)r * (size_t)classes;
        const int32_t label = b->labels[r];
        bool finite = isfinite(b->loss[r]) && label >= 0 && label < classes;
        int before = 0;
        for (int c = 0; c < classes; c++) {
            finite &= isfinite(x[c]) != 0;
            if (label >= 0 && label < classes)
                before += x[c] > x[label] || (x[c] == x[label] && c < label);
        }
        s->count++;
        s->top1 += finite && before == 0;
        s->top5 += finite && before < 5;
        s->not_finite += !finite;
        s->loss += isfinite(b->loss[r]) ? (double)b->loss[r] : 0;
    }
}

static void check(const clvi_metrics_sums *a, const clvi_metrics_sums *b)
{
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->top1, b->top1);
    assert_int_equal(a->top5, b->top5);
    assert_int_equal(a->not_finite, b->not_finite);
    if (!(fabs(a->loss - b->loss) <= 1e-12 * fabs(b->loss)))
        fail_msg("loss %.17g for %.17g", a->loss, b->loss);
}

static void fill(batch *b, int n, int classes, unsigned seed)
{
    for (int i = 0; i < n * classes; i++) {
        seed = seed * 1664525u + 1013904223u;
        b->logits[i] = (float)(int)(seed >> 24) / 16.0f - 8; /* 256 values: there are equals */
    }
    for (int r = 0; r < n; r++) {
        seed = seed * 1664525u + 1013904223u;
        b->labels[r] = (int32_t)((seed >> 8) % (unsigned)classes);
        b->loss[r] = (float)(seed >> 8) * 1e-6f + (r % 7 == 0 ? 1e5f : 0);
    }
}

static void test_sums(void **state)
{
    (void)state;
    static const int classes_of[] = {1, 2, 4, 5, 6, 31, 33, 46, 64, 65, 1009};
    static const int batches[] = {1, 33, 700, 5};
    for (size_t k = 0; k < sizeof classes_of / sizeof *classes_of; k++) {
        const int classes = classes_of[k];
        clvi_metrics *m = NULL;
        clvi_metrics_sums got, wanted = {0};
        batch b = {.logits = calloc((size_t)(MOST * classes), sizeof(float)),
                   .loss = calloc(MOST, sizeof(float)),
                   .labels = calloc(MOST, sizeof(int32_t))};
        OK(clvi_metrics_create(device, classes, &m, error));
        OK(clvi_metrics_read(m, &got, error));
        check(&got, &wanted);
        for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
            fill(&b, batches[i], classes, (unsigned)(k * 10 + i));
            if (i == 1) {
                b.logits[3] = NAN;
                b.logits[classes * 5] = INFINITY;
                b.loss[7] = NAN;
                b.loss[32] = -INFINITY;
                b.labels[9] = classes;
                b.labels[10] = -1;
            }
            add(m, &b, batches[i], classes);
            expect(&wanted, &b, batches[i], classes);
        }
        OK(clvi_metrics_read(m, &got, error));
        check(&got, &wanted);
        OK(clvi_metrics_reset(m, error));
        wanted = (clvi_metrics_sums){0};
        OK(clvi_metrics_read(m, &got, error));
        check(&got, &wanted);
        clvi_metrics_destroy(m);
        free(b.logits);
        free(b.loss);
        free(b.labels);
    }
}

/* A sum in one float would stand still at 2^24. */
static void test_long_sum(void **state)
{
    (void)state;
    clvi_metrics *m = NULL;
    clvi_metrics_sums got, wanted = {0};
    batch b = {.logits = calloc(MOST, sizeof(float)),
               .loss = calloc(MOST, sizeof(float)),
               .labels = calloc(MOST, sizeof(int32_t))};
    OK(clvi_metrics_create(device, 1, &m, error));
    for (int i = 0; i < 50; i++) {
        for (int r = 0; r < MOST; r++)
            b.loss[r] = i == 0 && r == 0 ? 3e8f : 0.37f;
        add(m, &b, MOST, 1);
        expect(&wanted, &b, MOST, 1);
    }
    clvi_device_counters before, after;
    clvi_device_get_counters(device, &before);
    add(m, &b, MOST, 1);
    expect(&wanted, &b, MOST, 1);
    clvi_device_get_counters(device, &after);
    assert_int_equal(after.reads, before.reads);
    OK(clvi_metrics_read(m, &got, error));
    check(&got, &wanted);
    clvi_metrics_destroy(m);
    clvi_metrics_destroy(NULL);
    free(b.logits);
    free(b.loss);
    free(b.labels);
}

/* Five samples by hand: the second and the last had no expert, and are in no other count, whatever
 * their loss; the fourth lost one of two. */
static void test_route(void **state)
{
    (void)state;
    static const float route[] = {1, 0, 0, 0, 0, 0, 0, 0.5f, 0.5f, 0, 0.25f, 0, 0, 0, 0};
    static const float wanted[] = {1, 0, 0, 1, 0, 0, 0, 0.5f, 0.5f, 0.5f, 0.25f, 0, 1, 1, 0};
    static float logits[] = {2, 1, 2, 1, 1, 2, 2, 1, 2, 1}, loss[] = {1, 10, 2, 4, 100};
    static int32_t labels[5] = {0};
    clvi_metrics *m = NULL;
    clvi_metrics_sums got, sums = {.count = 3, .top1 = 2, .top5 = 3, .loss = 7};
    batch b = {.logits = logits, .loss = loss, .labels = labels, .route = route, .wanted = wanted};
    OK(clvi_metrics_create(device, 2, &m, error));
    add(m, &b, 5, 2);
    OK(clvi_metrics_read(m, &got, error));
    check(&got, &sums);
    assert_int_equal(got.unrouted, 2);
    assert_int_equal(got.wanted, 8);
    assert_int_equal(got.dropped, 4);
    /* Nothing is said of what was wanted: what was sent is. */
    b.wanted = NULL;
    loss[1] = NAN;
    add(m, &b, 5, 2);
    OK(clvi_metrics_read(m, &got, error));
    sums = (clvi_metrics_sums){.count = 6, .top1 = 4, .top5 = 6, .loss = 14};
    check(&got, &sums);
    assert_int_equal(got.unrouted, 4);
    assert_int_equal(got.wanted, 12);
    assert_int_equal(got.dropped, 4);
    clvi_metrics_destroy(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_long_sum),
        cmocka_unit_test(test_route),
    };
    int status = 0;
    device = test_device_open(&status);
    if (device == NULL)
        return status;
    const int failed = cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
    return test_device_close() != 0 || failed != 0;
}
