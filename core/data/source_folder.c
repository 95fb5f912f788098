/* A folder as a source: names and sizes of the images below it. Links are followed. */
#define _POSIX_C_SOURCE 200809L
#include "data/source.h"

#include "data/image.h"

#include <errno.h>
#include <sys/stat.h>

/* The folders between the source and the one being listed, to notice a link back to one of them. */
typedef struct level {
    const struct level *above;
    dev_t device;
    ino_t inode;
} level;

static clv_status list(clvi_source *source, const char *folder, const level *above,
                       clv_error *error);

static bool stands_above(const level *above, const struct stat *info)
{
    for (; above; above = above->above)
        if (above->device == info->st_dev && above->inode == info->st_ino)
            return true;
    return false;
}

/* One name of a folder. `path` is below the source, `full` the same for the system. */
static clv_status visit(clvi_source *source, const char *path, const char *full, const level *above,
                        clv_error *error)
{
    struct stat info;
    if (stat(full, &info) != 0) {
        const int code = errno;
        const bool image = clvi_image_name(path);
        if (!image && (code == ENOENT || code == ELOOP))
            return CLV_OK; /* a link to nothing that is no image */
        if (!image || !source->skip_bad || !clvi_source_fault_of_file(full, code))
            return clvi_fail_errno(error, code, CLV_HERE, "%s: cannot be opened", full);
        /* Who wants its pixels will meet the fault, as with a picture that is damaged. */
        const clvi_entry entry = {.path = path};
        return clvi_source_add(source, &entry, error);
    }
    if (S_ISDIR(info.st_mode)) {
        if (stands_above(above, &info))
            CLV_FAIL(error, CLV_E_DATA, "%s: a link back to a folder above it", full);
        const level here = {.above = above, .device = info.st_dev, .inode = info.st_ino};
        return list(source, path, &here, error);
    }
    if (!S_ISREG(info.st_mode) || !clvi_image_name(path))
        return CLV_OK;
    const clvi_entry entry = {.path = path, .bytes = (uint64_t)info.st_size};
    return clvi_source_add(source, &entry, error);
}

static clv_status visit_name(clvi_source *source, const char *folder, const char *name,
                             const level *above, clv_error *error)
{
    char *path = *folder ? clvi_path_join(folder, name) : clvi_strdup(name);
    char *full = path ? clvi_path_join(source->path, path) : NULL;
    const clv_status status =
        full ? visit(source, path, full, above, error)
             : clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "%s: no memory to list it", source->path);
    clvi_free(full);
    clvi_free(path);
    return status;
}

static clv_status list(clvi_source *source, const char *folder, const level *above,
                       clv_error *error)
{
    CLV_TRY(clvi_source_add_folder(source, folder, strlen(folder), error));
    char *full = *folder ? clvi_path_join(source->path, folder) : clvi_strdup(source->path);
    if (!full)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory to list it", source->path);
    char **names = NULL;
    size_t count = 0;
    clv_status status = clvi_dir_list(full, &names, &count, error);
    clvi_free(full);
    for (size_t i = 0; i < count && status == CLV_OK; i++)
        if (!clvi_source_ignores(names[i]))
            status = visit_name(source, folder, names[i], above, error);
    clvi_names_free(names, count);
    return status;
}

clv_status clvi_source_list_folder(clvi_source *source, clv_error *error)
{
    struct stat info;
    if (stat(source->path, &info) != 0)
        return clvi_fail_errno(error, errno, CLV_HERE, "%s: cannot be opened", source->path);
    const level top = {.device = info.st_dev, .inode = info.st_ino};
    return list(source, "", &top, error);
}
