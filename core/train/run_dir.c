/* The folders of runs. mkdir decides who gets a name, so that two processes never share a run. */
#include "train/run_dir.h"

#include "base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_MAX_BYTES = 200, MOST_RUNS = 100000 };

static const char last_link[] = "last";

static clv_status out_of_memory(const char *path, clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "%s: out of memory", path);
}

/* A name is one plain folder below the output folder, and visible. */
static clv_status check_name(const char *name, clv_error *error)
{
    char shown[NAME_MAX_BYTES + 1];
    clvi_printable(name, shown, sizeof(shown));
    if (name[0] == '\0')
        CLV_FAIL(error, CLV_E_USAGE, "the run has no name; set run.name");
    if (strcmp(name, last_link) == 0)
        CLV_FAIL(error, CLV_E_USAGE, "a run cannot be named 'last', which means the newest one");
    if (name[0] == '.' || strchr(name, '/') != NULL || strcmp(shown, name) != 0)
        CLV_FAIL(error, CLV_E_USAGE,
                 "'%s' cannot be the name of a run: it becomes a folder, so no '/', no '.' in "
                 "front, at most %d bytes; see run.name and run.output",
                 shown, NAME_MAX_BYTES);
    return CLV_OK;
}

/* Makes the first of BASE, BASE-2, BASE-3 … that is free. */
static clv_status make_folder(const char *base, clvi_text *path, clv_error *error)
{
    for (int number = 1; number <= MOST_RUNS; number++) {
        path->length = 0;
        clvi_text_append(path, base);
        if (number > 1)
            clvi_text_printf(path, "-%d", number);
        if (path->failed)
            return out_of_memory(base, error);
        if (mkdir(path->data, 0755) == 0)
            return CLV_OK;
        if (errno != EEXIST)
            return clvi_fail_errno(error, errno, CLV_HERE,
                                   "%s: cannot make the run's folder (-o FOLDER names another)",
                                   path->data);
    }
    CLV_FAIL(error, CLV_E_IO, "%s: there are %d runs of this name; choose another run.name", base,
             MOST_RUNS);
}

clv_status clvi_run_create(const char *output, const char *name, char **path, clv_error *error)
{
    CLV_TRY(check_name(name, error));
    if (output[0] == '\0')
        output = ".";
    clv_error cause = CLV_ERROR_INIT;
    const clv_status made = clvi_make_dirs(output, 0755, &cause);
    if (made != CLV_OK)
        CLV_FAIL(error, made, "%s; -o FOLDER names another for the runs", cause.message);
    char *base = clvi_path_join(output, name);
    if (base == NULL)
        return out_of_memory(output, error);
    clvi_text folder = {0};
    const clv_status status = make_folder(base, &folder, error);
    clvi_free(base);
    if (status != CLV_OK) {
        clvi_text_fini(&folder);
        return status;
    }
    clvi_run_set_last(folder.data);
    *path = folder.data;
    return CLV_OK;
}

/* A link with a name of its own, renamed over the old one. Returns an errno. */
static int replace_link(const char *target, const char *link)
{
    struct stat facts;
    if (lstat(link, &facts) == 0 && !S_ISLNK(facts.st_mode))
        return EEXIST;
    clvi_text temporary = {0};
    int code = 0;
    for (int attempt = 0; attempt < 100; attempt++) {
        temporary.length = 0;
        clvi_text_printf(&temporary, "%s.tmp-%ld-%d", link, (long)getpid(), attempt);
        if (temporary.failed) {
            code = ENOMEM;
            break;
        }
        code = symlink(target, temporary.data) == 0 ? 0 : errno;
        if (code != EEXIST)
            break;
    }
    if (code == 0 && rename(temporary.data, link) != 0) {
        code = errno;
        unlink(temporary.data);
    }
    clvi_text_fini(&temporary);
    return code;
}

void clvi_run_set_last(const char *run)
{
    clvi_text folder = {0}, link = {0};
    size_t length = strlen(run);
    while (length > 1 && run[length - 1] == '/')
        length--;
    clvi_text_append_n(&folder, run, length);
    char *slash = folder.failed ? NULL : strrchr(folder.data, '/');
    const char *name = slash != NULL ? slash + 1 : clvi_text_get(&folder);
    clvi_text_append_n(&link, run, slash != NULL ? (size_t)(slash - folder.data) + 1 : 0);
    clvi_text_append(&link, last_link);
    const int code = folder.failed || link.failed ? ENOMEM : replace_link(name, link.data);
    if (code != 0)
        clvi_log(CLVI_LOG_WARN, "%s: cannot point 'last' at this run: %s", run, strerror(code));
    clvi_text_fini(&folder);
    clvi_text_fini(&link);
}

static bool is_run(const char *folder)
{
    return clvi_has_file(folder, CLVI_RUN_CONFIG);
}

clv_status clvi_run_config(const char *folder, clvi_config **out, clv_error *error)
{
    char *path = clvi_path_join(folder, CLVI_RUN_CONFIG);
    const clvi_config_source source = {.name = path};
    const clv_status status =
        path != NULL ? clvi_config_load(&source, out, error) : out_of_memory(folder, error);
    clvi_free(path);
    return status;
}

