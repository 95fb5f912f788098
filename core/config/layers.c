/* The layers of a configuration: files, what they inherit and what they name as an expert's
 * mixture, and the command line. See load_impl.h. */
#define _XOPEN_SOURCE 700
#include "base/files.h"
#include "base/process.h"
#include "config/load_impl.h"
#include "config/reader.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_INHERITED = 8, MAX_FILE_BYTES = 1 << 20, QUOTED_BYTES = 96 };

/* A file being read; `child` inherits from it. */
typedef struct file_reading {
    const char *path, *real_path;
    const struct file_reading *child;
    int depth;
    const char *scope;  /* of the expert whose mixture it describes; "": the whole */
    clvi_text *ignored; /* names of sections that mean nothing there */
    const char *base;   /* [run] base, NULL: none */
    int base_line;
    clvi_layer *layer; /* where its lines go */
    clvi_loader *loader;
} file_reading;

/* Several layers, one above the other. */
typedef struct stack {
    clvi_layer *layers;
    size_t count, capacity;
} stack;

static void free_layers(clvi_layer *layers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        clvi_free(layers[i].lines);
    clvi_free(layers);
}

void clvi_load_free_layers(clvi_loader *l)
{
    free_layers(l->layers, l->layer_count);
    clvi_free(l->nested);
}

static clv_status push(stack *s, const clvi_layer *layer, clv_error *error)
{
    void *layers = s->layers;
    CLV_TRY(clvi_grow(&layers, &s->capacity, s->count + 1, sizeof(*layer), error));
    s->layers = layers;
    s->layers[s->count++] = *layer;
    return CLV_OK;
}

static clv_status add_line(clvi_loader *l, clvi_layer *layer, const clvi_layer_line *line,
                           clv_error *error)
{
    void *lines = layer->lines;
    CLV_TRY(clvi_grow(&lines, &layer->capacity, layer->count + 1, sizeof(*line), error));
    layer->lines = lines;
    const clvi_layer_line added = {
        clvi_arena_strdup(l->arena, line->section),
        line->key != NULL ? clvi_arena_strdup(l->arena, line->key) : NULL,
        line->value != NULL ? clvi_arena_strdup(l->arena, line->value) : NULL, line->line};
    if (added.section == NULL || (line->key != NULL && (added.key == NULL || added.value == NULL)))
        return clvi_load_no_memory(error);
    layer->lines[layer->count++] = added;
    return CLV_OK;
}

/* ---- Sections of a nested mixture ---- */

static clv_status note_ignored(file_reading *file, const char *name, clv_error *error)
{
    const char *all = clvi_text_get(file->ignored);
    const size_t length = strlen(name);
    for (const char *at = strstr(all, name); at != NULL; at = strstr(at + 1, name))
        if ((at == all || at[-1] == ' ') && (at[length] == ',' || at[length] == '\0'))
            return CLV_OK;
    clvi_text_printf(file->ignored, "%s%s", all[0] != '\0' ? ", " : "", name);
    return file->ignored->failed ? clvi_load_no_memory(error) : CLV_OK;
}

/* The name that a section of a nested file has in the whole: [expert.x] of the mixture that is
 * expert a is [expert.a/x], its [gate] is [gate.a]. *out is NULL where it means nothing there. */
static clv_status rename_section(file_reading *file, const char *name, const char *key,
                                 const char **out, clv_error *error)
{
    *out = name;
    if (file->scope[0] == '\0')
        return CLV_OK;
    const char *label = NULL;
    const int index = clvi_schema_find_section(name, &label);
    if (index == CLVI_NOT_FOUND)
        return CLV_OK; /* a fault, when it is applied */
    const clvi_schema_section section = clvi_schema_section_at((size_t)index);
    const bool of_loss = strcmp(section.name, "loss") == 0 && key != NULL;
    if (!section.nests || (of_loss && strcmp(key, "terms") != 0)) {
        char what[128];
        *out = NULL;
        if (key == NULL || strcmp(name, "run") == 0)
            return CLV_OK;
        if (of_loss)
            snprintf(what, sizeof(what), "%s.%s", name, key);
        else
            snprintf(what, sizeof(what), "[%s]", name);
        return note_ignored(file, what, error);
    }
    *out =
        label != NULL
            ? clvi_arena_printf(file->loader->arena, "%s.%s/%s", section.name, file->scope, label)
            : clvi_arena_printf(file->loader->arena, "%s.%s", section.name, file->scope);
    return *out != NULL ? CLV_OK : clvi_load_no_memory(error);
}

