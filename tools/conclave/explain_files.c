/* See explain_files.h. */
#include "explain_files.h"

#include "base/files.h"

static const char page_name[] = "explain.html";

static clv_status no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: the names of the pictures");
}

/* ---- Names ---- */

static bool is_ending(const cli_explain_files *files, const char *before, const char *after)
{
    const size_t length = strlen(before);
    for (size_t i = 0; i < files->ending_count; i++)
        if (strncmp(files->endings[i], before, length) == 0 &&
            strcmp(files->endings[i] + length, after) == 0)
            return true;
    return false;
}

/* The first of "-EXPERT", "-EXPERT-2", … that gives two endings which no other expert has; in the
 * arena. */
static clv_status add_expert(cli_explain_files *files, const char *expert, clv_error *error)
{
    char *own = clvi_arena_printf(files->arena, "-%s", expert), *ending = own, *maps;
    for (char *c = own; c != NULL && *c != '\0'; c++)
        *c = *c == '/' ? '-' : *c;
    for (int copy = 2; ending != NULL; copy++) {
        if ((maps = clvi_arena_printf(files->arena, "%s-maps", ending)) == NULL)
            break;
        if (!is_ending(files, ending, "") && !is_ending(files, maps, "")) {
            files->endings[files->ending_count++] = ending;
            files->endings[files->ending_count++] = maps;
            return CLV_OK;
        }
        ending = clvi_arena_printf(files->arena, "%s-%d", own, copy);
    }
    return no_memory(error);
}

/* Whether files of two bases had the same name: one begins with the other, and what is more of it
 * begins an ending whose rest is an ending too. */
static bool collide(const cli_explain_files *files, const char *a, const char *b)
{
    const size_t lengths[] = {strlen(a), strlen(b)};
    const char *more = lengths[0] < lengths[1] ? b + lengths[0] : a + lengths[1];
    if (strncmp(a, b, lengths[0] < lengths[1] ? lengths[0] : lengths[1]) != 0)
        return false;
    for (size_t i = 0; i < files->ending_count; i++)
        if (is_ending(files, more, files->endings[i]))
            return true;
    return false;
}

static bool is_taken(const cli_explain_files *files, size_t before, const char *base)
{
    for (size_t i = 0; i < before; i++)
        if (collide(files, files->bases[i], base))
            return true;
    return false;
}

/* NULL: no memory. */
static const char *name_base(const cli_explain_files *files, const char *path, size_t index)
{
    const char *name = clvi_path_name(path), *dot = strrchr(name, '.');
    const int length = dot != NULL && dot > name ? (int)(dot - name) : (int)strlen(name);
    char *base = clvi_arena_printf(files->arena, "%.*s", length, name);
    for (int copy = 2; base != NULL && is_taken(files, index, base); copy++)
        base = clvi_arena_printf(files->arena, "%.*s-%d", length, name, copy);
    return base;
}

clv_status cli_explain_files_name(const clvi_config *config, const char *folder,
                                  const cli_pictures *pictures, cli_explain_files *out,
                                  clv_error *error)
{
    const size_t experts = clvi_config_leaf_count(config);
    out->folder = folder;
    CLV_TRY(clvi_arena_create(&out->arena, error));
    out->endings = clvi_arena_alloc(out->arena, (2 * experts + 1) * sizeof *out->endings);
    out->bases = clvi_arena_alloc(out->arena, (pictures->count + 1) * sizeof *out->bases);
    if (out->endings == NULL || out->bases == NULL)
        return no_memory(error);
    out->endings[out->ending_count++] = "";
    for (size_t i = 0; i < experts; i++)
        CLV_TRY(add_expert(out, clvi_config_leaf_name(config, i), error));
    for (size_t i = 0; i < pictures->count; i++)
        if ((out->bases[i] = name_base(out, pictures->paths[i], i)) == NULL)
            return no_memory(error);
    return CLV_OK;
}

void cli_explain_files_fini(cli_explain_files *files)
{
    clvi_arena_destroy(files->arena);
    *files = (cli_explain_files){0};
}

/* ---- Paths ---- */

static clv_status make_path(const cli_explain_files *files, size_t picture, size_t ending,
                            char **out, clv_error *error)
{
    clvi_text path = {0};
    clvi_text_printf(&path, "%s/%s%s.png", files->folder, files->bases[picture],
                     files->endings[ending]);
    char *copy = path.failed ? NULL : clvi_strdup(path.data);
    clvi_text_fini(&path);
    if (copy == NULL)
        return no_memory(error);
    *out = copy;
    return CLV_OK;
}

clv_status cli_explain_files_path(const cli_explain_files *files, const cli_explain_file *file,
                                  char **out, clv_error *error)
{
    const size_t ending = file->expert == 0 ? 0 : 2 * file->expert - (file->maps ? 0 : 1);
    CLV_ASSERT(ending < files->ending_count);
    return make_path(files, file->picture, ending, out, error);
}

clv_status cli_explain_files_page(const cli_explain_files *files, char **out, clv_error *error)
{
    char *path = clvi_path_join(files->folder, page_name);
    if (path == NULL)
        return no_memory(error);
    *out = path;
    return CLV_OK;
}

/* ---- What is there already ---- */

/* Of the pictures that are there. */
typedef struct known_files {
    clvi_file_id *ids;
    size_t count;
} known_files;

static clv_status check_path(const known_files *pictures, const char *path, clv_error *error)
{
    clvi_file_id own;
    if (!clvi_file_identify(path, &own))
        return CLV_OK;
    for (size_t i = 0; i < pictures->count; i++)
        if (pictures->ids[i].device == own.device && pictures->ids[i].inode == own.inode)
            CLV_FAIL(error, CLV_E_USAGE, "%s is one of the pictures; take another folder with -o",
                     path);
    return CLV_OK;
}

static clv_status check_all(const cli_explain_files *files, const known_files *known,
                            size_t pictures, bool maps, clv_error *error)
{
    char *path = NULL;
    CLV_TRY(cli_explain_files_page(files, &path, error));
    clv_status status = check_path(known, path, error);
    clvi_free(path);
    for (size_t i = 0; i < pictures; i++)
        for (size_t k = 0; k < files->ending_count && status == CLV_OK; k++) {
            if (k > 0 && k % 2 == 0 && !maps)
                continue;
            CLV_TRY(make_path(files, i, k, &path, error));
            status = check_path(known, path, error);
            clvi_free(path);
        }
    return status;
}

clv_status cli_explain_files_check(const cli_explain_files *files, const cli_pictures *pictures,
                                   bool maps, clv_error *error)
{
    known_files known = {.ids = clvi_calloc(pictures->count + 1, sizeof *known.ids)};
    if (known.ids == NULL)
        return no_memory(error);
    for (size_t i = 0; i < pictures->count; i++)
        known.count += clvi_file_identify(pictures->paths[i], &known.ids[known.count]);
    const clv_status status = check_all(files, &known, pictures->count, maps, error);
    clvi_free(known.ids);
    return status;
}
