/* Memory of buffers that lie in the host's memory gets its pages when it is first touched, which
 * for the hundreds of megabytes of a training takes a fifth of a second and more, and the first
 * step waits for it. So a thread touches what will be used soon, while programs are built and
 * weights are drawn. Not by madvise: MADV_POPULATE_WRITE keeps all other threads from mapping
 * anything, and each kernel is a library to be mapped. */
#include "base/process.h"
#include "runtime/device.h"

#include <pthread.h>
#include <sched.h>
#include <unistd.h>

/* Touched at once: destroying a buffer waits for as much. */
enum { STEP_BYTES = 2 << 20 };

/* What is left of a buffer. */
typedef struct clvi_range {
    const clvi_buf *buf;
    unsigned char *at;
    size_t bytes;
} clvi_range;

struct clvi_pages {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    clvi_range *ranges;
    size_t count, capacity, next;
    bool stop;
};

/* Writes a 0 where one is: a page that holds anything else has been given already, and what kernels
 * write at the same time stays. */
static void touch(clvi_range *range, size_t page)
{
    const size_t bytes = range->bytes < STEP_BYTES ? range->bytes : STEP_BYTES;
    for (size_t i = 0; i < bytes; i += page) {
        unsigned char nothing = 0;
        (void)__atomic_compare_exchange_n(range->at + i, &nothing, 0, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED);
    }
    range->at += bytes;
    range->bytes -= bytes;
}

static void *run(void *user)
{
    struct clvi_pages *pages = user;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    pthread_mutex_lock(&pages->lock);
    while (!pages->stop) {
        if (pages->next == pages->count) {
            pthread_cond_wait(&pages->changed, &pages->lock);
            continue;
        }
        clvi_range *range = &pages->ranges[pages->next];
        if (range->bytes > 0)
            touch(range, page);
        if (range->bytes == 0)
            pages->next++;
        /* Whoever waits for the lock is to have it between two steps. */
        pthread_mutex_unlock(&pages->lock);
        sched_yield();
        pthread_mutex_lock(&pages->lock);
    }
    pthread_mutex_unlock(&pages->lock);
    return NULL;
}

static struct clvi_pages *start(void)
{
    struct clvi_pages *pages = clvi_calloc(1, sizeof(*pages));
    if (pages == NULL)
        return NULL;
    pthread_mutex_init(&pages->lock, NULL);
    pthread_cond_init(&pages->changed, NULL);
    if (pthread_create(&pages->thread, NULL, run, pages) == 0)
        return pages;
    pthread_cond_destroy(&pages->changed);
    pthread_mutex_destroy(&pages->lock);
    clvi_free(pages);
    return NULL;
}

void clvi_buf_expect(clvi_buf *buf)
{
    clvi_device *device = buf->device;
    if (buf->pages_bytes == 0 || clvi_core_count() < 2)
        return;
    if (device->pages == NULL)
        device->pages = start();
    struct clvi_pages *pages = device->pages;
    if (pages == NULL)
        return;
    pthread_mutex_lock(&pages->lock);
    if (pages->next == pages->count)
        pages->next = pages->count = 0;
    if (clvi_grow((void **)&pages->ranges, &pages->capacity, pages->count + 1,
                  sizeof(*pages->ranges), NULL) == CLV_OK)
        pages->ranges[pages->count++] = (clvi_range){buf, buf->pages, buf->pages_bytes};
    pthread_cond_signal(&pages->changed);
    pthread_mutex_unlock(&pages->lock);
}

void clvi_pages_forget(const clvi_buf *buf)
{
    struct clvi_pages *pages = buf->device->pages;
    if (pages == NULL)
        return;
    pthread_mutex_lock(&pages->lock);
    for (size_t i = pages->next; i < pages->count; i++)
        if (pages->ranges[i].buf == buf)
            pages->ranges[i].bytes = 0;
    pthread_mutex_unlock(&pages->lock);
}

void clvi_pages_fini(clvi_device *device)
{
    struct clvi_pages *pages = device->pages;
    if (pages == NULL)
        return;
    pthread_mutex_lock(&pages->lock);
    pages->stop = true;
    pthread_cond_signal(&pages->changed);
    pthread_mutex_unlock(&pages->lock);
    pthread_join(pages->thread, NULL);
    pthread_cond_destroy(&pages->changed);
    pthread_mutex_destroy(&pages->lock);
    clvi_free(pages->ranges);
    clvi_free(pages);
    device->pages = NULL;
}
