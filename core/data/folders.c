/* Reads the folders of a source as splits and classes:
 *   [TOP/]train|val|test/CLASS/…image   or   [TOP/]CLASS/…image   (then everything is train). */
#define _POSIX_C_SOURCE 200809L
#include "data/folders.h"

#include <stdlib.h>

enum { NAMES_SHOWN = 8, NAME_BYTES = 400 };

/* The names a split folder may have unless it is given. */
static const char *const default_names[CLVI_SPLIT_COUNT][4] = {
    {"train", NULL}, {"val", "valid", "validation", NULL}, {"test", NULL}};

/* What follows "folder/" in path; NULL when path is not below it. NULL or "" contains everything.
 */
static const char *inside(const char *path, const char *folder)
{
    const size_t length = folder ? strlen(folder) : 0;
    if (length == 0)
        return path;
    return strncmp(path, folder, length) == 0 && path[length] == '/' ? path + length + 1 : NULL;
}

/* The name of a folder that stands directly in `parent`; NULL for any other. */
static const char *child_name(const char *path, const char *parent)
{
    const char *name = inside(path, parent);
    return name && *name && !strchr(name, '/') ? name : NULL;
}

static bool has_subfolders(const clvi_source *source, const char *folder)
{
    for (size_t i = 0; i < source->folder_count; i++)
        if (child_name(source->folders[i], folder))
            return true;
    return false;
}

/* The names of the folders in `parent`, as "a, b, c and 4 more", in `out`; returns `out`. */
static const char *list_children(const clvi_source *source, const char *parent, char *out,
                                 size_t bytes)
{
    clvi_text text = {0};
    size_t count = 0;
    for (size_t i = 0; i < source->folder_count; i++) {
        const char *name = child_name(source->folders[i], parent);
        if (name && count++ < NAMES_SHOWN)
            clvi_text_printf(&text, "%s%s", count > 1 ? ", " : "", name);
    }
    if (count > NAMES_SHOWN)
        clvi_text_printf(&text, " and %zu more", count - NAMES_SHOWN);
    if (count == 0)
        clvi_text_append(&text, "no folder");
    (void)clvi_printable(text.failed ? "?" : clvi_text_get(&text), out, bytes);
    clvi_text_fini(&text);
    return out;
}

static bool split_matches(const char *const *names, clvi_split split, const char *name)
{
    if (names[split])
        return clvi_name_equal(names[split], name);
    for (size_t i = 0; default_names[split][i]; i++)
        if (clvi_name_equal(default_names[split][i], name))
            return true;
    return false;
}

static clv_status claim_split(const clvi_source *source, clvi_folders *folders, clvi_split split,
                              const char *name, clv_error *error)
{
    char first[NAME_BYTES / 4], second[NAME_BYTES / 4];
    if (folders->folder[split])
        CLV_FAIL(error, CLV_E_CONFIG,
                 "%s: both %s and %s could be the %s folder; name one in [data] %s", source->path,
                 clvi_printable(folders->folder[split], first, sizeof first),
                 clvi_printable(name, second, sizeof second), clvi_split_name(split),
                 clvi_split_name(split));
    for (int other = 0; other < CLVI_SPLIT_COUNT; other++)
        if (folders->folder[other] == name)
            CLV_FAIL(error, CLV_E_CONFIG, "%s: [data] gives the folder %s to both %s and %s",
                     source->path, clvi_printable(name, first, sizeof first),
                     clvi_split_name((clvi_split)other), clvi_split_name(split));
    folders->folder[split] = name;
    return CLV_OK;
}

/* Looks for split folders directly in `parent`. A folder that has a split's default name but holds
 * images and no folders is a class of that name. */
static clv_status find_splits(const clvi_source *source, const char *const *names,
                              const char *parent, clvi_folders *folders, clv_error *error)
{
    for (size_t i = 0; i < source->folder_count; i++) {
        const char *name = child_name(source->folders[i], parent);
        for (int s = 0; name && s < CLVI_SPLIT_COUNT; s++) {
            const clvi_split split = (clvi_split)s;
            if (split_matches(names, split, name) &&
                (names[s] || has_subfolders(source, source->folders[i])))
                CLV_TRY(claim_split(source, folders, split, name, error));
        }
    }
    return CLV_OK;
}

static bool any_split(const clvi_folders *folders)
{
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++)
        if (folders->folder[s])
            return true;
    return false;
}

/* The one folder at the top, or NULL. */
static const char *only_folder(const clvi_source *source)
{
    const char *only = NULL;
    for (size_t i = 0; i < source->folder_count; i++) {
        if (!child_name(source->folders[i], NULL))
            continue;
        if (only)
            return NULL;
        only = source->folders[i];
    }
    return only;
}

/* Every split that was asked for by name, and train where there is no other source, must be there.
 */
