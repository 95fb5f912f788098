/* States of a gate that change after each step (clv_host.after_step): several steps of batches
 * large and small, with what they make of the states in turn. */
#include "check/rig.h"

#include "graph/after_step.h"

#include <math.h>

enum { STEPS = 4, MOST_STATE = 4096 };

/* The steps' batches; 0: no second one. */
static const int64_t batches[STEPS][2] = {{CHECK_BATCH, 0}, {1, 0}, {CHECK_BATCH, 3}, {2, 1}};

clv_status rig_after_step(rig *r, clvi_after_step *after, const int64_t *sizes, size_t count,
                          clv_error *error)
{
    CLV_TRY(clvi_after_step_begin(after, error));
    for (size_t k = 0; k < count && sizes[k] > 0; k++) {
        clvi_view sources[CLVI_MAX_STEP_SUMS];
        CLV_TRY(rig_forward(r, sizes[k], error));
        for (uint32_t i = 0; i < r->desc.graph->step_sum_count; i++)
            sources[i] = clvi_plan_output(
                r->plan, r->output_count - r->desc.graph->step_sum_count + i, sizes[k]);
        CLV_TRY(clvi_after_step_add(after, sources, sizes[k], error));
    }
    CLV_TRY(clvi_after_step_run(after, error));
    for (size_t place = 0; place < rig_count(r); place++) {
        if (!rig_is_state(r, place))
            continue;
        float *values = rig_floats(rig_elements(r, place, 1));
        if (values == NULL)
            CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a state");
        clv_status status = rig_read(r, place, 1, values, error);
        if (status == CLV_OK)
            status = rig_set(r, place, values, error);
        clvi_free(values);
        CLV_TRY(status);
    }
    return CLV_OK;
}

size_t rig_after_outputs(const clv_graph *graph, clv_tensor out[CHECK_MOST_OUTPUTS])
{
    const clv_tensor wanted = clvi_graph_find_output(graph, "wanted");
    size_t count = 0;
    out[count++] = clvi_graph_find_output(graph, "route");
    if (wanted != CLV_NO_TENSOR)
        out[count++] = wanted;
    clvi_after_step_sources(graph, out + count);
    return count + graph->step_sum_count;
}

/* The states behind one another, after each step; the whole count of them, or a complaint and -1.
 */
static int64_t keep_states(check *c, const rig *r, int step, float *to)
{
    int64_t at = 0;
    for (size_t place = 0; place < rig_count(r); place++) {
        const int64_t count = rig_elements(r, place, 1);
        if (!rig_is_state(r, place) || at + count > MOST_STATE)
            continue;
        for (int64_t k = 0; k < count; k++) {
            const float value = rig_values(r, place)[k];
            if (!isfinite(value)) {
                check_bad(c, "element %lld of the state %s is not finite after step %d",
                          (long long)k, rig_name(r, place), step + 1);
                return -1;
            }
            to[at + k] = value;
        }
        at += count;
    }
    return at;
}

/* All steps from the beginning; what they make of the states, at most MOST_STATE of each step. */
static bool run_steps(check *c, float *states, int64_t *count)
{
    clv_tensor outputs[CHECK_MOST_OUTPUTS];
    const rig_desc desc = {.device = c->device,
                           .graph = c->train,
                           .mode = CLV_MODE_TRAIN,
                           .batch = CHECK_BATCH,
                           .outputs = outputs,
                           .output_count = rig_after_outputs(c->train, outputs),
                           .only = -1};
    clv_error error = CLV_ERROR_INIT;
    clvi_after_step *after = NULL;
    rig r;
    bool good = true;
    clv_status status = rig_open(&r, &desc, &error);
    if (status == CLV_OK)
        status = clvi_after_step_create(c->train, r.store, r.base, &after, &error);
    for (int s = 0; s < STEPS && status == CLV_OK && good; s++) {
        r.epoch = (uint32_t)s;
        status = rig_after_step(&r, after, batches[s], 2, &error);
        if (status == CLV_OK)
            *count = keep_states(c, &r, s, states + s * MOST_STATE);
        good = *count >= 0;
    }
    good = check_works(c, status, &error) && good;
    clvi_after_step_destroy(after);
    rig_close(&r);
    return good;
}

void check_after_step(check *c)
{
    int64_t count = 0;
    if (c->train->new_state_count == 0) {
        check_note(c, "none");
        return;
    }
    float *first = rig_floats(STEPS * MOST_STATE), *again = rig_floats(STEPS * MOST_STATE);
    if (first == NULL || again == NULL) {
        check_bad(c, "out of memory: states");
    } else if (run_steps(c, first, &count) && run_steps(c, again, &count)) {
        if (memcmp(first, again, STEPS * MOST_STATE * sizeof(*first)) != 0)
            check_bad(c, "the same steps give the states other bits another time");
        else
            check_ok(c, "%u states finite over %d steps of 1 to 8 samples, the same bits each time",
                     c->train->new_state_count, STEPS);
    }
    clvi_free(first);
    clvi_free(again);
}
