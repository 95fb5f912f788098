/* Finding the configurations that are shipped, by name. */
#include "base/files.h"
#include "base/process.h"
#include "config/config_impl.h"

#include <stdio.h>
#include <strings.h>

enum { DESCRIPTION_BYTES = 160 };

enum { NAME_BYTES = 256 };

/* `name` without the second i of "efficient": names that people know are spelled so. */
static void respell(const char *name, char out[NAME_BYTES])
{
    size_t at = 0;
    for (; *name != '\0' && at + 1 < NAME_BYTES; name++)
        if (strncasecmp(name, "ient", 4) != 0)
            out[at++] = *name;
    out[at] = '\0';
}

/* Equal names, in any case, '-' and '_' alike, efficient and efficent alike. */
static bool same_name(const char *a, const char *b)
{
    char spelled[2][NAME_BYTES];
    respell(a, spelled[0]);
    respell(b, spelled[1]);
    return clvi_name_equal(spelled[0], spelled[1]);
}

/* The text of the first line when that is a comment, otherwise "". The caller frees; NULL: no
 * memory. A file that cannot be read is described by nothing: loading it will say why. */
static char *describe(const char *path)
{
    char *data = NULL, printable[DESCRIPTION_BYTES];
    size_t bytes = 0;
    if (clvi_file_read(path, 1 << 20, &data, &bytes, NULL) != CLV_OK)
        return clvi_strdup("");
    const char *line = data;
    if (bytes >= 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0)
        line += 3;
    char *end = data + strcspn(data, "\r\n");
    *end = '\0';
    const bool comment = line[0] == ';' || line[0] == '#';
    line += comment ? strspn(line, ";# \t") : strlen(line);
    char *copy = clvi_strdup(clvi_printable(line, printable, sizeof(printable)));
    clvi_free(data);
    return copy;
}

typedef struct listing {
    const char *below; /* folder in each of the folders; NULL: these themselves */
    clvi_config_entry *entries;
    size_t count, capacity;
} listing;

static clv_status no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: the list of configurations");
}

static clv_status add_file(listing *list, const char *folder, const char *file, clv_error *error)
{
    clvi_config_entry entry = {clvi_strdup(file), clvi_path_join(folder, file), NULL};
    bool wanted = entry.name != NULL && entry.path != NULL && clvi_is_file(entry.path);
    clv_status status = entry.name != NULL && entry.path != NULL ? CLV_OK : no_memory(error);
    if (wanted) {
        entry.name[strlen(file) - 4] = '\0';
        for (size_t i = 0; i < list->count; i++)
            wanted = wanted && !clvi_name_equal(list->entries[i].name, entry.name);
    }
    if (wanted) {
        void *entries = list->entries;
        status = clvi_grow(&entries, &list->capacity, list->count + 1, sizeof(entry), error);
        list->entries = entries;
        entry.description = status == CLV_OK ? describe(entry.path) : NULL;
        if (status == CLV_OK && entry.description == NULL)
            status = no_memory(error);
    }
    if (wanted && status == CLV_OK) {
        list->entries[list->count++] = entry;
        return CLV_OK;
    }
    clvi_free(entry.name);
    clvi_free(entry.path);
    return status;
}

static clv_status add_folder(listing *list, const char *folder, clv_error *error)
{
    char **names = NULL, *inner = NULL;
    size_t count = 0;
    if (list->below != NULL) {
        folder = inner = clvi_path_join(folder, list->below);
        if (inner == NULL)
            return no_memory(error);
    }
    if (!clvi_is_dir(folder)) {
        clvi_free(inner);
        return CLV_OK;
    }
    clv_error cause = CLV_ERROR_INIT;
    clv_status status = clvi_dir_list(folder, &names, &count, &cause);
    if (status == CLV_E_MEMORY)
        status = no_memory(error);
    else if (status != CLV_OK)
        clvi_log(CLVI_LOG_WARN, "%s", cause.message);
    if (status != CLV_OK) {
        clvi_free(inner);
        return status == CLV_E_MEMORY ? status : CLV_OK;
    }
    for (size_t i = 0; status == CLV_OK && i < count; i++)
        if (clvi_has_ending(names[i], ".ini"))
            status = add_file(list, folder, names[i], error);
    clvi_names_free(names, count);
    clvi_free(inner);
    return status;
}