static clv_status on_section(void *user, const char *name, int line, clv_error *error)
{
    file_reading *file = user;
    const char *section = NULL;
    CLV_TRY(rename_section(file, name, NULL, &section, error));
    if (section == NULL)
        return CLV_OK;
    const clvi_layer_line added = {.section = section, .line = line};
    return add_line(file->loader, file->layer, &added, error);
}

static clv_status on_entry(void *user, const char *name, const char *key, const char *value,
                           int line, clv_error *error)
{
    file_reading *file = user;
    const char *section = NULL;
    if (strcmp(name, "run") == 0 && strcmp(key, "base") == 0) {
        if (value[0] != '\0' && file->base == NULL) {
            file->base = clvi_arena_strdup(file->loader->arena, value);
            file->base_line = line;
            if (file->base == NULL)
                return clvi_load_no_memory(error);
        }
        if (file->scope[0] != '\0')
            return CLV_OK;
    }
    CLV_TRY(rename_section(file, name, key, &section, error));
    if (section == NULL)
        return CLV_OK;
    const clvi_layer_line added = {section, key, value, line};
    return add_line(file->loader, file->layer, &added, error);
}

static void on_fault(void *user, int line, const char *sentence)
{
    const file_reading *file = user;
    clvi_load_fault(file->loader, "%s:%d: %s", file->path, line, sentence);
}

/* ---- Files ---- */

/* `name` as seen from the folder of `path`, in the arena; NULL: no memory. */
static const char *relative_to(clvi_arena *arena, const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    if (name[0] == '/' || slash == NULL)
        return clvi_arena_strdup(arena, name);
    return clvi_arena_printf(arena, "%.*s/%s", (int)(slash - path), path, name);
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
static bool check_circle(const file_reading *file, const file_reading *base)
{
    clvi_loader *l = file->loader;
    for (const file_reading *f = file; f != NULL; f = f->child) {
        if (strcmp(f->real_path, base->real_path) != 0)
            continue;
        clvi_text circle = {0};
        for (const file_reading *step = file; step != f; step = step->child)
            clvi_text_printf(&circle, ", which %s inherits", step->child->path);
        clvi_load_fault(l, "%s:%d: [run] base inherits %s in a circle%s", file->path,
                        file->base_line, base->path, clvi_text_get(&circle));
        clvi_text_fini(&circle);
        return false;
    }
    if (base->depth <= MAX_INHERITED)
        return true;
    clvi_load_fault(l, "%s:%d: [run] base goes deeper than %d files", file->path, file->base_line,
                    MAX_INHERITED);
    return false;
}

static clv_status read_text(file_reading *file, const char *text, size_t bytes, stack *to,
                            clv_error *error);

static clv_status read_base(const file_reading *file, stack *to, clv_error *error)
{
    clvi_loader *l = file->loader;
    file_reading base = {.child = file,
                         .depth = file->depth + 1,
                         .scope = file->scope,
                         .ignored = file->ignored,
                         .loader = l};
    base.path = relative_to(l->arena, file->path, file->base);
    base.real_path = base.path != NULL ? resolve(l->arena, base.path) : NULL;
    if (base.real_path == NULL)
        return clvi_load_no_memory(error);
    if (!check_circle(file, &base))
        return CLV_OK;
    char *data = NULL;
    size_t bytes = 0;
    clv_error cause = CLV_ERROR_INIT;
    clv_status status = clvi_file_read(base.path, MAX_FILE_BYTES, &data, &bytes, &cause);
    if (status == CLV_E_MEMORY)
        return clvi_load_no_memory(error);
    if (status != CLV_OK) {
        clvi_load_fault(l, "%s:%d: [run] base: %s", file->path, file->base_line, cause.message);
        return CLV_OK;
    }
    status = read_text(&base, data, bytes, to, error);
    clvi_free(data);
    return status;
}

/* Reads one file; its layer comes behind those of what it inherits. */
static clv_status read_text(file_reading *file, const char *text, size_t bytes, stack *to,
                            clv_error *error)
{
    const clvi_ini_sink sink = {file, on_section, on_entry, on_fault};
    clvi_layer layer = {.path = file->path};
    file->layer = &layer;
    clv_status status = clvi_ini_read(text, bytes, &sink, error);
    if (status == CLV_OK && file->base != NULL)
        status = read_base(file, to, error);
    if (status == CLV_OK)
        status = push(to, &layer, error);
    if (status != CLV_OK)
        clvi_free(layer.lines);
    return status;
}

/* ---- The command line ---- */

/* A key given without its section: say where it belongs. */
static void fault_override(clvi_loader *l, const char *text)
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
        clvi_load_fault(l, "command line: %s has no section; did you mean %s.%s=…?", quoted,
                        section.name, key);
        return;
    }
    clvi_load_fault(l, "command line: %s: expected SECTION.KEY=VALUE, such as train.epochs=20",
                    quoted);
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

