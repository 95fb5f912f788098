/* A configuration in memory: its sections and values, getters, dump. load.c fills it. */
#include "config/config_impl.h"

#include <stdio.h>

enum { QUOTED_BYTES = 96 };

static clv_status no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: a configuration");
}

clvi_instance *clvi_config_instance(const clvi_config *config, const char *section)
{
    char own[CLVI_SECTION_BYTES];
    if (config->whole != NULL) {
        section = clvi_config_own_section(config, section, own);
        config = config->whole;
    }
    for (size_t i = 0; i < config->instance_count; i++)
        if (strcmp(config->instances[i].name, section) == 0)
            return &config->instances[i];
    return NULL;
}

clvi_slot *clvi_config_slot(const clvi_instance *instance, const char *key)
{
    const int index = clvi_schema_find_key(instance->schema, key);
    if (index == CLVI_NOT_FOUND)
        return NULL;
    return &instance->slots[(size_t)index - clvi_schema_section_at(instance->schema).first_key];
}

static clv_status fill_defaults(clvi_config *config, clvi_instance *instance, clv_error *error)
{
    const clvi_schema_section section = clvi_schema_section_at(instance->schema);
    instance->slots = clvi_arena_alloc(config->arena, section.key_count * sizeof(clvi_slot));
    if (instance->slots == NULL)
        return no_memory(error);
    for (size_t i = 0; i < section.key_count; i++) {
        const clv_option_spec *spec = &clvi_schema_key_at(section.first_key + i)->spec;
        CLV_TRY(clvi_value_parse(spec, spec->default_value, config->arena,
                                 &instance->slots[i].value, error));
    }
    return CLV_OK;
}

clv_status clvi_config_reset(clvi_config *config, clvi_instance *instance, const char *key,
                             clv_error *error)
{
    clvi_slot *slot = clvi_config_slot(instance, key), preset = {0};
    const int index = clvi_schema_find_key(instance->schema, key);
    const clv_option_spec *spec = &clvi_schema_key_at((size_t)index)->spec;
    CLV_TRY(clvi_value_parse(spec, spec->default_value, config->arena, &preset.value, error));
    *slot = preset;
    return CLV_OK;
}

clv_status clvi_config_touch(clvi_config *config, size_t schema, const char *name,
                             const char *origin, clvi_instance **out, clv_error *error)
{
    clvi_instance *found = clvi_config_instance(config, name);
    if (found == NULL) {
        void *instances = config->instances;
        CLV_TRY(clvi_grow(&instances, &config->instance_capacity, config->instance_count + 1,
                          sizeof(clvi_instance), error));
        config->instances = instances;
        clvi_instance made = {.schema = schema, .name = clvi_arena_strdup(config->arena, name)};
        if (made.name == NULL)
            return no_memory(error);
        const char *dot = strchr(made.name, '.');
        made.label = dot != NULL ? dot + 1 : NULL;
        CLV_TRY(fill_defaults(config, &made, error));
        found = &config->instances[config->instance_count++];
        *found = made;
    }
    if (found->origin == NULL || found->layer != config->layer)
        found->origin = origin; /* of one layer, the first line stands for the section */
    found->layer = config->layer;
    *out = found;
    return CLV_OK;
}

clv_status clvi_config_create(clvi_config **out, clv_error *error)
{
    clvi_config *config = clvi_calloc(1, sizeof(*config));
    if (config == NULL)
        return no_memory(error);
    config->scope = "";
    clv_status status = clvi_arena_create(&config->arena, error);
    for (size_t i = 0; status == CLV_OK && i < clvi_schema_section_count(); i++) {
        const clvi_schema_section section = clvi_schema_section_at(i);
        clvi_instance *instance = NULL;
        if (!section.named)
            status = clvi_config_touch(config, i, section.name, NULL, &instance, error);
    }
    if (status != CLV_OK) {
        clvi_config_destroy(config);
        return status;
    }
    *out = config;
    return CLV_OK;
}

void clvi_config_destroy(clvi_config *config)
{
    if (config == NULL)
        return;
    for (size_t i = 0; i < config->instance_count; i++) {
        clvi_free(config->instances[i].options);
        clvi_free(config->instances[i].option_layers);
    }
    for (size_t i = 0; config->nested != NULL && i < config->expert_count; i++)
        clvi_config_destroy(config->nested[i]);
    clvi_free(config->instances);
    clvi_free(config->experts);
    clvi_free(config->nested);
    clvi_free(config->leaves);
    clvi_arena_destroy(config->arena); /* NULL of a nested one */
    clvi_free(config);
}

