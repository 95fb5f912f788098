/* See suite.h. */
#include "config/suite.h"

#include "base/files.h"
#include "config/config_impl.h"
#include "config/reader.h"

#include <stdio.h>

enum { SUITE_BYTES = 1 << 20 };

clv_status clvi_suite_list(const char *const *folders, size_t folder_count, clvi_config_entry **out,
                           size_t *count, clv_error *error)
{
    return clvi_config_list_below("suites", folders, folder_count, out, count, error);
}

/* ---- Reading ---- */

/* A file under way. */
typedef struct reading {
    clvi_suite *suite;
    size_t capacity, grid_capacity, axis_capacity;
    bool is_suite; /* has a section [suite] */
    int line;      /* of the first fault; 0: none */
    char sentence[256];
} reading;

static void fault(void *user, int line, const char *sentence)
{
    reading *r = user;
    if (r->line > 0)
        return;
    r->line = line;
    snprintf(r->sentence, sizeof r->sentence, "%s", sentence);
}

static bool is_grid(const char *section)
{
    return strncmp(section, "grid.", 5) == 0 && section[5] != '\0';
}

static clv_status section(void *user, const char *name, int line, clv_error *error)
{
    reading *r = user;
    clvi_suite *s = r->suite;
    if (strcmp(name, "suite") == 0) {
        r->is_suite = true;
    } else if (is_grid(name)) {
        void *grids = s->grids;
        CLV_TRY(clvi_grow(&grids, &r->grid_capacity, s->grid_count + 1, sizeof *s->grids, error));
        s->grids = grids;
        s->grids[s->grid_count++] = (clvi_suite_grid){0};
        r->axis_capacity = 0;
    } else {
        fault(r, line, "a suite has the section [suite] and sections [grid.NAME]");
    }
    return CLV_OK;
}

/* A key of the grid that was begun last. */
static clv_status add_axis(reading *r, const char *key, const char *value, int line,
                           clv_error *error)
{
    clvi_suite_grid *grid = &r->suite->grids[r->suite->grid_count - 1];
    clvi_text text = {0};
    void *axes = grid->axes;
    if (strchr(key, '.') == NULL || *value == '\0')
        fault(r, line, "a grid has lines SECTION.KEY = VALUE, VALUE");
    CLV_TRY(clvi_grow(&axes, &r->axis_capacity, grid->count + 1, sizeof *grid->axes, error));
    grid->axes = axes;
    clvi_text_printf(&text, "%s=%s", key, value);
    if (text.failed) {
        clvi_text_fini(&text);
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a suite");
    }
    grid->axes[grid->count++] = text.data;
    return CLV_OK;
}

/* Adds a name without the blanks around it; a path is made relative to the suite's folder. */
static clv_status add_config(reading *r, const char *name, size_t length, clv_error *error)
{
    void *configs = r->suite->configs;
    while (length > 0 && strchr(" \t", name[length - 1]) != NULL)
        length--;
    clvi_text text = {0};
    const char *slash = strrchr(r->suite->path, '/');
    const bool file = length > 4 && memcmp(name + length - 4, ".ini", 4) == 0;
    const bool relative = name[0] != '/' && (file || memchr(name, '/', length) != NULL);
    if (relative && slash != NULL)
        clvi_text_append_n(&text, r->suite->path, (size_t)(slash - r->suite->path) + 1);
    clvi_text_append_n(&text, name, length);
    clv_status status = CLV_OK;
    if (text.failed)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: a suite");
    if (status == CLV_OK)
        status = clvi_grow(&configs, &r->capacity, r->suite->count + 1, sizeof *r->suite->configs,
                           error);
    r->suite->configs = configs;
    if (status != CLV_OK) {
        clvi_text_fini(&text);
        return status;
    }
    r->suite->configs[r->suite->count++] = text.data;
    return CLV_OK;
}

static clv_status entry(void *user, const char *in, const char *key, const char *value, int line,
                        clv_error *error)
{
    reading *r = user;
    if (is_grid(in))
        return add_axis(r, key, value, line, error);
    if (strcmp(in, "suite") != 0)
        return CLV_OK; /* the section is a fault already */
    if (strcmp(key, "configs") != 0) {
        fault(r, line, "[suite] has one key, configs");
        return CLV_OK;
    }
    if (r->suite->count > 0)
        fault(r, line, "configs is given twice");
    for (const char *at = value; *at != '\0';) {
        at += strspn(at, ", \t");
        const size_t length = strcspn(at, ",");
        if (length > 0)
            CLV_TRY(add_config(r, at, length, error));
        at += length;
    }
    return CLV_OK;
}

/* The file r->suite->path. *found: it is a suite. */
static clv_status read_file(reading *r, bool *found, clv_error *error)
{
    char *data = NULL;
    size_t bytes = 0;
    const clvi_ini_sink sink = {.user = r, .section = section, .entry = entry, .fault = fault};
    CLV_TRY(clvi_file_read(r->suite->path, SUITE_BYTES, &data, &bytes, error));
    const clv_status status = clvi_ini_read(data, bytes, &sink, error);
    clvi_free(data);
    CLV_TRY(status);
    *found = r->is_suite;
    if (!r->is_suite)
        return CLV_OK;
    if (r->line > 0)
        CLV_FAIL(error, CLV_E_CONFIG, "%s:%d: %s", r->suite->path, r->line, r->sentence);
    if (r->suite->count == 0)
        CLV_FAIL(error, CLV_E_CONFIG, "%s: [suite] configs names no configuration", r->suite->path);
    return CLV_OK;
}

/* ---- Finding ---- */

/* *path stays NULL where there is none; otherwise the caller frees. */
static clv_status find(const char *name, const char *const *folders, size_t folder_count,
                       char **path, clv_error *error)
{
    if (clvi_is_path(name, ".ini")) {
        *path = clvi_is_file(name) ? clvi_strdup(name) : NULL;
        if (*path == NULL && clvi_is_file(name))
            CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the name of a suite");
        return CLV_OK;
    }
    clvi_config_entry *list = NULL;
    size_t count = 0;
    CLV_TRY(clvi_suite_list(folders, folder_count, &list, &count, error));
    for (size_t i = 0; i < count && *path == NULL; i++)
        if (clvi_name_equal(list[i].name, name)) {
            *path = list[i].path;
            list[i].path = NULL;
        }
    clvi_config_list_free(list, count);
    return CLV_OK;
}

clv_status clvi_suite_load(const char *name, const char *const *folders, size_t folder_count,
                           bool *found, clvi_suite *out, clv_error *error)
{
    clvi_suite suite = {0};
    reading r = {.suite = &suite};
    *found = false;
    CLV_TRY(find(name, folders, folder_count, &suite.path, error));
    if (suite.path == NULL)
        return CLV_OK;
    const clv_status status = read_file(&r, found, error);
    if (status != CLV_OK || !*found) {
        clvi_suite_fini(&suite);
        return status;
    }
    *out = suite;
    return CLV_OK;
}

void clvi_suite_fini(clvi_suite *suite)
{
    for (size_t i = 0; i < suite->count; i++)
        clvi_free(suite->configs[i]);
    clvi_free(suite->configs);
    for (size_t g = 0; g < suite->grid_count; g++) {
        for (size_t i = 0; i < suite->grids[g].count; i++)
            clvi_free(suite->grids[g].axes[i]);
        clvi_free(suite->grids[g].axes);
    }
    clvi_free(suite->grids);
    clvi_free(suite->path);
    *suite = (clvi_suite){0};
}
