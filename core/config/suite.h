/* A suite: the configurations that belong to one comparison, in an INI file of its own,
 *     [suite]
 *     configs = first, second
 * shipped in the folder `suites` beside the configurations. With
 *     [grid.NAME]
 *     mixture.combine = concat
 *     gate.plugin = average, linear
 * each of them stands for a model for each point of each grid: every value of one key with every
 * one of the others, as `conclave compare --grid` takes them. */
#ifndef CLVI_SUITE_H
#define CLVI_SUITE_H

#include "config/config.h"

typedef struct clvi_suite_grid {
    char **axes; /* "SECTION.KEY=VALUE,VALUE" */
    size_t count;
} clvi_suite_grid;

typedef struct clvi_suite {
    char *path;
    char **configs; /* names, as the file gives them; a path is relative to it */
    size_t count;   /* at least 1 */
    clvi_suite_grid *grids;
    size_t grid_count; /* 0: the configurations as they are */
} clvi_suite;

/* Reads the suite that `name` means: a path (has a '/' or ends in .ini), or the name of a file in
 * the folder `suites` of one of `folders` (CONCLAVE_CONFIG_PATH first), any case, '-' and '_'
 * alike. *found is false, and nothing else happens, where there is no suite of that name, or the
 * file has no section [suite]: then it is something else. Errors: CLV_E_CONFIG "path:line: …",
 * CLV_E_IO, CLV_E_MEMORY. The caller frees with clvi_suite_fini. */
clv_status clvi_suite_load(const char *name, const char *const *folders, size_t folder_count,
                           bool *found, clvi_suite *out, clv_error *error) CLV_MUST_CHECK;
void clvi_suite_fini(clvi_suite *suite);

/* The shipped suites; as clvi_config_list. */
clv_status clvi_suite_list(const char *const *folders, size_t folder_count, clvi_config_entry **out,
                           size_t *count, clv_error *error) CLV_MUST_CHECK;

#endif
