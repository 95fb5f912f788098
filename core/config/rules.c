/* The rules that span keys, for the whole and for each mixture that is an expert; see
 * load_impl.h. */
#include "config/load_impl.h"

#include <stdio.h>

static const char *origin_or_path(const clvi_config *config, const clvi_slot *slot)
{
    return slot->origin != NULL ? slot->origin : config->path;
}

/* The slot of a mixture's own [mixture]. */
static clvi_slot *mixture_slot(const clvi_config *config, const char *key)
{
    return clvi_config_slot(clvi_config_instance(config, "mixture"), key);
}

/* ---- Plugin or mixture ---- */

static clv_status nest(clvi_loader *l, clvi_instance *instance, int layer, clv_error *error)
{
    const clvi_schema_section section = clvi_schema_section_at(instance->schema);
    for (size_t i = 0; i < section.key_count; i++) {
        const char *key = clvi_schema_key_at(section.first_key + i)->spec.key;
        const clvi_slot *slot = &instance->slots[i];
        if (clvi_config_nested_key(key))
            continue;
        if (slot->origin != NULL && slot->layer >= layer && strcmp(key, "plugin") != 0 &&
            strcmp(key, "mixture") != 0)
            clvi_load_fault(l,
                            "%s: [%s] %s has no meaning for a mixture; write it in the section of "
                            "one of its experts, [%s/NAME]",
                            slot->origin, instance->name, key, instance->name);
        CLV_TRY(clvi_config_reset(l->config, instance, key, error));
    }
    clvi_config_drop_options(instance, layer);
    if (instance->option_count > 0)
        clvi_load_fault(l,
                        "%s: [%s] %s has no meaning for a mixture; options of its experts stand "
                        "in [%s/NAME]",
                        instance->options[0].origin, instance->name, instance->options[0].key,
                        instance->name);
    const char *trainable = clvi_config_slot(instance, "trainable")->value.text;
    if (strcmp(trainable, "all") != 0 && strcmp(trainable, "none") != 0)
        clvi_load_fault(l,
                        "%s: [%s] trainable = %s: of a mixture, all or none; write the rest in the "
                        "sections of its experts, [%s/NAME]",
                        clvi_config_slot(instance, "trainable")->origin, instance->name, trainable,
                        instance->name);
    return CLV_OK;
}

/* Whether an expert is a mixture; what an earlier layer said otherwise is dropped. *good: it is one
 * or has a plugin. */
static clv_status decide(clvi_loader *l, clvi_instance *instance, bool *nested, bool *good,
                         clv_error *error)
{
    const char *section = instance->name;
    const clvi_slot *plugin = clvi_config_slot(instance, "plugin"),
                    *file = clvi_config_slot(instance, "mixture"), *inside = NULL;
    char own[CLVI_SECTION_BYTES];
    snprintf(own, sizeof(own), "mixture.%s", instance->label);
    const clvi_instance *sections = clvi_config_instance(l->config, own);
    if (sections != NULL)
        inside = clvi_config_slot(sections, "experts");
    const bool has_plugin = plugin->value.text[0] != '\0', has_file = file->value.text[0] != '\0';
    const bool has_sections = inside != NULL && inside->origin != NULL;
    const int layer = has_file ? file->layer : has_sections ? inside->layer : 0;
    *good = false;
    *nested = (has_file || has_sections) && (!has_plugin || layer > plugin->layer);
    if ((has_file || has_sections) && has_plugin && layer == plugin->layer)
        clvi_load_fault(l, "%s: [%s] has a plugin and, at %s, a mixture; give one of them",
                        plugin->origin, section, has_file ? file->origin : inside->origin);
    else if (!*nested && !has_plugin)
        clvi_load_fault(l, "%s: [%s] needs a plugin, such as plugin = cnn", instance->origin,
                        section);
    else if (*nested && !has_sections)
        clvi_load_fault(l, "%s: [%s] mixture = %s has no [mixture] experts", file->origin, section,
                        file->value.text);
    else
        *good = true;
    if (*good && *nested)
        return nest(l, instance, has_plugin ? plugin->layer + 1 : 0, error);
    return clvi_config_reset(l->config, instance, "mixture", error);
}

/* ---- Experts and gate ---- */

static clv_status finish_mixture(clvi_loader *l, clvi_config *config, clv_error *error);

