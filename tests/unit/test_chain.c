/* core/runtime/chain.c: commands on a device, of which launches are put together where that is
 * possible, leave what they do one by one: which the host computes. Exit 77: no device. */
#include "runtime/chain.h"
#include "runtime/profile.h"
#include "runtime/wide.h"
#include "short_memory.h"
#include "test_device.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum {
    PICTURES = 10,
    HEIGHT = 8,
    WIDTH = 20,
    ROWS = PICTURES * HEIGHT,
    FLOATS = ROWS * WIDTH,
    PLACES = 12,
    BETWEEN = 8, /* elements by which a place begins later in its buffer than the one before */
    KEPT_TABLES = 256, /* chain.c: TABLES */
    MOST_LINKS = 1024, /* chain.c */
    SEEN = 8           /* chain.cl: CHAIN_BUFFERS */
};

static clvi_device *device;

/* Places for pictures, each in a buffer of its own, and what has to be in them. */
typedef struct bank {
    clvi_device *device;
    clvi_buf *bufs[PLACES];
    float (*host)[FLOATS];
    float row[FLOATS]; /* scratch */
    uint32_t random;
    int open; /* calls of clvi_chain_begin */
} bank;

static uint32_t draw(bank *b, uint32_t below)
{
    b->random = b->random * 1664525u + 1013904223u;
    return (b->random >> 8) % below;
}

static clvi_view view_of(const bank *b, size_t place)
{
    return (clvi_view){b->bufs[place], BETWEEN * place};
}

static size_t byte_of(size_t place, size_t element)
{
    return (BETWEEN * place + element) * sizeof(float);
}

/* ---- Commands, and what they do on the host ---- */

/* How pictures are copied from a place to another: `n` of them, moved down and to the right, by
 * work-groups of `share` rows. */
typedef struct move {
    size_t from, to;
    int n, down, right, share;
} move;

static void move_on_host(bank *b, const move *m)
{
    for (int r = 0; r < m->n * HEIGHT; r++)
        for (int x = 0; x < WIDTH; x++) {
            const int row = r % HEIGHT - m->down, column = x - m->right;
            const bool inside = row >= 0 && row < HEIGHT && column >= 0;
            b->host[m->to][r * WIDTH + x] =
                inside ? b->host[m->from][(r / HEIGHT * HEIGHT + row) * WIDTH + column] : 0;
        }
}

static clv_status launch_move(const bank *b, const move *m, clv_error *error)
{
    const clvi_wide wide = clvi_wide_of(b->device);
    const int numbers[] = {m->n, HEIGHT, WIDTH, 1, HEIGHT, WIDTH, m->down, m->right, 0, m->share};
    clvi_launch l;
    clvi_launch_begin(&l, b->device, "conv2d", "conv2d_pad", wide.options);
    clvi_arg_view(&l, view_of(b, m->to));
    clvi_arg_view(&l, view_of(b, m->from));
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
        clvi_arg_int(&l, numbers[i]);
    return clvi_launch_run(&l, (size_t)((m->n * HEIGHT + m->share - 1) / m->share), 1, 1, error);
}

static clv_status do_move(bank *b, const move *m, clv_error *error)
{
    move_on_host(b, m);
    return launch_move(b, m, error);
}

static clv_status random_move(bank *b, clv_error *error)
{
    move m = {.from = draw(b, PLACES),
              .n = 1 + (int)draw(b, PICTURES),
              .down = (int)draw(b, 5) - 2,
              .right = (int)draw(b, 3),
              .share = 1 + (int)draw(b, 4)};
    m.to = (m.from + 1 + draw(b, PLACES - 1)) % PLACES;
    return do_move(b, &m, error);
}

