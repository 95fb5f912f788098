/* Loading a configuration: files and what they inherit, the command line, and the rules that span
 * keys. Faults are collected; only what makes going on pointless ends the reading. */
#define _XOPEN_SOURCE 700
#include "base/files.h"
#include "config/config_impl.h"
#include "config/reader.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_FAULTS = 20, MAX_DEPTH = 8, MAX_FILE_BYTES = 1 << 20, QUOTED_BYTES = 96 };

/* One line of a file: a section (key is NULL) or an entry. Strings lie in the arena. */
typedef struct line_entry {
    const char *section, *key, *value;
    int line;
} line_entry;

/* A file between being read and being applied; `child` inherits from it. */
typedef struct file_reading {
    const char *path, *real_path;
    const struct file_reading *child;
    int depth;
    line_entry *entries;
    size_t count, capacity;
    struct loader *loader;
} file_reading;

typedef struct loader {
    clvi_config *config;
    clvi_arena *arena; /* the configuration's */
    clvi_text *report; /* NULL allowed */
    size_t faults;
    clv_error first;
} loader;

static clv_status no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: reading a configuration");
}

static void fault(loader *l, const char *format, ...) CLV_PRINTF(2, 3);

static void fault(loader *l, const char *format, ...)
{
    l->faults++;
    if (l->faults > MAX_FAULTS)
        return;
    clv_error sentence = CLV_ERROR_INIT;
    va_list arguments;
    va_start(arguments, format);
    clvi_failv(&sentence, CLV_E_CONFIG, CLV_HERE, format, arguments);
    va_end(arguments);
    if (l->faults == 1)
        l->first = sentence;
    if (l->report != NULL)
        clvi_text_printf(l->report, "%s\n", sentence.message);
}

/* Turns a wrong configuration into a fault; everything else stays a failure. */
static clv_status absorb(loader *l, clv_status status, const clv_error *cause, clv_error *error)
{
    if (status == CLV_OK)
        return CLV_OK;
    if (status != CLV_E_CONFIG)
        return clvi_fail(error, status, CLV_HERE, "%s", cause->message);
    fault(l, "%s", cause->message);
    return CLV_OK;
}

/* ---- Sections and entries ---- */

static void fault_section(loader *l, const char *origin, const char *name)
{
    if (l->faults >= MAX_FAULTS) { /* nobody will read the advice */
        l->faults++;
        return;
    }
    char quoted[QUOTED_BYTES];
    clvi_text advice = {0};
    clvi_schema_advise_section(name, &advice);
    fault(l, "%s: section %s is unknown%s", origin, clvi_value_quote(name, quoted, sizeof(quoted)),
          clvi_text_get(&advice));
    clvi_text_fini(&advice);
}

/* Finds or makes the section; *out is NULL when there is none, which is then a fault (if `report`:
 * of a file's unknown section only the header is reported, not every entry below it). */
static clv_status open_section(loader *l, const char *name, const char *origin, bool report,
                               clvi_instance **out, clv_error *error)
{
    *out = NULL;
    const char *label = NULL;
    const int schema = clvi_schema_find_section(name, &label);
    if (schema == CLVI_NOT_FOUND) {
        if (report)
            fault_section(l, origin, name);
        return CLV_OK;
    }
    if (label != NULL && !clvi_value_is_name(label)) {
        if (report)
            fault(l, "%s: [%s]: a name has letters, digits, '_' and '-' only", origin, name);
        return CLV_OK;
    }
    const size_t most = clvi_schema_section_count() + CLVI_MAX_EXPERTS;
    if (l->config->instance_count >= most && clvi_config_instance(l->config, name) == NULL) {
        if (report)
            fault(l, "%s: more than %d named sections", origin, CLVI_MAX_EXPERTS);
        return CLV_OK;
    }
    return clvi_config_touch(l->config, (size_t)schema, name, origin, out, error);
}

static clv_status apply_entry(loader *l, const file_reading *file, const line_entry *entry,
                              clv_error *error)
{
    const char *origin = clvi_arena_printf(l->arena, "%s:%d", file->path, entry->line);
    if (origin == NULL)
        return no_memory(error);
    clvi_instance *instance = NULL;
    CLV_TRY(open_section(l, entry->section, origin, entry->key == NULL, &instance, error));
    if (instance == NULL || entry->key == NULL)
        return CLV_OK;
    if (l->faults >= MAX_FAULTS && clvi_config_slot(instance, entry->key) == NULL &&
        !clvi_schema_section_at(instance->schema).open) {
        l->faults++;
        return CLV_OK;
    }
    const clvi_raw_option option = {entry->key, entry->value, origin};
    clv_error cause = CLV_ERROR_INIT;
    return absorb(l, clvi_config_put(l->config, instance, &option, true, &cause), &cause, error);
}

