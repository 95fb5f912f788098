/* What load.c, layers.c and rules.c share: a configuration while it is being read. Internal to
 * core/config. */
#ifndef CLVI_LOAD_IMPL_H
#define CLVI_LOAD_IMPL_H

#include "config/config_impl.h"

/* One line: a section (key is NULL) or an entry. Strings lie in the arena. */
typedef struct clvi_layer_line {
    const char *section, *key, *value;
    int line;
} clvi_layer_line;

/* The lines of one file, or of the command line. */
typedef struct clvi_layer {
    const char *path; /* NULL: the command line */
    clvi_layer_line *lines;
    size_t count, capacity;
} clvi_layer;

/* An expert that a configuration of its own describes. */
typedef struct clvi_nested_file {
    const char *scope; /* "a/b": of [expert.a/b] mixture = … */
    const char *path, *real_path;
} clvi_nested_file;

typedef struct clvi_loader {
    clvi_config *config;
    clvi_arena *arena; /* the configuration's */
    const clvi_config_source *source;
    size_t faults;
    clv_error first;
    const char *real_path; /* of the file that was asked for */
    clvi_layer *layers;    /* the first is overridden by the others */
    size_t layer_count, layer_capacity;
    clvi_nested_file *nested;
    size_t nested_count, nested_capacity;
} clvi_loader;

/* Records a fault, which is reported when everything has been read. */
void clvi_load_fault(clvi_loader *loader, const char *format, ...) CLV_PRINTF(2, 3);

/* Fills layers: the text of `path`, what it inherits, the command line, and before them what
 * [expert.NAME] mixture names, its sections renamed. Errors: CLV_E_IO, CLV_E_MEMORY; the rest is
 * faults. The caller frees. */
clv_status clvi_load_layers(clvi_loader *loader, const char *path, const char *text, size_t bytes,
                            clv_error *error) CLV_MUST_CHECK;
void clvi_load_free_layers(clvi_loader *loader);

/* The rules that span keys, when all layers are applied. Lists experts, nested mixtures and sources
 * of the configuration. Errors: CLV_E_MEMORY; the rest is faults. */
clv_status clvi_load_finish(clvi_loader *loader, clv_error *error) CLV_MUST_CHECK;

clv_status clvi_load_no_memory(clv_error *error);

#endif