/* A kernel that is none of a chain: adds to all that is in a place. */
static clv_status raise(bank *b, size_t place, float by, clv_error *error)
{
    static const char text[] = "__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void\n"
                               "raise(__global float *x, ulong x_at, int n, float by)\n"
                               "{\n"
                               "    for (int i = 0; i < n; i++)\n"
                               "        x[x_at + i] += by;\n"
                               "}\n";
    clvi_launch l;
    for (int i = 0; i < FLOATS; i++)
        b->host[place][i] += by;
    CLV_TRY(clvi_device_add_source(b->device, "test.chain", text, error));
    clvi_launch_begin(&l, b->device, "test.chain", "raise", "");
    clvi_arg_view(&l, view_of(b, place));
    clvi_arg_int(&l, FLOATS);
    clvi_arg_float(&l, by);
    return clvi_launch_run(&l, 1, 1, 1, error);
}

static clv_status fill(bank *b, size_t place, size_t from, size_t count, float value,
                       clv_error *error)
{
    uint32_t pattern;
    memcpy(&pattern, &value, sizeof(pattern));
    for (size_t i = from; i < from + count; i++)
        b->host[place][i] = value;
    return clvi_fill(b->device, b->bufs[place], byte_of(place, from), count * sizeof(float),
                     pattern, error);
}

static clv_status upload(bank *b, size_t place, size_t from, size_t count, clv_error *error)
{
    for (size_t i = from; i < from + count; i++)
        b->host[place][i] = (float)draw(b, 1000);
    return clvi_upload(b->device, b->bufs[place], byte_of(place, from), &b->host[place][from],
                       count * sizeof(float), error);
}

static clv_status copy(bank *b, size_t from, size_t to, clv_error *error)
{
    memcpy(b->host[to], b->host[from], sizeof(*b->host));
    return clvi_copy(b->device, b->bufs[from], byte_of(from, 0), b->bufs[to], byte_of(to, 0),
                     sizeof(*b->host), error);
}

/* What is in a place is what has to be. */
static clv_status look(bank *b, size_t place, clv_error *error)
{
    CLV_TRY(
        clvi_download(b->device, b->bufs[place], byte_of(place, 0), b->row, sizeof(b->row), error));
    for (int i = 0; i < FLOATS; i++)
        if (memcmp(&b->row[i], &b->host[place][i], sizeof(float)) != 0)
            CLV_FAIL(error, CLV_E_INTERNAL, "place %zu, element %d: %g for %g", place, i,
                     (double)b->row[i], (double)b->host[place][i]);
    return CLV_OK;
}

static clv_status look_at_all(bank *b, clv_error *error)
{
    for (size_t p = 0; p < PLACES; p++)
        CLV_TRY(look(b, p, error));
    return CLV_OK;
}

static void begin(bank *b)
{
    clvi_chain_begin(b->device);
    b->open++;
}

static clv_status end(bank *b, clv_error *error)
{
    b->open--;
    return clvi_chain_end(b->device, error);
}

static clv_status random_command(bank *b, clv_error *error)
{
    const size_t place = draw(b, PLACES), other = (place + 1 + draw(b, PLACES - 1)) % PLACES;
    const size_t from = draw(b, FLOATS), count = 1 + draw(b, (uint32_t)(FLOATS - from));
    switch (draw(b, 40)) {
    case 0:
        return fill(b, place, from, count, (float)draw(b, 1000), error);
    case 1:
        return upload(b, place, from, count, error);
    case 2:
        return copy(b, place, other, error);
    case 3:
        return look(b, place, error);
    case 4:
        return raise(b, place, (float)draw(b, 8), error);
    case 5:
        return clvi_wait(b->device, error);
    case 6:
    case 7:
        if (b->open < 3)
            begin(b);
        return CLV_OK;
    case 8:
        return b->open > 0 ? end(b, error) : CLV_OK;
    default:
        return random_move(b, error);
    }
}

/* ---- Banks ---- */

static clv_status bank_init(bank *b, clvi_device *on, uint32_t seed, clv_error *error)
{
    *b = (bank){.device = on, .random = seed};
    b->host = calloc(PLACES, sizeof(*b->host));
    for (size_t p = 0; p < PLACES; p++) {
        CLV_TRY(clvi_buf_create(on, byte_of(p, FLOATS), "place", &b->bufs[p], error));
        CLV_TRY(upload(b, p, 0, FLOATS, error));
    }
    return CLV_OK;
}