/* ---- Files ---- */

static clv_status add_line(file_reading *file, const char *section, const char *key,
                           const char *value, int line, clv_error *error)
{
    void *entries = file->entries;
    CLV_TRY(clvi_grow(&entries, &file->capacity, file->count + 1, sizeof(line_entry), error));
    file->entries = entries;
    clvi_arena *arena = file->loader->arena;
    const line_entry added = {clvi_arena_strdup(arena, section),
                              key != NULL ? clvi_arena_strdup(arena, key) : NULL,
                              value != NULL ? clvi_arena_strdup(arena, value) : NULL, line};
    if (added.section == NULL || (key != NULL && (added.key == NULL || added.value == NULL)))
        return no_memory(error);
    file->entries[file->count++] = added;
    return CLV_OK;
}

static clv_status on_section(void *user, const char *name, int line, clv_error *error)
{
    return add_line(user, name, NULL, NULL, line, error);
}

static clv_status on_entry(void *user, const char *section, const char *key, const char *value,
                           int line, clv_error *error)
{
    return add_line(user, section, key, value, line, error);
}

static void on_fault(void *user, int line, const char *sentence)
{
    const file_reading *file = user;
    fault(file->loader, "%s:%d: %s", file->path, line, sentence);
}

static clv_status load_file(loader *l, file_reading *file, const char *text, size_t bytes,
                            clv_error *error);

/* The file named by [run] base, or NULL. */
static const line_entry *find_base(const file_reading *file)
{
    for (size_t i = 0; i < file->count; i++) {
        const line_entry *entry = &file->entries[i];
        if (entry->key != NULL && strcmp(entry->section, "run") == 0 &&
            strcmp(entry->key, "base") == 0 && entry->value[0] != '\0')
            return entry;
    }
    return NULL;
}

/* `base` as seen from the folder of `path`, in the arena; NULL: no memory. */
static const char *relative_to(clvi_arena *arena, const char *path, const char *base)
{
    const char *slash = strrchr(path, '/');
    if (base[0] == '/' || slash == NULL)
        return clvi_arena_strdup(arena, base);
    return clvi_arena_printf(arena, "%.*s/%s", (int)(slash - path), path, base);
}

/* Absolute path without links, in the arena, or the path itself when it cannot be resolved. */
static const char *resolve(clvi_arena *arena, const char *path)
{
    char *resolved = realpath(path, NULL);
    if (resolved == NULL)
        return path;
    const char *kept = clvi_arena_strdup(arena, resolved);
    free(resolved); /* realpath's own malloc */
    return kept;
}

/* Refuses a base that is one of the files that lead to it, naming the circle. */
static bool check_circle(loader *l, const file_reading *file, const file_reading *base, int line)
{
    for (const file_reading *f = file; f != NULL; f = f->child) {
        if (strcmp(f->real_path, base->real_path) != 0)
            continue;
        clvi_text circle = {0};
        for (const file_reading *step = file; step != f; step = step->child)
            clvi_text_printf(&circle, ", which %s inherits", step->child->path);
        fault(l, "%s:%d: [run] base inherits %s in a circle%s", file->path, line, base->path,
              clvi_text_get(&circle));
        clvi_text_fini(&circle);
        return false;
    }
    if (base->depth <= MAX_DEPTH)
        return true;
    fault(l, "%s:%d: [run] base goes deeper than %d files", file->path, line, MAX_DEPTH);
    return false;
}

static clv_status load_base(loader *l, const file_reading *file, const line_entry *entry,
                            clv_error *error)
{
    file_reading base = {.child = file, .depth = file->depth + 1, .loader = l};
    base.path = relative_to(l->arena, file->path, entry->value);
    base.real_path = base.path != NULL ? resolve(l->arena, base.path) : NULL;
    if (base.real_path == NULL)
        return no_memory(error);
    if (!check_circle(l, file, &base, entry->line))
        return CLV_OK;
    char *data = NULL;
    size_t bytes = 0;
    clv_error cause = CLV_ERROR_INIT;
    clv_status status = clvi_file_read(base.path, MAX_FILE_BYTES, &data, &bytes, &cause);
    if (status == CLV_E_MEMORY)
        return no_memory(error);
    if (status != CLV_OK) {
        fault(l, "%s:%d: [run] base: %s", file->path, entry->line, cause.message);
        return CLV_OK;
    }
    status = load_file(l, &base, data, bytes, error);
    clvi_free(data);
    return status;
}