/* The folders of CONCLAVE_CONFIG_PATH, separated by ':'. */
static clv_status add_environment(listing *list, clv_error *error)
{
    const char *path = clvi_env_get(CLVI_ENV_CONFIG_PATH);
    char *copy = path != NULL ? clvi_strdup(path) : NULL;
    if (path != NULL && copy == NULL)
        return no_memory(error);
    clv_status status = CLV_OK;
    for (char *folder = copy; status == CLV_OK && folder != NULL;) {
        char *colon = strchr(folder, ':');
        if (colon != NULL)
            *colon = '\0';
        if (folder[0] != '\0') /* an empty one would be the current directory */
            status = add_folder(list, folder, error);
        folder = colon != NULL ? colon + 1 : NULL;
    }
    clvi_free(copy);
    return status;
}

clv_status clvi_config_list_below(const char *below, const char *const *folders,
                                  size_t folder_count, clvi_config_entry **out, size_t *count,
                                  clv_error *error)
{
    listing list = {.below = below};
    clv_status status = add_environment(&list, error);
    for (size_t i = 0; status == CLV_OK && i < folder_count; i++)
        status = add_folder(&list, folders[i], error);
    if (status != CLV_OK) {
        clvi_config_list_free(list.entries, list.count);
        return status;
    }
    *out = list.entries;
    *count = list.count;
    return CLV_OK;
}

clv_status clvi_config_list(const char *const *folders, size_t folder_count,
                            clvi_config_entry **out, size_t *count, clv_error *error)
{
    return clvi_config_list_below(NULL, folders, folder_count, out, count, error);
}

void clvi_config_list_free(clvi_config_entry *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        clvi_free(list[i].name);
        clvi_free(list[i].path);
        clvi_free(list[i].description);
    }
    clvi_free(list);
}

static clv_status refuse(const char *name, const clvi_config_entry *list, size_t count,
                         clv_error *error)
{
    const char *near = NULL;
    const char **names = clvi_calloc(count > 0 ? count : 1, sizeof(*names));
    for (size_t i = 0; names != NULL && i < count; i++)
        names[i] = list[i].name;
    if (names != NULL)
        near = clvi_nearest(name, names, count);
    clvi_free(names);
    char quoted[96];
    clvi_value_quote(name, quoted, sizeof(quoted));
    if (near != NULL)
        CLV_FAIL(error, CLV_E_USAGE, "no configuration is called %s; did you mean %s?", quoted,
                 near);
    CLV_FAIL(
        error, CLV_E_USAGE,
        "no configuration is called %s; `conclave config` lists them, a file's name ends in .ini",
        quoted);
}

/* A shipped configuration whose file the name would be, "NAME.ini" without a folder. */
static clv_status refuse_file(const char *name, const char *const *folders, size_t folder_count,
                              clv_error *error)
{
    clvi_config_entry *list = NULL;
    size_t count = 0;
    char stem[NAME_BYTES];
    snprintf(stem, sizeof(stem), "%.*s", (int)(strlen(name) - strlen(".ini")), name);
    CLV_TRY(clvi_config_list(folders, folder_count, &list, &count, error));
    clv_status status = CLV_OK;
    for (size_t i = 0; i < count && status == CLV_OK; i++)
        if (same_name(list[i].name, stem))
            status = clvi_fail(error, CLV_E_USAGE, CLV_HERE,
                               "there is no file %s here; the shipped configuration is called %s",
                               name, list[i].name);
    clvi_config_list_free(list, count);
    return status;
}

clv_status clvi_config_find(const char *name, const char *const *folders, size_t folder_count,
                            char **path, clv_error *error)
{
    char *found = NULL;
    if (clvi_is_path(name, ".ini")) {
        if (strchr(name, '/') == NULL && !clvi_is_file(name))
            CLV_TRY(refuse_file(name, folders, folder_count, error));
        found = clvi_strdup(name);
        if (found == NULL)
            return no_memory(error);
        *path = found;
        return CLV_OK;
    }
    clvi_config_entry *list = NULL;
    size_t count = 0;
    CLV_TRY(clvi_config_list(folders, folder_count, &list, &count, error));
    clv_status status = CLV_OK;
    size_t i = 0;
    while (i < count && !same_name(list[i].name, name))
        i++;
    if (i < count) {
        found = list[i].path;
        list[i].path = NULL;
    } else {
        status = refuse(name, list, count, error);
    }
    clvi_config_list_free(list, count);
    if (status == CLV_OK)
        *path = found;
    return status;
}
