/* Where plugins, configurations and kernel headers lie: relative to the command's own place, in the
 * build tree or as installed, so that an installation can be moved as a whole. */
#include "command.h"

#include "base/files.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

/* As installed, relative to the prefix; absolute where the build was told so. */
#ifndef CLV_BIN_DIR
#define CLV_BIN_DIR "bin"
#endif
#ifndef CLV_LIB_DIR
#define CLV_LIB_DIR "lib"
#endif
#ifndef CLV_DATA_DIR
#define CLV_DATA_DIR "share"
#endif

/* Takes the last part of a path away; false when there is none. */
static bool to_parent(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path)
        return false;
    *slash = '\0';
    return true;
}

/* The folder that holds the running command, without a '/' at the end; false when unknown. */
static bool own_folder(char out[PATH_MAX])
{
    const ssize_t length = readlink("/proc/self/exe", out, PATH_MAX - 1);
    if (length <= 0)
        return false;
    out[length] = '\0';
    return to_parent(out);
}

/* The source's root, where the command lies in its build tree: there a file beside it says so. */
static bool read_source(const char *folder, char out[PATH_MAX])
{
    char mark[PATH_MAX + 16];
    snprintf(mark, sizeof(mark), "%s/uninstalled", folder);
    FILE *file = fopen(mark, "re");
    if (file == NULL)
        return false;
    const bool good = fgets(out, PATH_MAX, file) != NULL;
    fclose(file);
    if (good)
        out[strcspn(out, "\n")] = '\0';
    return good;
}

/* From the command's folder to the prefix. A folder of commands that is given as an absolute path
 * says nothing about it: its parent is as good a guess as any. */
static bool to_prefix(char *path)
{
    const char *parts = CLV_BIN_DIR[0] == '/' ? "bin" : CLV_BIN_DIR;
    while (*parts != '\0') {
        if (!to_parent(path))
            return false;
        parts += strcspn(parts, "/");
        parts += strspn(parts, "/");
    }
    return true;
}

/* Writes a/b/c, or b/c where b is absolute; "" when it is too long: a name that was cut could be
 * somebody else's folder. */
static void join(char out[PATH_MAX], const char *a, const char *b, const char *c)
{
    const bool whole = b[0] == '/';
    const int wrote = snprintf(out, PATH_MAX, "%s%s%s%s", whole ? "" : a, whole ? "" : "/", b, c);
    if (wrote < 0 || wrote >= PATH_MAX)
        out[0] = '\0';
}

typedef struct places {
    char plugins[PATH_MAX], configs[PATH_MAX], kernels[PATH_MAX];
} places;

static void find_places(places *p)
{
    char place[PATH_MAX], source[PATH_MAX];
    p->plugins[0] = p->configs[0] = p->kernels[0] = '\0';
    if (!own_folder(place))
        return;
    if (read_source(place, source)) {
        join(p->configs, source, "configs", "");
        join(p->kernels, source, "kernels", "");
        if (to_parent(place))
            join(p->plugins, place, "plugins", "");
    } else if (to_prefix(place)) {
        join(p->plugins, place, CLV_LIB_DIR, "/conclave/plugins");
        join(p->configs, place, CLV_DATA_DIR, "/conclave/configs");
        join(p->kernels, place, CLV_DATA_DIR, "/conclave/kernels");
    }
}

/* Looked for once: the command does not move while it runs. */
static const places *own_places(void)
{
    static places p;
    static bool known;
    if (!known)
        find_places(&p);
    known = true;
    return &p;
}

const char *cli_plugin_dir(void)
{
    return own_places()->plugins;
}

const char *cli_config_dir(void)
{
    return own_places()->configs;
}

const char *cli_kernel_dir(void)
{
    return own_places()->kernels;
}
