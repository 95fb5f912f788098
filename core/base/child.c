/* See child.h. */
#include "base/child.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* ---- Starting ---- */

static bool sets_same(const char *a, const char *b)
{
    const size_t length = strcspn(a, "=");
    return length == strcspn(b, "=") && memcmp(a, b, length) == 0;
}

/* This process's environment with `more` in place of what it sets; NULL: out of memory. */
static const char **make_environment(const char *const *more)
{
    size_t count = 0, extra = 0, at = 0;
    while (environ[count] != NULL)
        count++;
    while (more != NULL && more[extra] != NULL)
        extra++;
    const char **list = clvi_calloc(count + extra + 1, sizeof(*list));
    if (list == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        bool replaced = false;
        for (size_t k = 0; k < extra; k++)
            replaced |= sets_same(environ[i], more[k]);
        if (!replaced)
            list[at++] = environ[i];
    }
    for (size_t k = 0; k < extra; k++)
        list[at++] = more[k];
    return list;
}

/* argv[0] and the arguments; NULL: out of memory. */
static const char **make_arguments(const char *program, const char *const *arguments)
{
    size_t count = 0;
    while (arguments[count] != NULL)
        count++;
    const char **list = clvi_calloc(count + 2, sizeof(*list));
    if (list == NULL)
        return NULL;
    list[0] = program;
    memcpy(list + 1, arguments, count * sizeof(*list));
    return list;
}

/* Where a child's descriptors lead. Returns an errno value. */
static int redirect(posix_spawn_file_actions_t *actions, const clvi_child_desc *desc, int to)
{
    const int from[] = {STDERR_FILENO, desc->input, desc->output, to};
    const int as[] = {STDOUT_FILENO, STDIN_FILENO, CLVI_CHILD_OUTPUT,
                      desc->errors ? STDERR_FILENO : CLVI_CHILD_REPORT};
    int code = 0;
    for (int i = 0; i < 4 && code == 0; i++)
        if (from[i] > 0)
            code = posix_spawn_file_actions_adddup2(actions, from[i], as[i]);
    if (code == 0 && desc->errors)
        code = posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    return code;
}

/* Spawns with `to` as the way of its report. Returns an errno value. */
static int spawn(const clvi_child_desc *desc, const char **arguments, const char **environment,
                 int to, pid_t *child)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int code = posix_spawn_file_actions_init(&actions);
    if (code != 0)
        return code;
    code = posix_spawnattr_init(&attributes);
    if (code == 0 && desc->stop != NULL)
        code = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    if (code == 0) {
        code = redirect(&actions, desc, to);
        if (code == 0)
            code = posix_spawn(child, arguments[0], &actions, &attributes, (char *const *)arguments,
                               (char *const *)environment);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return code;
}

static clv_status start(const clvi_child_desc *desc, int to, pid_t *child, clv_error *error)
{
    char itself[PATH_MAX];
    const char *program = desc->program;
    if (program == NULL) {
        const ssize_t length = readlink("/proc/self/exe", itself, sizeof(itself) - 1);
        if (length <= 0)
            return clvi_fail_errno(error, errno, CLV_HERE, "the command does not find itself");
        itself[length] = '\0';
        program = itself;
    }
    const char **arguments = make_arguments(program, desc->arguments);
    const char **environment = make_environment(desc->environment);
    int code = ENOMEM;
    if (arguments != NULL && environment != NULL)
        code = spawn(desc, arguments, environment, to, child);
    clvi_free(arguments);
    clvi_free(environment);
    if (code != 0)
        return clvi_fail_errno(error, code, CLV_HERE, "%s cannot be started", program);
    return CLV_OK;
}

/* ---- Listening ---- */

/* Hands over the whole lines of `text` and keeps the rest. */
static void take_lines(const clvi_child_desc *desc, char *text, size_t *length)
{
    size_t from = 0;
    for (char *end; (end = memchr(text + from, '\n', *length - from)) != NULL;) {
        *end = '\0';
        desc->line(desc->user, text + from);
        from = (size_t)(end - text) + 1;
    }
    memmove(text, text + from, *length - from);
    *length -= from;
}