static clv_status require_splits(const clvi_source *source, const char *const *names, bool alone,
                                 const clvi_folders *folders, clv_error *error)
{
    bool named = false;
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++)
        named = named || names[s];
    if (!named && !any_split(folders))
        return CLV_OK;
    char found[NAME_BYTES / 2];
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++) {
        if (folders->folder[s] || (!(s == CLVI_TRAIN && alone) && !names[s]))
            continue;
        CLV_FAIL(error, CLV_E_DATA,
                 "%s: no %s folder: looked for \"%s\" (any case) at the top and below one top "
                 "folder, found %s",
                 source->path, clvi_split_name((clvi_split)s),
                 names[s] ? names[s] : default_names[s][0],
                 list_children(source, folders->top, found, sizeof found));
    }
    return CLV_OK;
}

static clv_status find_root(const clvi_source *source, const char *const *names, bool alone,
                            clvi_folders *folders, clv_error *error)
{
    CLV_TRY(find_splits(source, names, NULL, folders, error));
    const char *only = only_folder(source);
    if (!any_split(folders) && only && has_subfolders(source, only)) {
        folders->top = only;
        CLV_TRY(find_splits(source, names, only, folders, error));
    }
    return require_splits(source, names, alone, folders, error);
}

/* The class part of a path, not ended; *length is its length, *rest what follows it ("" or "/…").
 * NULL: the path is in no class. */
static const char *class_part(const clvi_folders *folders, const char *path, clvi_split *split,
                              size_t *length)
{
    const char *below = inside(path, folders->top);
    if (!below)
        return NULL;
    *split = CLVI_TRAIN;
    if (any_split(folders)) {
        const char *part = NULL;
        for (int s = 0; s < CLVI_SPLIT_COUNT && !part; s++) {
            part = folders->folder[s] ? inside(below, folders->folder[s]) : NULL;
            *split = (clvi_split)s;
        }
        below = part;
    }
    *length = below ? strcspn(below, "/") : 0;
    return *length > 0 ? below : NULL;
}

bool clvi_folders_place(const clvi_folders *folders, const char *path, clvi_split *split,
                        uint32_t *label)
{
    size_t length = 0;
    clvi_split found;
    const char *name = class_part(folders, path, &found, &length);
    if (!name || name[length] != '/')
        return false;
    for (size_t i = 0; i < folders->class_count; i++) {
        const size_t k = (*label + i) % folders->class_count;
        if (strncmp(folders->classes[k], name, length) == 0 &&
            folders->classes[k][length] == '\0') {
            *split = found;
            *label = (uint32_t)k;
            return true;
        }
    }
    return false;
}

const char *clvi_folders_path(const clvi_folders *folders, const char *path)
{
    const char *below = inside(path, folders->top);
    return below ? below : path;
}

/* A folder's class, where the folder is itself a class folder. */
static const char *class_of_folder(const clvi_folders *folders, const char *folder,
                                   clvi_split *split)
{
    size_t length = 0;
    const char *name = class_part(folders, folder, split, &length);
    return name && name[length] == '\0' ? name : NULL;
}

static clv_status add_class(const clvi_source *source, const char *name, clvi_folders *folders,
                            clv_error *error)
{
    void *classes = folders->classes;
    CLV_TRY(clvi_grow(&classes, &folders->class_capacity, folders->class_count + 1,
                      sizeof *folders->classes, error));
    folders->classes = classes;
    folders->classes[folders->class_count] = clvi_strdup(name);
    if (!folders->classes[folders->class_count])
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory for the list of classes", source->path);
    folders->class_count++;
    return CLV_OK;
}

/* Sorts the classes and keeps one of each name. */
static void sort_classes(clvi_folders *folders)
{
    char **classes = folders->classes;
    if (folders->class_count < 2)
        return;
    qsort(classes, folders->class_count, sizeof *classes, clvi_natural_compare_p);
    size_t kept = 1;
    for (size_t i = 1; i < folders->class_count; i++) {
        if (strcmp(classes[i], classes[kept - 1]) == 0)
            clvi_free(classes[i]);
        else
            classes[kept++] = classes[i];
    }
    folders->class_count = kept;
}

static clv_status collect_classes(const clvi_source *source, clvi_folders *folders,
                                  clv_error *error)
{
    clvi_split split;
    for (size_t i = 0; i < source->folder_count; i++) {
        const char *name = class_of_folder(folders, source->folders[i], &split);
        if (name)
            CLV_TRY(add_class(source, name, folders, error));
    }
    sort_classes(folders);
    folders->in_train = clvi_calloc(folders->class_count, sizeof *folders->in_train);
    if (!folders->in_train)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory for the list of classes", source->path);
    for (size_t i = 0; i < source->folder_count; i++) {
        const char *name = class_of_folder(folders, source->folders[i], &split);
        if (!name || split != CLVI_TRAIN)
            continue;
        char **found = bsearch(&name, folders->classes, folders->class_count,
                               sizeof *folders->classes, clvi_natural_compare_p);
        CLV_ASSERT(found);
        folders->in_train[found - folders->classes] = true;
    }
    return CLV_OK;
}