/* Reads one file, then applies what it inherits, then the file itself. */
static clv_status load_file(loader *l, file_reading *file, const char *text, size_t bytes,
                            clv_error *error)
{
    const clvi_ini_sink sink = {file, on_section, on_entry, on_fault};
    clv_status status = clvi_ini_read(text, bytes, &sink, error);
    const line_entry *base = status == CLV_OK ? find_base(file) : NULL;
    if (base != NULL)
        status = load_base(l, file, base, error);
    l->config->layer++;
    for (size_t i = 0; status == CLV_OK && i < file->count; i++)
        status = apply_entry(l, file, &file->entries[i], error);
    clvi_free(file->entries);
    return status;
}

/* ---- The command line ---- */

/* A key given without its section: say where it belongs. */
static void fault_override(loader *l, const char *text)
{
    char quoted[QUOTED_BYTES], key[64];
    clvi_value_quote(text, quoted, sizeof(quoted));
    const size_t length = strcspn(text, "=");
    const size_t start = text[strspn(text, " ")] != '\0' ? strspn(text, " ") : 0;
    snprintf(key, sizeof(key), "%.*s", (int)(length > start ? length - start : 0), text + start);
    for (size_t s = 0; s < clvi_schema_section_count(); s++) {
        const clvi_schema_section section = clvi_schema_section_at(s);
        if (section.named || clvi_schema_find_key(s, key) == CLVI_NOT_FOUND)
            continue;
        fault(l, "command line: %s has no section; did you mean %s.%s=…?", quoted, section.name,
              key);
        return;
    }
    fault(l, "command line: %s: expected SECTION.KEY=VALUE, such as train.epochs=20", quoted);
}

