/* The line that says what is being compiled: from a thread of its own, since a compiler does not
 * come back before it is done. */
#include "runtime/compiling.h"

#include "base/clock.h"
#include "base/process.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

/* Seconds of compiling before the first line and between lines; what was not followed by more for
 * as long as GAP does not count any more. And seconds of one kernel from which on nothing can have
 * come from a cache. */
static const double first_line = 1, next_line = 5, gap = 5, from_cache = 0.1;

struct clvi_compiling {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const char *device;           /* its name */
    const char *program, *kernel; /* under way; program NULL: nothing */
    double began, ended;          /* of what is under way, of what was before it */
    double spent;                 /* before `began`, in this row */
    double due;                   /* seconds of the row at which the next line is to come */
    unsigned count;               /* done in this row */
    bool stop;
};

static void say(struct clvi_compiling *c)
{
    clvi_log(CLVI_LOG_INFO, "compiling kernels for %s, kept for the next time: %s%s%s, %u done",
             c->device, c->program, c->kernel != NULL ? ":" : ".cl",
             c->kernel != NULL ? c->kernel : "", c->count);
    c->due += next_line;
}

static void *watch(void *user)
{
    struct clvi_compiling *c = user;
    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        if (c->program == NULL) {
            pthread_cond_wait(&c->changed, &c->lock);
            continue;
        }
        const double left = c->due - c->spent - (clvi_now() - c->began);
        if (left <= 0) {
            say(c);
            continue;
        }
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        const double at = (double)until.tv_nsec * 1e-9 + left;
        until.tv_sec += (time_t)at;
        until.tv_nsec = (long)((at - (double)(time_t)at) * 1e9);
        pthread_cond_timedwait(&c->changed, &c->lock, &until);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* NULL: nobody will say anything. */
static struct clvi_compiling *make(const clvi_device *device)
{
    struct clvi_compiling *c = clvi_calloc(1, sizeof(*c));
    pthread_condattr_t monotonic;
    if (c == NULL)
        return NULL;
    c->device = device->found->short_name;
    c->due = first_line;
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&c->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&c->thread, NULL, watch, c) == 0)
        return c;
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    clvi_free(c);
    return NULL;
}

void clvi_compiling_begin(clvi_device *device, const char *program, const char *kernel)
{
    if (device->compiling == NULL)
        device->compiling = make(device);
    struct clvi_compiling *c = device->compiling;
    if (c == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    c->began = clvi_now();
    if (c->began - c->ended > gap) {
        c->spent = 0;
        c->due = first_line;
        c->count = 0;
    }
    c->program = program;
    c->kernel = kernel;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

void clvi_compiling_end(clvi_device *device)
{
    struct clvi_compiling *c = device->compiling;
    if (c == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    c->ended = clvi_now();
    const double took = c->ended - c->began;
    c->spent += took;
    c->count += c->kernel != NULL;
    c->program = c->kernel = NULL;
    pthread_mutex_unlock(&c->lock);
    if (took > from_cache)
        clvi_rehearsal_start_helpers(device);
}

void clvi_compiling_fini(clvi_device *device)
{
    struct clvi_compiling *c = device->compiling;
    clvi_rehearsal_fini(device);
    if (c == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    clvi_free(c);
    device->compiling = NULL;
}
