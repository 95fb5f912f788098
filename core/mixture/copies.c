/* See copies.h. */
#include "mixture/copies.h"

#include "base/process.h"

#include <stdio.h>

/* Whether variable v of two experts has the same values. */
static clv_status same_values(const clvi_store *store, const int64_t segments[2], bool *same,
                              clv_error *error)
{
    const int64_t elements = clvi_store_segment(store, (size_t)segments[0])->elements;
    float *values[2] = {clvi_malloc((size_t)elements * sizeof(float)),
                        clvi_malloc((size_t)elements * sizeof(float))};
    clv_status status = CLV_OK;
    if (!values[0] || !values[1])
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory to compare experts");
    for (int k = 0; k < 2 && status == CLV_OK; k++)
        status = clvi_store_read(store, (size_t)segments[k], CLVI_STORE_VALUE, values[k], error);
    *same = status == CLV_OK && memcmp(values[0], values[1], (size_t)elements * sizeof(float)) == 0;
    clvi_free(values[0]);
    clvi_free(values[1]);
    return status;
}

bool clvi_copies_same_variables(const clv_graph *a, const clv_graph *b)
{
    bool same = a->variable_count == b->variable_count && a->variable_count > 0;
    for (size_t v = 0; same && v < a->variable_count; v++)
        same = strcmp(a->variables[v].name, b->variables[v].name) == 0 &&
               a->variables[v].elements == b->variables[v].elements;
    return same;
}

static clv_status are_copies(clvi_mixture *mixture, size_t first, size_t second, bool *out,
                             clv_error *error)
{
    const clvi_store *store = clvi_mixture_store(mixture);
    const clvi_mixture_part parts[2] = {clvi_mixture_part_at(mixture, first),
                                        clvi_mixture_part_at(mixture, second)};
    *out = clvi_copies_same_variables(parts[0].graph, parts[1].graph);
    for (size_t v = 0; *out && v < parts[0].graph->variable_count; v++) {
        int64_t segments[2];
        char name[512];
        if (parts[0].graph->variables[v].is_state)
            continue;
        for (int k = 0; k < 2; k++) {
            snprintf(name, sizeof name, "%s.%s", parts[k].section,
                     parts[k].graph->variables[v].name);
            segments[k] = clvi_store_find(store, name);
        }
        if (segments[0] >= 0 && segments[1] >= 0)
            CLV_TRY(same_values(store, segments, out, error));
    }
    return CLV_OK;
}

clv_status clvi_copies_warn(const clvi_config *config, clvi_mixture *mixture, clv_error *error)
{
    for (size_t i = 1; i < clvi_mixture_expert_count(mixture); i++)
        for (size_t k = 0; k < i; k++) {
            bool copies;
            CLV_TRY(are_copies(mixture, k, i, &copies, error));
            if (!copies)
                continue;
            clvi_log(CLVI_LOG_WARN,
                     "experts %s and %s start with the same weights: what sees the same stays the "
                     "same; give one other weights, or train heads of their own",
                     clvi_config_expert_name(config, k), clvi_config_expert_name(config, i));
            break;
        }
    return CLV_OK;
}