static void bank_fini(bank *b)
{
    for (size_t p = 0; p < PLACES; p++)
        clvi_buf_destroy(b->bufs[p]);
    free(b->host);
}

static clvi_device_counters counters(const clvi_device *of)
{
    clvi_device_counters now;
    clvi_device_get_counters(of, &now);
    return now;
}

/* Its buffers, with those that it keeps for itself. */
static size_t buffers_of(const clvi_device *of)
{
    size_t count = 0;
    for (const clvi_buf *buf = of->buffers; buf != NULL; buf = buf->next)
        count++;
    return count;
}

/* Set-up and tear-down of a test. Not even what chains keep is left from the one before. */
static int open_bank(void **state)
{
    bank *b = malloc(sizeof(*b));
    *state = b;
    clvi_chain_fini(device);
    OK(bank_init(b, device, 1, error));
    return 0;
}

static int close_bank(void **state)
{
    bank_fini(*state);
    free(*state);
    return 0;
}

/* Whether launches are put together. PoCL can. */
static bool chains(const clvi_device *on)
{
    const bool asked = clvi_tuning_int(on, "chain") && !clvi_device_is_gpu_like(on) && !on->sync;
    if (on->found->pocl && strncmp(on->found->info.version, "OpenCL 3", 8) == 0)
        assert_true(on->found->atomics);
    return asked && on->found->atomics;
}

/* How many launches have been made; `wanted` where they are put together, `apart` elsewhere. */
static void expect_launches(const bank *b, uint64_t before, uint64_t wanted, uint64_t apart)
{
    assert_int_equal(counters(b->device).launches - before, chains(b->device) ? wanted : apart);
}

/* A move of everything from a place to the next; work-groups read what others have written. */
static clv_status step(bank *b, size_t from, size_t to, clv_error *error)
{
    const move m = {.from = from, .to = to, .n = PICTURES, .down = 1, .share = 3};
    return do_move(b, &m, error);
}

/* Moves to and fro between two places in one chain, the last links by a few pixels. */
static clv_status to_and_fro(bank *b, size_t links, clv_error *error)
{
    clv_status status = CLV_OK;
    begin(b);
    for (size_t i = 0; i < links && status == CLV_OK; i++) {
        const bool moves = i + 9 > links;
        const move m = {.from = i % 2,
                        .to = 1 - i % 2,
                        .n = PICTURES,
                        .down = moves ? 1 - 2 * (int)(i / 2 % 2) : 0,
                        .right = moves,
                        .share = 1 + (int)i % 5};
        status = do_move(b, &m, error);
    }
    const clv_status ended = end(b, status == CLV_OK ? error : NULL);
    return status == CLV_OK ? ended : status;
}

/* ---- One device ---- */

static void test_random_commands(void **state)
{
    bank *b = *state;
    for (int i = 0; i < 4000; i++)
        OK(random_command(b, error));
    while (b->open > 0)
        OK(end(b, error));
    OK(look_at_all(b, error));
}

static void test_more_buffers_than_a_chain_has(void **state)
{
    bank *b = *state;
    const uint64_t before = counters(device).launches;
    begin(b);
    for (size_t p = 0; p + 1 < PLACES; p++)
        OK(step(b, p, p + 1, error));
    expect_launches(b, before, 1, PLACES - 1);
    OK(end(b, error));
    assert_true(PLACES > SEEN && PLACES < 2 * SEEN);
    expect_launches(b, before, 2, PLACES - 1);
    OK(look_at_all(b, error));
}

/* It is a launch like others. */
static void test_chain_of_one(void **state)
{
    bank *b = *state;
    OK(step(b, 0, 1, error));
    const clvi_device_counters before = counters(device);
    begin(b);
    OK(step(b, 1, 2, error));
    expect_launches(b, before.launches, 0, 1);
    OK(end(b, error));
    const clvi_device_counters after = counters(device);
    assert_int_equal(after.launches - before.launches, 1);
    OK(look_at_all(b, error));
}