/* The configuration of a mixture that is an expert. */
static clv_status make_nested(clvi_loader *l, const clvi_instance *expert, clvi_config **out,
                              clv_error *error)
{
    const char *scope = expert->label;
    if (clvi_config_depth(scope) >= CLVI_MAX_NESTING) {
        clvi_load_fault(l, "%s: [%s]: more than %d mixtures inside each other", expert->origin,
                        expert->name, CLVI_MAX_NESTING);
        return CLV_OK;
    }
    clvi_config *nested = clvi_calloc(1, sizeof(*nested));
    if (nested == NULL)
        return clvi_load_no_memory(error);
    *nested = (clvi_config){
        .path = l->config->path, .name = l->config->name, .whole = l->config, .scope = scope};
    *out = nested;
    return finish_mixture(l, nested, error);
}

static clv_status add_expert(clvi_loader *l, clvi_config *config, clvi_instance *instance,
                             clv_error *error)
{
    bool nested, good;
    clvi_config *whole = l->config;
    const size_t index = (size_t)(instance - whole->instances);
    CLV_TRY(decide(l, instance, &nested, &good, error));
    if (!good)
        return CLV_OK;
    const size_t at = config->expert_count++;
    config->experts[at] = index;
    if (nested)
        return make_nested(l, instance, &config->nested[at], error);
    void *leaves = whole->leaves;
    CLV_TRY(
        clvi_grow(&leaves, &whole->leaf_capacity, whole->leaf_count + 1, sizeof(size_t), error));
    whole->leaves = leaves;
    whole->leaves[whole->leaf_count++] = index;
    return CLV_OK;
}

/* "expert.a", or "expert.b/a" of the mixture that is expert b; in the arena. */
static const char *expert_section(const clvi_loader *l, const clvi_config *config, const char *name)
{
    const bool inside = config->scope[0] != '\0';
    return clvi_arena_printf(l->arena, "expert.%s%s%s", config->scope, inside ? "/" : "", name);
}

/* The section of an expert; of one that [mixture.NAME] describes it need not be written. */
static clv_status find_expert(clvi_loader *l, const char *section, clvi_instance **out,
                              clv_error *error)
{
    char inside[CLVI_SECTION_BYTES];
    const char *label;
    *out = clvi_config_instance(l->config, section);
    snprintf(inside, sizeof(inside), "mixture.%s", strchr(section, '.') + 1);
    const clvi_instance *mixture = clvi_config_instance(l->config, inside);
    if (*out != NULL || mixture == NULL)
        return CLV_OK;
    return clvi_config_touch(l->config, (size_t)clvi_schema_find_section(section, &label), section,
                             mixture->origin, out, error);
}

/* Fills config->experts by mixture.experts. */
static clv_status list_experts(clvi_loader *l, clvi_config *config, clv_error *error)
{
    const char *own = clvi_config_section(config, "mixture");
    const clvi_slot *list = mixture_slot(config, "experts");
    const char *origin = origin_or_path(config, list);
    const size_t count = list->value.count;
    if (count == 0)
        clvi_load_fault(l,
                        "%s: [%s] experts names no expert; write experts = NAME and a section "
                        "[expert.NAME]",
                        origin, own);
    if (count > CLVI_MAX_EXPERTS)
        clvi_load_fault(l, "%s: [%s] experts names %zu experts; a mixture has at most %d", origin,
                        own, count, CLVI_MAX_EXPERTS);
    if (count == 0 || count > CLVI_MAX_EXPERTS)
        return CLV_OK;
    config->experts = clvi_calloc(count, sizeof(size_t));
    config->nested = clvi_calloc(count, sizeof(clvi_config *));
    if (config->experts == NULL || config->nested == NULL)
        return clvi_load_no_memory(error);
    for (size_t i = 0; i < count; i++) {
        const char *name = list->value.names[i];
        const char *section = expert_section(l, config, name);
        if (section == NULL)
            return clvi_load_no_memory(error);
        clvi_instance *instance = NULL;
        CLV_TRY(find_expert(l, section, &instance, error));
        bool again = false;
        for (size_t before = 0; before < i; before++)
            again = again || strcmp(list->value.names[before], name) == 0;
        if (again)
            clvi_load_fault(l, "%s: [%s] experts names %s twice", origin, own, name);
        else if (instance == NULL)
            clvi_load_fault(l, "%s: [%s] experts names %s, but there is no section [%s]", origin,
                            own, name, section);
        else
            CLV_TRY(add_expert(l, config, instance, error));
    }
    return CLV_OK;
}

/* True for a section [KIND.NAME]. */
static bool belongs_to(const clvi_instance *instance, const char *kind)
{
    return instance->label != NULL &&
           strcmp(clvi_schema_section_at(instance->schema).name, kind) == 0;
}

