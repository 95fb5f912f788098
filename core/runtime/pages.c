/* Memory of buffers that lie in the host's memory gets its pages when it is first touched, which
 * for the hundreds of megabytes of a training takes a fifth of a second and more, and the first
 * step waits for it. So a thread touches what will be used soon, while programs are built and
 * weights are drawn. Not by madvise: MADV_POPULATE_WRITE keeps all other threads from mapping
 * anything, and each kernel is a library to be mapped. */
#include "base/process.h"
#include "runtime/device.h"

#include <pthread.h>
#include <unistd.h>

/* Touched at once: destroying the buffer that is being touched waits for as much. */
enum { STEP_BYTES = 2 << 20 };

/* What is left of a buffer; of one that was forgotten: 0 bytes. */
typedef struct clvi_range {
    const clvi_buf *buf;
    unsigned char *at;
    size_t bytes;
} clvi_range;

struct clvi_pages {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* All below is the lock's, which is never held while memory is touched. */
    clvi_range *ranges;
    size_t count, capacity, next;
    const clvi_buf *busy; /* whose memory is being touched, without the lock */
    size_t touched;       /* bytes, of all buffers */
    bool stop;
};

/* Writes a 0 where one is: a page that holds anything else has been given already, and what kernels
 * write at the same time stays. */
static void touch(unsigned char *at, size_t bytes, size_t page)
{
    for (size_t i = 0; i < bytes; i += page) {
        unsigned char nothing = 0;
        (void)__atomic_compare_exchange_n(at + i, &nothing, 0, false, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED);
    }
}

/* The next piece of a buffer. The lock is held, but for the time of touching. */
static void take_step(struct clvi_pages *pages, size_t page)
{
    const clvi_range now = pages->ranges[pages->next];
    const size_t bytes = now.bytes < STEP_BYTES ? now.bytes : STEP_BYTES;
    pages->busy = now.buf;
    pthread_mutex_unlock(&pages->lock);
    touch(now.at, bytes, page);
    pthread_mutex_lock(&pages->lock);
    pages->busy = NULL;
    pages->touched += bytes;
    clvi_range *range = &pages->ranges[pages->next]; /* where it is by now */
    if (range->bytes > 0) {
        range->at += bytes;
        range->bytes -= bytes;
    }
    pthread_cond_broadcast(&pages->changed);
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
        if (pages->ranges[pages->next].bytes > 0)
            take_step(pages, page);
        else
            pages->next++;
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

void clvi_buf_expect(clvi_buf *buf, size_t bytes)
{
    clvi_device *device = buf->device;
    bytes = bytes < buf->bytes ? bytes : buf->bytes;
    device->counters.expected_bytes += bytes;
    bytes = bytes < buf->pages_bytes ? bytes : buf->pages_bytes;
    if (bytes == 0 || clvi_core_count() < 2)
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
        pages->ranges[pages->count++] = (clvi_range){buf, buf->pages, bytes};
    pthread_cond_broadcast(&pages->changed);
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
    while (pages->busy == buf)
        pthread_cond_wait(&pages->changed, &pages->lock);
    pthread_mutex_unlock(&pages->lock);
}

size_t clvi_pages_touched(const clvi_device *device)
{
    struct clvi_pages *pages = device->pages;
    if (pages == NULL)
        return 0;
    pthread_mutex_lock(&pages->lock);
    const size_t touched = pages->touched;
    pthread_mutex_unlock(&pages->lock);
    return touched;
}

void clvi_pages_fini(clvi_device *device)
{
    struct clvi_pages *pages = device->pages;
    if (pages == NULL)
        return;
    pthread_mutex_lock(&pages->lock);
    pages->stop = true;
    pthread_cond_broadcast(&pages->changed);
    pthread_mutex_unlock(&pages->lock);
    pthread_join(pages->thread, NULL);
    pthread_cond_destroy(&pages->changed);
    pthread_mutex_destroy(&pages->lock);
    clvi_free(pages->ranges);
    clvi_free(pages);
    device->pages = NULL;
}