/* ---- Putting values in ---- */

static clv_status refuse_second(const clvi_instance *instance, const clvi_raw_option *option,
                                const char *first, clv_error *error)
{
    CLV_FAIL(error, CLV_E_CONFIG, "%s: [%s] %s is given twice; the first is at %s", option->origin,
             instance->name, option->key, first);
}

/* A plugin's option: kept as it is. */
static clv_status put_option(clvi_config *config, clvi_instance *instance,
                             const clvi_raw_option *option, bool once, clv_error *error)
{
    size_t index = 0;
    while (index < instance->option_count && strcmp(instance->options[index].key, option->key) != 0)
        index++;
    if (index < instance->option_count && once && instance->option_layers[index] == config->layer)
        return refuse_second(instance, option, instance->options[index].origin, error);
    if (index >= CLVI_MAX_PLUGIN_OPTIONS)
        CLV_FAIL(error, CLV_E_CONFIG, "%s: [%s] has more than %d options", option->origin,
                 instance->name, CLVI_MAX_PLUGIN_OPTIONS);
    void *options = instance->options, *layers = instance->option_layers;
    CLV_TRY(clvi_grow(&options, &instance->option_capacity, index + 1, sizeof(*option), error));
    instance->options = options;
    CLV_TRY(clvi_grow(&layers, &instance->layer_capacity, index + 1, sizeof(int), error));
    instance->option_layers = layers;
    const clvi_raw_option kept = {clvi_arena_strdup(config->arena, option->key),
                                  clvi_arena_strdup(config->arena, option->value),
                                  clvi_arena_strdup(config->arena, option->origin)};
    if (kept.key == NULL || kept.value == NULL || kept.origin == NULL)
        return no_memory(error);
    instance->options[index] = kept;
    instance->option_layers[index] = config->layer;
    if (index == instance->option_count)
        instance->option_count++;
    return CLV_OK;
}

/* Options that an earlier layer gave to another plugin mean nothing to the new one. */
void clvi_config_drop_options(clvi_instance *instance, int layer)
{
    size_t kept = 0;
    for (size_t i = 0; i < instance->option_count; i++) {
        if (instance->option_layers[i] < layer)
            continue;
        instance->options[kept] = instance->options[i];
        instance->option_layers[kept++] = instance->option_layers[i];
    }
    instance->option_count = kept;
}

static clv_status refuse_key(const clvi_instance *instance, const clvi_raw_option *option,
                             clv_error *error)
{
    char quoted[QUOTED_BYTES];
    clvi_text advice = {0};
    clvi_schema_advise_key(instance->schema, option->key, &advice);
    const clv_status status = clvi_fail(
        error, CLV_E_CONFIG, CLV_HERE, "%s: [%s] %s: unknown key%s", option->origin, instance->name,
        clvi_value_quote(option->key, quoted, sizeof(quoted)), clvi_text_get(&advice));
    clvi_text_fini(&advice);
    return status;
}

static clv_status put_slot(clvi_config *config, clvi_instance *instance, size_t key_index,
                           const clvi_raw_option *option, clv_error *error)
{
    const clvi_schema_key *key = clvi_schema_key_at(key_index);
    clvi_slot *slot = clvi_config_slot(instance, option->key);
    clvi_value value = {0};
    clv_error cause = CLV_ERROR_INIT;
    const clv_status status =
        clvi_value_parse(&key->spec, option->value, config->arena, &value, &cause);
    if (status != CLV_OK)
        return clvi_fail(error, status, CLV_HERE, "%s: [%s] %s = %s", option->origin,
                         instance->name, option->key, cause.message);
    if (key->list_count > 0 && value.count != key->list_count)
        CLV_FAIL(error, CLV_E_CONFIG, "%s: [%s] %s has %zu values; expected %zu", option->origin,
                 instance->name, option->key, value.count, key->list_count);
    const char *origin = clvi_arena_strdup(config->arena, option->origin);
    if (origin == NULL)
        return no_memory(error);
    const bool is_plugin =
        clvi_schema_section_at(instance->schema).open && strcmp(option->key, "plugin") == 0;
    if (is_plugin && strcmp(slot->value.text, value.text) != 0)
        clvi_config_drop_options(instance, config->layer);
    *slot = (clvi_slot){value, origin, config->layer};
    return CLV_OK;
}

