/* See pictures.h. */
#include "pictures.h"

#include "base/files.h"
#include "data/image.h"

enum { MOST_DEPTH = 32 };

static clv_status add_path(cli_pictures *p, const char *path, clv_error *error)
{
    void *paths = p->paths;
    CLV_TRY(clvi_grow(&paths, &p->capacity, p->count + 1, sizeof *p->paths, error));
    p->paths = paths;
    const char *kept = clvi_arena_strdup(p->arena, path);
    if (kept == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the names of the pictures");
    p->paths[p->count++] = kept;
    return CLV_OK;
}

static clv_status add_folder(cli_pictures *p, const char *folder, int depth, clv_error *error)
{
    char **names = NULL;
    size_t count = 0;
    if (depth > MOST_DEPTH)
        CLV_FAIL(error, CLV_E_DATA, "%s: folders are nested more than %d deep", folder, MOST_DEPTH);
    CLV_TRY(clvi_dir_list(folder, &names, &count, error));
    clv_status status = CLV_OK;
    for (size_t i = 0; i < count && status == CLV_OK; i++) {
        if (names[i][0] == '.')
            continue;
        char *path = clvi_path_join(folder, names[i]);
        if (path == NULL)
            status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "%s: out of memory", folder);
        else if (clvi_is_dir(path))
            status = add_folder(p, path, depth + 1, error);
        else if (clvi_image_name(path))
            status = add_path(p, path, error);
        clvi_free(path);
    }
    clvi_names_free(names, count);
    return status;
}

clv_status cli_pictures_list(const cli_args *args, size_t from, cli_pictures *out, clv_error *error)
{
    if (cli_count(args) <= from)
        CLV_FAIL(error, CLV_E_USAGE, "which pictures? give files or folders after the run");
    if (out->arena == NULL)
        CLV_TRY(clvi_arena_create(&out->arena, error));
    for (size_t i = from; i < cli_count(args); i++) {
        const char *what = cli_at(args, i);
        const size_t before = out->count;
        if (!clvi_is_dir(what)) {
            CLV_TRY(add_path(out, what, error));
            continue;
        }
        CLV_TRY(add_folder(out, what, 0, error));
        if (out->count == before)
            CLV_FAIL(error, CLV_E_DATA, "%s: no .png, .jpg or .jpeg in this folder", what);
    }
    return CLV_OK;
}

void cli_pictures_fini(cli_pictures *pictures)
{
    clvi_arena_destroy(pictures->arena);
    clvi_free(pictures->paths);
    *pictures = (cli_pictures){0};
}
