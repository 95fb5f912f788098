/* See dead_experts.h. */
#include "train/dead_experts.h"

#include "base/process.h"
#include "base/text.h"

enum { FEW = 3 };

static void warn_of_one(const char *name, const clvi_usage_expert *expert, bool routed,
                        const char *images)
{
    if (routed)
        clvi_log(CLVI_LOG_WARN,
                 "expert %s is hardly used: %.2f %% of the assignments and %.2f %% of the weight "
                 "on %s",
                 name, 100 * expert->share, 100 * expert->weight_share, images);
    else
        clvi_log(CLVI_LOG_WARN, "expert %s is hardly used: it has %.2f %% of the weight on %s",
                 name, 100 * expert->weight_share, images);
}

void clvi_dead_experts_warn(const clvi_config *config, const clvi_usage_expert *each, bool *said,
                            bool routed, const char *images)
{
    const size_t experts = clvi_config_expert_count(config);
    clvi_text names = {0};
    size_t dead = 0;
    for (size_t i = 0; i < experts; i++)
        if (clvi_usage_dead(&each[i], (int)experts) && !(said && said[i]))
            clvi_text_printf(&names, "%s%s", dead++ > 0 ? ", " : "",
                             clvi_config_expert_name(config, i));
    if (dead > FEW)
        clvi_log(CLVI_LOG_WARN,
                 "%zu of %zu experts are hardly used, each with less than a tenth of an even share "
                 "on %s: %s",
                 dead, experts, images, clvi_text_get(&names));
    clvi_text_fini(&names);
    for (size_t i = 0; i < experts; i++) {
        if (!clvi_usage_dead(&each[i], (int)experts) || (said && said[i]))
            continue;
        if (dead <= FEW)
            warn_of_one(clvi_config_expert_name(config, i), &each[i], routed, images);
        if (said)
            said[i] = true;
    }
}
