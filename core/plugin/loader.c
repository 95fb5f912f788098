/* Opening one plugin file. The ELF headers are looked at before dlopen: the loader of glibc dies of
 * SIGBUS over a file that was cut off. */
#include "plugin/loader.h"

#include "base/files.h"
#include "base/process.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

typedef const clv_plugin *(*entry_function)(void);

CLV_PRINTF(3, 4)
static clv_status refuse(const char *path, clv_error *error, const char *format, ...)
{
    clv_error cause = CLV_ERROR_INIT;
    va_list arguments;
    va_start(arguments, format);
    clvi_failv(&cause, CLV_E_PLUGIN, CLV_HERE, format, arguments);
    va_end(arguments);
    return clvi_fail(error, CLV_E_PLUGIN, CLV_HERE, "%s: %s (plugin ABI unknown, host ABI %d.%d)",
                     path, cause.message, CLV_ABI_MAJOR, CLV_ABI_MINOR);
}

/* Reads exactly `bytes` at `offset`. */
static bool read_at(int file, void *to, size_t bytes, uint64_t offset)
{
    return offset <= INT64_MAX && pread(file, to, bytes, (off_t)offset) == (ssize_t)bytes;
}

/* True when every segment that would be mapped lies in the file. */
static bool segments_in_file(int file, const ElfW(Ehdr) * header, uint64_t bytes)
{
    for (unsigned i = 0; i < header->e_phnum; i++) {
        ElfW(Phdr) segment;
        const uint64_t place = header->e_phoff + (uint64_t)i * sizeof(segment);
        if (place < header->e_phoff || !read_at(file, &segment, sizeof(segment), place))
            return false;
        if (segment.p_type == PT_LOAD &&
            (segment.p_offset > bytes || segment.p_filesz > bytes - segment.p_offset))
            return false;
    }
    return true;
}

static clv_status check_elf(const char *path, int file, uint64_t bytes, clv_error *error)
{
    const unsigned char word = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32;
    ElfW(Ehdr) header;
    if (!read_at(file, &header, sizeof(header), 0) || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
        return refuse(path, error, "is not a shared object (no ELF header)");
    if (header.e_ident[EI_CLASS] != word || header.e_type != ET_DYN ||
        header.e_phentsize != sizeof(ElfW(Phdr)))
        return refuse(path, error, "is not a shared object for this machine");
    if (!segments_in_file(file, &header, bytes))
        return refuse(path, error, "is cut off");
    return CLV_OK;
}

/* Checks the file and notes which one it is. */
static clv_status look_at_file(const char *path, clvi_library *library, clv_error *error)
{
    struct stat about;
    char reason[512];
    /* Not blocking: a named pipe must not hold us up. */
    const int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) {
        const int code = errno;
        snprintf(reason, sizeof(reason), "cannot be opened: %s", strerror(code));
        if (code == ENOENT || code == ENOTDIR)
            clvi_path_advise(path, reason, sizeof(reason));
        return clvi_fail_code(error, CLV_E_PLUGIN, code, CLV_HERE, "%s: %s", path, reason);
    }
    clv_status status = CLV_OK;
    if (fstat(file, &about) != 0)
        status = refuse(path, error, "cannot be looked at: %s", strerror(errno));
    else if (!S_ISREG(about.st_mode))
        status = refuse(path, error, "is not a file");
    else
        status = check_elf(path, file, (uint64_t)about.st_size, error);
    close(file);
    CLV_TRY(status);
    library->device = (uint64_t)about.st_dev;
    library->inode = (uint64_t)about.st_ino;
    return CLV_OK;
}

static clv_status open_library(const char *path, clvi_library *library, clv_error *error)
{
    entry_function entry = NULL;
    CLV_TRY(look_at_file(path, library, error));
    /* Without a '/' dlopen would search the system's library folders. */
    char *place = strchr(path, '/') != NULL ? clvi_strdup(path) : clvi_path_join(".", path);
    library->plugin.path = clvi_strdup(path);
    if (place == NULL || library->plugin.path == NULL) {
        clvi_free(place);
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: opening %s", path);
    }
    library->handle = dlopen(place, RTLD_NOW | RTLD_LOCAL);
    clvi_free(place);
    if (library->handle == NULL)
        return refuse(path, error, "cannot be loaded: %s", dlerror());
    void *symbol = dlsym(library->handle, "clv_plugin_v1");
    if (symbol == NULL)
        return refuse(path, error, "does not export clv_plugin_v1");
    memcpy(&entry, &symbol, sizeof(entry)); /* ISO C has no cast from object to function pointer */
    library->plugin.table = entry();
    return clvi_plugin_check(path, library->plugin.table, error);
}

clv_status clvi_library_open(const char *path, clvi_library **out, clv_error *error)
{
    clvi_library *library = clvi_calloc(1, sizeof(*library));
    if (library == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: opening %s", path);
    const clv_status status = open_library(path, library, error);
    if (status != CLV_OK) {
        clvi_library_close(library);
        return status;
    }
    *out = library;
    return CLV_OK;
}

clv_status clvi_library_open_builtin(const clvi_builtin *builtin, clvi_library **out,
                                     clv_error *error)
{
    clvi_library *library = clvi_calloc(1, sizeof(*library));
    char *path = clvi_strdup(builtin->path);
    if (library == NULL || path == NULL) {
        clvi_free(library);
        clvi_free(path);
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: opening %s", builtin->path);
    }
    library->plugin = (clvi_plugin){.table = builtin->entry(), .path = path, .builtin = true};
    const clv_status status = clvi_plugin_check(path, library->plugin.table, error);
    if (status != CLV_OK) {
        clvi_library_close(library);
        return status;
    }
    *out = library;
    return CLV_OK;
}

void clvi_library_close(clvi_library *library)
{
    if (library == NULL)
        return;
    clvi_own_fini(&library->own);
    const char *keep = clvi_env_get(CLVI_ENV_KEEP_PLUGINS);
    if (library->handle != NULL && (keep == NULL || strcmp(keep, "1") != 0))
        dlclose(library->handle);
    clvi_free((void *)library->plugin.path);
    clvi_free(library);
}
