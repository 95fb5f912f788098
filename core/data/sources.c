/* Opens the sources of a data set and unites their classes. */
#define _POSIX_C_SOURCE 200809L
#include "data/sources.h"

#include <stdlib.h>

size_t clvi_sources_total(const clvi_sources *sources)
{
    return sources->base[sources->count];
}

size_t clvi_sources_find(const clvi_sources *sources, size_t id, size_t *place)
{
    size_t k = 0;
    while (id >= sources->base[k + 1])
        k++;
    *place = id - sources->base[k];
    return k;
}

const clvi_entry *clvi_sources_entry(const clvi_sources *sources, size_t id)
{
    size_t place = 0;
    const size_t k = clvi_sources_find(sources, id, &place);
    return &sources->list[k]->entries[place];
}

clv_status clvi_sources_read(const clvi_sources *sources, size_t id, clvi_scratch *scratch,
                             const uint8_t **data, size_t *length, clv_error *error)
{
    size_t place = 0;
    const size_t k = clvi_sources_find(sources, id, &place);
    return clvi_source_read(sources->list[k], place, scratch, data, length, error);
}

const char *clvi_sources_name(const clvi_sources *sources, size_t id, char *out, size_t bytes)
{
    size_t place = 0;
    const size_t k = clvi_sources_find(sources, id, &place);
    return clvi_source_name(sources->list[k], sources->list[k]->entries[place].path, out, bytes);
}

/* What options say of source `k`. */
static clvi_data_source wanted(const clvi_data_options *options, size_t k)
{
    if (options->source_count > 0)
        return options->sources[k];
    clvi_data_source only = {.name = "", .path = options->path};
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++)
        only.split_folder[s] = options->split_folder[s];
    return only;
}

static clv_status open_one(const clvi_data_options *options, size_t k, uint64_t limit,
                           clvi_sources *sources, clv_error *error)
{
    clvi_data_source source = wanted(options, k);
    sources->names[k] = clvi_strdup(source.name ? source.name : "");
    if (!sources->names[k])
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory to open it", source.path);
    CLV_TRY(clvi_source_open(source.path, limit, options->skip_bad, &sources->list[k], error));
    const size_t images = sources->base[k] + sources->list[k]->count;
    if (images > INT32_MAX)
        CLV_FAIL(error, CLV_E_DATA, "%s: more than %d images", source.path, INT32_MAX);
    sources->base[k + 1] = (uint32_t)images;
    const bool alone = options->source_count < 2;
    if (options->split_folder_optional)
        clvi_folders_keep_known(sources->list[k], source.split_folder);
    return clvi_folders_find(sources->list[k], source.split_folder, alone, &sources->folders[k],
                             error);
}

static clv_status make_title(clvi_sources *sources, clv_error *error)
{
    clvi_text title = {0};
    for (size_t k = 0; k < sources->count; k++)
        clvi_text_printf(&title, "%s%s", k > 0 ? " + " : "", sources->list[k]->path);
    sources->title = title.failed ? NULL : clvi_strdup(clvi_text_get(&title));
    clvi_text_fini(&title);
    if (!sources->title)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the list of sources");
    return CLV_OK;
}

/* The classes that some train folder has, sorted, each once. */
static clv_status collect_classes(clvi_sources *sources, clv_error *error)
{
    size_t most = 0, count = 0;
    for (size_t k = 0; k < sources->count; k++)
        most += sources->folders[k].class_count;
    sources->classes = clvi_calloc(most, sizeof *sources->classes);
    if (!sources->classes)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory for the list of classes", sources->title);
    for (size_t k = 0; k < sources->count; k++)
        for (size_t i = 0; i < sources->folders[k].class_count; i++)
            if (sources->folders[k].in_train[i])
                sources->classes[count++] = sources->folders[k].classes[i];
    if (count > 1)
        qsort(sources->classes, count, sizeof *sources->classes, clvi_natural_compare_p);
    for (size_t i = 0; i < count; i++) {
        char **classes = sources->classes;
        if (i == 0 || strcmp(classes[i], classes[sources->class_count - 1]) != 0)
            classes[sources->class_count++] = classes[i];
    }
    return CLV_OK;
}

/* A class that only val or test has could never be learnt. */
static clv_status refuse_class(const clvi_sources *sources, size_t k, size_t index,
                               clv_error *error)
{
    char name[400], train[100];
    const clvi_folders *folders = &sources->folders[k];
    (void)clvi_folders_locate(sources->list[k], folders, folders->classes[index], name,
                              sizeof name);
    if (sources->count > 1)
        CLV_FAIL(error, CLV_E_DATA, "%s: a class that no train folder has", name);
    CLV_FAIL(error, CLV_E_DATA, "%s: a class that the train folder %s does not have", name,
             clvi_printable(folders->folder[CLVI_TRAIN], train, sizeof train));
}

static clv_status label_classes(clvi_sources *sources, size_t k, clv_error *error)
{
    const clvi_folders *folders = &sources->folders[k];
    sources->labels[k] = clvi_calloc(folders->class_count, sizeof *sources->labels[k]);
    if (!sources->labels[k])
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory for the list of classes", sources->title);
    for (size_t i = 0; i < folders->class_count; i++) {
        char **found = bsearch(&folders->classes[i], sources->classes, sources->class_count,
                               sizeof *sources->classes, clvi_natural_compare_p);
        if (!found)
            return refuse_class(sources, k, i, error);
        sources->labels[k][i] = (uint32_t)(found - sources->classes);
    }
    return CLV_OK;
}

static clv_status unite(clvi_sources *sources, clv_error *error)
{
    CLV_TRY(make_title(sources, error));
    CLV_TRY(collect_classes(sources, error));
    for (size_t k = 0; k < sources->count; k++)
        CLV_TRY(clvi_folders_check_classes(sources->list[k], &sources->folders[k],
                                           sources->count == 1, error));
    if (sources->class_count < 2)
        CLV_FAIL(error, CLV_E_DATA,
                 "%s: two or more classes are needed, all train folders have %zu", sources->title,
                 sources->class_count);
    for (size_t k = 0; k < sources->count; k++)
        CLV_TRY(label_classes(sources, k, error));
    for (size_t k = 0; k < sources->count; k++)
        CLV_TRY(clvi_folders_check_images(sources->list[k], &sources->folders[k], error));
    return CLV_OK;
}

clv_status clvi_sources_open(const clvi_data_options *options, clvi_sources *sources,
                             clv_error *error)
{
    const size_t count = options->source_count > 0 ? options->source_count : 1;
    uint64_t limit = clvi_physical_bytes() / 2;
    for (size_t k = 0; k < count; k++) {
        sources->count = k + 1;
        CLV_TRY(open_one(options, k, limit, sources, error));
        limit -= sources->list[k]->held;
    }
    return unite(sources, error);
}

void clvi_sources_close(clvi_sources *sources)
{
    for (size_t k = 0; k < sources->count; k++) {
        clvi_folders_fini(&sources->folders[k]);
        clvi_source_close(sources->list[k]);
        clvi_free(sources->names[k]);
        clvi_free(sources->labels[k]);
    }
    clvi_free(sources->classes);
    clvi_free(sources->title);
    *sources = (clvi_sources){0};
}
