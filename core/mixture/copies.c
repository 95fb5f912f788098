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
    bool same = a->variable_count == b->variable_count;
    for (size_t v = 0; same && v < a->variable_count; v++)
        same = strcmp(a->variables[v].name, b->variables[v].name) == 0 &&
               a->variables[v].elements == b->variables[v].elements;
    return same;
}

static clv_status are_copies(const clvi_config *config, clvi_mixture *mixture, size_t first,
                             size_t second, bool *out, clv_error *error)
{
    const clvi_store *store = clvi_mixture_store(mixture);
    const clv_graph *graphs[2] = {clvi_mixture_expert_graph(mixture, first),
                                  clvi_mixture_expert_graph(mixture, second)};
    const char *sections[2] = {clvi_config_leaf_section(config, first),
                               clvi_config_leaf_section(config, second)};
    *out = graphs[0]->variable_count > 0 && clvi_copies_same_variables(graphs[0], graphs[1]);
    for (size_t v = 0; *out && v < graphs[0]->variable_count; v++) {
        int64_t segments[2];
        char name[512];
        if (graphs[0]->variables[v].is_state)
            continue;
        for (int k = 0; k < 2; k++) {
            snprintf(name, sizeof name, "%s.%s", sections[k], graphs[k]->variables[v].name);
            segments[k] = clvi_store_find(store, name);
        }
        if (segments[0] >= 0 && segments[1] >= 0)
            CLV_TRY(same_values(store, segments, out, error));
    }
    return CLV_OK;
}

clv_status clvi_copies_warn(const clvi_config *config, clvi_mixture *mixture, clv_error *error)
{
    for (size_t i = 1; i < clvi_config_leaf_count(config); i++)
        for (size_t k = 0; k < i; k++) {
            bool copies;
            CLV_TRY(are_copies(config, mixture, k, i, &copies, error));
            if (!copies)
                continue;
            clvi_log(CLVI_LOG_WARN,
                     "experts %s and %s start with the same weights: what sees the same stays the "
                     "same; give one other weights, or train heads of their own",
                     clvi_config_leaf_name(config, k), clvi_config_leaf_name(config, i));
            break;
        }
    return CLV_OK;
}
