/* Running a plugin's networks: memory they must not touch, the same bits each time, what a gate
 * promises, what running leaves behind. */
#include "check/rig.h"

#include "graph/after_step.h"
#include "mixture/dispatch.h"

#include <math.h>
#include <stdlib.h>

/* Everything that one forward and backward gives. */
typedef struct result {
    float *outputs[CHECK_MOST_OUTPUTS];
    float **grads; /* per place; NULL: none */
    size_t places;
} result;

static void result_fini(result *a)
{
    for (int o = 0; o < CHECK_MOST_OUTPUTS; o++)
        clvi_free(a->outputs[o]);
    for (size_t p = 0; a->grads != NULL && p < a->places; p++)
        clvi_free(a->grads[p]);
    clvi_free(a->grads);
    *a = (result){.grads = NULL};
}

static clv_status no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: the results of a run");
}

/* Backward with random gradients of the outputs. */
static clv_status go_back(rig *r, result *out, clv_error *error)
{
    rig_dice dice = {90000};
    float *seeds[CHECK_MOST_OUTPUTS] = {NULL};
    clv_status status = CLV_OK;
    for (size_t o = 0; o < r->output_count && status == CLV_OK; o++) {
        const int64_t elements = rig_output_elements(r, o);
        seeds[o] = rig_floats(elements);
        if (seeds[o] == NULL)
            status = no_memory(error);
        for (int64_t k = 0; k < elements && status == CLV_OK; k++)
            seeds[o][k] = (float)rig_normal(&dice);
    }
    if (status == CLV_OK)
        status = rig_backward(r, seeds, error);
    for (size_t p = 0; p < out->places && status == CLV_OK; p++) {
        if (!rig_has_grad(r, p))
            continue;
        out->grads[p] = rig_floats(rig_elements(r, p, r->n));
        status = out->grads[p] != NULL ? rig_grad(r, p, out->grads[p], error) : no_memory(error);
    }
    for (size_t o = 0; o < r->output_count; o++)
        clvi_free(seeds[o]);
    return status;
}

/* Forward and, in training, backward of n samples; result_fini also after a failure. */
static clv_status run_once(rig *r, int64_t n, result *out, clv_error *error)
{
    *out = (result){.places = rig_count(r)};
    out->grads = clvi_calloc(out->places + 1, sizeof(*out->grads));
    if (out->grads == NULL)
        return no_memory(error);
    CLV_TRY(rig_forward(r, n, error));
    for (size_t o = 0; o < r->output_count; o++) {
        out->outputs[o] = rig_floats(rig_output_elements(r, o));
        if (out->outputs[o] == NULL)
            return no_memory(error);
        CLV_TRY(rig_output(r, o, out->outputs[o], error));
    }
    return r->desc.mode == CLV_MODE_TRAIN ? go_back(r, out, error) : CLV_OK;
}

static rig_desc desc_of(const check *c, clv_mode mode)
{
    return (rig_desc){.device = c->device,
                      .graph = mode == CLV_MODE_TRAIN ? c->train : c->infer,
                      .mode = mode,
                      .batch = CHECK_BATCH,
                      .only = -1};
}

static const char *mode_text(clv_mode mode)
{
    return mode == CLV_MODE_TRAIN ? "training" : "inference";
}

/* ---- Memory ---- */

/* Index of the first element that is no finite number, or -1. */
static int64_t first_wild(const float *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return i;
    return -1;
}

/* Everything finite although all memory was NaN; every parameter has a gradient. */
static bool is_finite_result(check *c, const rig *r, const result *a)
{
    const char *mode = mode_text(r->desc.mode);
    for (size_t o = 0; o < r->output_count; o++) {
        const clv_shape *shape = &r->desc.graph->tensors[r->outputs[o]].shape;
        const int64_t at =
            shape->dtype == CLV_F32 ? first_wild(a->outputs[o], rig_output_elements(r, o)) : -1;
        if (at < 0)
            continue;
        check_bad(c,
                  "%s with %lld samples: element %lld of output %s is not finite: something reads "
                  "memory before it is written",
                  mode, (long long)r->n, (long long)at, rig_output_name(r, o));
        return false;
    }
    for (size_t p = 0; p < a->places; p++) {
        const int64_t count = rig_elements(r, p, r->n);
        const int64_t at = a->grads[p] != NULL ? first_wild(a->grads[p], count) : -1;
        if (at < 0)
            continue;
        check_bad(
            c,
            "%s with %lld samples: element %lld of the gradient of %s is not finite: no output "
            "depends on it, its backward does not write all of it, or reads memory before it "
            "is written",
            mode, (long long)r->n, (long long)at, rig_name(r, p));
        return false;
    }
    return true;
}