clv_status clvi_run_list(const char *output, char ***names, size_t *count, clv_error *error)
{
    if (output[0] == '\0')
        output = ".";
    char **all = NULL;
    size_t found = 0, kept = 0;
    if (clvi_is_dir(output))
        CLV_TRY(clvi_dir_list(output, &all, &found, error));
    for (size_t i = 0; i < found; i++) {
        char *folder = clvi_path_join(output, all[i]);
        const bool wanted = folder != NULL && strcmp(all[i], last_link) != 0 && is_run(folder);
        const bool exhausted = folder == NULL;
        clvi_free(folder);
        if (exhausted) {
            for (size_t j = i; j < found; j++)
                clvi_free(all[j]);
            clvi_names_free(all, kept);
            return out_of_memory(output, error);
        }
        if (wanted)
            all[kept++] = all[i];
        else
            clvi_free(all[i]);
    }
    *names = all;
    *count = kept;
    return CLV_OK;
}

/* OUTPUT/last with the link's target in its place, so that messages name the run itself. NULL:
 * there is no such link, or it leads to no run. */
static char *resolve_last(const char *output)
{
    char target[PATH_MAX];
    char *link = clvi_path_join(output, last_link), *folder = NULL;
    const ssize_t length = link != NULL ? readlink(link, target, sizeof(target) - 1) : -1;
    if (length > 0) {
        target[length] = '\0';
        folder = target[0] == '/' ? clvi_strdup(target) : clvi_path_join(output, target);
    }
    clvi_free(link);
    if (folder != NULL && !is_run(folder)) {
        clvi_free(folder);
        folder = NULL;
    }
    return folder;
}

/* Says that there is no such run, and what there is. */
static clv_status not_found(const char *output, const char *what, clv_error *error)
{
    char shown[128], advice[320] = "";
    clvi_printable(what, shown, sizeof(shown));
    clvi_path_advise(what, advice, sizeof(advice));
    char **names = NULL;
    size_t count = 0;
    CLV_TRY(clvi_run_list(output, &names, &count, error));
    const bool path = strchr(what, '/') != NULL;
    const char *near = clvi_nearest(clvi_path_name(what), (const char *const *)names, count);
    const char *const newest[] = {last_link};
    if (near == NULL && count > 0 && !path)
        near = clvi_nearest(what, newest, 1);
    clv_status status;
    if (count == 0)
        status = clvi_fail(error, CLV_E_USAGE, CLV_HERE,
                           "no run '%s': there is none in %s/ yet; `conclave train` makes them",
                           shown, output);
    else if (path && near != NULL)
        status = clvi_fail(error, CLV_E_USAGE, CLV_HERE,
                           "no run '%s': that is no folder with a %s; did you mean '%s' in %s/?",
                           shown, CLVI_RUN_CONFIG, near, output);
    else if (path)
        status =
            clvi_fail(error, CLV_E_USAGE, CLV_HERE, "no run '%s': that is no folder with a %s%s",
                      shown, CLVI_RUN_CONFIG, advice);
    else if (near != NULL)
        status = clvi_fail(error, CLV_E_USAGE, CLV_HERE, "no run '%s' in %s/; did you mean '%s'?",
                           shown, output, near);
    else
        status = clvi_fail(error, CLV_E_USAGE, CLV_HERE,
                           "no run '%s' in %s/; `conclave runs` lists them", shown, output);
    clvi_names_free(names, count);
    return status;
}

bool clvi_run_meant(const char *what)
{
    return strcmp(what, last_link) == 0 ||
           (clvi_is_dir(what) && (strchr(what, '/') != NULL || is_run(what)));
}

clv_status clvi_run_find(const char *output, const char *what, char **path, clv_error *error)
{
    if (output[0] == '\0')
        output = ".";
    char *folder = NULL;
    if (strcmp(what, last_link) == 0) {
        folder = resolve_last(output);
    } else if (what[0] != '\0' && strchr(what, '/') == NULL) {
        folder = clvi_path_join(output, what);
        if (folder != NULL && !is_run(folder)) {
            clvi_free(folder);
            folder = NULL;
        }
    }
    if (folder == NULL && what[0] != '\0' && is_run(what)) {
        folder = clvi_strdup(what);
        if (folder == NULL)
            return out_of_memory(what, error);
    }
    if (folder == NULL)
        return not_found(output, what, error);
    *path = folder;
    return CLV_OK;
}

clv_status clvi_run_lock(const char *run, int *lock, clv_error *error)
{
    const int folder = open(run, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const int code = folder < 0 || flock(folder, LOCK_EX | LOCK_NB) != 0 ? errno : 0;
    if (folder >= 0 && code != 0)
        close(folder);
    if (code == EWOULDBLOCK)
        CLV_FAIL(error, CLV_E_USAGE, "%s is being trained by another process", run);
    *lock = code == 0 ? folder : -1;
    return CLV_OK;
}

void clvi_run_unlock(int lock)
{
    if (lock >= 0)
        close(lock);
}