/* A copy of text[begin, end) without blanks around it, in the arena. */
static char *copy_trimmed(clvi_arena *arena, const char *begin, const char *end)
{
    while (begin < end && (*begin == ' ' || *begin == '\t'))
        begin++;
    while (end > begin && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    char *copy = clvi_arena_alloc(arena, (size_t)(end - begin) + 1);
    if (copy != NULL)
        memcpy(copy, begin, (size_t)(end - begin));
    return copy;
}

static clv_status apply_override(loader *l, const char *text, clv_error *error)
{
    const char *equals = strchr(text, '='), *dot = NULL;
    for (const char *c = text; equals != NULL && c < equals; c++)
        if (*c == '.')
            dot = c;
    if (dot == NULL || dot == text || dot + 1 == equals) {
        fault_override(l, text);
        return CLV_OK;
    }
    const char *section = copy_trimmed(l->arena, text, dot);
    const char *key = copy_trimmed(l->arena, dot + 1, equals);
    const char *value = copy_trimmed(l->arena, equals + 1, equals + 1 + strlen(equals + 1));
    if (section == NULL || key == NULL || value == NULL)
        return no_memory(error);
    if (strcmp(section, "run") == 0 && strcmp(key, "base") == 0) {
        fault(l, "command line: run.base can only stand in a file");
        return CLV_OK;
    }
    clvi_instance *instance = NULL;
    CLV_TRY(open_section(l, section, "command line", true, &instance, error));
    if (instance == NULL)
        return CLV_OK;
    const clvi_raw_option option = {key, value, "command line"};
    clv_error cause = CLV_ERROR_INIT;
    return absorb(l, clvi_config_put(l->config, instance, &option, false, &cause), &cause, error);
}

/* ---- Rules that span keys ---- */

static const char *origin_or_path(const clvi_config *config, const clvi_slot *slot)
{
    return slot->origin != NULL ? slot->origin : config->path;
}

/* Fills config->experts by mixture.experts. */
static clv_status list_experts(loader *l, const clvi_slot *list, clv_error *error)
{
    clvi_config *config = l->config;
    const char *origin = origin_or_path(config, list);
    const size_t count = list->value.count;
    if (count == 0 || count > CLVI_MAX_EXPERTS) {
        fault(l, "%s: [mixture] experts names %s; write experts = NAME and a section [expert.NAME]",
              origin, count == 0 ? "no expert" : "too many experts");
        return CLV_OK;
    }
    config->experts = clvi_calloc(count, sizeof(size_t));
    if (config->experts == NULL)
        return no_memory(error);
    for (size_t i = 0; i < count; i++) {
        const char *name = list->value.names[i];
        const char *section = clvi_arena_printf(l->arena, "expert.%s", name);
        if (section == NULL)
            return no_memory(error);
        const clvi_instance *instance = clvi_config_instance(config, section);
        bool again = false;
        for (size_t before = 0; before < i; before++)
            again = again || strcmp(list->value.names[before], name) == 0;
        if (again)
            fault(l, "%s: [mixture] experts names %s twice", origin, name);
        else if (instance == NULL)
            fault(l, "%s: [mixture] experts names %s, but there is no section [%s]", origin, name,
                  section);
        else if (clvi_config_slot(instance, "plugin")->value.text[0] == '\0')
            fault(l, "%s: [%s] needs a plugin, such as plugin = cnn", instance->origin, section);
        else
            config->experts[config->expert_count++] = (size_t)(instance - config->instances);
    }
    return CLV_OK;
}

/* True for a section [KIND.NAME]. */
static bool belongs_to(const clvi_instance *instance, const char *kind)
{
    return instance->label != NULL &&
           strcmp(clvi_schema_section_at(instance->schema).name, kind) == 0;
}

/* An expert that stands beside or after the list and not in it was forgotten; an earlier one was
 * taken out on purpose. */
static void check_unlisted(loader *l, const clvi_slot *list)
{
    for (size_t i = 0; i < l->config->instance_count; i++) {
        const clvi_instance *instance = &l->config->instances[i];
        bool listed = !belongs_to(instance, "expert");
        for (size_t k = 0; !listed && k < list->value.count; k++)
            listed = strcmp(list->value.names[k], instance->label) == 0;
        if (listed || instance->layer < list->layer)
            continue;
        const char *near = clvi_nearest(instance->label, list->value.names, list->value.count);
        fault(l, "%s: [%s] is not named in [mixture] experts%s%s%s", instance->origin,
              instance->name, near != NULL ? "; did you mean [expert." : "",
              near != NULL ? near : "", near != NULL ? "]?" : "");
    }
}

static void check_gate(loader *l, const clvi_slot *list)
{
    const clvi_instance *gate = clvi_config_instance(l->config, "gate");
    if (list->value.count == 1 && gate->origin != NULL && gate->layer >= list->layer)
        fault(l, "%s: [gate] has no meaning with one expert; leave the section out", gate->origin);
    const clvi_instance *mixture = clvi_config_instance(l->config, "mixture");
    const bool weighs = strcmp(clvi_config_slot(mixture, "fusion")->value.text, "score") == 0 &&
                        strcmp(clvi_config_slot(mixture, "combine")->value.text, "weighted") == 0;
    if (list->value.count > 1 && weighs && clvi_config_slot(gate, "plugin")->value.text[0] == '\0')
        fault(l, "%s: several experts need a gate; write [gate] and plugin = average",
              gate->origin != NULL ? gate->origin : origin_or_path(l->config, list));
    for (size_t i = 0; list->value.count == 1 && i < CLVI_FUSION_KEYS; i++) {
        const clvi_slot *slot = clvi_config_slot(mixture, clvi_fusion_keys[i]);
        if (slot->origin != NULL && slot->layer >= list->layer)
            fault(l, "%s: [mixture] %s has no meaning with one expert; leave it out", slot->origin,
                  clvi_fusion_keys[i]);
    }
}

/* Fills config->sources. A data.path of a later layer, such as --data on the command line, takes
 * the place of all sources; sources of a later layer take that of a path. A source without a path
 * waits, as data.path does, until somebody wants to see its images. */
static void list_sources(loader *l)
{
    clvi_config *config = l->config;
    clvi_slot *path = clvi_config_slot(clvi_config_instance(config, "data"), "path");
    const int layer = path->value.text[0] != '\0' ? path->layer : 0;
    for (size_t i = 0; i < config->instance_count; i++) {
        const clvi_instance *instance = &config->instances[i];
        if (!belongs_to(instance, "data") || instance->layer < layer)
            continue;
        if (instance->layer == layer)
            fault(l, "%s: [%s] stands beside data.path; give each source a section of its own",
                  instance->origin, instance->name);
        else if (config->source_count == CLVI_MAX_DATA_SOURCES)
            fault(l, "%s: more than %d sections [data.NAME]", instance->origin,
                  CLVI_MAX_DATA_SOURCES);
        else
            config->sources[config->source_count++] = i;
    }
    if (config->source_count == 0)
        return;
    path->value.text = "";
    path->origin = NULL;
}

static clv_status finish(loader *l, clv_error *error)
{
    clvi_config *config = l->config;
    const clvi_instance *run = clvi_config_instance(config, "run");
    clvi_slot *base = clvi_config_slot(run, "base");
    const clvi_slot *name = clvi_config_slot(run, "name");
    base->origin = NULL; /* consumed */
    base->value.text = "";
    if (strchr(name->value.text, '/') != NULL || name->value.text[0] == '.')
        fault(l, "%s: [run] name is the name of a folder: no '/', no '.' at its beginning",
              origin_or_path(config, name));
    const clvi_instance *mixture = clvi_config_instance(config, "mixture");
    const clvi_slot *list = clvi_config_slot(mixture, "experts");
    /* Rules about missing things only confuse while something is misspelt. */
    if (l->faults == 0) {
        CLV_TRY(list_experts(l, list, error));
        check_unlisted(l, list);
        check_gate(l, list);
        list_sources(l);
    }
    return CLV_OK;
}

/* ---- All of it ---- */

/* "configs/a-b.ini" → "a-b" */
static const char *stem_of(clvi_arena *arena, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *file = slash != NULL ? slash + 1 : path;
    char *stem = clvi_arena_strdup(arena, file);
    const size_t length = strlen(file);
    if (stem != NULL && length > 4 && strcmp(stem + length - 4, ".ini") == 0)
        stem[length - 4] = '\0';
    return stem;
}

static clv_status load_top(loader *l, const clvi_config_source *source, const char *path,
                           clv_error *error)
{
    clvi_config *config = l->config;
    config->path = clvi_arena_strdup(l->arena, path);
    config->name = stem_of(l->arena, path);
    file_reading top = {.path = config->path, .depth = 0, .loader = l};
    top.real_path = config->path != NULL ? resolve(l->arena, config->path) : NULL;
    if (top.real_path == NULL || config->name == NULL)
        return no_memory(error);
    char *data = NULL;
    size_t bytes = source->text_bytes;
    if (source->text == NULL)
        CLV_TRY(clvi_file_read(path, MAX_FILE_BYTES, &data, &bytes, error));
    clv_status status = load_file(l, &top, data != NULL ? data : source->text, bytes, error);
    clvi_free(data);
    config->layer++;
    for (size_t i = 0; status == CLV_OK && i < source->override_count; i++)
        status = apply_override(l, source->overrides[i], error);
    return status == CLV_OK ? finish(l, error) : status;
}

/* The faults as one error: the first, and how many more. */
static clv_status report_faults(loader *l, clv_error *error)
{
    if (l->faults > MAX_FAULTS && l->report != NULL)
        clvi_text_printf(l->report, "and %zu more\n", l->faults - MAX_FAULTS);
    if (l->report != NULL && l->report->failed)
        return no_memory(error);
    if (l->faults == 0)
        return CLV_OK;
    if (l->faults == 1)
        return clvi_fail(error, CLV_E_CONFIG, CLV_HERE, "%s", l->first.message);
    CLV_FAIL(error, CLV_E_CONFIG, "%.*s (and %zu more)", (int)sizeof(l->first.message) - 40,
             l->first.message, l->faults - 1);
}

clv_status clvi_config_load(const clvi_config_source *source, clvi_config **out, clv_error *error)
{
    char *path = NULL;
    if (source->text != NULL) {
        path = clvi_strdup(source->name);
        if (path == NULL)
            return no_memory(error);
    } else {
        CLV_TRY(
            clvi_config_find(source->name, source->folders, source->folder_count, &path, error));
    }
    loader l = {.report = source->report, .first = CLV_ERROR_INIT};
    clv_status status = clvi_config_create(&l.config, error);
    if (status == CLV_OK) {
        l.arena = l.config->arena;
        status = load_top(&l, source, path, error);
    }
    if (status == CLV_OK)
        status = report_faults(&l, error);
    clvi_free(path);
    if (status != CLV_OK) {
        clvi_config_destroy(l.config);
        return status;
    }
    *out = l.config;
    return CLV_OK;
}