static void test_nested(void **state)
{
    bank *b = *state;
    const uint64_t before = counters(device).launches;
    OK(clvi_chain_end(device, error)); /* of nothing */
    begin(b);
    OK(end(b, error));
    begin(b);
    OK(step(b, 0, 1, error));
    begin(b);
    OK(step(b, 1, 2, error));
    begin(b);
    OK(end(b, error));
    OK(step(b, 2, 3, error));
    OK(end(b, error));
    OK(step(b, 3, 4, error));
    expect_launches(b, before, 0, 4);
    OK(end(b, error));
    expect_launches(b, before, 1, 4);
    OK(step(b, 4, 5, error)); /* outside */
    expect_launches(b, before, 2, 5);
    OK(look_at_all(b, error));
}

/* Before anything else, what was collected is enqueued; and the chain goes on behind it. */
static void test_between(void **state)
{
    bank *b = *state;
    for (int what = 0; what < 7; what++) {
        const uint64_t before = counters(device).launches;
        begin(b);
        OK(step(b, 0, 1, error));
        OK(step(b, 1, 2, error));
        if (what == 0)
            OK(fill(b, 1, 3, 1000, 42, error));
        else if (what == 1)
            OK(upload(b, 1, 0, FLOATS, error));
        else if (what == 2)
            OK(copy(b, 3, 1, error));
        else if (what == 3)
            OK(look(b, 2, error));
        else if (what == 4)
            OK(raise(b, 1, 2, error));
        else if (what == 5)
            OK(clvi_wait(device, error));
        else
            OK(copy(b, 2, 0, error));
        expect_launches(b, before, 1 + (what == 4), 2 + (what == 4));
        OK(step(b, 1, 3, error));
        OK(step(b, 2, 4, error));
        OK(end(b, error));
        expect_launches(b, before, 2 + (what == 4), 4 + (what == 4));
        OK(look_at_all(b, error));
    }
}

static void test_most_links(void **state)
{
    bank *b = *state;
    for (size_t links = MOST_LINKS - 1; links <= MOST_LINKS + 2; links++) {
        const uint64_t before = counters(device).launches;
        OK(to_and_fro(b, links, error));
        expect_launches(b, before, links <= MOST_LINKS ? 1 : 2, links);
        OK(look_at_all(b, error));
    }
}

/* More tables than are kept, each of them again and again, by counters that are the same. */
static void test_changing_batches(void **state)
{
    bank *b = *state;
    const clvi_device_counters before = counters(device);
    const size_t buffers = buffers_of(device);
    for (int round = 0; round < 600; round++) {
        const size_t links = 1 + (round < 300 ? (size_t)round : draw(b, 300));
        OK(to_and_fro(b, links, error));
        if (round % 20 == 0)
            OK(look_at_all(b, error));
        assert_true(buffers_of(device) <= buffers + KEPT_TABLES + 1);
        assert_int_equal(counters(device).live_buffers, before.live_buffers);
        assert_int_equal(counters(device).live_bytes, before.live_bytes);
    }
    OK(look_at_all(b, error));
    assert_int_equal(buffers_of(device), buffers + (chains(device) ? KEPT_TABLES + 1 : 0));
    clvi_chain_fini(device);
    assert_int_equal(buffers_of(device), buffers);
    assert_int_equal(counters(device).live_bytes, before.live_bytes);
    OK(to_and_fro(b, 5, error));
    OK(look_at_all(b, error));
}

/* The profile sees each launch, and only while it is on. */
static void test_profile(void **state)
{
    bank *b = *state;
    const clvi_profile_launch *launches;
    size_t count = 0;
    clv_error none = CLV_ERROR_INIT;
    OK(to_and_fro(b, 4, error));
    if (clvi_profile_begin(device, &none) != CLV_OK)
        skip(); /* time stamps that mean nothing */
    OK(to_and_fro(b, 4, error));
    OK(clvi_profile_end(device, &launches, &count, error));
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(launches[i].kernel, "conv2d_pad");
    const uint64_t before = counters(device).launches;
    OK(to_and_fro(b, 4, error));
    expect_launches(b, before, 1, 4);
    OK(look_at_all(b, error));
}