static clv_status read_override(clvi_loader *l, const char *text, clvi_layer *layer,
                                clv_error *error)
{
    const char *equals = strchr(text, '='), *dot = NULL;
    for (const char *c = text; equals != NULL && c < equals; c++)
        if (*c == '.')
            dot = c;
    if (dot == NULL || dot == text || dot + 1 == equals) {
        fault_override(l, text);
        return CLV_OK;
    }
    const clvi_layer_line line = {
        .section = copy_trimmed(l->arena, text, dot),
        .key = copy_trimmed(l->arena, dot + 1, equals),
        .value = copy_trimmed(l->arena, equals + 1, equals + 1 + strlen(equals + 1))};
    if (line.section == NULL || line.key == NULL || line.value == NULL)
        return clvi_load_no_memory(error);
    if (strcmp(line.section, "run") == 0 && strcmp(line.key, "base") == 0) {
        clvi_load_fault(l, "command line: run.base can only stand in a file");
        return CLV_OK;
    }
    return add_line(l, layer, &line, error);
}

static clv_status read_command_line(clvi_loader *l, stack *to, clv_error *error)
{
    clvi_layer layer = {0};
    clv_status status = CLV_OK;
    for (size_t i = 0; status == CLV_OK && i < l->source->override_count; i++)
        status = read_override(l, l->source->overrides[i], &layer, error);
    if (status == CLV_OK)
        status = push(to, &layer, error);
    if (status != CLV_OK)
        clvi_free(layer.lines);
    return status;
}

/* ---- Mixtures that are experts ---- */

/* Where [SECTION] mixture = … is given last, unless a later layer gives a plugin. */
typedef struct naming {
    const clvi_layer *layer;
    const clvi_layer_line *line;
} naming;

enum { PLACE_BYTES = 512 };

/* "path:line: [section] mixture" */
static const char *place_of(const naming *at, char out[PLACE_BYTES])
{
    if (at->layer->path != NULL)
        snprintf(out, PLACE_BYTES, "%s:%d: [%s] mixture", at->layer->path, at->line->line,
                 at->line->section);
    else
        snprintf(out, PLACE_BYTES, "command line: [%s] mixture", at->line->section);
    return out;
}