/* One mode, the whole batch and parts of it, from NaN each time. */
static bool check_memory_in(check *c, clv_mode mode)
{
    static const int64_t parts[] = {CHECK_BATCH, 1, CHECK_BATCH - 1};
    const rig_desc desc = desc_of(c, mode);
    clv_error error = CLV_ERROR_INIT;
    rig r;
    clv_status status = rig_open(&r, &desc, &error);
    bool good = check_works(c, status, &error);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && good; i++) {
        result a = {.grads = NULL};
        status = rig_poison(&r, &error);
        if (status == CLV_OK)
            status = run_once(&r, parts[i], &a, &error);
        good = check_works(c, status, &error) && is_finite_result(c, &r, &a);
        if (good && (status = rig_check_guards(&r, &error)) != CLV_OK) {
            check_bad(c, "%s with %lld samples writes where it must not: %s", mode_text(mode),
                      (long long)parts[i], error.message);
            good = false;
        }
        result_fini(&a);
    }
    rig_close(&r);
    return good;
}

void check_memory(check *c)
{
    if (check_memory_in(c, CLV_MODE_INFER) && check_memory_in(c, CLV_MODE_TRAIN))
        check_ok(c, "all memory NaN before: everything finite, nothing written beyond a tensor, "
                    "inputs and parameters unchanged; batches of 5, 4 and 1");
}

/* ---- Again ---- */

/* What differs between two results of one rig, into `out`; "" where nothing does. */
static const char *differing(const rig *r, const result *a, const result *b, char *out,
                             size_t bytes)
{
    out[0] = '\0';
    for (size_t o = 0; o < r->output_count; o++)
        if (memcmp(a->outputs[o], b->outputs[o], (size_t)rig_output_elements(r, o) * 4) != 0) {
            snprintf(out, bytes, "output %s", rig_output_name(r, o));
            return out;
        }
    for (size_t p = 0; p < a->places; p++)
        if (a->grads[p] != NULL &&
            memcmp(a->grads[p], b->grads[p], (size_t)rig_elements(r, p, r->n) * 4) != 0) {
            snprintf(out, bytes, "the gradient of %s", rig_name(r, p));
            return out;
        }
    return out;
}

/* Three runs over the same memory and one over NaN against `first`; false: said what is wrong. */
static bool same_again(check *c, rig *r, const result *first, bool arena)
{
    char what[200];
    for (int k = 0; k < 4; k++) {
        result a = {.grads = NULL};
        clv_error error = CLV_ERROR_INIT;
        clv_status status = k == 3 ? rig_poison(r, &error) : CLV_OK;
        if (status == CLV_OK)
            status = run_once(r, CHECK_BATCH, &a, &error);
        const bool works = check_works(c, status, &error);
        if (works && differing(r, first, &a, what, sizeof(what))[0] != '\0')
            check_bad(c, "%s: the same values give other bits in %s%s", mode_text(r->desc.mode),
                      what, arena ? " where tensors share memory" : "");
        result_fini(&a);
        if (!works || what[0] != '\0')
            return false;
    }
    return true;
}

/* CONCLAVE_ARENA is 0 in this process; for a moment it is not. */
static clv_status open_shared(rig *r, const rig_desc *desc, clv_error *error)
{
    unsetenv("CONCLAVE_ARENA");
    const clv_status status = rig_open(r, desc, error);
    setenv("CONCLAVE_ARENA", "0", 1);
    return status;
}

