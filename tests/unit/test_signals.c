/* The sums of core/mixture/signals.c against the same in double on the host. Exit 77: no device. */
#include "mixture/signals.h"
#include "test_device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static clvi_device *device;

enum { MOST = 130, EXPERTS = 9, CLASSES = 46, AT = 16 /* where data begin in their buffers */ };

typedef enum routing { EQUAL, DENSE, SPARSE } routing;

/* What is learnt, and how samples go to experts. */
typedef struct setting {
    int experts, classes;
    routing routing;
    const char *term;
    double beta, smoothing;
    bool target_logits, distance_mean, silent; /* silent: the logits are no answers */
} setting;

typedef struct batch {
    int n;
    float route[MOST * EXPERTS], logits[MOST * EXPERTS * CLASSES], sent[MOST * EXPERTS * CLASSES];
    int32_t labels[MOST];
} batch;

/* The sums in double. */
typedef struct sums {
    double samples, routed, known, gate_entropy, posterior_entropy;
    double assigned[EXPERTS], first[EXPERTS], answered[EXPERTS], right[EXPERTS];
    double weight[EXPERTS], posterior[EXPERTS], squares[EXPERTS];
    double both[EXPERTS][EXPERTS], none[EXPERTS][EXPERTS], only[EXPERTS][EXPERTS];
    double different[EXPERTS][EXPERTS];
} sums;

static double unit(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (double)(*seed >> 8) / (1 << 24);
}

static void fill(batch *b, const setting *s, int n, unsigned seed)
{
    b->n = n;
    for (int i = 0; i < n * s->experts * s->classes; i++) {
        b->logits[i] = (float)(8 * unit(&seed) - 4);
        b->sent[i] = (float)(unit(&seed) - 0.5) / 64;
    }
    for (int r = 0; r < n; r++) {
        float *gate = b->route + r * s->experts;
        b->labels[r] = (int32_t)(unit(&seed) * s->classes);
        for (int i = 0; i < s->experts; i++)
            gate[i] = (float)(0.01 + unit(&seed));
        /* Each sample to one expert or two, now and then to none. */
        for (int i = 0; s->routing == SPARSE && i < s->experts; i++)
            if ((i + r) % s->experts > 1 || r % 11 == 10 || (i == s->experts - 1 && r % 3 != 0))
                gate[i] = 0;
        for (int i = 0; i < s->experts; i++)
            for (int c = 0; gate[i] == 0 && c < s->classes; c++)
                b->sent[(r * s->experts + i) * s->classes + c] = 0;
    }
}

/* ---- On the host ---- */

static double entropy_term(double x)
{
    return x > 0 ? -x * log(x) : 0;
}

/* Log of what the weight of an expert with these logits is multiplied by. */
static double evidence(const setting *s, const float *x, int label)
{
    const int classes = s->classes;
    const bool squared = strcmp(s->term, "jacobs_mse") == 0;
    const bool posterior =
        squared || strcmp(s->term, "jacobs_ce") == 0 || strcmp(s->term, "mixture_nll") == 0;
    const double smoothing = posterior ? s->smoothing : 0;
    double sum = 0, distance = 0, entropy = 0;
    for (int c = 0; c < classes; c++)
        sum += exp((double)x[c]);
    for (int c = 0; c < classes; c++) {
        const double target = smoothing / classes + (c == label ? 1 - smoothing : 0);
        const double p = exp((double)x[c]) / sum, u = s->target_logits ? (double)x[c] : p;
        distance += (target - u) * (target - u);
        entropy -= target * log(p);
    }
    if (squared)
        return -0.5 * distance / (s->distance_mean ? classes : 1);
    return -(strcmp(s->term, "jacobs_ce") == 0 ? s->beta : 1) * entropy;
}

static int best_of(const float *x, int classes)
{
    int best = 0;
    for (int c = 1; c < classes; c++)
        best = x[c] > x[best] ? c : best;
    return best;
}

