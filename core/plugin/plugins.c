/* The set of opened plugins: by name, by path, or all that there are. */
#include "base/process.h"
#include "plugin/loader.h"
#include "plugin/search.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct clvi_plugins {
    clvi_search search;
    clvi_library **libraries; /* each allocated by itself: clvi_plugin pointers are handed out */
    size_t count, capacity;
    const clvi_plugin **sorted; /* of the last scan */
    clvi_op_set ops;            /* that they registered */
};

clv_status clvi_plugins_create(const char *path, const char *fallback, clvi_plugins **out,
                               clv_error *error)
{
    clvi_plugins *plugins = clvi_calloc(1, sizeof(*plugins));
    if (plugins == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the plugins");
    const clv_status status = clvi_search_init(&plugins->search, path, fallback, error);
    if (status != CLV_OK) {
        clvi_plugins_destroy(plugins);
        return status;
    }
    *out = plugins;
    return CLV_OK;
}

void clvi_plugins_destroy(clvi_plugins *plugins)
{
    if (plugins == NULL)
        return;
    for (size_t i = plugins->count; i > 0; i--)
        clvi_library_close(plugins->libraries[i - 1]);
    clvi_free(plugins->libraries);
    clvi_free(plugins->sorted);
    clvi_free(plugins->ops.ops);
    clvi_search_fini(&plugins->search);
    clvi_free(plugins);
}

/* The opened library that is the very file at `path`, or NULL. */
static clvi_library *find_file(const clvi_plugins *plugins, const char *path)
{
    struct stat about;
    if (stat(path, &about) != 0)
        return NULL;
    for (size_t i = 0; i < plugins->count; i++)
        if (plugins->libraries[i]->device == (uint64_t)about.st_dev &&
            plugins->libraries[i]->inode == (uint64_t)about.st_ino)
            return plugins->libraries[i];
    return NULL;
}

static clv_status refuse_second(const char *first, const char *second, uint32_t kind,
                                const char *name, clv_error *error)
{
    return clvi_fail(error, CLV_E_PLUGIN, CLV_HERE,
                     "two %s plugins are named %s: %s and %s; remove or rename one",
                     clvi_kind_text(kind), name, first, second);
}

/* Refuses a second library of one kind and name. */
static clv_status check_unique(const clvi_plugins *plugins, const clvi_library *library,
                               clv_error *error)
{
    const clv_plugin *table = library->plugin.table;
    for (size_t i = 0; i < plugins->count; i++) {
        const clvi_plugin *other = &plugins->libraries[i]->plugin;
        if (other->table->kind == table->kind && strcmp(other->table->name, table->name) == 0)
            return refuse_second(other->path, library->plugin.path, table->kind, table->name,
                                 error);
    }
    return CLV_OK;
}

/* Takes an opened library into the set, or closes it. */
static clv_status add_library(clvi_plugins *plugins, clvi_library *library, clv_error *error)
{
    void *libraries = plugins->libraries;
    clv_status status = clvi_grow(&libraries, &plugins->capacity, plugins->count + 1,
                                  sizeof(*plugins->libraries), error);
    plugins->libraries = libraries;
    if (status == CLV_OK)
        status = check_unique(plugins, library, error);
    if (status == CLV_OK)
        status = clvi_own_init(&library->own, library->plugin.table, library->plugin.path,
                               &plugins->ops, error);
    library->plugin.ops = &plugins->ops;
    if (status != CLV_OK) {
        clvi_library_close(library);
        return status;
    }
    plugins->libraries[plugins->count++] = library;
    return CLV_OK;
}

/* Opens the file at `path`, or finds it opened. */
static clv_status open_file(clvi_plugins *plugins, const char *path, const clvi_plugin **out,
                            clv_error *error)
{
    clvi_library *library = find_file(plugins, path);
    if (library == NULL) {
        CLV_TRY(clvi_search_check_file(path, error));
        CLV_TRY(clvi_library_open(path, &library, error));
        CLV_TRY(add_library(plugins, library, error));
    }
    *out = &library->plugin;
    return CLV_OK;
}

/* The same of one that is linked in. */
static clv_status open_builtin(clvi_plugins *plugins, const clvi_builtin *builtin,
                               const clvi_plugin **out, clv_error *error)
{
    clvi_library *library = NULL;
    for (size_t i = 0; i < plugins->count && library == NULL; i++)
        if (strcmp(plugins->libraries[i]->plugin.path, builtin->path) == 0 &&
            plugins->libraries[i]->plugin.builtin)
            library = plugins->libraries[i];
    if (library == NULL) {
        CLV_TRY(clvi_library_open_builtin(builtin, &library, error));
        CLV_TRY(add_library(plugins, library, error));
    }
    *out = &library->plugin;
    return CLV_OK;
}

/* ---- By name
 * ------------------------------------------------------------------------------------- */

const char *clvi_plugin_name_in_file(const char *file, clv_kind kind, size_t *length)
{
    const char *prefix = clvi_kind_text(kind);
    const size_t bytes = strlen(file), skip = strlen(prefix) + 1;
    if (bytes <= skip + 3 || strncmp(file, prefix, skip - 1) != 0 || file[skip - 1] != '_' ||
        strcmp(file + bytes - 3, ".so") != 0)
        return NULL;
    *length = bytes - skip - 3;
    return file + skip;
}

typedef struct name_list {
    char **names;
    size_t count, capacity;
} name_list;

/* Adds the name in that of a file, if it is one of a plugin of that kind. */
static void collect_name(name_list *list, const char *file, clv_kind kind)
{
    void *grown = list->names;
    size_t length = 0;
    const char *found = clvi_plugin_name_in_file(file, kind, &length);
    char *name = found != NULL ? clvi_strdup(found) : NULL;
    if (name == NULL)
        return;
    name[length] = '\0';
    if (clvi_grow(&grown, &list->capacity, list->count + 1, sizeof(*list->names), NULL) == CLV_OK) {
        list->names = grown;
        list->names[list->count++] = name;
    } else {
        clvi_free(name);
    }
}

/* Collects the names of a kind, linked in and in all folders; what cannot be listed is passed over.
 */
static void collect_names(const clvi_search *search, clv_kind kind, name_list *list)
{
    for (size_t i = 0; clvi_builtin_at(i) != NULL; i++)
        collect_name(list, strrchr(clvi_builtin_at(i)->path, '/') + 1, kind);
    for (size_t f = 0; f < search->count; f++) {
        char **files = NULL;
        size_t file_count = 0;
        if (clvi_dir_list(search->folders[f].path, &files, &file_count, NULL) != CLV_OK)
            continue;
        for (size_t i = 0; i < file_count; i++)
            collect_name(list, files[i], kind);
        clvi_names_free(files, file_count);
    }
}

/* The sentence about a name that no folder has. */
static clv_status not_found(const clvi_search *search, clv_kind kind, const char *name,
                            clv_error *error)
{
    char shown[64];
    name_list list = {0};
    clvi_text folders = {0};
    for (size_t f = 0; f < search->count; f++) {
        const char *path = search->folders[f].path;
        const char *note = !clvi_is_dir(path)               ? " (no such folder)"
                           : access(path, R_OK | X_OK) != 0 ? " (cannot be read)"
                                                            : "";
        clvi_text_printf(&folders, "%s%s%s", f > 0 ? ", " : "", path, note);
    }
    if (search->count == 0)
        clvi_text_append(&folders, "no folder at all; give --plugin-path");
    collect_names(search, kind, &list);
    const char *near = clvi_nearest(name, (const char *const *)list.names, list.count);
    const clv_status status =
        clvi_fail(error, CLV_E_PLUGIN, CLV_HERE, "there is no %s plugin \"%s\"%s%s%s; looked in %s",
                  clvi_kind_text(kind), clvi_printable(name, shown, sizeof(shown)),
                  near != NULL ? "; did you mean " : "", near != NULL ? near : "",
                  near != NULL ? "?" : "", clvi_text_get(&folders));
    clvi_names_free(list.names, list.count);
    clvi_text_fini(&folders);
    return status;
}

/* The path of `file` in a folder; *out NULL: it has none. The caller frees. */
static clv_status path_in(const clvi_folder *folder, const char *file, char **out, clv_error *error)
{
    char *path = clvi_path_join(folder->path, file);
    if (path == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: looking for %s", file);
    if (access(path, F_OK) != 0) {
        clvi_free(path);
        path = NULL;
    }
    *out = path;
    return CLV_OK;
}

/* The one file of that name in all folders, or in those that the user gave; *out NULL: none. The
 * caller frees. */
static clv_status locate(const clvi_search *search, bool only_given, clv_kind kind,
                         const char *name, char **out, clv_error *error)
{
    clvi_text file = {0};
    char *found = NULL;
    clvi_text_printf(&file, "%s_%s.so", clvi_kind_text(kind), name);
    clv_status status = CLV_OK;
    if (file.failed)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: looking for %s", name);
    for (size_t f = 0; f < search->count && status == CLV_OK; f++) {
        if (only_given && !search->folders[f].given)
            continue;
        char *path = NULL;
        status = path_in(&search->folders[f], clvi_text_get(&file), &path, error);
        if (path == NULL)
            continue;
        status = clvi_search_check_folder(search->folders[f].path, error);
        if (status == CLV_OK && found != NULL && !clvi_same_file(found, path))
            status = refuse_second(found, path, kind, name, error);
        if (status == CLV_OK && found == NULL)
            found = path;
        else
            clvi_free(path);
    }
    clvi_text_fini(&file);
    if (status != CLV_OK) {
        clvi_free(found);
        return status;
    }
    *out = found;
    return CLV_OK;
}

clv_status clvi_plugins_find(clvi_plugins *plugins, clv_kind kind, const char *name,
                             const clvi_plugin **out, clv_error *error)
{
    const clvi_plugin *found = NULL;
    if (name[0] == '\0')
        CLV_FAIL(error, CLV_E_PLUGIN, "no %s plugin is named", clvi_kind_text(kind));
    if (clvi_is_path(name, ".so")) {
        CLV_TRY(open_file(plugins, name, &found, error));
    } else {
        char *path = NULL, file[128];
        snprintf(file, sizeof(file), "%s_%s.so", clvi_kind_text(kind), name);
        const clvi_builtin *builtin = clvi_builtin_find(file);
        CLV_TRY(locate(&plugins->search, builtin != NULL, kind, name, &path, error));
        if (path == NULL && builtin == NULL)
            return not_found(&plugins->search, kind, name, error);
        const clv_status status = path != NULL ? open_file(plugins, path, &found, error)
                                               : open_builtin(plugins, builtin, &found, error);
        clvi_free(path);
        CLV_TRY(status);
    }
    if (found->table->kind != (uint32_t)kind)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s: clv_plugin.kind is %s, wanted is %s", found->path,
                 clvi_kind_text(found->table->kind), clvi_kind_text(kind));
    *out = found;
    return CLV_OK;
}

clv_status clvi_plugins_has(const clvi_plugins *plugins, clv_kind kind, const char *name, bool *out,
                            clv_error *error)
{
    clvi_text file = {0};
    clvi_text_printf(&file, "%s_%s.so", clvi_kind_text(kind), name);
    clv_status status = CLV_OK;
    if (file.failed)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: looking for %s", name);
    bool found = status == CLV_OK && clvi_builtin_find(clvi_text_get(&file)) != NULL;
    for (size_t f = 0; f < plugins->search.count && status == CLV_OK && !found; f++) {
        char *path = NULL;
        status = path_in(&plugins->search.folders[f], clvi_text_get(&file), &path, error);
        found = path != NULL;
        clvi_free(path);
    }
    clvi_text_fini(&file);
    CLV_TRY(status);
    *out = found;
    return CLV_OK;
}

/* ---- All
 * ------------------------------------------------------------------------------------------- */

/* What came of opening one of many: only running out of memory is a failure. */
static clv_status pass_over(clv_status status, const clv_error *cause, clv_error *error)
{
    if (status == CLV_E_MEMORY)
        return clvi_fail(error, status, CLV_HERE, "%s", cause->message);
    if (status != CLV_OK)
        clvi_log(CLVI_LOG_WARN, "%s", cause->message);
    return CLV_OK;
}

/* Opens what a folder has; in one that the user did not give those that are linked in are. */
static clv_status scan_files(clvi_plugins *plugins, const clvi_folder *folder, char *const *files,
                             size_t count, clv_error *error)
{
    for (size_t i = 0; i < count; i++) {
        const size_t length = strlen(files[i]);
        const bool ours =
            strncmp(files[i], "expert_", 7) == 0 || strncmp(files[i], "gate_", 5) == 0;
        if (!ours || length < 4 || strcmp(files[i] + length - 3, ".so") != 0 ||
            (!folder->given && clvi_builtin_find(files[i]) != NULL))
            continue;
        const clvi_plugin *opened = NULL;
        clv_error cause = CLV_ERROR_INIT;
        char *path = clvi_path_join(folder->path, files[i]);
        const clv_status status =
            path != NULL ? open_file(plugins, path, &opened, &cause)
                         : clvi_fail(&cause, CLV_E_MEMORY, CLV_HERE,
                                     "out of memory: looking through %s", folder->path);
        clvi_free(path);
        CLV_TRY(pass_over(status, &cause, error));
    }
    return CLV_OK;
}

static clv_status scan_folder(clvi_plugins *plugins, const clvi_folder *folder, clv_error *error)
{
    char **files = NULL;
    size_t count = 0;
    clv_error cause = CLV_ERROR_INIT;
    if (!folder->given && !clvi_is_dir(folder->path))
        return CLV_OK;
    clv_status status = clvi_search_check_folder(folder->path, &cause);
    if (status == CLV_OK)
        status = clvi_dir_list(folder->path, &files, &count, &cause);
    if (status != CLV_OK)
        return pass_over(status, &cause, error);
    status = scan_files(plugins, folder, files, count, error);
    clvi_names_free(files, count);
    return status;
}

/* Those that are linked in, but for names that a folder of the user's has. */
static clv_status scan_builtins(clvi_plugins *plugins, clv_error *error)
{
    const clvi_builtin *builtin;
    for (size_t i = 0; (builtin = clvi_builtin_at(i)) != NULL; i++) {
        const clvi_plugin *opened = NULL;
        const clv_plugin *table = builtin->entry();
        bool there = false;
        for (size_t k = 0; k < plugins->count && !there; k++) {
            const clvi_plugin *other = &plugins->libraries[k]->plugin;
            there = !other->builtin && other->table->kind == table->kind &&
                    strcmp(other->table->name, table->name) == 0;
        }
        if (!there)
            CLV_TRY(open_builtin(plugins, builtin, &opened, error));
    }
    return CLV_OK;
}

static int compare(const void *a, const void *b)
{
    const clv_plugin *first = (*(const clvi_plugin *const *)a)->table;
    const clv_plugin *second = (*(const clvi_plugin *const *)b)->table;
    if (first->kind != second->kind)
        return first->kind < second->kind ? -1 : 1;
    return clvi_natural_compare(first->name, second->name);
}

clv_status clvi_plugins_scan(clvi_plugins *plugins, const clvi_plugin *const **list, size_t *count,
                             clv_error *error)
{
    const clvi_search *search = &plugins->search;
    for (size_t f = 0; f < search->count; f++)
        if (search->folders[f].given)
            CLV_TRY(scan_folder(plugins, &search->folders[f], error));
    CLV_TRY(scan_builtins(plugins, error));
    for (size_t f = 0; f < search->count; f++)
        if (!search->folders[f].given)
            CLV_TRY(scan_folder(plugins, &search->folders[f], error));
    const clvi_plugin **sorted = clvi_calloc(plugins->count + 1, sizeof(*sorted));
    if (sorted == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the list of plugins");
    for (size_t i = 0; i < plugins->count; i++)
        sorted[i] = &plugins->libraries[i]->plugin;
    qsort(sorted, plugins->count, sizeof(*sorted), compare);
    clvi_free(plugins->sorted);
    plugins->sorted = sorted;
    *list = sorted;
    *count = plugins->count;
    return CLV_OK;
}