static bool check_again_in(check *c, clv_mode mode)
{
    const rig_desc desc = desc_of(c, mode);
    clv_error error = CLV_ERROR_INIT;
    result first = {.grads = NULL};
    rig apart, shared = {.store = NULL};
    clv_status status = rig_open(&apart, &desc, &error);
    if (status == CLV_OK)
        status = run_once(&apart, CHECK_BATCH, &first, &error);
    bool good = check_works(c, status, &error) && same_again(c, &apart, &first, false);
    if (good)
        good = check_works(c, open_shared(&shared, &desc, &error), &error) &&
               same_again(c, &shared, &first, true);
    result_fini(&first);
    rig_close(&apart);
    rig_close(&shared);
    return good;
}

void check_again(check *c)
{
    if (check_again_in(c, CLV_MODE_INFER) && check_again_in(c, CLV_MODE_TRAIN))
        check_ok(c,
                 "the same bits each time, with a buffer for every tensor and with shared memory");
}

/* ---- Route ---- */

typedef struct route_seen {
    int most;         /* weights of one sample that are not 0 */
    double worst_sum; /* farthest from 1 */
    bool negative, wild, unwanted;
    int64_t most_of_batch; /* such weights of a batch of 32, and of one of 5 */
    int64_t most_of_few;
} route_seen;

enum { ROUTE_BATCH = 32, ROUTE_FEW = 5 };

static void look_at_route(const float *route, int64_t samples, int64_t experts, route_seen *seen)
{
    int64_t all = 0, *most = samples == ROUTE_FEW ? &seen->most_of_few : &seen->most_of_batch;
    for (int64_t s = 0; s < samples; s++) {
        double sum = 0;
        int used = 0;
        for (int64_t k = 0; k < experts; k++) {
            const float weight = route[s * experts + k];
            seen->wild |= !isfinite(weight);
            seen->negative |= weight < 0;
            used += weight < 0 || weight > 0;
            sum += (double)weight;
        }
        all += used;
        seen->most = used > seen->most ? used : seen->most;
        if (fabs(sum - 1) > fabs(seen->worst_sum - 1))
            seen->worst_sum = sum;
    }
    *most = all > *most ? all : *most;
}

static void judge_route(check *c, const clv_route_desc *declared, const route_seen *seen,
                        int experts, const char *mode)
{
    const int allowed = declared->max_per_sample > 0 ? declared->max_per_sample : experts;
    if (seen->wild)
        check_bad(c, "%s, %d experts: a weight of the route is not finite", mode, experts);
    else if (seen->negative)
        check_bad(c, "%s, %d experts: a weight of the route is below 0", mode, experts);
    else if (seen->unwanted)
        check_bad(c, "%s, %d experts: a weight is not 0 where the output \"wanted\" is", mode,
                  experts);
    else if (declared->sums_to_one && fabs(seen->worst_sum - 1) > 1e-5)
        check_bad(c, "%s, %d experts: the weights of a sample sum to %.7g, declared is 1", mode,
                  experts, seen->worst_sum);
    else if (declared->sparse && seen->most > allowed)
        check_bad(c,
                  "%s, %d experts: %d weights of a sample are not exactly 0, declared are at most "
                  "%d (max_per_sample)",
                  mode, experts, seen->most, allowed);
    for (int few = 0; few < 2 && declared->sparse; few++) {
        const int64_t n = few ? ROUTE_FEW : ROUTE_BATCH,
                      most = few ? seen->most_of_few : seen->most_of_batch;
        const int64_t room = clvi_dispatch_most(declared, experts, n);
        if (most > room)
            check_bad(c,
                      "%s, %d experts: a batch of %lld has %lld weights that are not exactly 0, "
                      "declared are at most %lld (per_batch, max_per_sample)",
                      mode, experts, (long long)n, (long long)most, (long long)room);
    }
}