/* Nothing is launched in a rehearsal; behind it nothing is compiled. */
static void test_rehearsal(void **state)
{
    bank *b = *state;
    bool all = false;
    if (!clvi_rehearsal_begin(device))
        skip();
    const uint64_t before = counters(device).launches;
    const move first = {.from = 0, .to = 1, .n = PICTURES, .down = 1, .share = 3};
    const move second = {.from = 1, .to = 2, .n = PICTURES, .right = 1, .share = 2};
    begin(b);
    OK(launch_move(b, &first, error));
    OK(launch_move(b, &second, error));
    OK(end(b, error));
    clvi_rehearsal_end(device);
    assert_int_equal(counters(device).launches, before);
    OK(look_at_all(b, error));
    OK(clvi_rehearsal_perform(device, &all, error));
    assert_true(all);
    OK(look_at_all(b, error));
    const uint64_t compiled = counters(device).kernels_compiled;
    begin(b);
    OK(do_move(b, &first, error));
    OK(do_move(b, &second, error));
    OK(end(b, error));
    OK(look_at_all(b, error));
    assert_int_equal(counters(device).kernels_compiled, compiled);
}

/* ---- Without memory ---- */

static clv_status use(bank *b, clv_error *error)
{
    for (size_t p = 0; p < PLACES; p++)
        CLV_TRY(upload(b, p, 0, FLOATS, error));
    CLV_TRY(to_and_fro(b, 3, error));
    CLV_TRY(to_and_fro(b, 90, error));
    CLV_TRY(to_and_fro(b, MOST_LINKS, error));
    begin(b);
    clv_status status = CLV_OK;
    for (size_t p = 0; p + 1 < PLACES && status == CLV_OK; p++)
        status = step(b, p, p + 1, error);
    const clv_status ended = end(b, status == CLV_OK ? error : NULL);
    CLV_TRY(status);
    CLV_TRY(ended);
    return look_at_all(b, error);
}

/* What fails once does all of its work when it is asked again. All that the runtime got meanwhile
 * is given back, so that the next attempt needs it anew. */
static clv_status use_in_need(void *context, clv_error *error)
{
    bank *b = context;
    clv_error later = CLV_ERROR_INIT;
    const clv_status status = use(b, error);
    if (status != CLV_OK && use(b, &later) != CLV_OK)
        return clvi_fail(error, CLV_E_INTERNAL, CLV_HERE, "and then: %s", later.message);
    if (clvi_wait(b->device, &later) != CLV_OK || !clvi_staging_fini(b->device))
        return clvi_fail(error, CLV_E_INTERNAL, CLV_HERE, "at last: %s", later.message);
    clvi_chain_fini(b->device);
    return status;
}

static void test_short_memory(void **state)
{
    bank *b = *state;
    if (!chains(device))
        skip();
    OK(use(b, error)); /* programs */
    OK(clvi_wait(device, error));
    assert_true(clvi_staging_fini(device));
    clvi_chain_fini(device);
    const size_t buffers = buffers_of(device);
    fail_each_allocation(use_in_need, b);
    assert_int_equal(buffers_of(device), buffers);
}

/* ---- Other devices ---- */

static char log_text[4096];

static void take_log(void *user, clvi_log_level level, const char *line)
{
    (void)user;
    (void)level;
    const size_t used = strlen(log_text);
    (void)snprintf(log_text + used, sizeof(log_text) - used, "%s\n", line);
}

/* The same device once more. */
static clvi_device *open_another(clvi_runtime *runtime, const char *tuning)
{
    const clvi_device_options options = {.select = clvi_device_get_info(device)->selector,
                                         .tuning = tuning};
    clvi_device *other = NULL;
    OK(clvi_device_open(runtime, &options, &other, error));
    return other;
}

