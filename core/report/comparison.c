/* Which model is the reference, and how the others stand against it; see comparison.h. */
#include "report/comparison.h"

#include <math.h>
#include <stdio.h>

enum { ENOUGH_SEEDS = 3 };

void clvi_contestant_fini(clvi_contestant *c)
{
    for (size_t i = 0; i < c->run_count; i++) {
        clvi_run_record_fini(&c->runs[i].record);
        clvi_free(c->runs[i].fault);
    }
    clvi_free(c->runs);
    clvi_free(c->name);
    *c = (clvi_contestant){0};
}

void clvi_comparison_fini(clvi_comparison *c)
{
    for (size_t i = 0; i < c->count; i++)
        clvi_contestant_fini(&c->contestants[i]);
    clvi_free(c->contestants);
    clvi_free(c->tests);
    *c = (clvi_comparison){0};
}

static bool has_ended(const clvi_contestant *c)
{
    for (size_t i = 0; i < c->run_count; i++)
        if (c->runs[i].record.path)
            return true;
    return false;
}

/* ---- The reference ---- */

/* By what validation says: test images choose nothing. */
static bool better_on_validation(const clvi_contestant *a, const clvi_contestant *b)
{
    const double x = clvi_contestant_mean(a, "val_top1"), y = clvi_contestant_mean(b, "val_top1");
    return x > y ||
           (x == y && clvi_contestant_mean(a, "val_nll") < clvi_contestant_mean(b, "val_nll"));
}

static size_t best(const clvi_comparison *c, bool single)
{
    size_t found = c->count;
    for (size_t i = 0; i < c->count; i++)
        if (has_ended(&c->contestants[i]) && (!single || c->contestants[i].experts == 1) &&
            (found == c->count || better_on_validation(&c->contestants[i], &c->contestants[found])))
            found = i;
    return found;
}

