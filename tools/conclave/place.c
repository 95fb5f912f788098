/* Where plugins and configurations lie: beside the command, in the build tree or as installed. */
#include "command.h"

#include "base/files.h"

#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#ifndef CLV_SOURCE_DIR
#error "CLV_SOURCE_DIR must be defined by the build"
#endif
/* As installed, relative to the prefix. */
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

/* Turns the command's folder into the root of the build tree that it lies in, at most three folders
 * up; false when it is not in one. */
static bool to_build_root(char path[PATH_MAX])
{
    char root[PATH_MAX], mark[PATH_MAX + 16];
    memcpy(root, path, PATH_MAX);
    for (int up = 0; up < 4; up++) {
        snprintf(mark, sizeof(mark), "%s/meson-private", root);
        if (clvi_is_dir(mark)) {
            memcpy(path, root, PATH_MAX);
            return true;
        }
        if (!to_parent(root))
            return false;
    }
    return false;
}

/* Writes a/b/c; "" when it is too long: a name that was cut could be somebody else's folder. */
static void join(char out[PATH_MAX], const char *a, const char *b, const char *c)
{
    const int wrote = snprintf(out, PATH_MAX, "%s/%s%s", a, b, c);
    if (wrote < 0 || wrote >= PATH_MAX)
        out[0] = '\0';
}

static void find_places(char plugins[PATH_MAX], char configs[PATH_MAX])
{
    char place[PATH_MAX];
    plugins[0] = configs[0] = '\0';
    if (!own_folder(place))
        return;
    if (to_build_root(place)) {
        join(plugins, place, "plugins", "");
        join(configs, CLV_SOURCE_DIR, "configs", "");
    } else if (to_parent(place)) {
        join(plugins, place, CLV_LIB_DIR, "/conclave/plugins");
        join(configs, place, CLV_DATA_DIR, "/conclave/configs");
    }
}

const char *cli_plugin_dir(void)
{
    static char plugins[PATH_MAX], configs[PATH_MAX];
    find_places(plugins, configs);
    return plugins;
}

const char *cli_config_dir(void)
{
    static char plugins[PATH_MAX], configs[PATH_MAX];
    find_places(plugins, configs);
    return configs;
}
