/* See draw.h. Each four elements have a counter of their own, so any part can be drawn by itself.
 */
#include "graph/draw.h"

#include "base/process.h"

#include <math.h>
#include <pthread.h>

/* A thread costs as much as some hundred elements. */
enum { MOST_SHARES = 32, SHARE_LEAST = 1 << 14 };

typedef struct share {
    pthread_t thread;
    bool started;
    const clvi_segment *segment;
    clvi_philox_key key;
    int64_t from, count;
    float *values;
} share;

static void draw_four(const clvi_segment *s, clvi_philox_key key, uint64_t at, float *four)
{
    uint32_t words[4];
    clvi_philox(key, (uint32_t)(at / 4), (uint32_t)(at >> 34), 0, 0, words);
    for (int j = 0; j < 4; j += 2) {
        const double u = clvi_philox_unit(words[j]), v = clvi_philox_unit(words[j + 1]);
        if (s->init == CLV_INIT_UNIFORM) {
            four[j] = (float)(s->a * (2 * u - 1)), four[j + 1] = (float)(s->a * (2 * v - 1));
        } else {
            const double r = s->a * sqrt(-2 * log(u)), angle = 2 * 3.14159265358979323846 * v;
            four[j] = (float)(r * cos(angle)), four[j + 1] = (float)(r * sin(angle));
        }
    }
}

static void *draw_share(void *user)
{
    const share *own = user;
    for (int64_t i = 0; i < own->count; i += 4) {
        float four[4];
        const int64_t left = own->count - i;
        draw_four(own->segment, own->key, (uint64_t)(own->from + i), four);
        memcpy(own->values + i, four, sizeof(float) * (size_t)(left < 4 ? left : 4));
    }
    return NULL;
}

void clvi_draw(const clvi_segment *segment, clvi_philox_key key, int64_t from, int64_t count,
               float *values)
{
    share shares[MOST_SHARES];
    const int64_t cores = (int64_t)clvi_core_count(), fit = count / SHARE_LEAST;
    int64_t wanted = cores < fit ? cores : fit;
    wanted = wanted < 1 ? 1 : wanted > MOST_SHARES ? MOST_SHARES : wanted;
    const int64_t each = (count / wanted + 4) / 4 * 4;
    int64_t used = 0;
    for (int64_t begin = 0; begin < count; begin += each) {
        const int64_t left = count - begin;
        share *own = &shares[used++];
        *own = (share){.segment = segment,
                       .key = key,
                       .from = from + begin,
                       .count = left < each ? left : each,
                       .values = values + begin};
        /* The last one is this thread's. */
        own->started = left > each && pthread_create(&own->thread, NULL, draw_share, own) == 0;
        if (!own->started)
            draw_share(own);
    }
    for (int64_t i = 0; i < used; i++)
        if (shares[i].started)
            pthread_join(shares[i].thread, NULL);
}
