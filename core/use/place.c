/* See place.h. */
#define _GNU_SOURCE
#include "use/place.h"

#include "base/files.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

clv_status clvi_place_plugins(char **folder, clv_error *error)
{
    static const char anchor; /* in the library */
    Dl_info info;
    char path[PATH_MAX], built[PATH_MAX + 24];
    *folder = NULL;
    if (dladdr(&anchor, &info) == 0 || info.dli_fname == NULL ||
        realpath(info.dli_fname, path) == NULL)
        return CLV_OK;
    char *slash = strrchr(path, '/');
    *slash = '\0';
    snprintf(built, sizeof built, "%s/../meson-private", path);
    *folder = clvi_path_join(path, clvi_is_dir(built) ? "../plugins" : "conclave/plugins");
    if (*folder == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the folder of plugins");
    return CLV_OK;
}