/* The name of an expert of this mixture; NULL: the section is none. */
static const char *name_within(const clvi_config *config, const clvi_instance *instance)
{
    if (!belongs_to(instance, "expert"))
        return NULL;
    const size_t length = strlen(config->scope);
    const char *name = instance->label;
    if (length > 0) {
        if (strncmp(name, config->scope, length) != 0 || name[length] != '/')
            return NULL;
        name += length + 1;
    }
    return strchr(name, '/') == NULL ? name : NULL;
}

/* An expert that stands beside or after the list and not in it was forgotten; an earlier one was
 * taken out on purpose. */
static void check_unlisted(clvi_loader *l, const clvi_config *config)
{
    const clvi_instance *mixture = clvi_config_instance(config, "mixture");
    const clvi_slot *list = clvi_config_slot(mixture, "experts");
    for (size_t i = 0; i < l->config->instance_count; i++) {
        const clvi_instance *instance = &l->config->instances[i];
        const char *name = name_within(config, instance);
        bool listed = name == NULL;
        for (size_t k = 0; !listed && k < list->value.count; k++)
            listed = strcmp(list->value.names[k], name) == 0;
        if (listed || instance->layer < list->layer)
            continue;
        const char *near = clvi_nearest(name, list->value.names, list->value.count);
        const char *wanted = near != NULL ? expert_section(l, config, near) : NULL;
        clvi_load_fault(l, "%s: [%s] is not named in [%s] experts%s%s%s", instance->origin,
                        instance->name, mixture->name, wanted != NULL ? "; did you mean [" : "",
                        wanted != NULL ? wanted : "", wanted != NULL ? "]?" : "");
    }
}

static void check_gate(clvi_loader *l, const clvi_config *config)
{
    const clvi_instance *mixture = clvi_config_instance(config, "mixture"),
                        *gate = clvi_config_instance(config, "gate");
    const clvi_slot *list = clvi_config_slot(mixture, "experts");
    const char *gate_name = clvi_config_section(config, "gate");
    if (list->value.count == 1 && gate != NULL && gate->origin != NULL &&
        gate->layer >= list->layer)
        clvi_load_fault(l, "%s: [%s] has no meaning with one expert; leave the section out",
                        gate->origin, gate_name);
    const bool weighs = strcmp(mixture_slot(config, "fusion")->value.text, "score") == 0 &&
                        strcmp(mixture_slot(config, "combine")->value.text, "weighted") == 0;
    const bool none = gate == NULL || clvi_config_slot(gate, "plugin")->value.text[0] == '\0';
    if (list->value.count > 1 && weighs && none)
        clvi_load_fault(l, "%s: several experts need a gate; write [%s] and plugin = average",
                        gate != NULL && gate->origin != NULL ? gate->origin
                                                             : origin_or_path(config, list),
                        gate_name);
    for (size_t i = 0; list->value.count == 1 && i < CLVI_FUSION_KEYS; i++) {
        const clvi_slot *slot = mixture_slot(config, clvi_fusion_keys[i]);
        if (slot->origin != NULL && slot->layer >= list->layer)
            clvi_load_fault(l, "%s: [%s] %s has no meaning with one expert; leave it out",
                            slot->origin, mixture->name, clvi_fusion_keys[i]);
    }
}

/* Sections that a nested mixture has in any case. */
static clv_status complete(clvi_loader *l, const clvi_config *config, clv_error *error)
{
    static const char *const names[] = {"gate", "loss"};
    for (size_t i = 0; config->scope[0] != '\0' && i < 2; i++) {
        const char *label, *name = clvi_arena_printf(l->arena, "%s.%s", names[i], config->scope);
        clvi_instance *made;
        if (name == NULL)
            return clvi_load_no_memory(error);
        if (clvi_config_instance(l->config, name) == NULL)
            CLV_TRY(clvi_config_touch(l->config, (size_t)clvi_schema_find_section(name, &label),
                                      name, NULL, &made, error));
    }
    return CLV_OK;
}

/* Of [loss.NAME] only the terms count. */
static void check_loss(clvi_loader *l, const clvi_config *config)
{
    const clvi_instance *loss = clvi_config_instance(config, "loss");
    const clvi_schema_section section = clvi_schema_section_at(loss->schema);
    for (size_t i = 0; config->scope[0] != '\0' && i < section.key_count; i++) {
        const char *key = clvi_schema_key_at(section.first_key + i)->spec.key;
        if (loss->slots[i].origin != NULL && strcmp(key, "terms") != 0)
            clvi_load_fault(l,
                            "%s: [%s] %s has no meaning for a mixture that is an expert: it has "
                            "terms that balance its gate, and no others",
                            loss->slots[i].origin, loss->name, key);
    }
}