static naming find_naming(const clvi_loader *l, const char *section)
{
    naming found = {NULL, NULL};
    for (size_t i = 0; i < l->layer_count; i++) {
        const clvi_layer *layer = &l->layers[i];
        naming here = found;
        for (size_t k = 0; k < layer->count; k++) {
            const clvi_layer_line *line = &layer->lines[k];
            if (line->key == NULL || strcmp(line->section, section) != 0)
                continue;
            if (strcmp(line->key, "mixture") == 0)
                here = line->value[0] != '\0' ? (naming){layer, line} : (naming){NULL, NULL};
            else if (strcmp(line->key, "plugin") == 0 && line->value[0] != '\0' &&
                     here.layer != layer)
                here = (naming){NULL, NULL};
        }
        found = here;
    }
    return found;
}

static const clvi_nested_file *find_nested(const clvi_loader *l, const char *scope, size_t length)
{
    for (size_t i = 0; i < l->nested_count; i++)
        if (strlen(l->nested[i].scope) == length && memcmp(l->nested[i].scope, scope, length) == 0)
            return &l->nested[i];
    return NULL;
}

/* The files that lead to an expert, from the outermost: "t.ini → a.ini"; *again: one of them is
 * `real_path`. */
static void describe_chain(const clvi_loader *l, const char *scope, const char *real_path,
                           clvi_text *chain, bool *again)
{
    clvi_text_append(chain, l->config->path);
    *again = strcmp(l->real_path, real_path) == 0;
    for (const char *slash = strchr(scope, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        const clvi_nested_file *file = find_nested(l, scope, (size_t)(slash - scope));
        if (file == NULL) /* its sections stand in the file around it */
            continue;
        clvi_text_printf(chain, " → %s", file->path);
        *again |= strcmp(file->real_path, real_path) == 0;
    }
}

static bool check_chain(clvi_loader *l, const naming *at, const clvi_nested_file *file)
{
    clvi_text chain = {0};
    char place[PLACE_BYTES];
    bool again = false;
    describe_chain(l, file->scope, file->real_path, &chain, &again);
    clvi_text_printf(&chain, " → %s", file->path);
    place_of(at, place);
    const bool deep = clvi_config_depth(file->scope) >= CLVI_MAX_NESTING;
    if (again)
        clvi_load_fault(l, "%s goes in a circle: %s", place, clvi_text_get(&chain));
    else if (deep)
        clvi_load_fault(l, "%s: more than %d mixtures inside each other: %s", place,
                        CLVI_MAX_NESTING, clvi_text_get(&chain));
    clvi_text_fini(&chain);
    return !again && !deep;
}

/* The path that `mixture = …` means, in the arena; NULL: there is none, which is then a fault. */
static clv_status locate(clvi_loader *l, const naming *at, const char **out, clv_error *error)
{
    const char *name = at->line->value;
    char *path = NULL, place[PLACE_BYTES];
    clv_error cause = CLV_ERROR_INIT;
    *out = NULL;
    const clv_status status =
        clvi_config_find(name, l->source->folders, l->source->folder_count, &path, &cause);
    if (status == CLV_E_USAGE) {
        clvi_load_fault(l, "%s: %s", place_of(at, place), cause.message);
        return CLV_OK;
    }
    if (status != CLV_OK)
        return clvi_fail(error, status, CLV_HERE, "%s", cause.message);
    /* A name comes back as a path of its own, a path as it is. */
    const bool relative = at->layer->path != NULL && strcmp(path, name) == 0;
    *out =
        relative ? relative_to(l->arena, at->layer->path, path) : clvi_arena_strdup(l->arena, path);
    clvi_free(path);
    return *out != NULL ? CLV_OK : clvi_load_no_memory(error);
}

/* Puts layers below all others. */
static clv_status put_below(clvi_loader *l, const stack *below, clv_error *error)
{
    void *layers = l->layers;
    CLV_TRY(clvi_grow(&layers, &l->layer_capacity, l->layer_count + below->count,
                      sizeof(clvi_layer), error));
    l->layers = layers;
    memmove(l->layers + below->count, l->layers, l->layer_count * sizeof(clvi_layer));
    if (below->count > 0)
        memcpy(l->layers, below->layers, below->count * sizeof(clvi_layer));
    l->layer_count += below->count;
    return CLV_OK;
}

static clv_status read_nested_file(clvi_loader *l, const naming *at, const clvi_nested_file *nested,
                                   clv_error *error)
{
    clvi_text ignored = {0};
    stack below = {0};
    file_reading file = {.path = nested->path,
                         .real_path = nested->real_path,
                         .scope = nested->scope,
                         .ignored = &ignored,
                         .loader = l};
    char *data = NULL, place[PLACE_BYTES];
    size_t bytes = 0;
    clv_error cause = CLV_ERROR_INIT;
    clv_status status = clvi_file_read(nested->path, MAX_FILE_BYTES, &data, &bytes, &cause);
    if (status == CLV_E_MEMORY)
        return clvi_load_no_memory(error);
    if (status != CLV_OK) {
        clvi_load_fault(l, "%s: %s", place_of(at, place), cause.message);
        return CLV_OK;
    }
    status = read_text(&file, data, bytes, &below, error);
    if (status == CLV_OK && ignored.length > 0)
        clvi_log(CLVI_LOG_INFO, "%s: expert %s is a mixture: its %s mean nothing here",
                 nested->path, nested->scope, clvi_text_get(&ignored));
    if (status == CLV_OK)
        status = put_below(l, &below, error);
    if (status == CLV_OK)
        clvi_free(below.layers);
    else
        free_layers(below.layers, below.count);
    clvi_text_fini(&ignored);
    clvi_free(data);
    return status;
}

/* Reads what the line names, once for each expert. */
static clv_status read_nested(clvi_loader *l, const naming *at, const char *scope, clv_error *error)
{
    clvi_nested_file file = {.scope = scope};
    CLV_TRY(locate(l, at, &file.path, error));
    if (file.path != NULL) {
        file.real_path = resolve(l->arena, file.path);
        if (file.real_path == NULL)
            return clvi_load_no_memory(error);
    }
    const bool good = file.path != NULL && check_chain(l, at, &file);
    void *list = l->nested;
    CLV_TRY(clvi_grow(&list, &l->nested_capacity, l->nested_count + 1, sizeof(file), error));
    l->nested = list;
    l->nested[l->nested_count++] = file;
    return good ? read_nested_file(l, at, &file, error) : CLV_OK;
}

/* The section of an expert whose mixture has not been read yet; NULL: all have. */
static const char *next_nested(const clvi_loader *l, naming *at)
{
    for (size_t i = 0; i < l->layer_count; i++)
        for (size_t k = 0; k < l->layers[i].count; k++) {
            const clvi_layer_line *line = &l->layers[i].lines[k];
            const bool names = line->key != NULL && strcmp(line->key, "mixture") == 0 &&
                               strncmp(line->section, "expert.", 7) == 0;
            if (!names || find_nested(l, line->section + 7, strlen(line->section + 7)) != NULL)
                continue;
            *at = find_naming(l, line->section);
            if (at->line != NULL)
                return at->line->section;
        }
    return NULL;
}

clv_status clvi_load_layers(clvi_loader *l, const char *path, const char *text, size_t bytes,
                            clv_error *error)
{
    file_reading top = {.path = path, .scope = "", .loader = l};
    stack layers = {0};
    top.real_path = l->real_path = resolve(l->arena, path);
    if (top.real_path == NULL)
        return clvi_load_no_memory(error);
    clv_status status = read_text(&top, text, bytes, &layers, error);
    if (status == CLV_OK)
        status = read_command_line(l, &layers, error);
    if (status != CLV_OK) {
        free_layers(layers.layers, layers.count);
        return status;
    }
    l->layers = layers.layers;
    l->layer_count = layers.count;
    l->layer_capacity = layers.capacity;
    naming at;
    for (const char *section = next_nested(l, &at); section != NULL; section = next_nested(l, &at))
        CLV_TRY(read_nested(l, &at, section + 7, error));
    return CLV_OK;
}
