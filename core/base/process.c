/* The one file of process-wide state: allocator table, log sink, environment. */
#define _GNU_SOURCE
#include "base/process.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static const clvi_allocator c_library = {malloc, realloc, free};
static clvi_allocator allocator_now = {malloc, realloc, free};

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static clvi_log_sink sink_now;
static void *sink_user;

static pthread_mutex_t build_lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int clblast_users;

void clvi_set_allocator(const clvi_allocator *allocator)
{
    allocator_now = allocator != NULL ? *allocator : c_library;
}

clvi_allocator clvi_get_allocator(void)
{
    return allocator_now;
}

void clvi_set_log_sink(clvi_log_sink sink, void *user)
{
    pthread_mutex_lock(&log_lock);
    sink_now = sink;
    sink_user = user;
    pthread_mutex_unlock(&log_lock);
}

void clvi_log(clvi_log_level level, const char *format, ...)
{
    char brief[1024];
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int length = vsnprintf(brief, sizeof(brief), format, arguments);
    va_end(arguments);

    /* A long line (a build log) needs memory; without any it is cut. */
    char *whole = NULL;
    if (length >= (int)sizeof(brief))
        whole = clvi_malloc((size_t)length + 1);
    if (whole != NULL)
        vsnprintf(whole, (size_t)length + 1, format, again);
    va_end(again);

    if (length >= 0) {
        pthread_mutex_lock(&log_lock);
        if (sink_now != NULL)
            sink_now(sink_user, level, whole != NULL ? whole : brief);
        pthread_mutex_unlock(&log_lock);
    }
    clvi_free(whole);
}

void clvi_build_lock(void)
{
    pthread_mutex_lock(&build_lock);
}

void clvi_build_unlock(void)
{
    pthread_mutex_unlock(&build_lock);
}

size_t clvi_core_count(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (size_t)CPU_COUNT(&set) : 1;
}

int clvi_clblast_users(int change)
{
    return atomic_fetch_add(&clblast_users, change) + change;
}

static const struct {
    const char *name, *text;
} variables[CLVI_ENV_COUNT] = {
#define ROW(symbol, name, text) {name, text},
    CLVI_ENV_LIST(ROW)
#undef ROW
};

const char *clvi_env_get(clvi_env variable)
{
    CLV_ASSERT(variable < CLVI_ENV_COUNT);
    const char *value = getenv(variables[variable].name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

const char *clvi_env_name(clvi_env variable)
{
    CLV_ASSERT(variable < CLVI_ENV_COUNT);
    return variables[variable].name;
}

const char *clvi_env_text(clvi_env variable)
{
    CLV_ASSERT(variable < CLVI_ENV_COUNT);
    return variables[variable].text;
}