static clv_status finish_mixture(clvi_loader *l, clvi_config *config, clv_error *error)
{
    CLV_TRY(complete(l, config, error));
    CLV_TRY(list_experts(l, config, error));
    check_unlisted(l, config);
    check_gate(l, config);
    check_loss(l, config);
    return CLV_OK;
}

/* A section of a mixture inside an expert that is none. */
static void check_strays(clvi_loader *l)
{
    for (size_t i = 0; i < l->config->instance_count; i++) {
        const clvi_instance *instance = &l->config->instances[i];
        char owner[CLVI_SECTION_BYTES];
        if (instance->label == NULL || belongs_to(instance, "data") || instance->origin == NULL)
            continue;
        snprintf(owner, sizeof(owner), "expert.%s", instance->label);
        char *slash = strrchr(owner, '/');
        if (belongs_to(instance, "expert") && slash == NULL)
            continue;
        if (belongs_to(instance, "expert"))
            *slash = '\0';
        const clvi_instance *expert = clvi_config_instance(l->config, owner);
        const clvi_slot *plugin = expert != NULL ? clvi_config_slot(expert, "plugin") : NULL;
        if (expert == NULL)
            clvi_load_fault(l, "%s: [%s] belongs to a mixture that is [%s], which there is not",
                            instance->origin, instance->name, owner);
        else if (plugin->value.text[0] != '\0' && instance->layer >= plugin->layer)
            clvi_load_fault(l, "%s: [%s] belongs to a mixture, and [%s] has plugin = %s",
                            instance->origin, instance->name, owner, plugin->value.text);
    }
}

/* ---- Sources and all ---- */

/* An expert starts from one thing. */
static void check_start(clvi_loader *l, const clvi_config *config)
{
    for (size_t i = 0; i < config->leaf_count; i++) {
        const clvi_instance *expert = &config->instances[config->leaves[i]];
        const clvi_slot *weights = clvi_config_slot(expert, "weights");
        const clvi_slot *init = clvi_config_slot(expert, "init");
        if (weights->value.text[0] != '\0' && init->value.text[0] != '\0')
            clvi_load_fault(
                l, "%s: [%s] init = %s stands beside weights = %s (%s); leave one of them out",
                origin_or_path(config, init), expert->name, init->value.text, weights->value.text,
                origin_or_path(config, weights));
    }
}

/* Fills config->sources. A data.path of a later layer, such as --data on the command line, takes
 * the place of all sources; sources of a later layer take that of a path. A source without a path
 * waits, as data.path does, until somebody wants to see its images. */
static void list_sources(clvi_loader *l)
{
    clvi_config *config = l->config;
    clvi_slot *path = clvi_config_slot(clvi_config_instance(config, "data"), "path");
    const int layer = path->value.text[0] != '\0' ? path->layer : 0;
    for (size_t i = 0; i < config->instance_count; i++) {
        const clvi_instance *instance = &config->instances[i];
        if (!belongs_to(instance, "data") || instance->layer < layer)
            continue;
        if (instance->layer == layer)
            clvi_load_fault(
                l, "%s: [%s] stands beside data.path; give each source a section of its own",
                instance->origin, instance->name);
        else if (config->source_count == CLVI_MAX_DATA_SOURCES)
            clvi_load_fault(l, "%s: more than %d sections [data.NAME]", instance->origin,
                            CLVI_MAX_DATA_SOURCES);
        else
            config->sources[config->source_count++] = i;
    }
    if (config->source_count == 0)
        return;
    path->value.text = "";
    path->origin = NULL;
}

clv_status clvi_load_finish(clvi_loader *l, clv_error *error)
{
    clvi_config *config = l->config;
    const clvi_instance *run = clvi_config_instance(config, "run");
    clvi_slot *base = clvi_config_slot(run, "base");
    const clvi_slot *name = clvi_config_slot(run, "name");
    base->origin = NULL; /* consumed */
    base->value.text = "";
    if (strchr(name->value.text, '/') != NULL || name->value.text[0] == '.')
        clvi_load_fault(l,
                        "%s: [run] name is the name of a folder: no '/', no '.' at its beginning",
                        origin_or_path(config, name));
    /* Rules about missing things only confuse while something is misspelt. */
    if (l->faults == 0) {
        CLV_TRY(finish_mixture(l, config, error));
        check_strays(l);
        check_start(l, config);
        list_sources(l);
    }
    return CLV_OK;
}