static void expect_sample(sums *t, const setting *s, const batch *b, int r)
{
    double w[EXPERTS], h[EXPERTS], total = 0, all = 0;
    int answer[EXPERTS], first = 0;
    for (int i = 0; i < s->experts; i++)
        total += w[i] = s->routing == EQUAL ? 1 : (double)b->route[r * s->experts + i];
    t->samples++;
    if (total == 0)
        return;
    t->routed++;
    t->known += !s->silent;
    for (int i = 0; i < s->experts; i++) {
        const float *x = b->logits + (r * s->experts + i) * s->classes;
        w[i] /= total;
        answer[i] = best_of(x, s->classes);
        h[i] = w[i] > 0 ? w[i] * exp(evidence(s, x, b->labels[r])) : 0;
        all += h[i];
        first = w[i] > w[first] ? i : first;
    }
    t->first[first]++;
    for (int i = 0; i < s->experts; i++) {
        if (w[i] == 0)
            continue;
        const bool right = answer[i] == b->labels[r];
        t->assigned[i]++;
        t->weight[i] += w[i];
        t->gate_entropy += entropy_term(w[i]);
        if (s->silent)
            continue;
        t->answered[i]++;
        t->right[i] += right;
        t->posterior[i] += h[i] / all;
        t->posterior_entropy += entropy_term(h[i] / all);
        for (int j = 0; j < s->experts; j++) {
            const bool other = answer[j] == b->labels[r];
            if (j == i || w[j] == 0)
                continue;
            t->both[i][j] += right && other;
            t->none[i][j] += !right && !other;
            t->only[i][j] += right && !other;
            t->different[i][j] += answer[i] != answer[j];
        }
    }
}

static void expect(sums *t, const setting *s, const batch *b, double share)
{
    for (int r = 0; r < b->n; r++)
        expect_sample(t, s, b, r);
    for (int r = 0; r < b->n; r++)
        for (int i = 0; i < s->experts; i++)
            for (int c = 0; c < s->classes; c++) {
                const double x = (double)b->sent[(r * s->experts + i) * s->classes + c] / share;
                t->squares[i] += x * x;
            }
}

/* ---- On the device ---- */

static clvi_view upload(const void *data, size_t words)
{
    clvi_buf *buf = NULL;
    OK(clvi_buf_create(device, (AT + words) * 4, "test", &buf, error));
    OK(clvi_upload(device, buf, AT * 4, data, words * 4, error));
    return (clvi_view){buf, AT};
}

static void add(clvi_signals *signals, const setting *s, const batch *b, double share)
{
    const size_t each = (size_t)(b->n * s->experts), all = each * (size_t)s->classes;
    const clvi_view route = upload(b->route, each), logits = upload(b->logits, all);
    const clvi_view sent = upload(b->sent, all), labels = upload(b->labels, (size_t)b->n);
    const clvi_view none = {NULL, 0};
    clvi_device_counters before, after;
    clvi_device_get_counters(device, &before);
    OK(clvi_signals_add(signals, s->routing == EQUAL ? none : route, s->silent ? none : logits,
                        labels, b->n, error));
    OK(clvi_signals_add_gradients(signals, sent, b->n, share, error));
    clvi_device_get_counters(device, &after);
    assert_int_equal(after.reads, before.reads);
    assert_int_equal(after.waits, before.waits);
    clvi_buf_destroy(route.buf);
    clvi_buf_destroy(logits.buf);
    clvi_buf_destroy(sent.buf);
    clvi_buf_destroy(labels.buf);
}

static clvi_signals *create(const setting *s, int64_t most_product)
{
    const clvi_term_spec spec = {.name = s->term, .kind = CLVI_TERM_EXPERTS};
    const clvi_fusion fusion = {.experts = (size_t)s->experts,
                                .terms = {{&spec, 1}},
                                .term_count = 1,
                                .beta = s->beta,
                                .smoothing = s->smoothing,
                                .target_logits = s->target_logits,
                                .distance_mean = s->distance_mean};
    const clvi_signals_desc desc = {.device = device,
                                    .fusion = &fusion,
                                    .classes = s->classes,
                                    .max_batch = MOST,
                                    .answers = !s->silent,
                                    .most_product = most_product};
    clvi_signals *out = NULL;
    OK(clvi_signals_create(&desc, &out, error));
    return out;
}

/* Within 1e-5, or both NAN. */
static void close_to(const char *what, int expert, double got, double wanted)
{
    if (isnan(got) && isnan(wanted))
        return;
    if (!(fabs(got - wanted) <= 1e-5 * (fabs(wanted) + 1e-3)))
        fail_msg("%s of %d: %.9g for %.9g", what, expert, got, wanted);
}