/* Reads until the child closes its end, or is silent for too long (true). */
static bool listen_to(const clvi_child_desc *desc, int from, pid_t child)
{
    enum { STOP_SECONDS = 1 };
    char text[4096];
    size_t length = 0;
    double last = clvi_now();
    bool asked = false;
    for (;;) {
        double left = last + desc->silence_seconds - clvi_now();
        struct pollfd wait = {.fd = from, .events = POLLIN};
        if (left <= 0)
            return true;
        if (desc->stop != NULL && *desc->stop != 0 && !asked) {
            kill(child, SIGTERM);
            asked = true;
        }
        if (desc->stop != NULL && left > STOP_SECONDS)
            left = STOP_SECONDS;
        const int ready = poll(&wait, 1, left > 1e6 ? 1000000000 : (int)(left * 1000) + 1);
        if (ready <= 0)
            continue; /* a signal, or too early */
        if (length == sizeof(text) - 1)
            length = 0; /* no line is so long */
        const ssize_t got = read(from, text + length, sizeof(text) - 1 - length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        length += (size_t)got;
        last = clvi_now();
        take_lines(desc, text, &length);
    }
}

/* Waits for the end of a child that has closed its report, and kills it when it goes on. */
static int reap(pid_t child, double seconds, bool *killed)
{
    const double until = clvi_now() + seconds;
    int status = 0;
    for (;;) {
        const pid_t ended = waitpid(child, &status, *killed ? 0 : WNOHANG);
        if (ended == child || (ended < 0 && errno != EINTR))
            return status;
        if (!*killed && clvi_now() > until) {
            kill(child, SIGKILL);
            *killed = true;
        }
        if (ended == 0 && !*killed) {
            const struct timespec pause = {0, 2000000};
            nanosleep(&pause, NULL);
        }
    }
}

/* Copies of descriptors, out of the way of those that a child gets; 0 stays 0, -1: none left. */
static int lift(int descriptor)
{
    return descriptor > 0 ? fcntl(descriptor, F_DUPFD_CLOEXEC, CLVI_CHILD_OUTPUT + 1) : 0;
}

static void drop(int descriptor)
{
    if (descriptor > 0)
        close(descriptor);
}

/* Starts the child; *from is where it reports to. */
static clv_status open_child(const clvi_child_desc *desc, pid_t *child, int *from, clv_error *error)
{
    int ends[2];
    if (pipe(ends) != 0)
        return clvi_fail_errno(error, errno, CLV_HERE, "no pipe to a child process");
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    clvi_child_desc lifted = *desc;
    const int to = lift(ends[1]);
    const int code = errno;
    lifted.input = lift(desc->input);
    lifted.output = lift(desc->output);
    close(ends[1]);
    clv_status status;
    if (to < 0 || lifted.input < 0 || lifted.output < 0)
        status = clvi_fail_errno(error, code, CLV_HERE, "no pipe to a child process");
    else
        status = start(&lifted, to, child, error);
    drop(to);
    drop(lifted.input);
    drop(lifted.output);
    if (status == CLV_OK)
        *from = ends[0];
    else
        close(ends[0]);
    return status;
}

clv_status clvi_child_run(const clvi_child_desc *desc, clvi_child_end *end, clv_error *error)
{
    pid_t child = 0;
    int from = -1;
    CLV_TRY(open_child(desc, &child, &from, error));
    bool silent = listen_to(desc, from, child);
    close(from);
    if (silent)
        kill(child, SIGKILL);
    const int how = reap(child, desc->silence_seconds, &silent);
    *end = (clvi_child_end){.silent = silent,
                            .signal = WIFSIGNALED(how) ? WTERMSIG(how) : 0,
                            .status = WIFEXITED(how) ? WEXITSTATUS(how) : 0};
    return CLV_OK;
}

/* Whose shadow of the whole memory no limit would let through. */
#if defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER true
#endif
#endif
#ifndef ADDRESS_SANITIZER
#define ADDRESS_SANITIZER false
#endif

static void limit(int what, uint64_t most)
{
    const struct rlimit limits = {(rlim_t)most, (rlim_t)most};
    (void)setrlimit(what, &limits); /* one that cannot be set is stricter already */
}

clv_status clvi_child_begin(const clvi_child_limits *limits, FILE **report, clv_error *error)
{
    if (fcntl(CLVI_CHILD_REPORT, F_GETFD) < 0 || (*report = fdopen(CLVI_CHILD_REPORT, "w")) == NULL)
        CLV_FAIL(error, CLV_E_USAGE, "this is a part of another subcommand, not for use by hand");
    fcntl(CLVI_CHILD_REPORT, F_SETFD, FD_CLOEXEC);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_CPU, limits->cpu_seconds);
    /* Not the address space (RLIMIT_AS), of which drivers of GPUs reserve far more than they use.
     */
    if (limits->memory > 0 && !ADDRESS_SANITIZER)
        limit(RLIMIT_DATA, limits->memory);
    if (limits->file > 0)
        limit(RLIMIT_FSIZE, limits->file);
    return CLV_OK;
}
