/* Loading a configuration: its layers applied one over the other. Faults are collected; only what
 * makes going on pointless ends the reading. */
#include "base/files.h"
#include "config/load_impl.h"
#include "config/reader.h"

#include <stdio.h>

enum { MAX_FAULTS = 20, MAX_FILE_BYTES = 1 << 20, QUOTED_BYTES = 96 };

clv_status clvi_load_no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: reading a configuration");
}

void clvi_load_fault(clvi_loader *l, const char *format, ...)
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
    if (l->source->report != NULL)
        clvi_text_printf(l->source->report, "%s\n", sentence.message);
}

/* Turns a wrong configuration into a fault; everything else stays a failure. */
static clv_status absorb(clvi_loader *l, clv_status status, const clv_error *cause,
                         clv_error *error)
{
    if (status == CLV_OK)
        return CLV_OK;
    if (status != CLV_E_CONFIG)
        return clvi_fail(error, status, CLV_HERE, "%s", cause->message);
    clvi_load_fault(l, "%s", cause->message);
    return CLV_OK;
}

/* ---- Sections and entries ---- */

static void fault_section(clvi_loader *l, const char *origin, const char *name)
{
    if (l->faults >= MAX_FAULTS) { /* nobody will read the advice */
        l->faults++;
        return;
    }
    char quoted[QUOTED_BYTES];
    clvi_text advice = {0};
    clvi_schema_advise_section(name, &advice);
    clvi_load_fault(l, "%s: section %s is unknown%s", origin,
                    clvi_value_quote(name, quoted, sizeof(quoted)), clvi_text_get(&advice));
    clvi_text_fini(&advice);
}

/* A name, or of a section that nests several, separated by '/', and few enough for a dump. */
static bool is_label(const char *section, const char *label)
{
    const bool nests = strncmp(section, "data.", 5) != 0;
    char part[CLVI_INI_SECTION_MAX + 1];
    if (strlen(section) > CLVI_INI_SECTION_MAX || clvi_config_depth(label) > CLVI_MAX_NESTING)
        return false;
    for (const char *at = label;; at++) {
        const size_t length = nests ? strcspn(at, "/") : strlen(at);
        memcpy(part, at, length);
        part[length] = '\0';
        if (!clvi_value_is_name(part))
            return false;
        at += length;
        if (*at == '\0')
            return true;
    }
}

/* Finds or makes the section; *out is NULL when there is none, which is then a fault (if `report`:
 * of a file's unknown section only the header is reported, not every entry below it). */
static clv_status open_section(clvi_loader *l, const char *name, const char *origin, bool report,
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
    if (label != NULL && !is_label(name, label)) {
        if (report)
            clvi_load_fault(
                l, "%s: [%s]: a name has letters, digits, '_' and '-' only%s", origin, name,
                label[strcspn(label, "/")] == '\0'
                    ? ""
                    : "; those of nested mixtures are separated by '/', at most four, and "
                      "with their section's at most 127 bytes");
        return CLV_OK;
    }
    const size_t most = clvi_schema_section_count() + CLVI_MAX_NAMED;
    if (l->config->instance_count >= most && clvi_config_instance(l->config, name) == NULL) {
        if (report)
            clvi_load_fault(l, "%s: more than %d named sections", origin, CLVI_MAX_NAMED);
        return CLV_OK;
    }
    return clvi_config_touch(l->config, (size_t)schema, name, origin, out, error);
}

static clv_status apply_line(clvi_loader *l, const clvi_layer *layer, const clvi_layer_line *line,
                             clv_error *error)
{
    const bool file = layer->path != NULL;
    const char *origin =
        file ? clvi_arena_printf(l->arena, "%s:%d", layer->path, line->line) : "command line";
    if (origin == NULL)
        return clvi_load_no_memory(error);
    clvi_instance *instance = NULL;
    CLV_TRY(open_section(l, line->section, origin, line->key == NULL || !file, &instance, error));
    if (instance == NULL || line->key == NULL)
        return CLV_OK;
    if (l->faults >= MAX_FAULTS && clvi_config_slot(instance, line->key) == NULL &&
        !clvi_schema_section_at(instance->schema).open) {
        l->faults++;
        return CLV_OK;
    }
    const clvi_raw_option option = {line->key, line->value, origin};
    clv_error cause = CLV_ERROR_INIT;
    return absorb(l, clvi_config_put(l->config, instance, &option, file, &cause), &cause, error);
}

static clv_status apply_layers(clvi_loader *l, clv_error *error)
{
    for (size_t i = 0; i < l->layer_count; i++) {
        const clvi_layer *layer = &l->layers[i];
        l->config->layer++;
        for (size_t k = 0; k < layer->count; k++)
            CLV_TRY(apply_line(l, layer, &layer->lines[k], error));
    }
    return CLV_OK;
}

/* ---- All of it ---- */

/* "configs/a-b.ini" → "a-b" */
static const char *stem_of(clvi_arena *arena, const char *path)
{
    const char *file = clvi_path_name(path);
    char *stem = clvi_arena_strdup(arena, file);
    const size_t length = strlen(file);
    if (stem != NULL && length > 4 && strcmp(stem + length - 4, ".ini") == 0)
        stem[length - 4] = '\0';
    return stem;
}

static clv_status load_top(clvi_loader *l, const char *path, clv_error *error)
{
    const clvi_config_source *source = l->source;
    clvi_config *config = l->config;
    config->path = clvi_arena_strdup(l->arena, path);
    config->name = stem_of(l->arena, path);
    if (config->path == NULL || config->name == NULL)
        return clvi_load_no_memory(error);
    char *data = NULL;
    size_t bytes = source->text_bytes;
    if (source->text == NULL)
        CLV_TRY(clvi_file_read(path, MAX_FILE_BYTES, &data, &bytes, error));
    clv_status status =
        clvi_load_layers(l, config->path, data != NULL ? data : source->text, bytes, error);
    clvi_free(data);
    if (status == CLV_OK)
        status = apply_layers(l, error);
    return status == CLV_OK ? clvi_load_finish(l, error) : status;
}

/* The faults as one error: the first, and how many more. */
static clv_status report_faults(clvi_loader *l, clv_error *error)
{
    if (l->faults > MAX_FAULTS && l->source->report != NULL)
        clvi_text_printf(l->source->report, "and %zu more\n", l->faults - MAX_FAULTS);
    if (l->source->report != NULL && l->source->report->failed)
        return clvi_load_no_memory(error);
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
            return clvi_load_no_memory(error);
    } else {
        CLV_TRY(
            clvi_config_find(source->name, source->folders, source->folder_count, &path, error));
    }
    clvi_loader l = {.source = source, .first = CLV_ERROR_INIT};
    clv_status status = clvi_config_create(&l.config, error);
    if (status == CLV_OK) {
        l.arena = l.config->arena;
        status = load_top(&l, path, error);
        clvi_load_free_layers(&l);
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