static void check(const uint32_t *words, const setting *s, const sums *t)
{
    const size_t experts = (size_t)s->experts;
    const double most = log(s->experts);
    clvi_signals_gate gate;
    double assignments = 0;
    clvi_signals_gate_of(words, experts, &gate);
    for (int i = 0; i < s->experts; i++)
        assignments += t->assigned[i];
    assert_int_equal(gate.samples, t->samples);
    assert_int_equal(gate.assignments, assignments);
    close_to("gate entropy", 0, gate.entropy, t->gate_entropy / t->routed / most);
    close_to("posterior entropy", 0, gate.posterior_entropy,
             t->known > 0 ? t->posterior_entropy / t->known / most : NAN);
    for (int i = 0; i < s->experts; i++) {
        clvi_signals_expert e;
        clvi_signals_expert_of(words, experts, s->classes, (size_t)i, &e);
        close_to("share", i, e.share, t->assigned[i] / assignments);
        close_to("first", i, e.first, t->first[i] / t->routed);
        close_to("weight", i, e.weight, t->weight[i] / t->routed);
        close_to("posterior", i, e.posterior, t->posterior[i] / (t->known > 0 ? t->known : NAN));
        close_to("top1", i, e.top1, t->right[i] / (t->answered[i] > 0 ? t->answered[i] : NAN));
        close_to("gradient", i, e.logit_gradient,
                 sqrt(t->squares[i] / (t->assigned[i] > 0 ? t->assigned[i] * s->classes : NAN)));
        for (int j = i + 1; j < s->experts; j++) {
            clvi_signals_pair p;
            const double both = t->both[i][j], none = t->none[i][j];
            const double one = t->only[i][j], other = t->only[j][i];
            const double count = both + none + one + other, q = both * none + one * other;
            clvi_signals_pair_of(words, experts, (size_t)i, (size_t)j, &p);
            close_to("disagreement", i, p.disagreement,
                     count > 0 ? t->different[i][j] / count : NAN);
            close_to("Q", i, p.yule_q, q > 0 ? (both * none - one * other) / q : NAN);
            assert_true(isnan(p.cosine) && isnan(p.distance));
        }
    }
}

static const setting settings[] = {
    {.experts = 2, .classes = 2, .routing = DENSE, .term = "ce", .smoothing = 0.1},
    {.experts = 3, .classes = 46, .routing = DENSE, .term = "jacobs_ce", .beta = 0.5},
    {.experts = 3, .classes = 17, .routing = EQUAL, .term = "mixture_nll", .smoothing = 0.1},
    {.experts = 9, .classes = 5, .routing = SPARSE, .term = "jacobs_ce", .beta = 2},
    {.experts = 4, .classes = 33, .routing = DENSE, .term = "jacobs_mse", .smoothing = 0.2},
    {.experts = 4,
     .classes = 16,
     .routing = SPARSE,
     .term = "jacobs_mse",
     .target_logits = true,
     .distance_mean = true},
    {.experts = 2, .classes = 1, .routing = DENSE, .term = "ce"},
    {.experts = 8, .classes = 31, .routing = SPARSE, .term = "ce", .silent = true},
};
enum { SETTINGS = sizeof settings / sizeof *settings };

static void test_sums(void **state)
{
    (void)state;
    static const int sizes[] = {1, 33, 130, 64};
    static uint32_t words[2048], again[2048];
    for (int k = 0; k < SETTINGS; k++) {
        const setting *s = &settings[k];
        const size_t count = clvi_signals_words((size_t)s->experts);
        clvi_signals *signals = create(s, 1 << 20), *other = create(s, 1 << 20);
        batch *b = calloc(1, sizeof *b);
        sums t = {0};
        assert_true(count <= 2048);
        for (int i = 0; i < 4; i++) {
            const double share = 1 / (double)(i + 3);
            fill(b, s, sizes[i], (unsigned)(100 * k + i));
            add(signals, s, b, share);
            expect(&t, s, b, share);
            /* What is taken and put elsewhere goes on with the same bits. */
            OK(clvi_signals_take(signals, words, error));
            add(other, s, b, share);
            OK(clvi_signals_take(other, again, error));
            assert_memory_equal(words, again, count * 4);
            OK(clvi_signals_put(other, words, error));
        }
        check(words, s, &t);
        clvi_signals_destroy(signals);
        clvi_signals_destroy(other);
        free(b);
    }
}

/* ---- Parameters ---- */

enum { LONG = 300001 };

