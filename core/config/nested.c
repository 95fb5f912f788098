/* The experts of a configuration, and mixtures that are experts: a nested mixture is seen through a
 * clvi_config of its own that has no values and finds its sections among those of the whole. */
#include "config/config_impl.h"

#include <stdio.h>

int clvi_config_depth(const char *label)
{
    int depth = 1;
    for (; *label != '\0'; label++)
        depth += *label == '/';
    return depth;
}

bool clvi_config_nested_key(const char *key)
{
    return strcmp(key, "seed") == 0 || strcmp(key, "trainable") == 0;
}

const char *clvi_config_own_section(const clvi_config *config, const char *section,
                                    char out[CLVI_SECTION_BYTES])
{
    const char *label;
    const int index = clvi_schema_find_section(section, &label);
    if (index == CLVI_NOT_FOUND || label != NULL || !clvi_schema_section_at((size_t)index).nests)
        return section;
    snprintf(out, CLVI_SECTION_BYTES, "%s.%s", section, config->scope);
    return out;
}

const char *clvi_config_section(const clvi_config *config, const char *section)
{
    const clvi_instance *found = clvi_config_instance(config, section);
    CLV_ASSERT(found != NULL);
    return found != NULL ? found->name : section;
}

const char *clvi_config_scope(const clvi_config *config)
{
    return config->scope;
}

/* ---- Experts ---- */

static const clvi_instance *instance_at(const clvi_config *config, size_t index)
{
    return config->whole != NULL ? &config->whole->instances[index] : &config->instances[index];
}

size_t clvi_config_expert_count(const clvi_config *config)
{
    return config->expert_count;
}

const char *clvi_config_expert_name(const clvi_config *config, size_t index)
{
    CLV_ASSERT(index < config->expert_count);
    const char *label = instance_at(config, config->experts[index])->label;
    const char *slash = strrchr(label, '/');
    return slash != NULL ? slash + 1 : label;
}

const char *clvi_config_expert_section(const clvi_config *config, size_t index)
{
    CLV_ASSERT(index < config->expert_count);
    return instance_at(config, config->experts[index])->name;
}

const clvi_config *clvi_config_nested(const clvi_config *config, size_t index)
{
    CLV_ASSERT(index < config->expert_count);
    return config->nested[index];
}

size_t clvi_config_leaf_count(const clvi_config *config)
{
    return config->leaf_count;
}

const char *clvi_config_leaf_section(const clvi_config *config, size_t index)
{
    CLV_ASSERT(index < config->leaf_count);
    return config->instances[config->leaves[index]].name;
}

const char *clvi_config_leaf_name(const clvi_config *config, size_t index)
{
    CLV_ASSERT(index < config->leaf_count);
    return config->instances[config->leaves[index]].label;
}

int64_t clvi_config_seed(const clvi_config *config, const char *expert_section)
{
    char section[CLVI_SECTION_BYTES];
    snprintf(section, sizeof(section), "expert.%s", config->scope);
    if (expert_section != NULL)
        snprintf(section, sizeof(section), "%s", expert_section);
    else if (config->scope[0] == '\0')
        return -1;
    for (;;) {
        const int64_t seed = clvi_config_int(config, section, "seed");
        char *slash = strrchr(section, '/');
        if (seed >= 0 || slash == NULL)
            return seed;
        *slash = '\0';
    }
}
