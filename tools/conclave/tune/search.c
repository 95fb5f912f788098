#include "tune/search.h"

#include "base/reals.h"

#include <stdio.h>

/* ---- What is tried ---- */

enum { MOST_VALUES = 16, TOGETHER = 2 };

/* One value for each key, those of a quick search first. */
typedef struct axis {
    const char *keys[TOGETHER]; /* the second NULL: one key */
    int values[MOST_VALUES][TOGETHER];
    size_t quick, count;
    /* The values are multiples, in sixteenths, of the shipped one. */
    bool multiples;
} axis;

/* Cheap ones first: the others are built anew for each value. */
static const axis wide_axes[] = {
    {{"group_work"}, {{4}, {64}, {1}, {256}}, 2, 4, true},
    {{"cached_weights"}, {{64}, {0}, {32}, {8}, {128}}, 2, 5, true},
    {{"gemm_mr", "gemm_nv"},
     {{8, 2}, {6, 2}, {6, 4}, {8, 3}, {12, 2}, {4, 2}, {10, 2}, {14, 2}, {12, 1}, {4, 4}, {5, 4}},
     4,
     11,
     false},
    {{"param_mr"}, {{12}, {4}, {6}, {8}, {10}, {16}}, 2, 6, false},
    {{"prefetch"}, {{0}, {1}}, 1, 2, false},
    {{"vector"}, {{16}, {8}, {4}}, 0, 3, false},
};
static const axis tiled_axes[] = {
    {{"tile_side", "tile_block"},
     {{8, 4}, {16, 4}, {8, 8}, {16, 2}, {16, 8}, {8, 2}, {16, 6}, {8, 6}},
     4,
     8,
     false},
    {{"items"}, {{32}, {128}, {64}, {256}, {16}}, 2, 5, false},
    {{"vector"}, {{4}, {8}}, 0, 2, false},
};

/* ---- Values ---- */

static tune_item *find(tune_values *values, const char *key)
{
    for (size_t i = 0; i < values->count; i++)
        if (strcmp(values->items[i].key, key) == 0)
            return &values->items[i];
    return NULL;
}

static int value_of(const tune_search *s, const tune_values *values, const char *key)
{
    for (size_t i = 0; i < values->count; i++)
        if (strcmp(values->items[i].key, key) == 0)
            return values->items[i].value;
    return s->shipped(s->user, key);
}

static void set(const tune_search *s, tune_values *values, const char *key, int value)
{
    tune_item *item = find(values, key);
    if (value == s->shipped(s->user, key)) { /* as it was: no line of its own */
        if (item != NULL)
            *item = values->items[--values->count];
        return;
    }
    if (item == NULL && values->count < TUNE_MOST_KEYS)
        item = &values->items[values->count++];
    if (item != NULL)
        *item = (tune_item){.key = key, .value = value, .gain = 1};
}

void tune_values_text(const tune_values *values, bool with_gains, clvi_text *out)
{
    for (size_t i = 0; i < values->count; i++) {
        const tune_item *item = &values->items[i];
        if (with_gains)
            clvi_text_printf(out, "# %.2f times as fast when it was chosen\n", item->gain);
        clvi_text_printf(out, "%s = %d\n", item->key, item->value);
    }
}

bool tune_values_equal(const tune_values *a, const tune_values *b)
{
    for (size_t i = 0; a->count == b->count && i < a->count; i++) {
        bool found = false;
        for (size_t k = 0; k < b->count; k++)
            found = found || (strcmp(a->items[i].key, b->items[k].key) == 0 &&
                              a->items[i].value == b->items[k].value);
        if (!found)
            return false;
    }
    return a->count == b->count;
}

/* ---- Trying ---- */

static bool fits(const tune_search *s, const char *key, int value)
{
    const size_t v = (size_t)value;
    if (strcmp(key, "tile_side") == 0)
        return v * v <= s->max_group;
    return strcmp(key, "items") != 0 || v <= s->max_group;
}

/* The candidate of an axis' value; false: there is nothing to try. */
static bool make(const tune_search *s, const axis *a, size_t number, const tune_values *best,
                 tune_values *out)
{
    bool other = false;
    *out = *best;
    for (int k = 0; k < TOGETHER && a->keys[k] != NULL; k++) {
        int value = a->values[number][k];
        if (a->multiples)
            value = (int)((int64_t)s->shipped(s->user, a->keys[k]) * value / 16);
        if (!fits(s, a->keys[k], value))
            return false;
        other = other || value != value_of(s, best, a->keys[k]);
        set(s, out, a->keys[k], value);
    }
    return other;
}

typedef struct progress {
    double began;
    size_t done, all;
    bool whole;
} progress;

