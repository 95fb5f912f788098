/* The plugin search path. A plugin is code that runs as the user: what others could have put there
 * is refused. */
#include "plugin/search.h"

#include "base/process.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static clv_status add_folder(clvi_search *search, const char *path, size_t length, bool given,
                             clv_error *error)
{
    void *folders = search->folders;
    const clv_status status =
        clvi_grow(&folders, &search->capacity, search->count + 1, sizeof(clvi_folder), error);
    search->folders = folders;
    CLV_TRY(status);
    char *copy = clvi_calloc(length + 1, 1);
    if (copy == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the plugin path");
    memcpy(copy, path, length);
    search->folders[search->count++] = (clvi_folder){copy, given};
    return CLV_OK;
}

static clv_status add_path(clvi_search *search, const char *path, clv_error *error)
{
    while (path != NULL && *path != '\0') {
        const size_t length = strcspn(path, ":");
        if (length > 0)
            CLV_TRY(add_folder(search, path, length, true, error));
        path += path[length] == ':' ? length + 1 : length;
    }
    return CLV_OK;
}

clv_status clvi_search_init(clvi_search *search, const char *path, const char *fallback,
                            clv_error *error)
{
    CLV_TRY(add_path(search, path, error));
    CLV_TRY(add_path(search, clvi_env_get(CLVI_ENV_PLUGIN_PATH), error));
    if (fallback != NULL && fallback[0] != '\0')
        CLV_TRY(add_folder(search, fallback, strlen(fallback), false, error));
    return CLV_OK;
}

void clvi_search_fini(clvi_search *search)
{
    for (size_t i = 0; i < search->count; i++)
        clvi_free(search->folders[i].path);
    clvi_free(search->folders);
    *search = (clvi_search){0};
}

/* Whether the user vouches for the folder that `about` describes. */
static bool is_trusted(const struct stat *about)
{
    const char *trusted = clvi_env_get(CLVI_ENV_TRUST_PLUGINS);
    struct stat other;
    return trusted != NULL && stat(trusted, &other) == 0 && other.st_dev == about->st_dev &&
           other.st_ino == about->st_ino;
}

/* The folder of a file; "." for a bare name. The caller frees; NULL: out of memory. */
static char *folder_of(const char *path)
{
    char *copy = clvi_strdup(path);
    char *slash = copy != NULL ? strrchr(copy, '/') : NULL;
    if (copy == NULL)
        return NULL;
    if (slash != NULL) {
        slash[slash == copy ? 1 : 0] = '\0';
        return copy;
    }
    clvi_free(copy);
    return clvi_strdup(".");
}

static bool is_strange(const struct stat *about)
{
    return about->st_uid != 0 && about->st_uid != geteuid();
}

/* Shortens `path`, absolute and without links, to the folder nearest above it that everybody may
 * write to and that is not sticky, so that anybody could put another folder in the place of what is
 * below; false: there is none. */
static bool find_open_parent(char *path)
{
    struct stat about;
    for (char *slash; (slash = strrchr(path, '/')) != NULL && path[1] != '\0';) {
        slash[slash == path ? 1 : 0] = '\0';
        if (stat(path, &about) == 0 && (about.st_mode & S_IWOTH) != 0 &&
            (about.st_mode & S_ISVTX) == 0)
            return true;
    }
    return false;
}

clv_status clvi_search_check_folder(const char *folder, clv_error *error)
{
    struct stat about;
    char above[PATH_MAX];
    if (stat(folder, &about) != 0 || is_trusted(&about))
        return CLV_OK;
    if ((about.st_mode & S_IWOTH) != 0)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "plugins in %s are refused: everybody may write to this folder; chmod o-w it, or "
                 "set CONCLAVE_TRUST_PLUGINS to it",
                 folder);
    if (is_strange(&about))
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "plugins in %s are refused: this folder belongs to user %u, neither to root nor "
                 "to you; chown it, or set CONCLAVE_TRUST_PLUGINS to it",
                 folder, (unsigned)about.st_uid);
    if (realpath(folder, above) != NULL && find_open_parent(above))
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "plugins in %s are refused: everybody may write to %s above it; chmod o-w that, "
                 "or set CONCLAVE_TRUST_PLUGINS to the former",
                 folder, above);
    return CLV_OK;
}

clv_status clvi_search_check_file(const char *path, clv_error *error)
{
    struct stat about, place;
    if (stat(path, &about) != 0)
        return CLV_OK; /* opening it will say why */
    const bool writable = (about.st_mode & S_IWOTH) != 0;
    const bool strange = is_strange(&about);
    if (!writable && !strange)
        return CLV_OK;
    char *folder = folder_of(path);
    if (folder == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: looking at %s", path);
    const bool trusted = stat(folder, &place) == 0 && is_trusted(&place);
    clvi_free(folder);
    if (trusted)
        return CLV_OK;
    if (strange)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "%s is refused: it belongs to user %u, neither to root nor to you; chown it, or "
                 "set CONCLAVE_TRUST_PLUGINS to its folder",
                 path, (unsigned)about.st_uid);
    CLV_FAIL(error, CLV_E_PLUGIN,
             "%s is refused: everybody may write to this file; chmod o-w it, or set "
             "CONCLAVE_TRUST_PLUGINS to its folder",
             path);
}