/* Whether there is a weight where none was wanted. */
static clv_status look_at_wanted(const rig *r, int64_t elements, const float *route,
                                 route_seen *seen, clv_error *error)
{
    float *wanted = rig_floats(elements);
    if (wanted == NULL)
        return no_memory(error);
    const clv_status status = rig_output(r, 1, wanted, error);
    for (int64_t k = 0; k < elements && status == CLV_OK; k++)
        seen->unwanted |= (route[k] < 0 || route[k] > 0) && !(wanted[k] < 0 || wanted[k] > 0);
    clvi_free(wanted);
    return status;
}

/* Forward of n samples; what it says of the route. */
static clv_status look_at_batch(rig *r, int64_t n, int64_t experts, float *route, route_seen *seen,
                                clv_error *error)
{
    CLV_TRY(rig_forward(r, n, error));
    CLV_TRY(rig_output(r, 0, route, error));
    look_at_route(route, n, experts, seen);
    if (r->output_count > 1 && strcmp(rig_output_name(r, 1), "wanted") == 0)
        return look_at_wanted(r, n * experts, route, seen, error);
    return CLV_OK;
}

/* Steps of the gate's own learning, and the route after each. */
static clv_status look_after_steps(rig *r, int64_t experts, float *route, route_seen *seen,
                                   clv_error *error)
{
    static const int64_t sizes[] = {ROUTE_BATCH, ROUTE_FEW};
    clvi_after_step *after;
    clv_status status = clvi_after_step_create(r->desc.graph, r->store, r->base, &after, error);
    for (int s = 0; s < 4 && status == CLV_OK; s++) {
        status = rig_after_step(r, after, sizes, 1 + (size_t)s % 2, error);
        if (status == CLV_OK)
            status = look_at_batch(r, ROUTE_BATCH, experts, route, seen, error);
    }
    clvi_after_step_destroy(after);
    return status;
}

/* Inference: where a sample is sent does not depend on the others of its batch. Says so if not. */
static clv_status look_at_samples(check *c, rig *r, int experts, const float *all, clv_error *error)
{
    float *few = rig_floats(ROUTE_FEW * experts);
    double most = 0;
    if (few == NULL)
        return no_memory(error);
    clv_status status = rig_forward(r, ROUTE_FEW, error);
    if (status == CLV_OK)
        status = rig_output(r, 0, few, error);
    for (int64_t k = 0; k < ROUTE_FEW * experts && status == CLV_OK; k++)
        most = fmax(most, fabs((double)few[k] - (double)all[k]));
    clvi_free(few);
    if (status == CLV_OK && !(most <= 1e-3))
        check_bad(c,
                  "inference, %d experts: a sample has other weights in a batch of %d than of %d",
                  experts, ROUTE_FEW, ROUTE_BATCH);
    return status;
}

/* One number of experts in one mode. */
static void check_route_of(check *c, int experts, clv_mode mode)
{
    clv_build_input input = c->input;
    clv_graph *graph = NULL;
    clv_error error = CLV_ERROR_INIT;
    route_seen seen = {.worst_sum = 1};
    input.experts = experts;
    clv_status status = check_build(c, &input, mode, &graph, &error);
    if (status != CLV_OK && error.file != NULL && strcmp(error.file, "plugin") == 0)
        return; /* build refuses this number itself */
    if (!check_works(c, status, &error))
        return;
    clv_tensor outputs[CHECK_MOST_OUTPUTS];
    const bool train = mode == CLV_MODE_TRAIN, learns = train && graph->new_state_count > 0;
    const size_t count = rig_after_outputs(graph, outputs);
    const rig_desc desc = {.device = c->device,
                           .graph = graph,
                           .mode = mode,
                           .batch = ROUTE_BATCH,
                           .outputs = outputs,
                           .output_count = train ? count : 1,
                           .only = -1};
    rig r;
    float *route = rig_floats(ROUTE_BATCH * experts);
    status = rig_open(&r, &desc, &error);
    if (route == NULL)
        status = no_memory(&error);
    for (r.epoch = 0; r.epoch < 3 && status == CLV_OK; r.epoch++) {
        status = look_at_batch(&r, ROUTE_FEW, experts, route, &seen, &error);
        if (status == CLV_OK)
            status = look_at_batch(&r, ROUTE_BATCH, experts, route, &seen, &error);
    }
    if (status == CLV_OK && mode == CLV_MODE_INFER)
        status = look_at_samples(c, &r, experts, route, &error);
    if (status == CLV_OK && learns)
        status = look_after_steps(&r, experts, route, &seen, &error);
    if (check_works(c, status, &error))
        judge_route(c, &graph->route, &seen, experts, mode_text(mode));
    clvi_free(route);
    rig_close(&r);
    clvi_graph_destroy(graph);
}