static double dot(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static double apart(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    return sum;
}

/* Three experts and a gate; the second step looks at them in two pieces. */
static void test_products(void **state)
{
    (void)state;
    const setting s = {.experts = 3, .classes = 4, .routing = DENSE, .term = "ce"};
    static const int lengths[] = {1, 31, 4096, 4097, LONG};
    static uint32_t words[2048];
    for (size_t k = 0; k < sizeof lengths / sizeof *lengths; k++) {
        const int n = lengths[k];
        clvi_signals *signals = create(&s, 1 << 20);
        float *values[4], *grads[4];
        double squares[4] = {0}, products[4] = {0};
        for (int i = 0; i < 4; i++) {
            values[i] = calloc((size_t)n, sizeof(float));
            grads[i] = calloc((size_t)n, sizeof(float));
        }
        for (int step = 0; step < 2; step++) {
            const double factor = step == 0 ? 1 : 2.5;
            unsigned seed = (unsigned)(step * 17 + n);
            clvi_view v[4], g[4];
            for (int i = 0; i < 4; i++) {
                for (int x = 0; x < n; x++) {
                    values[i][x] = (float)(unit(&seed) - 0.3);
                    grads[i][x] = (float)(unit(&seed) - 0.5) + (i < 2 ? 0.2f : 0);
                }
                v[i] = upload(values[i], (size_t)n);
                g[i] = upload(grads[i], (size_t)n);
                squares[i] += factor * factor * dot(grads[i], grads[i], n);
                products[i] += factor * factor * dot(grads[0], grads[i], n);
            }
            const int cut = step == 0 || n == 1 ? n : n / 2;
            for (int i = 0; i < 4; i++)
                for (int j = i; j == i || (i < 3 && j < 3); j++)
                    for (int at = 0; at < n; at += cut) {
                        const uint64_t from = AT + (uint64_t)at;
                        const clvi_signals_piece piece = {
                            .gradients = {{g[i].buf, from}, {g[j].buf, from}},
                            .values = {{v[i].buf, from}, {v[j].buf, from}},
                            .elements = at + cut < n ? cut : n - at};
                        OK(clvi_signals_add_product(signals, (size_t)i, (size_t)j, &piece, factor,
                                                    at == 0, error));
                    }
            OK(clvi_signals_take(signals, words, error));
            for (int i = 0; i < 4; i++) {
                clvi_buf_destroy(v[i].buf);
                clvi_buf_destroy(g[i].buf);
            }
        }
        for (int i = 0; i < 4; i++)
            close_to("gradient", i, clvi_signals_gradient_of(words, 3, (size_t)i),
                     sqrt(squares[i] / 2));
        for (int j = 1; j < 3; j++) {
            clvi_signals_pair p;
            const double size = (dot(values[0], values[0], n) + dot(values[j], values[j], n)) / 2;
            clvi_signals_pair_of(words, 3, 0, (size_t)j, &p);
            close_to("cosine", j, p.cosine, products[j] / sqrt(squares[0] * squares[j]));
            close_to("distance", j, p.distance, sqrt(apart(values[0], values[j], n) / size));
            assert_true(isnan(p.disagreement) && isnan(p.yule_q));
        }
        for (int i = 0; i < 4; i++) {
            free(values[i]);
            free(grads[i]);
        }
        clvi_signals_destroy(signals);
    }
    clvi_signals_destroy(NULL);
}

/* Above 65,535 groups these take more elements each, and there are fewer: the memory for the
 * longest product must still hold what a shorter one leaves. */
static void test_room(void **state)
{
    (void)state;
    const setting s = {.experts = 3, .classes = 4, .routing = DENSE, .term = "ce"};
    static const int64_t longest[] = {1, 4096, 4097, 65535LL * 4096, 65535LL * 4096 + 1, INT32_MAX};
    uint64_t before = 0;
    for (size_t i = 0; i < sizeof longest / sizeof *longest; i++) {
        clvi_signals *signals = create(&s, longest[i]);
        const uint64_t bytes = clvi_signals_bytes(signals);
        if (bytes < before)
            fail_msg("%llu bytes for products of up to %lld elements, %llu for shorter ones",
                     (unsigned long long)bytes, (long long)longest[i], (unsigned long long)before);
        before = bytes;
        clvi_signals_destroy(signals);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_room),
    };
    int status = 0;
    device = test_device_open(&status);
    if (device == NULL)
        return status;
    const int failed = cmocka_run_group_tests_name("signals", tests, NULL, NULL);
    return test_device_close() != 0 || failed != 0;
}