clv_status clvi_config_put(clvi_config *config, clvi_instance *instance,
                           const clvi_raw_option *option, bool once, clv_error *error)
{
    const char *why = NULL;
    if (!clvi_value_is_storable(option->value, &why))
        CLV_FAIL(error, CLV_E_CONFIG, "%s: [%s] %s: %s", option->origin, instance->name,
                 option->key, why);
    const int key = clvi_schema_find_key(instance->schema, option->key);
    if (key != CLVI_NOT_FOUND) {
        const clvi_slot *slot = clvi_config_slot(instance, option->key);
        if (once && slot->origin != NULL && slot->layer == config->layer)
            return refuse_second(instance, option, slot->origin, error);
        return put_slot(config, instance, (size_t)key, option, error);
    }
    /* Plugin keys are checked for their letters here, so that a dump is an INI file whatever they
     * are; the plugin host checks what they mean. */
    const bool plausible = clvi_value_is_name(option->key) && strlen(option->key) <= 49;
    if (clvi_schema_section_at(instance->schema).open && plausible)
        return put_option(config, instance, option, once, error);
    return refuse_key(instance, option, error);
}

static clv_status change(clvi_config *config, const char *section, const clvi_raw_option *option,
                         clv_error *error)
{
    clvi_instance *instance = clvi_config_instance(config, section);
    const bool structural =
        (strncmp(section, "mixture", 7) == 0 && strcmp(option->key, "experts") == 0) ||
        (strncmp(section, "expert", 6) == 0 && strcmp(option->key, "mixture") == 0) ||
        (strcmp(section, "run") == 0 && strcmp(option->key, "base") == 0);
    CLV_ASSERT(config->whole == NULL);
    if (instance == NULL || structural)
        CLV_FAIL(error, CLV_E_CONFIG, "[%s] %s cannot be changed in a loaded configuration",
                 section, option->key);
    config->layer++;
    return clvi_config_put(config, instance, option, false, error);
}

clv_status clvi_config_set(clvi_config *config, const char *section, const char *key,
                           const char *value, clv_error *error)
{
    const clvi_raw_option option = {key, value, "conclave"};
    return change(config, section, &option, error);
}

clv_status clvi_config_replace(clvi_config *config, const char *section, const char *key,
                               const char *value, clv_error *error)
{
    const clvi_raw_option option = {key, value, clvi_config_origin(config, section, key)};
    return change(config, section, &option, error);
}

/* ---- Getters ---- */

static const clvi_slot *find_slot(const clvi_config *config, const char *section, const char *key)
{
    const clvi_instance *instance = clvi_config_instance(config, section);
    return instance != NULL ? clvi_config_slot(instance, key) : NULL;
}

/* The value of a key that must exist and have one of the two types. */
static const clvi_value *get(const clvi_config *config, const char *section, const char *key,
                             uint32_t type, uint32_t other_type)
{
    const clvi_slot *slot = find_slot(config, section, key);
    const bool right = slot != NULL && (slot->value.type == type || slot->value.type == other_type);
    CLV_ASSERT(right);
    return right ? &slot->value : NULL;
}

bool clvi_config_bool(const clvi_config *config, const char *section, const char *key)
{
    const clvi_value *value = get(config, section, key, CLV_OPTION_BOOL, CLV_OPTION_BOOL);
    return value != NULL && value->boolean;
}

int64_t clvi_config_int(const clvi_config *config, const char *section, const char *key)
{
    const clvi_value *value = get(config, section, key, CLV_OPTION_INT, CLV_OPTION_INT);
    return value != NULL ? value->integer : 0;
}

double clvi_config_real(const clvi_config *config, const char *section, const char *key)
{
    const clvi_value *value = get(config, section, key, CLV_OPTION_REAL, CLV_OPTION_REAL);
    return value != NULL ? value->real : 0;
}

const char *clvi_config_text(const clvi_config *config, const char *section, const char *key)
{
    const clvi_value *value = get(config, section, key, CLV_OPTION_TEXT, CLV_OPTION_CHOICE);
    return value != NULL ? value->text : "";
}

