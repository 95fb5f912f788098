/* See initial_weights.h. */
#include "mixture/initial_weights.h"

#include "weights/transfer.h"

#include <stdio.h>

/* Puts the place of the key before a sentence. */
static void blame(const clvi_config *config, const char *section, clv_error *error)
{
    clvi_prepend(error, "%s: [%s] weights", clvi_config_origin(config, section, "weights"),
                 section);
}

clv_status clvi_initial_weights_open(const clvi_config *config, const char *section,
                                     clvi_weights **out, clv_error *error)
{
    const clv_status status =
        clvi_weights_open(clvi_config_text(config, section, "weights"), out, error);
    if (status != CLV_OK)
        blame(config, section, error);
    return status;
}

clv_status clvi_initial_weights_check(const clvi_config *config, clv_error *error)
{
    for (size_t i = 0; i < clvi_config_expert_count(config); i++) {
        const char *section = clvi_config_expert_section(config, i);
        clvi_weights *file = NULL;
        if (*clvi_config_text(config, section, "weights") == '\0')
            continue;
        CLV_TRY(clvi_initial_weights_open(config, section, &file, error));
        clvi_weights_close(file);
    }
    return CLV_OK;
}

static clv_status load(const clvi_config *config, const char *section, const clv_graph *graph,
                       clvi_store *store, clv_error *error)
{
    char prefix[128];
    (void)snprintf(prefix, sizeof prefix, "%s.", section);
    clvi_weights *file;
    CLV_TRY(clvi_initial_weights_open(config, section, &file, error));
    const clvi_transfer_desc desc = {.file = file,
                                     .graph = graph,
                                     .prefix = prefix,
                                     .strict = clvi_config_bool(config, section, "weights_strict")};
    clvi_transfer *transfer = NULL;
    clv_status status = clvi_transfer_plan(&desc, &transfer, error);
    if (status == CLV_OK)
        status = clvi_transfer_run(transfer, store, error);
    if (status != CLV_OK)
        blame(config, section, error);
    clvi_transfer_destroy(transfer);
    clvi_weights_close(file);
    return status;
}

clv_status clvi_initial_weights_load(const clvi_config *config, clvi_mixture *mixture,
                                     clv_error *error)
{
    for (size_t i = 0; i < clvi_config_expert_count(config); i++) {
        const char *section = clvi_config_expert_section(config, i);
        if (*clvi_config_text(config, section, "weights") == '\0')
            continue;
        CLV_TRY(load(config, section, clvi_mixture_expert_graph(mixture, i),
                     clvi_mixture_store(mixture), error));
    }
    return CLV_OK;
}