const char *clvi_folders_locate(const clvi_source *source, const clvi_folders *folders,
                                const char *class_name, char *out, size_t bytes)
{
    const char *path = class_name;
    for (size_t i = 0; i < source->folder_count && path == class_name; i++) {
        clvi_split split;
        const char *name = class_of_folder(folders, source->folders[i], &split);
        if (name && strcmp(name, class_name) == 0)
            path = source->folders[i];
    }
    return clvi_source_name(source, path, out, bytes);
}

/* train/1.png and test/1.png without class folders would look like two classes. */
static bool only_split_names(const clvi_folders *folders)
{
    static const char *const defaults[CLVI_SPLIT_COUNT] = {NULL};
    for (size_t i = 0; i < folders->class_count; i++) {
        bool split_name = false;
        for (int s = 0; s < CLVI_SPLIT_COUNT; s++)
            split_name = split_name || split_matches(defaults, (clvi_split)s, folders->classes[i]);
        if (!split_name)
            return false;
    }
    return true;
}

clv_status clvi_folders_check_classes(const clvi_source *source, const clvi_folders *folders,
                                      bool alone, clv_error *error)
{
    char found[NAME_BYTES / 2];
    const bool splits = any_split(folders);
    size_t count = 0;
    for (size_t i = 0; i < folders->class_count; i++)
        count += folders->in_train[i] || !alone;
    if (count >= (alone ? 2 : 1) && (splits || !only_split_names(folders)))
        return CLV_OK;
    if (splits && alone)
        CLV_FAIL(error, CLV_E_DATA,
                 "%s: the train folder %s needs two or more class folders, has %zu", source->path,
                 clvi_printable(folders->folder[CLVI_TRAIN], found, sizeof found), count);
    (void)list_children(source, folders->top, found, sizeof found);
    CLV_FAIL(error, CLV_E_DATA,
             "%s: needs %s class folders (train/CLASS/1.png or CLASS/1.png), found %s%s",
             source->path, alone ? "two or more" : "one or more", found,
             only_split_names(folders) && count > 0 ? ", which hold no class folders" : "");
}

clv_status clvi_folders_check_images(const clvi_source *source, const clvi_folders *folders,
                                     clv_error *error)
{
    size_t *counts = clvi_calloc(folders->class_count * CLVI_SPLIT_COUNT, sizeof *counts);
    if (!counts)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory to count its images", source->path);
    clvi_split split;
    uint32_t label = 0;
    for (size_t i = 0; i < source->count; i++)
        if (clvi_folders_place(folders, source->entries[i].path, &split, &label))
            counts[label * CLVI_SPLIT_COUNT + split]++;
    clv_status status = CLV_OK;
    char name[NAME_BYTES];
    for (size_t i = 0; i < source->folder_count && status == CLV_OK; i++) {
        const char *class_name = class_of_folder(folders, source->folders[i], &split);
        if (!class_name)
            continue;
        while (strcmp(folders->classes[label], class_name) != 0)
            label = (label + 1) % (uint32_t)folders->class_count;
        if (counts[label * CLVI_SPLIT_COUNT + split] == 0)
            status = clvi_fail(error, CLV_E_DATA, CLV_HERE,
                               "%s: this class folder holds no PNG or JPEG image",
                               clvi_source_name(source, source->folders[i], name, sizeof name));
    }
    clvi_free(counts);
    return status;
}

clv_status clvi_folders_find(const clvi_source *source, const char *const names[CLVI_SPLIT_COUNT],
                             bool alone, clvi_folders *out, clv_error *error)
{
    clvi_folders folders = {0};
    clv_status status = find_root(source, names, alone, &folders, error);
    if (status == CLV_OK)
        status = collect_classes(source, &folders, error);
    if (status != CLV_OK) {
        clvi_folders_fini(&folders);
        return status;
    }
    *out = folders;
    return CLV_OK;
}

void clvi_folders_keep_known(const clvi_source *source, const char *names[CLVI_SPLIT_COUNT])
{
    const char *only = only_folder(source);
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++) {
        bool known = false;
        for (size_t i = 0; i < source->folder_count && names[s] && !known; i++) {
            const char *name = child_name(source->folders[i], NULL);
            if (!name && only)
                name = child_name(source->folders[i], only);
            known = name && clvi_name_equal(names[s], name);
        }
        if (!known)
            names[s] = NULL;
    }
}

void clvi_folders_fini(clvi_folders *folders)
{
    for (size_t i = 0; i < folders->class_count; i++)
        clvi_free(folders->classes[i]);
    clvi_free(folders->classes);
    clvi_free(folders->in_train);
    *folders = (clvi_folders){0};
}