clv_status clvi_comparison_find(const clvi_comparison *c, const char *name, size_t *index,
                                clv_error *error)
{
    const char **names = clvi_calloc(c->count + 1, sizeof *names);
    if (!names)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to look for the model %s", name);
    size_t i = 0;
    for (; i < c->count && !clvi_name_equal(c->contestants[i].name, name); i++)
        names[i] = c->contestants[i].name;
    const char *near = i == c->count ? clvi_nearest(name, names, c->count) : NULL;
    clvi_free(names);
    if (i == c->count)
        CLV_FAIL(error, CLV_E_USAGE,
                 "--reference %s: it is none of the models that are compared%s%s%s", name,
                 near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    *index = i;
    return CLV_OK;
}

static clv_status find_reference(clvi_comparison *c, const char *name, clv_error *error)
{
    if (!name) {
        c->reference = best(c, true);
        if (c->reference == c->count)
            c->reference = best(c, false);
        return CLV_OK;
    }
    size_t index = 0;
    CLV_TRY(clvi_comparison_find(c, name, &index, error));
    if (!has_ended(&c->contestants[index]))
        CLV_FAIL(error, CLV_E_USAGE, "--reference %s: no run of it has ended", name);
    c->reference = index;
    return CLV_OK;
}

/* ---- Tests ---- */

/* any: whatever its seed. */
static const clvi_contest_run *run_of_seed(const clvi_contestant *c, int64_t seed, bool any)
{
    for (size_t i = 0; i < c->run_count; i++)
        if ((any || c->runs[i].seed == seed) && c->runs[i].record.path)
            return &c->runs[i];
    return NULL;
}

/* Pairs the runs of equal seeds, and a fixed one with every run of the other. pairings: [run_count
 * of the model that has more], of which test->pairs are filled. */
static clv_status make_pairs(const clvi_contestant *model, const clvi_contestant *reference,
                             clvi_pairing *pairings, clvi_contest_test *test, clv_error *error)
{
    size_t length = 0;
    const bool any = model->fixed || reference->fixed, turned = model->fixed;
    const clvi_contestant *each = turned ? reference : model, *one = turned ? model : reference;
    for (size_t i = 0; i < each->run_count; i++) {
        const clvi_contest_run *found = run_of_seed(one, each->runs[i].seed, any);
        const clvi_contest_run *own = turned ? found : &each->runs[i];
        const clvi_contest_run *other = turned ? &each->runs[i] : found;
        clv_error fault = CLV_ERROR_INIT;
        clvi_pairing *p = &pairings[test->pairs];
        if (!found || !each->runs[i].record.path)
            continue;
        const clv_status status =
            clvi_pairing_make(&own->record.predictions, &other->record.predictions, p, &fault);
        if (status == CLV_E_MEMORY)
            CLV_FAIL(error, status, "%s", fault.message);
        if (status != CLV_OK)
            snprintf(test->fault, sizeof test->fault, "%.*s", (int)sizeof test->fault - 1,
                     fault.message);
        if (status != CLV_OK)
            continue;
        if (length < sizeof test->counts)
            length += (size_t)snprintf(test->counts + length, sizeof test->counts - length,
                                       "%s%lld/%lld (p %.2g)", test->pairs ? ", " : "",
                                       (long long)p->only_first, (long long)p->only_second,
                                       clvi_mcnemar(p->only_first, p->only_second));
        test->pairs++;
    }
    if (test->pairs == 0 && test->fault[0] == '\0')
        snprintf(test->fault, sizeof test->fault, "no run from a seed that the reference has too");
    return CLV_OK;
}

static clv_status test_pairs(const clvi_pairing *pairings, clvi_contest_test *test,
                             clv_error *error)
{
    clvi_difference d;
    const int8_t **differences = clvi_malloc(test->pairs * sizeof *differences);
    if (!differences)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to compare runs");
    size_t images = pairings[0].images;
    for (size_t i = 0; i < test->pairs; i++)
        differences[i] = pairings[i].differences;
    const clv_status status =
        images > 0 ? clvi_bootstrap(differences, test->pairs, images, &d, error)
                   : clvi_fail(error, CLV_E_DATA, CLV_HERE, "there is no image to compare on");
    clvi_free(differences);
    CLV_TRY(status);
    const bool enough = test->pairs >= ENOUGH_SEEDS;
    test->difference = d.mean;
    test->low = enough ? d.low : NAN;
    test->high = enough ? d.high : NAN;
    test->p = enough ? d.p : clvi_mcnemar(pairings[0].only_first, pairings[0].only_second);
    return CLV_OK;
}

/* All pairs must have seen the same images: the bootstrap draws an image of all of them at once. */
static clv_status test_one(const clvi_contestant *model, const clvi_contestant *reference,
                           clvi_contest_test *test, clv_error *error)
{
    const size_t most =
        model->run_count > reference->run_count ? model->run_count : reference->run_count;
    clvi_pairing *pairings = clvi_calloc(most + 1, sizeof *pairings);
    if (!pairings)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to compare runs");
    clv_status status = make_pairs(model, reference, pairings, test, error);
    for (size_t i = 1; i < test->pairs && status == CLV_OK; i++)
        if (!clvi_pairing_same_images(&pairings[i], &pairings[0])) {
            test->difference = NAN;
            snprintf(test->fault, sizeof test->fault, "its runs were tested on different images");
            goto out;
        }
    if (status == CLV_OK && test->pairs > 0)
        status = test_pairs(pairings, test, error);
out:
    for (size_t i = 0; i < test->pairs; i++)
        clvi_pairing_fini(&pairings[i]);
    clvi_free(pairings);
    return status;
}

static const char *verdict(const clvi_contest_test *t)
{
    if (!isfinite(t->difference))
        return "not compared";
    if (!(t->p < 0.05))
        return "not distinguishable";
    if (t->pairs < ENOUGH_SEEDS)
        return t->pairs == 1 ? "one run: no claim" : "two runs: no claim";
    return t->difference > 0 ? "better" : "worse";
}

static clv_status test_all(clvi_comparison *c, clv_error *error)
{
    double *p = clvi_malloc((c->count + 1) * sizeof *p);
    clv_status status = CLV_OK;
    if (!p)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to compare %zu models", c->count);
    for (size_t i = 0; i < c->count && status == CLV_OK; i++) {
        clvi_contest_test *t = &c->tests[i];
        *t = (clvi_contest_test){.difference = NAN, .low = NAN, .high = NAN, .p = NAN};
        if (i != c->reference && has_ended(&c->contestants[i]))
            status = test_one(&c->contestants[i], &c->contestants[c->reference], t, error);
        p[i] = t->p;
    }
    if (status == CLV_OK)
        clvi_holm(p, c->count);
    for (size_t i = 0; i < c->count && status == CLV_OK; i++) {
        c->tests[i].p = p[i];
        c->tests[i].verdict = i == c->reference                ? "reference"
                              : !has_ended(&c->contestants[i]) ? "failed"
                                                               : verdict(&c->tests[i]);
    }
    clvi_free(p);
    return status;
}

/* ---- Equal conditions ---- */

bool clvi_contestant_trains(const clvi_contestant *c)
{
    return clvi_contestant_mean(c, "trainable") != 0 || /* also where it is not known */
           clvi_contestant_mean(c, "start_epochs") > 0;
}

/* The time of the longest run that ended; NAN where one is not known. */
static double longest(const clvi_contestant *c)
{
    double most = 0;
    for (size_t i = 0; i < c->run_count; i++)
        if (c->runs[i].record.path) {
            const double seconds = clvi_figure(&c->runs[i].record, "seconds");
            if (!(seconds <= most))
                most = seconds;
            if (isnan(most))
                break;
        }
    return most;
}

static void find_equal(clvi_comparison *c)
{
    c->equal_seconds = c->most_seconds = NAN;
    c->equal_epochs = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (!has_ended(&c->contestants[i]) || !clvi_contestant_trains(&c->contestants[i]))
            continue;
        const double seconds = longest(&c->contestants[i]);
        const double epochs = clvi_contestant_mean(&c->contestants[i], "epochs");
        if (!isfinite(seconds) || !isfinite(epochs))
            continue;
        if (!(c->equal_seconds <= seconds))
            c->equal_seconds = seconds;
        if (!(c->most_seconds >= seconds))
            c->most_seconds = seconds;
        if (c->equal_epochs == 0 || epochs < (double)c->equal_epochs)
            c->equal_epochs = (int64_t)epochs;
    }
}

clv_status clvi_comparison_judge(clvi_comparison *c, const char *reference, clv_error *error)
{
    CLV_TRY(find_reference(c, reference, error));
    clvi_free(c->tests);
    c->tests = clvi_calloc(c->count + 1, sizeof *c->tests);
    if (!c->tests)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to compare %zu models", c->count);
    find_equal(c);
    return test_all(c, error);
}
