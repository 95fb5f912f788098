/* The sources of a data set, one or several, and what is the same for all of them: the numbers of
 * images and the classes. Images are numbered through all sources, in the order in which these were
 * given and the natural order of paths within each. Only core/data includes this. */
#ifndef CLVI_SOURCES_H
#define CLVI_SOURCES_H

#include "data/dataset.h"
#include "data/folders.h"
#include "data/source.h"

typedef struct clvi_sources {
    size_t count;
    clvi_source *list[CLVI_MAX_SOURCES];
    char *names[CLVI_MAX_SOURCES]; /* "" where there is but one without a name */
    clvi_folders folders[CLVI_MAX_SOURCES];
    uint32_t *labels[CLVI_MAX_SOURCES];  /* of each of a source's own classes: the class index */
    uint32_t base[CLVI_MAX_SOURCES + 1]; /* number of a source's first image; then all of them */
    char **classes;                      /* of all, natural order, each once */
    size_t class_count;
    char *title; /* for messages: the path, or all paths */
} clvi_sources;

/* Opens them all and unites their classes: those of the same name are one. Where there are several,
 * a source may lack a train folder if it has another, and may have a single class. Zero-initialise
 * `sources`; clvi_sources_close also after a failure. Errors: as clvi_dataset_open. */
clv_status clvi_sources_open(const clvi_data_options *options, clvi_sources *sources,
                             clv_error *error) CLV_MUST_CHECK;
void clvi_sources_close(clvi_sources *sources);

size_t clvi_sources_total(const clvi_sources *sources); /* images, used or not */
/* The source that image `id` stands in; *place is its index there. */
size_t clvi_sources_find(const clvi_sources *sources, size_t id, size_t *place);
const clvi_entry *clvi_sources_entry(const clvi_sources *sources, size_t id);
/* As clvi_source_read and clvi_source_name, of image `id`. */
clv_status clvi_sources_read(const clvi_sources *sources, size_t id, clvi_scratch *scratch,
                             const uint8_t **data, size_t *length, clv_error *error) CLV_MUST_CHECK;
const char *clvi_sources_name(const clvi_sources *sources, size_t id, char *out, size_t bytes);

#endif