const double *clvi_config_reals(const clvi_config *config, const char *section, const char *key,
                                size_t *count)
{
    const clvi_value *value = get(config, section, key, CLV_OPTION_REAL_LIST, CLV_OPTION_REAL_LIST);
    *count = value != NULL ? value->count : 0;
    return value != NULL ? value->reals : NULL;
}

void clvi_config_size(const clvi_config *config, const char *section, const char *key, int *height,
                      int *width)
{
    const clvi_value *value = get(config, section, key, CLVI_OPTION_SIZE, CLVI_OPTION_SIZE);
    *height = value != NULL ? (int)value->integers[0] : 0;
    *width = value != NULL ? (int)value->integers[1] : 0;
}

bool clvi_config_given(const clvi_config *config, const char *section, const char *key)
{
    const clvi_slot *slot = find_slot(config, section, key);
    CLV_ASSERT(slot != NULL);
    return slot != NULL && slot->origin != NULL;
}

const char *clvi_config_origin(const clvi_config *config, const char *section, const char *key)
{
    const clvi_instance *instance = clvi_config_instance(config, section);
    const clvi_slot *slot = instance != NULL ? clvi_config_slot(instance, key) : NULL;
    if (slot != NULL)
        return slot->origin != NULL ? slot->origin : "default";
    for (size_t i = 0; instance != NULL && i < instance->option_count; i++)
        if (strcmp(instance->options[i].key, key) == 0)
            return instance->options[i].origin;
    return "default";
}

const char *clvi_config_path(const clvi_config *config)
{
    return config->path;
}

const char *clvi_config_name(const clvi_config *config)
{
    const char *given = clvi_config_text(config, "run", "name");
    return given[0] != '\0' ? given : config->name;
}

size_t clvi_config_source_count(const clvi_config *config)
{
    return config->source_count;
}

const char *clvi_config_source_name(const clvi_config *config, size_t index)
{
    CLV_ASSERT(index < config->source_count);
    return config->instances[config->sources[index]].label;
}

const char *clvi_config_source_section(const clvi_config *config, size_t index)
{
    CLV_ASSERT(index < config->source_count);
    return config->instances[config->sources[index]].name;
}

const clvi_raw_option *clvi_config_options(const clvi_config *config, const char *section,
                                           size_t *count)
{
    const clvi_instance *instance = clvi_config_instance(config, section);
    CLV_ASSERT(instance != NULL);
    *count = instance != NULL ? instance->option_count : 0;
    return instance != NULL ? instance->options : NULL;
}

clv_status clvi_config_fail(const clvi_config *config, const char *section, const char *key,
                            clv_error *error, const char *format, ...)
{
    char sentence[sizeof(error->message)];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    const clvi_instance *instance = clvi_config_instance(config, section);
    const char *name = instance != NULL ? instance->name : section;
    const char *origin = clvi_config_origin(config, section, key);
    const bool preset = strcmp(origin, "default") == 0;
    CLV_FAIL(error, CLV_E_CONFIG, "%s: [%s] %s%s: %s", preset ? config->path : origin, name, key,
             preset ? " (default)" : "", sentence);
}

/* ---- All values ---- */

static clv_status visit_instance(const clvi_instance *instance, clvi_config_visitor call,
                                 void *user, clv_error *error)
{
    const clvi_schema_section section = clvi_schema_section_at(instance->schema);
    for (size_t i = 0; i < section.key_count; i++) {
        const clvi_slot *slot = &instance->slots[i];
        clvi_text value = {0};
        clvi_value_format(&slot->value, &value);
        const clv_status status =
            value.failed
                ? no_memory(error)
                : call(user, instance->name, clvi_schema_key_at(section.first_key + i)->spec.key,
                       clvi_text_get(&value), slot->origin ? slot->origin : "default", error);
        clvi_text_fini(&value);
        CLV_TRY(status);
    }
    return CLV_OK;
}

static bool is_source(const clvi_config *config, size_t index)
{
    bool found = false;
    for (size_t i = 0; i < config->source_count; i++)
        found = found || config->sources[i] == index;
    return found;
}

clv_status clvi_config_visit(const clvi_config *config, clvi_config_visitor call, void *user,
                             clv_error *error)
{
    for (size_t i = 0; i < config->instance_count; i++)
        if (config->instances[i].label == NULL || is_source(config, i))
            CLV_TRY(visit_instance(&config->instances[i], call, user, error));
    return CLV_OK;
}

/* ---- Dump ---- */