/* Launches of a chain of 6 on another device. */
static uint64_t launches_of(clvi_runtime *runtime, const char *tuning)
{
    bank b;
    clvi_device *other = open_another(runtime, tuning);
    log_text[0] = '\0';
    clvi_set_log_sink(take_log, NULL);
    OK(bank_init(&b, other, 1, error));
    const uint64_t before = counters(other).launches;
    OK(to_and_fro(&b, 6, error));
    OK(look_at_all(&b, error));
    const uint64_t made = counters(other).launches - before;
    bank_fini(&b);
    clvi_device_close(other);
    clvi_set_log_sink(NULL, NULL);
    assert_null(strstr(log_text, "leak")); /* of what chains keep */
    return made;
}

static void test_turned_off(void **state)
{
    (void)state;
    clvi_runtime *runtime = NULL;
    const char *sync = getenv("CONCLAVE_SYNC");
    OK(clvi_runtime_create(&runtime, error));
    assert_int_equal(launches_of(runtime, ""), chains(device) ? 1 : 6);
    assert_int_equal(launches_of(runtime, "chain = 0\n"), 6);
    if (sync == NULL) {
        setenv("CONCLAVE_SYNC", "1", 1);
        assert_int_equal(launches_of(runtime, ""), 6);
        unsetenv("CONCLAVE_SYNC");
    }
    clvi_runtime_destroy(runtime);
}

/* What a thread does with a device of its own. */
typedef struct worker {
    pthread_t thread;
    bank bank;
    clv_status status;
    clv_error error;
} worker;

static clv_status work(bank *b, clv_error *error)
{
    for (size_t round = 0; round < 60; round++) {
        CLV_TRY(to_and_fro(b, 2 + draw(b, 60), error));
        for (int i = 0; i < 20; i++)
            CLV_TRY(random_command(b, error));
        while (b->open > 0)
            CLV_TRY(end(b, error));
    }
    return look_at_all(b, error);
}

static void *run_worker(void *user)
{
    worker *w = user;
    w->status = work(&w->bank, &w->error);
    return NULL;
}

/* Their chains wait for each other's threads, and come to an end. */
static void test_devices_at_once(void **state)
{
    enum { WORKERS = 3 };
    (void)state;
    static worker workers[WORKERS];
    clvi_runtime *runtime = NULL;
    OK(clvi_runtime_create(&runtime, error));
    const size_t count = clvi_runtime_device_count(runtime);
    for (size_t i = 0; i < WORKERS; i++) {
        worker *w = &workers[i];
        /* POCL_DEVICES may offer several. */
        const clvi_device_info *info = clvi_runtime_device(runtime, i % count);
        const clvi_device_info *mine = clvi_device_get_info(device);
        const bool same = info->refused == NULL && strcmp(info->platform, mine->platform) == 0;
        const clvi_device_options options = {.select = same ? info->selector : mine->selector};
        clvi_device *other = NULL;
        w->error = (clv_error)CLV_ERROR_INIT;
        OK(clvi_device_open(runtime, &options, &other, error));
        OK(bank_init(&w->bank, other, (uint32_t)i, error));
        OK(use(&w->bank, error)); /* programs */
    }
    for (size_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]), 0);
    for (size_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    for (size_t i = 0; i < WORKERS; i++) {
        clvi_device *other = workers[i].bank.device;
        if (workers[i].status != CLV_OK)
            fail_msg("device %zu: %s", i, workers[i].error.message);
        bank_fini(&workers[i].bank);
        clvi_device_close(other);
    }
    clvi_runtime_destroy(runtime);
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(name, open_bank, close_bank)
    static const struct CMUnitTest tests[] = {
        ROW(test_random_commands),
        ROW(test_more_buffers_than_a_chain_has),
        ROW(test_chain_of_one),
        ROW(test_nested),
        ROW(test_between),
        ROW(test_most_links),
        ROW(test_changing_batches),
        ROW(test_profile),
        ROW(test_rehearsal),
        ROW(test_short_memory),
        cmocka_unit_test(test_turned_off),
        cmocka_unit_test(test_devices_at_once),
    };
    int status = 0;
    device = test_device_open(&status);
    if (!device)
        return status;
    const int failed = cmocka_run_group_tests_name("chain", tests, NULL, NULL);
    return test_device_close() != 0 || failed != 0;
}
