/* See driver_cache.h. */
#include "driver_cache.h"

#include "base/files.h"
#include "base/process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where PoCL will keep what it compiles; "" where that is not to be changed. */
static void find_folder(clvi_text *out)
{
    const char *base = clvi_env_get(CLVI_ENV_XDG_CACHE_HOME), *home = clvi_env_get(CLVI_ENV_HOME);
    if (clvi_env_get(CLVI_ENV_POCL_CACHE_DIR) != NULL)
        return;
    if (base != NULL)
        clvi_text_printf(out, "%s/pocl/kcache", base);
    else if (home != NULL)
        clvi_text_printf(out, "%s/.cache/pocl/kcache", home);
    else
        clvi_text_append(out, "/tmp/pocl/kcache");
}

/* Whether the folder can be written, or made: then the deepest one above it that is there can. */
static bool is_writable(const char *path)
{
    struct stat facts;
    char *copy = clvi_strdup(path);
    bool good = true; /* when in doubt */
    for (char *end = copy; end != NULL;) {
        if (stat(copy[0] != '\0' ? copy : "/", &facts) == 0 || errno != ENOENT) {
            good = access(copy[0] != '\0' ? copy : "/", W_OK | X_OK) == 0;
            break;
        }
        end = strrchr(copy, '/');
        if (end != NULL)
            *end = '\0';
    }
    clvi_free(copy);
    return good;
}

/* A folder that nobody else may write to; made where it is not there. */
static bool make_own(const char *path)
{
    struct stat facts;
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return false;
    return lstat(path, &facts) == 0 && S_ISDIR(facts.st_mode) && facts.st_uid == geteuid() &&
           (facts.st_mode & 077) == 0;
}

/* Keeps compiled kernels in a folder of the user's own below the temporary one. */
static void move_to_own(const char *folder)
{
    clvi_text own = {0};
    const char *temporary = clvi_env_get(CLVI_ENV_TMPDIR);
    clvi_text_printf(&own, "%s/conclave-pocl-%ld", temporary != NULL ? temporary : "/tmp",
                     (long)geteuid());
    const char *path = clvi_text_get(&own);
    if (!own.failed && make_own(path) && setenv("POCL_CACHE_DIR", path, 1) == 0)
        clvi_log(CLVI_LOG_INFO, "%s cannot be written: compiled kernels are kept in %s", folder,
                 path);
    else
        clvi_log(CLVI_LOG_WARN,
                 "neither %s nor %s can be written, where PoCL keeps compiled kernels: set "
                 "POCL_CACHE_DIR to a folder that can",
                 folder, path);
    clvi_text_fini(&own);
}

static void prepare(void)
{
    clvi_text folder = {0};
    find_folder(&folder);
    if (folder.length > 0 && !folder.failed && !is_writable(folder.data))
        move_to_own(folder.data);
    clvi_text_fini(&folder);
}

clv_status cli_runtime_create(clvi_runtime **out, clv_error *error)
{
    prepare();
    return clvi_runtime_create(out, error);
}
