/* See kept.h. Of whole experts the banks are kept; an expert with the weight 0 has no part in a
 * sample, so that a sparse gate needs no lists: the rows of those who were not asked are not read.
 */
#include "mixture/kept.h"

#include "mixture/council_impl.h"

static bool gate_sees_image(const clvi_council *c)
{
    return c->fusion.gated && clvi_council_input_of(c->gate.graphs[CLVI_TRAIN], "image") >= 0;
}

clvi_kept clvi_council_kept(const clvi_council *c)
{
    clvi_kept kept = {.experts = c->keeps_experts};
    if (c->cut_elements > 0)
        kept.blocks[kept.count++] = (clvi_kept_block){"cut", c->cut_elements, true};
    for (int role = 0; role < CLVI_EXPERT_ROLES && c->keeps_experts; role++)
        if (c->given[role])
            kept.blocks[kept.count++] = (clvi_kept_block){
                clvi_expert_roles[role], clvi_council_bank_width(c, role), c->used[role]};
    for (size_t b = 0; b < kept.count; b++)
        kept.used += kept.blocks[b].used ? kept.blocks[b].width : 0;
    kept.with_image = c->keeps_experts && gate_sees_image(c);
    return kept;
}

/* The role of a block of whole experts. */
static int role_of(const clvi_council *c, size_t block)
{
    int role = 0;
    for (; role < CLVI_EXPERT_ROLES; role++)
        if (c->given[role] && block-- == 0)
            break;
    return role;
}

clvi_kept_columns clvi_council_kept_columns(const clvi_council *c, size_t block, size_t expert)
{
    if (!c->keeps_experts)
        return (clvi_kept_columns){0, c->cut_elements};
    const clvi_bank_part part = clvi_council_bank_part(c, role_of(c, block), expert);
    return (clvi_kept_columns){part.at, part.width};
}

/* ---- Whole experts ---- */

clv_status clvi_council_keep_experts(clvi_council *c, clv_error *error)
{
    const clvi_config *config = c->site.config;
    bool all = true;
    for (size_t i = 0; i < clvi_council_expert_count(c); i++) {
        const char *section = c->experts[i].section;
        if (c->nested[i])
            return clvi_config_fail(config, "train", "cache_features", error,
                                    "features are kept of experts that have a plugin, and [%s] is "
                                    "a mixture; write cache_features = no",
                                    section);
        if (c->experts[i].trainable)
            return clvi_config_fail(config, "train", "cache_features", error,
                                    "of several experts features are kept where all are frozen as "
                                    "a whole, and something in [%s] trains; write trainable = none "
                                    "there, or cache_features = no",
                                    section);
        if (strcmp(clvi_config_text(config, section, "bn"), "train") == 0)
            return clvi_config_fail(config, "train", "cache_features", error,
                                    "bn = train in [%s] lets its statistics move, and with them "
                                    "the features; write bn = auto or frozen",
                                    section);
        all &= c->feature_widths[i] > 0;
    }
    c->keeps_experts = true;
    if (clvi_config_text(config, "train", "feature_folder")[0] == '\0')
        return CLV_OK;
    /* Others, who fuse otherwise, will want the rest. */
    c->given[CLVI_LOGITS] = true;
    c->given[CLVI_FEATURES] |= all;
    return CLV_OK;
}

/* Runs the experts on the images in the forms and brings their banks to the host. */
static clv_status compute_experts(clvi_council *c, int64_t n, const bool *wanted, float *out,
                                  clv_error *error)
{
    const clvi_part_run run = {.mode = CLVI_INFER, .n = n};
    const clvi_bank_rows rows = {n, {NULL, 0}};
    for (size_t i = 0; i < clvi_council_expert_count(c); i++) {
        if (!wanted[i])
            continue;
        CLV_TRY(clvi_part_forward(&c->experts[i], &c->site, &run, error));
        CLV_TRY(clvi_council_bank(c, i, CLVI_INFER, rows, error));
    }
    for (int role = 0; role < CLVI_EXPERT_ROLES; role++) {
        const int64_t count = n * c->banks[role].width;
        if (!c->given[role])
            continue;
        CLV_TRY(
            clvi_download(c->site.device, c->banks[role].values, 0, out, (size_t)count * 4, error));
        out += count;
    }
    return CLV_OK;
}

void clvi_council_pass_experts(clvi_council *c, const clvi_council_run *run)
{
    for (size_t i = 0; i < clvi_council_expert_count(c); i++)
        c->experts[i].ran[run->part.mode] = NULL;
    if (c->dispatch)
        clvi_dispatch_assume(c->dispatch, clvi_council_route(c), run->part.n);
}

/* ---- Both kinds ---- */

clv_status clvi_council_compute_kept(clvi_council *c, int64_t n, const bool *wanted, float *out,
                                     clv_error *error)
{
    const clvi_part *only = &c->experts[0];
    if (c->keeps_experts)
        return compute_experts(c, n, wanted, out, error);
    return clvi_frozen_compute(only->frozen, n, clvi_forms_view(c->site.forms, only->forms[0]), out,
                               error);
}

clv_status clvi_council_put_kept(clvi_council *c, int64_t n, const float *from, clv_error *error)
{
    if (!c->keeps_experts)
        return clvi_frozen_put(c->experts[0].frozen, n, from, error);
    for (int role = 0; role < CLVI_EXPERT_ROLES; role++) {
        const int64_t count = n * c->banks[role].width;
        if (!c->used[role])
            continue;
        CLV_TRY(
            clvi_upload(c->site.device, c->banks[role].values, 0, from, (size_t)count * 4, error));
        from += count;
    }
    return CLV_OK;
}