static double each_takes(const tune_search *s, const progress *p)
{
    return p->done > 0 ? (s->now() - p->began) / (double)p->done : 0;
}

static double left(const tune_search *s, const progress *p)
{
    const double rest = each_takes(s, p) * (double)(p->all > p->done ? p->all - p->done : 0);
    const double allowed = s->until - s->now();
    return rest < allowed ? rest : allowed > 0 ? allowed : 0;
}

static bool is_better(const tune_outcome *o)
{
    return o->dropped[0] == '\0' && o->gain >= TUNE_GAIN && o->worst >= TUNE_WORST;
}

static clv_status try_one(const tune_search *s, const axis *a, const tune_values *candidate,
                          tune_values *best, progress *p, clv_error *error)
{
    tune_outcome outcome = {0};
    char what[80] = "";
    for (int k = 0; k < TOGETHER && a->keys[k] != NULL; k++)
        snprintf(what + strlen(what), sizeof what - strlen(what), "%s%s = %d", k > 0 ? ", " : "",
                 a->keys[k], value_of(s, candidate, a->keys[k]));
    s->say(s->user, what, NULL, false, left(s, p));
    CLV_TRY(s->measure(s->user, best, candidate, &outcome, error));
    if (is_better(&outcome)) { /* chance makes winners too, but not often the same one twice */
        const double once = outcome.gain;
        CLV_TRY(s->measure(s->user, best, candidate, &outcome, error));
        outcome.gain = outcome.gain < once ? outcome.gain : once;
    }
    const bool taken = is_better(&outcome);
    p->done++;
    s->say(s->user, what, &outcome, taken, left(s, p));
    if (!taken)
        return CLV_OK;
    *best = *candidate;
    for (int k = 0; k < TOGETHER && a->keys[k] != NULL; k++) {
        tune_item *item = find(best, a->keys[k]);
        if (item != NULL)
            item->gain = outcome.gain;
    }
    return CLV_OK;
}

/* All axes once. */
static clv_status pass(const tune_search *s, const axis *axes, size_t count, tune_values *best,
                       progress *p, clv_error *error)
{
    for (size_t i = 0; i < count; i++) {
        const axis *a = &axes[i];
        for (size_t v = 0; v < (s->quick ? a->quick : a->count); v++) {
            tune_values candidate;
            if (!make(s, a, v, best, &candidate))
                continue;
            if (s->now() + each_takes(s, p) > s->until) {
                p->whole = false;
                return CLV_OK;
            }
            CLV_TRY(try_one(s, a, &candidate, best, p, error));
        }
    }
    return CLV_OK;
}

clv_status tune_search_run(const tune_search *s, tune_values *out, bool *whole, clv_error *error)
{
    const axis *axes = s->tiled ? tiled_axes : wide_axes;
    const size_t count =
        s->tiled ? sizeof tiled_axes / sizeof *axes : sizeof wide_axes / sizeof *axes;
    tune_values best = {0};
    progress p = {.began = s->now(), .whole = true};
    for (int round = 0; round < (s->quick ? 1 : 2) && p.whole; round++) {
        const tune_values before = best;
        for (size_t i = 0; i < count; i++)
            for (size_t v = 0; v < (s->quick ? axes[i].quick : axes[i].count); v++) {
                tune_values candidate;
                p.all += make(s, &axes[i], v, &best, &candidate);
            }
        CLV_TRY(pass(s, axes, count, &best, &p, error));
        if (tune_values_equal(&before, &best))
            break;
    }
    *out = best;
    *whole = p.whole;
    return CLV_OK;
}

/* ---- Who is faster ---- */

static double median(const double *values, size_t n)
{
    double sorted[TUNE_MOST_ROUNDS];
    CLV_ASSERT(n >= 1 && n <= TUNE_MOST_ROUNDS);
    memcpy(sorted, values, n * sizeof *sorted);
    clvi_sort_reals(sorted, n);
    return clvi_quantile(sorted, n, 0.5);
}

static double shortest(const double *values, size_t n)
{
    double least = values[0];
    for (size_t i = 1; i < n; i++)
        least = values[i] < least ? values[i] : least;
    return least;
}

double tune_gain(const double *a, const double *b, size_t n)
{
    double ratios[TUNE_MOST_ROUNDS];
    CLV_ASSERT(n >= 1 && n <= TUNE_MOST_ROUNDS);
    for (size_t i = 0; i < n; i++)
        ratios[i] = a[i] / b[i];
    const double middle = median(ratios, n), least = shortest(a, n) / shortest(b, n);
    if ((middle > 1) != (least > 1))
        return 1;
    if (middle > 1)
        return middle < least ? middle : least;
    return middle > least ? middle : least;
}

bool tune_disturbed(const double *times, size_t n)
{
    return median(times, n) > 1.1 * shortest(times, n);
}
