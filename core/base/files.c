/* Files: read whole, write whole or not at all, make folders, look around. */
#define _POSIX_C_SOURCE 200809L
#include "base/files.h"
#include "base/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Reads to the end of the stream or one byte beyond the limit, whichever comes first. */
static clv_status read_stream(FILE *stream, const char *path, size_t limit_bytes, clvi_text *into,
                              clv_error *error)
{
    char block[16384];
    for (;;) {
        errno = 0;
        const size_t got = fread(block, 1, sizeof(block), stream);
        if (ferror(stream))
            return clvi_fail_errno(error, errno, CLV_HERE, "%s: cannot read", path);
        clvi_text_append_n(into, block, got);
        if (into->failed)
            CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory while reading", path);
        if (into->length > limit_bytes)
            CLV_FAIL(error, CLV_E_DATA, "%s: larger than the %zu bytes allowed here", path,
                     limit_bytes);
        if (got < sizeof(block))
            return CLV_OK;
    }
}

clv_status clvi_file_read(const char *path, size_t limit_bytes, char **data, size_t *bytes,
                          clv_error *error)
{
    FILE *stream = fopen(path, "rbe");
    if (stream == NULL)
        return clvi_fail_open(error, errno, CLV_HERE, path, "cannot open");
    clvi_text content = {0};
    const clv_status status = read_stream(stream, path, limit_bytes, &content, error);
    fclose(stream);
    if (status != CLV_OK) {
        clvi_text_fini(&content);
        return status;
    }
    *data = content.data;
    *bytes = content.length;
    return CLV_OK;
}

/* Opens a new file beside `path`. The name tells the process; O_EXCL settles races between threads
 * and leftovers of a killed process that had the same number. */
static int open_temporary(const char *path, char **temporary)
{
    clvi_text name = {0};
    int descriptor = -1;
    for (int attempt = 0; attempt < 100; attempt++) {
        name.length = 0;
        clvi_text_printf(&name, "%s.tmp-%ld-%d", path, (long)getpid(), attempt);
        if (name.failed) {
            errno = ENOMEM;
            break;
        }
        descriptor = open(name.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (descriptor >= 0 || errno != EEXIST)
            break;
    }
    if (descriptor < 0) {
        const int code = errno;
        clvi_text_fini(&name);
        errno = code;
        return -1;
    }
    *temporary = name.data;
    return descriptor;
}

clv_status clvi_atomic_begin(clvi_atomic_file *file, const char *path, clv_error *error)
{
    char *copy = clvi_strdup(path);
    if (copy == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", path);
    char *temporary = NULL;
    const int descriptor = open_temporary(path, &temporary);
    if (descriptor < 0) {
        const int code = errno;
        clvi_free(copy);
        return clvi_fail_errno(error, code, CLV_HERE, "%s: cannot write", path);
    }
    FILE *stream = fdopen(descriptor, "wb");
    if (stream == NULL) {
        const int code = errno;
        close(descriptor);
        unlink(temporary);
        clvi_free(temporary);
        clvi_free(copy);
        return clvi_fail_errno(error, code, CLV_HERE, "%s: cannot write", path);
    }
    *file = (clvi_atomic_file){stream, copy, temporary};
    return CLV_OK;
}

/* Makes the renamed entry itself durable. Some file systems refuse to sync a folder: the file is
 * complete all the same, so that is no error. */
static void sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? clvi_strdup(".") : clvi_strdup(path);
    if (folder == NULL)
        return;
    if (slash != NULL)
        folder[slash == path ? 1 : slash - path] = '\0';
    const int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor >= 0) {
        (void)fsync(descriptor);
        close(descriptor);
    }
    clvi_free(folder);
}

/* Gives the temporary file its name; 0 or errno. */
static int take_name(const clvi_atomic_file *file, bool only_new)
{
    if (only_new) {
        if (link(file->temporary, file->path) == 0 || errno == EEXIST)
            return unlink(file->temporary) == 0 ? 0 : errno;
        if (errno != EPERM && errno != ENOTSUP && errno != EMLINK && errno != ENOSYS)
            return errno;
        /* a file system without links: the last one counts */
    }
    return rename(file->temporary, file->path) == 0 ? 0 : errno;
}

static clv_status commit(clvi_atomic_file *file, bool only_new, clv_error *error)
{
    CLV_ASSERT(file->stream != NULL);
    errno = 0;
    bool good = fflush(file->stream) == 0 && !ferror(file->stream);
    good = good && fsync(fileno(file->stream)) == 0;
    int code = good ? 0 : errno != 0 ? errno : EIO;
    if (fclose(file->stream) != 0 && code == 0)
        code = errno;
    file->stream = NULL;
    if (code == 0)
        code = take_name(file, only_new);
    if (code != 0)
        return clvi_fail_errno(error, code, CLV_HERE, "%s: cannot write", file->path);
    sync_folder_of(file->path);
    clvi_free(file->temporary);
    clvi_free(file->path);
    *file = (clvi_atomic_file){0};
    return CLV_OK;
}

