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

static bool split_matches(const clvi_data_options *options, clvi_split split, const char *name)
{
    if (options->split_folder[split])
        return clvi_name_equal(options->split_folder[split], name);
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
static clv_status find_splits(const clvi_source *source, const clvi_data_options *options,
                              const char *parent, clvi_folders *folders, clv_error *error)
{
    for (size_t i = 0; i < source->folder_count; i++) {
        const char *name = child_name(source->folders[i], parent);
        for (int s = 0; name && s < CLVI_SPLIT_COUNT; s++) {
            const clvi_split split = (clvi_split)s;
            if (split_matches(options, split, name) &&
                (options->split_folder[s] || has_subfolders(source, source->folders[i])))
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

/* Every split that was asked for by name, and train in any case, must be there. */
static clv_status require_splits(const clvi_source *source, const clvi_data_options *options,
                                 const clvi_folders *folders, clv_error *error)
{
    bool named = false;
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++)
        named = named || options->split_folder[s];
    if (!named && !any_split(folders))
        return CLV_OK;
    char found[NAME_BYTES / 2];
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++) {
        if (folders->folder[s] || (s != CLVI_TRAIN && !options->split_folder[s]))
            continue;
        CLV_FAIL(error, CLV_E_DATA,
                 "%s: no %s folder: looked for \"%s\" (any case) at the top and below one top "
                 "folder, found %s",
                 source->path, clvi_split_name((clvi_split)s),
                 options->split_folder[s] ? options->split_folder[s] : default_names[s][0],
                 list_children(source, folders->top, found, sizeof found));
    }
    return CLV_OK;
}

static clv_status find_root(const clvi_source *source, const clvi_data_options *options,
                            clvi_folders *folders, clv_error *error)
{
    CLV_TRY(find_splits(source, options, NULL, folders, error));
    const char *only = only_folder(source);
    if (!any_split(folders) && only && has_subfolders(source, only)) {
        folders->top = only;
        CLV_TRY(find_splits(source, options, only, folders, error));
    }
    return require_splits(source, options, folders, error);
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

/* Collects the classes of `split`, in any order, some perhaps twice. */
static clv_status collect_classes(const clvi_source *source, clvi_split split,
                                  clvi_folders *folders, clv_error *error)
{
    for (size_t i = 0; i < source->folder_count; i++) {
        clvi_split found;
        const char *name = class_of_folder(folders, source->folders[i], &found);
        if (!name || found != split)
            continue;
        void *classes = folders->classes;
        CLV_TRY(clvi_grow(&classes, &folders->class_capacity, folders->class_count + 1,
                          sizeof *folders->classes, error));
        folders->classes = classes;
        folders->classes[folders->class_count] = clvi_strdup(name);
        if (!folders->classes[folders->class_count])
            CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory for the list of classes", source->path);
        folders->class_count++;
    }
    if (folders->class_count > 1)
        qsort(folders->classes, folders->class_count, sizeof *folders->classes,
              clvi_natural_compare_p);
    return CLV_OK;
}

static bool known_class(const clvi_folders *folders, const char *name)
{
    return bsearch(&name, folders->classes, folders->class_count, sizeof *folders->classes,
                   clvi_natural_compare_p) != NULL;
}

/* A class that only val or test has could never be learnt. */
static clv_status check_other_splits(const clvi_source *source, const clvi_folders *folders,
                                     clv_error *error)
{
    char name[NAME_BYTES], train[NAME_BYTES / 4];
    for (size_t i = 0; i < source->folder_count; i++) {
        clvi_split split;
        const char *class_name = class_of_folder(folders, source->folders[i], &split);
        if (class_name && !known_class(folders, class_name))
            CLV_FAIL(error, CLV_E_DATA, "%s: a class that the train folder %s does not have",
                     clvi_source_name(source, source->folders[i], name, sizeof name),
                     clvi_printable(folders->folder[CLVI_TRAIN], train, sizeof train));
    }
    return CLV_OK;
}

/* train/1.png and test/1.png without class folders would look like two classes. */
static bool only_split_names(const clvi_folders *folders)
{
    const clvi_data_options defaults = {0};
    for (size_t i = 0; i < folders->class_count; i++) {
        bool split_name = false;
        for (int s = 0; s < CLVI_SPLIT_COUNT; s++)
            split_name = split_name || split_matches(&defaults, (clvi_split)s, folders->classes[i]);
        if (!split_name)
            return false;
    }
    return true;
}

static clv_status check_class_count(const clvi_source *source, const clvi_folders *folders,
                                    clv_error *error)
{
    char found[NAME_BYTES / 2];
    const bool splits = any_split(folders);
    if (folders->class_count >= 2 && (splits || !only_split_names(folders)))
        return CLV_OK;
    if (splits)
        CLV_FAIL(error, CLV_E_DATA,
                 "%s: the train folder %s needs two or more class folders, has %zu", source->path,
                 clvi_printable(folders->folder[CLVI_TRAIN], found, sizeof found),
                 folders->class_count);
    (void)list_children(source, folders->top, found, sizeof found);
    CLV_FAIL(error, CLV_E_DATA,
             "%s: needs two or more class folders (train/CLASS/1.png or CLASS/1.png), found %s%s",
             source->path, found, folders->class_count >= 2 ? ", which hold no class folders" : "");
}

/* Each class folder of each split must hold an image. */
static clv_status check_images(const clvi_source *source, const clvi_folders *folders,
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

static clv_status find_all(const clvi_source *source, const clvi_data_options *options,
                           clvi_folders *folders, clv_error *error)
{
    CLV_TRY(find_root(source, options, folders, error));
    CLV_TRY(collect_classes(source, CLVI_TRAIN, folders, error));
    CLV_TRY(check_class_count(source, folders, error));
    CLV_TRY(check_other_splits(source, folders, error));
    return check_images(source, folders, error);
}

clv_status clvi_folders_find(const clvi_source *source, const clvi_data_options *options,
                             clvi_folders *out, clv_error *error)
{
    clvi_folders folders = {0};
    const clv_status status = find_all(source, options, &folders, error);
    if (status != CLV_OK) {
        clvi_folders_fini(&folders);
        return status;
    }
    *out = folders;
    return CLV_OK;
}

void clvi_folders_fini(clvi_folders *folders)
{
    for (size_t i = 0; i < folders->class_count; i++)
        clvi_free(folders->classes[i]);
    clvi_free(folders->classes);
    *folders = (clvi_folders){0};
}