/* One line of a dump; with an origin, the explaining kind. */
static void write_line(const char *key, const char *value, const char *origin, clvi_text *out)
{
    clvi_text_printf(out, "%s =%s%s", key, value[0] != '\0' ? " " : "", value);
    if (origin != NULL)
        clvi_text_printf(out, "  (%s)", origin);
    clvi_text_append(out, "\n");
}

const char *const clvi_fusion_keys[CLVI_FUSION_KEYS] = {"fusion", "combine", "scores", "dropout"};

/* Whether a key of [mixture] is about the experts' fusion. */
static bool is_fusion_key(const char *section, const char *key)
{
    bool is = false;
    for (size_t i = 0; i < CLVI_FUSION_KEYS; i++)
        is |= strcmp(section, "mixture") == 0 && strcmp(key, clvi_fusion_keys[i]) == 0;
    return is;
}

/* Whether a dump has the key: what is consumed while loading, and what means nothing, it has not.
 */
static bool is_dumped(const clvi_config *config, const clvi_instance *instance, bool nested,
                      const char *key)
{
    const clvi_schema_section section = clvi_schema_section_at(instance->schema);
    if (strcmp(section.name, "expert") == 0)
        return strcmp(key, "mixture") != 0 && (!nested || clvi_config_nested_key(key));
    if (strcmp(section.name, "loss") == 0)
        return config->whole == NULL || strcmp(key, "terms") == 0;
    return config->expert_count > 1 || !is_fusion_key(section.name, key);
}

/* nested: of an expert, that it is a mixture. */
static void write_instance(const clvi_config *config, const clvi_instance *instance, bool nested,
                           bool explain, clvi_text *out)
{
    const clvi_schema_section section = clvi_schema_section_at(instance->schema);
    bool any = !explain || instance->option_count > 0;
    for (size_t i = 0; i < section.key_count; i++)
        any = any || instance->slots[i].origin != NULL;
    if (!any)
        return;
    clvi_text_printf(out, "%s[%s]\n", out->length > 0 ? "\n" : "", instance->name);
    for (size_t i = 0; i < section.key_count; i++) {
        const clvi_slot *slot = &instance->slots[i];
        const char *key = clvi_schema_key_at(section.first_key + i)->spec.key;
        if ((explain && slot->origin == NULL) || !is_dumped(config, instance, nested, key))
            continue;
        clvi_text value = {0};
        clvi_value_format(&slot->value, &value);
        out->failed = out->failed || value.failed;
        write_line(key, clvi_text_get(&value), explain ? slot->origin : NULL, out);
        clvi_text_fini(&value);
    }
    for (size_t i = 0; i < instance->option_count; i++) {
        const clvi_raw_option *option = &instance->options[i];
        write_line(option->key, option->value, explain ? option->origin : NULL, out);
    }
}

static void write_all(const clvi_config *config, bool explain, clvi_text *out);

/* The experts, each that is a mixture with the sections of that. */
static void write_experts(const clvi_config *config, bool explain, clvi_text *out)
{
    for (size_t k = 0; k < config->expert_count; k++) {
        const clvi_config *nested = config->nested[k];
        const char *section = clvi_config_expert_section(config, k);
        write_instance(config, clvi_config_instance(config, section), nested != NULL, explain, out);
        if (nested != NULL)
            write_all(nested, explain, out);
    }
}

static void write_all(const clvi_config *config, bool explain, clvi_text *out)
{
    for (size_t i = 0; i < clvi_schema_section_count(); i++) {
        const clvi_schema_section section = clvi_schema_section_at(i);
        if (config->whole != NULL && !section.nests)
            continue;
        if (strcmp(section.name, "expert") == 0) {
            write_experts(config, explain, out);
            continue;
        }
        for (size_t k = 0; section.named && k < config->source_count; k++)
            write_instance(config, &config->instances[config->sources[k]], false, explain, out);
        /* A gate that a change on the command line left without work is not part of the whole. */
        if (!section.named && (strcmp(section.name, "gate") != 0 || config->expert_count > 1))
            write_instance(config, clvi_config_instance(config, section.name), false, explain, out);
    }
}

void clvi_config_dump(const clvi_config *config, clvi_text *out)
{
    write_all(config, false, out);
}

void clvi_config_explain(const clvi_config *config, clvi_text *out)
{
    write_all(config, true, out);
}