clv_status clvi_atomic_commit(clvi_atomic_file *file, clv_error *error)
{
    return commit(file, false, error);
}

clv_status clvi_atomic_commit_new(clvi_atomic_file *file, clv_error *error)
{
    return commit(file, true, error);
}

void clvi_atomic_abort(clvi_atomic_file *file)
{
    if (file->stream != NULL)
        fclose(file->stream);
    if (file->temporary != NULL)
        unlink(file->temporary);
    clvi_free(file->temporary);
    clvi_free(file->path);
    *file = (clvi_atomic_file){0};
}

/* Whether a name ends as open_temporary lets it, with the number of a process that is gone. */
static bool is_orphan(const char *name)
{
    static const char mark[] = ".tmp-";
    const char *at = NULL;
    for (const char *next = name; (next = strstr(next, mark)) != NULL; next++)
        at = next + strlen(mark);
    if (at == NULL)
        return false;
    char *end;
    const long process = strtol(at, &end, 10);
    if (end == at || process <= 0 || *end != '-' || end[1] == '\0' ||
        end[1 + strspn(end + 1, "0123456789")] != '\0')
        return false;
    return kill((pid_t)process, 0) != 0 && errno == ESRCH;
}

clv_status clvi_atomic_sweep(const char *folder, clv_error *error)
{
    enum { QUIET_SECONDS = 3600 };
    char **names = NULL;
    size_t count = 0;
    CLV_TRY(clvi_dir_list(folder, &names, &count, error));
    const time_t now = time(NULL);
    for (size_t i = 0; i < count; i++) {
        struct stat facts;
        char *path = is_orphan(names[i]) ? clvi_path_join(folder, names[i]) : NULL;
        if (path != NULL && lstat(path, &facts) == 0 && S_ISREG(facts.st_mode) &&
            now - facts.st_mtime > QUIET_SECONDS)
            (void)unlink(path);
        clvi_free(path);
    }
    clvi_names_free(names, count);
    return CLV_OK;
}

clv_status clvi_file_write(const char *path, const void *data, size_t bytes, clv_error *error)
{
    clvi_atomic_file file;
    CLV_TRY(clvi_atomic_begin(&file, path, error));
    errno = 0;
    if (bytes > 0 && fwrite(data, 1, bytes, file.stream) != bytes) {
        const int code = errno != 0 ? errno : EIO;
        clvi_atomic_abort(&file);
        return clvi_fail_errno(error, code, CLV_HERE, "%s: cannot write", path);
    }
    const clv_status status = clvi_atomic_commit(&file, error);
    if (status != CLV_OK)
        clvi_atomic_abort(&file);
    return status;
}

clv_status clvi_make_dirs(const char *path, unsigned mode, clv_error *error)
{
    char *folder = clvi_strdup(path);
    if (folder == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", path);
    clv_status status = CLV_OK;
    for (char *end = folder; status == CLV_OK && *end != '\0';) {
        end += strspn(end, "/");
        end += strcspn(end, "/");
        const char kept = *end;
        *end = '\0';
        if (folder[0] != '\0' && mkdir(folder, (mode_t)mode) != 0) {
            const int code = errno;
            /* EROFS, EACCES and the like may hide that the folder exists already. */
            if (!clvi_is_dir(folder))
                status = clvi_fail_errno(error, code == EEXIST ? ENOTDIR : code, CLV_HERE,
                                         "%s: cannot make the folder %s", path, folder);
        }
        *end = kept;
    }
    clvi_free(folder);
    return status;
}

bool clvi_is_file(const char *path)
{
    struct stat facts;
    return stat(path, &facts) == 0 && S_ISREG(facts.st_mode);
}

bool clvi_is_dir(const char *path)
{
    struct stat facts;
    return stat(path, &facts) == 0 && S_ISDIR(facts.st_mode);
}

bool clvi_has_file(const char *folder, const char *name)
{
    char *path = clvi_path_join(folder, name);
    const bool found = path != NULL && clvi_is_file(path);
    clvi_free(path);
    return found;
}

bool clvi_file_identify(const char *path, clvi_file_id *out)
{
    struct stat about;
    if (stat(path, &about) != 0)
        return false;
    *out = (clvi_file_id){(uint64_t)about.st_dev, (uint64_t)about.st_ino};
    return true;
}

bool clvi_same_file(const char *a, const char *b)
{
    clvi_file_id first, second;
    return clvi_file_identify(a, &first) && clvi_file_identify(b, &second) &&
           first.device == second.device && first.inode == second.inode;
}

const char *clvi_path_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL && slash[1] != '\0' ? slash + 1 : path;
}