void check_route(check *c)
{
    static const int counts[] = {2, 3, 7};
    if (c->plugin->table->kind != CLV_KIND_GATE) {
        check_note(c, "not a gate");
        return;
    }
    for (size_t k = 0; k < sizeof(counts) / sizeof(counts[0]); k++) {
        check_route_of(c, counts[k], CLV_MODE_TRAIN);
        check_route_of(c, counts[k], CLV_MODE_INFER);
    }
    const clv_route_desc *route = &c->train->route;
    check_ok(c, "weights of 0 or more%s%s, for 2, 3 and 7 experts in both modes",
             route->sums_to_one ? " that sum to 1" : "",
             route->sparse ? ", no more than declared" : "");
}

/* ---- Leaks ---- */

enum { LEAK_CALLS = 128, LEAK_WINDOWS = 9, LEAST_BLOCK = 24 };

/* The functions of all own ops, without a device at work: only the plugin itself can allocate. */
static bool call_often(check *c)
{
    for (int call = 0; call < LEAK_CALLS; call++)
        for (size_t k = 0; k < c->train->node_count; k++) {
            const clvi_node *node = &c->train->nodes[k];
            clv_error error = CLV_ERROR_INIT;
            uint32_t wants = 0;
            if (!clvi_op_is_own(node->op))
                continue;
            for (int i = 0; i < node->input_count; i++)
                if (node->inputs[i] != CLV_NO_TENSOR &&
                    clvi_in_shape(c->train, node, i)->dtype == CLV_F32)
                    wants |= 1u << i;
            if (!check_works(
                    c, clvi_own_rehearse(c->device, c->train, node, CHECK_BATCH, wants, &error),
                    &error))
                return false;
        }
    return true;
}

/* Memory that forward and backward of own ops leave behind in most windows; in some the driver may
 * still be tidying up. False: said. */
static bool check_calls(check *c)
{
    int grew = 0;
    size_t first = 0, last = 0;
    if (c->plugin->ops->count == 0)
        return true;
    if (!call_often(c))
        return false;
    for (int w = 0; w < LEAK_WINDOWS; w++) {
        const size_t before = check_heap_bytes();
        if (!call_often(c))
            return false;
        last = check_heap_bytes();
        first = w == 0 ? before : first;
        grew += last >= before + LEAK_CALLS * LEAST_BLOCK;
    }
    if (2 * grew > LEAK_WINDOWS)
        check_bad(c, "leak: forward and backward leave about %zu bytes of memory behind each time",
                  last > first ? (last - first) / (LEAK_CALLS * LEAK_WINDOWS) : 0);
    return 2 * grew <= LEAK_WINDOWS;
}

void check_device_leaks(check *c)
{
    clvi_device_counters before, after;
    if (!check_calls(c))
        return;
    clvi_device_get_counters(c->device, &before);
    for (int k = 0; k < 2; k++) {
        const rig_desc desc = desc_of(c, CLV_MODE_TRAIN);
        clv_error error = CLV_ERROR_INIT;
        result a = {.grads = NULL};
        rig r;
        clv_status status = rig_open(&r, &desc, &error);
        if (status == CLV_OK)
            status = run_once(&r, CHECK_BATCH, &a, &error);
        result_fini(&a);
        rig_close(&r);
        if (!check_works(c, status, &error))
            return;
    }
    clvi_device_get_counters(c->device, &after);
    if (after.live_buffers != before.live_buffers)
        check_bad(c, "leak: two runs leave %lld buffers on the device",
                  (long long)(after.live_buffers - before.live_buffers));
    check_ok(c, "running leaves neither memory nor buffers on the device behind");
}