bool clvi_is_path(const char *text, const char *ending)
{
    return strchr(text, '/') != NULL || clvi_has_ending(text, ending);
}

char *clvi_path_join(const char *a, const char *b)
{
    size_t length_a = strlen(a);
    while (length_a > 0 && a[length_a - 1] == '/')
        length_a--;
    b += strspn(b, "/");
    const size_t length_b = strlen(b);
    char *joined = clvi_malloc(length_a + length_b + 2);
    if (joined == NULL)
        return NULL;
    memcpy(joined, a, length_a);
    joined[length_a] = '/';
    memcpy(joined + length_a + 1, b, length_b + 1);
    return joined;
}

void clvi_names_free(char **names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        clvi_free(names[i]);
    clvi_free(names);
}

clv_status clvi_dir_list(const char *path, char ***names, size_t *count, clv_error *error)
{
    DIR *folder = opendir(path);
    if (folder == NULL)
        return clvi_fail_open(error, errno, CLV_HERE, path, "cannot open the folder");
    void *list = NULL;
    size_t used = 0, capacity = 0;
    clv_status status = CLV_OK;
    while (status == CLV_OK) {
        errno = 0;
        const struct dirent *entry = readdir(folder);
        if (entry == NULL) {
            if (errno != 0)
                status =
                    clvi_fail_errno(error, errno, CLV_HERE, "%s: cannot read the folder", path);
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        status = clvi_grow(&list, &capacity, used + 1, sizeof(char *), error);
        char *name = status == CLV_OK ? clvi_strdup(entry->d_name) : NULL;
        if (name != NULL)
            ((char **)list)[used++] = name;
        else if (status == CLV_OK)
            status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "%s: out of memory", path);
    }
    closedir(folder);
    if (status != CLV_OK) {
        clvi_names_free(list, used);
        return status;
    }
    if (used > 1)
        qsort(list, used, sizeof(char *), clvi_natural_compare_p);
    *names = list;
    *count = used;
    return CLV_OK;
}

char *clvi_cache_folder(void)
{
    const char *on = clvi_env_get(CLVI_ENV_CACHE);
    const char *folder = clvi_env_get(CLVI_ENV_CACHE_DIR);
    const char *base = clvi_env_get(CLVI_ENV_XDG_CACHE_HOME);
    const char *home = clvi_env_get(CLVI_ENV_HOME);
    if (on != NULL && strcmp(on, "0") == 0)
        return NULL;
    if (folder != NULL)
        return clvi_strdup(folder);
    if (base != NULL && base[0] == '/') /* a relative one is to be ignored, says XDG */
        return clvi_path_join(base, "conclave");
    return home != NULL ? clvi_path_join(home, ".cache/conclave") : NULL;
}

/* ---- A name that is not there ---- */

/* Appends the entry of `folder` that is nearest to `name`, as part of a sentence. */
static void advise_in(const char *folder, const char *shown_folder, const char *name, char *text,
                      size_t bytes)
{
    char **names = NULL, line[512], shown[512];
    size_t count = 0;
    if (clvi_dir_list(folder, &names, &count, NULL) != CLV_OK)
        return;
    const char *near = clvi_nearest(name, (const char *const *)names, count);
    const size_t used = strlen(text);
    if (near != NULL) {
        const int length = snprintf(line, sizeof(line), "; did you mean %s%s?", shown_folder, near);
        if (length > 0 && (size_t)length < sizeof(line) && used + (size_t)length < bytes)
            strcpy(text + used, clvi_printable(line, shown, sizeof(shown)));
    }
    clvi_names_free(names, count);
}

void clvi_path_advise(const char *path, char *text, size_t bytes)
{
    struct stat facts;
    char *copy = clvi_strdup(path);
    if (copy == NULL || copy[0] == '\0') {
        clvi_free(copy);
        return;
    }
    for (size_t from = strspn(copy, "/");;) {
        const size_t end = from + strcspn(copy + from, "/");
        const char after = copy[end];
        copy[end] = '\0';
        if (lstat(copy, &facts) != 0) {
            char name[256] = "";
            snprintf(name, sizeof(name), "%s", copy + from);
            copy[from] = '\0';
            advise_in(from > 0 ? copy : ".", copy, name, text, bytes);
            break;
        }
        copy[end] = after;
        from = end + strspn(copy + end, "/");
        if (copy[from] == '\0')
            break;
    }
    clvi_free(copy);
}

clv_status clvi_fail_open(clv_error *error, int code, const char *file, int line, const char *path,
                          const char *what)
{
    clv_error own = CLV_ERROR_INIT;
    const clv_status status = clvi_fail_errno(&own, code, file, line, "%s: %s", path, what);
    if (error != NULL && (code == ENOENT || code == ENOTDIR))
        clvi_path_advise(path, own.message, sizeof(own.message));
    return clvi_fail_code(error, status, code, file, line, "%s", own.message);
}
