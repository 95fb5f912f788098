/* Launches that follow each other, collected and run in one. On CPUs a launch ends with all threads
 * but one asleep, and waking them takes as long as a small one computes. The kernel `chain` runs
 * the work-groups of many launches instead: a table says which, and counters which are taken. */
#include "runtime/chain.h"

#include "base/memory.h"
#include "runtime/profile.h"
#include "runtime/program.h"
#include "runtime/wide.h"

#include <string.h>

enum {
    BUFFERS = 8,  /* kernels/chain.cl: of all views of a chain */
    HEAD = 5,     /* numbers of a link before its arguments */
    APART = 32,   /* elements between counters */
    SHARES = 8,   /* shares of a link's work-groups, at most */
    TABLES = 256, /* that stay on the device: networks repeat what they launch */
    /* A launch of more work-groups takes so long that nothing is gained by what lies between it and
     * its neighbours, and where a core has something else to do it is better off in one of its own:
     * by the same kernel, so that no other one needs to be compiled. */
    LARGE_GROUPS = 160,
    MOST_LINKS = 1024
};

/* The number of a kernel is its place here, and its case in chain.cl. */
static const struct {
    const char *program, *kernel;
    size_t views, words; /* arguments */
} kernels[] = {
    {"conv2d", "conv2d_fwd_wide", 5, 20},
    {"conv2d", "conv2d_fwd_pooled", 4, 20},
    {"conv2d", "conv2d_fwd_plain", 7, 9},
    {"conv2d", "conv2d_fwd_scaled", 7, 9},
    {"conv2d", "conv2d_pad", 2, 10},
    {"expand_depthwise", "expand_depthwise_fwd", 7, 15},
    {"squeeze_excite", "squeeze_excite_fwd", 6, 9},
    {"winograd", "winograd_input", 2, 10},
    {"winograd", "winograd_products", 3, 5},
    {"winograd", "winograd_output", 3, 9},
    {"gemm", "gemm_pack", 3, 10},
    {"gemm", "gemm_wide", 4, 13},
    {"gemm", "gemm_few_plain", 4, 8},
    {"global_avg_pool", "global_avg_pool_fwd", 2, 4},
    {"global_avg_pool", "global_avg_pool_sums", 2, 5},
    {"image_plain", "image_plain", 2, 13},
};

typedef struct argument {
    clvi_arg_kind kind;
    clvi_view view;
    uint32_t word;
    size_t bytes; /* of local memory */
} argument;

typedef struct link {
    int kernel;
    size_t groups[3], first, count; /* of its arguments */
} link;

/* A table on the device, and the same here. */
typedef struct table {
    clvi_buf *buf;
    uint64_t hash;
    int32_t *words;
    size_t count;
} table;

struct clvi_chain {
    unsigned open;  /* calls of begin without their end */
    bool enqueuing; /* nothing is collected */
    link *links;
    argument *arguments;
    size_t link_count, link_capacity, argument_count, argument_capacity;
    link next;         /* the one under construction */
    clv_status status; /* of its arguments: CLV_E_MEMORY */
    clvi_buf *buffers[BUFFERS];
    size_t buffer_count;
    char options[sizeof((clvi_wide){0}.options)]; /* its own; of its links, which may have none */
    int32_t *words;                               /* the table under construction */
    size_t word_capacity;
    table tables[TABLES];
    size_t oldest;
    clvi_buf *counters;
    size_t counted; /* links that these are enough for */
};

/* ---- Collecting ---- */

/* Kernels must be those of the wide form, and the profile wants to see each. */
static bool is_possible(const clvi_device *device)
{
    return device->found->atomics && clvi_tuning_int(device, "chain") &&
           !clvi_device_is_gpu_like(device) && !device->sync && !clvi_profile_is_on(device);
}

void clvi_chain_begin(clvi_device *device)
{
    clvi_chain *c = device->chain;
    if (c == NULL && is_possible(device)) {
        const clvi_wide wide = clvi_wide_of(device);
        c = device->chain = clvi_calloc(1, sizeof(*c));
        if (c != NULL)
            memcpy(c->options, wide.options, sizeof(c->options));
    }
    if (c != NULL)
        c->open += c->open > 0 || is_possible(device);
}

clv_status clvi_chain_end(clvi_device *device, clv_error *error)
{
    clvi_chain *c = device->chain;
    if (c == NULL || c->open == 0)
        return CLV_OK;
    c->open--;
    return c->open == 0 ? clvi_chain_flush(device, error) : CLV_OK;
}

static int number_of(const char *program, const char *kernel)
{
    for (size_t i = 0; i < sizeof(kernels) / sizeof(*kernels); i++)
        if (strcmp(kernels[i].kernel, kernel) == 0 && strcmp(kernels[i].program, program) == 0)
            return (int)i;
    return -1;
}

bool clvi_chain_takes(clvi_device *device, const char *program, const char *kernel,
                      const char *options, clv_status *status, clv_error *error)
{
    clvi_chain *c = device->chain;
    *status = CLV_OK;
    if (c == NULL || c->open == 0 || c->enqueuing)
        return false;
    const bool meant = options[0] == '\0' || strcmp(options, c->options) == 0;
    const int number = meant ? number_of(program, kernel) : -1;
    if (number < 0 || c->link_count == MOST_LINKS)
        *status = clvi_chain_flush(device, error);
    if (number < 0 || *status != CLV_OK)
        return false;
    c->next = (link){.kernel = number, .first = c->argument_count};
    c->status = CLV_OK;
    return true;
}

static void add_argument(clvi_chain *c, argument a)
{
    if (c->status == CLV_OK)
        c->status = clvi_grow((void **)&c->arguments, &c->argument_capacity, c->argument_count + 1,
                              sizeof(*c->arguments), NULL);
    if (c->status != CLV_OK)
        return;
    c->arguments[c->argument_count++] = a;
    c->next.count++;
}

void clvi_chain_view(clvi_device *device, clvi_view view)
{
    add_argument(device->chain, (argument){.kind = CLVI_ARG_BUFFER, .view = view});
}

void clvi_chain_word(clvi_device *device, uint32_t word)
{
    add_argument(device->chain, (argument){.kind = CLVI_ARG_WORD, .word = word});
}

void clvi_chain_local(clvi_device *device, size_t bytes)
{
    add_argument(device->chain, (argument){.kind = CLVI_ARG_LOCAL, .bytes = bytes});
}

/* The buffer's place among those of the chain, which may take it in; BUFFERS: there is no room. */
static size_t place_of(clvi_chain *c, clvi_buf *buf)
{
    size_t i = 0;
    while (i < c->buffer_count && c->buffers[i] != buf)
        i++;
    if (i == c->buffer_count && i < BUFFERS)
        c->buffers[c->buffer_count++] = buf;
    return i;
}

static bool take_buffers(clvi_chain *c)
{
    const size_t before = c->buffer_count;
    for (size_t i = 0; i < c->next.count; i++) {
        clvi_buf *buf = c->arguments[c->next.first + i].view.buf;
        if (buf != NULL && place_of(c, buf) == BUFFERS) {
            c->buffer_count = before;
            return false;
        }
    }
    return true;
}

/* Enqueues the links before the next one, whose arguments are the first ones then. */
static clv_status flush_before(clvi_device *device, clv_error *error)
{
    clvi_chain *c = device->chain;
    const size_t first = c->next.first, count = c->next.count;
    CLV_TRY(clvi_chain_flush(device, error));
    memmove(c->arguments, c->arguments + first, count * sizeof(*c->arguments));
    c->argument_count = count;
    c->next.first = 0;
    return CLV_OK;
}

/* What a launch by itself would complain about. */
static clv_status check_link(const clvi_chain *c, const size_t *groups, clv_error *error)
{
    const char *program = kernels[c->next.kernel].program, *kernel = kernels[c->next.kernel].kernel;
    size_t views = 0, words = 0;
    for (size_t i = 0; i < c->next.count; i++) {
        const clvi_arg_kind kind = c->arguments[c->next.first + i].kind;
        views += kind == CLVI_ARG_BUFFER;
        words += kind == CLVI_ARG_WORD;
    }
    if (views != kernels[c->next.kernel].views || words != kernels[c->next.kernel].words)
        CLV_FAIL(error, CLV_E_INTERNAL, "kernel %s:%s: %zu views and %zu numbers in a chain",
                 program, kernel, views, words);
    for (int i = 0; i < 3; i++)
        if (groups[i] < 1 || groups[i] > CLVI_SMALL_GRID)
            CLV_FAIL(error, CLV_E_INTERNAL, "kernel %s:%s: %zu x %zu x %zu work-groups in a chain",
                     program, kernel, groups[0], groups[1], groups[2]);
    return CLV_OK;
}

/* It is left out where this fails. */
static clv_status end_link(clvi_device *device, const size_t *groups, clv_error *error)
{
    clvi_chain *c = device->chain;
    if (c->status == CLV_OK)
        c->status = clvi_grow((void **)&c->links, &c->link_capacity, c->link_count + 1,
                              sizeof(*c->links), NULL);
    if (c->status != CLV_OK)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a chain of launches");
    CLV_TRY(check_link(c, groups, error));
    memcpy(c->next.groups, groups, sizeof(c->next.groups));
    const bool large = groups[0] * groups[1] * groups[2] > LARGE_GROUPS;
    if (large || !take_buffers(c)) {
        CLV_TRY(flush_before(device, error));
        if (!take_buffers(c))
            CLV_FAIL(error, CLV_E_INTERNAL, "kernel %s:%s has views of more than %d buffers",
                     kernels[c->next.kernel].program, kernels[c->next.kernel].kernel, BUFFERS);
    }
    c->links[c->link_count++] = c->next;
    return large ? clvi_chain_flush(device, error) : CLV_OK;
}

clv_status clvi_chain_link(clvi_device *device, const size_t groups[3], clv_error *error)
{
    clvi_chain *c = device->chain;
    const size_t links = c->link_count;
    const clv_status status = end_link(device, groups, error);
    if (status != CLV_OK && c->link_count == links && links > 0)
        c->argument_count = c->links[links - 1].first + c->links[links - 1].count;
    else if (status != CLV_OK)
        c->argument_count = 0;
    return status;
}

/* ---- Enqueuing ---- */

/* The table, in c->words: *count of them, and the most local memory that a link wants. */
static clv_status write_table(clvi_chain *c, size_t *count, size_t *local, clv_error *error)
{
    const size_t most = c->link_count * (1 + HEAD) + 3 * c->argument_count;
    CLV_TRY(clvi_grow((void **)&c->words, &c->word_capacity, most, sizeof(*c->words), error));
    size_t at = c->link_count;
    *local = 0;
    for (size_t l = 0; l < c->link_count; l++) {
        const link *k = &c->links[l];
        c->words[l] = (int32_t)at;
        c->words[at++] = k->kernel;
        for (int i = 0; i < 3; i++)
            c->words[at++] = (int32_t)k->groups[i];
        c->words[at++] = (int32_t)(k->groups[0] * k->groups[1] * k->groups[2]);
        for (size_t i = 0; i < k->count; i++) {
            const argument *a = &c->arguments[k->first + i];
            if (a->kind == CLVI_ARG_BUFFER) {
                c->words[at++] = a->view.buf != NULL ? (int32_t)place_of(c, a->view.buf) : -1;
                c->words[at++] = (int32_t)(uint32_t)a->view.offset;
                c->words[at++] = (int32_t)(uint32_t)(a->view.offset >> 32);
            } else if (a->kind == CLVI_ARG_WORD) {
                c->words[at++] = (int32_t)a->word;
            } else if (*local < a->bytes) {
                *local = a->bytes;
            }
        }
    }
    *count = at;
    return CLV_OK;
}

/* A buffer of the device's own, which its counters leave out: they are of what callers made. */
static clv_status create_own(clvi_device *device, size_t bytes, const char *label, clvi_buf **out,
                             clv_error *error)
{
    clvi_device_counters *now = &device->counters;
    const clvi_device_counters before = *now;
    CLV_TRY(clvi_buf_create(device, bytes, label, out, error));
    now->live_buffers = before.live_buffers;
    now->live_bytes = before.live_bytes;
    now->peak_bytes = before.peak_bytes;
    return CLV_OK;
}

static void destroy_own(clvi_device *device, clvi_buf *buf)
{
    if (buf == NULL)
        return;
    device->counters.live_buffers++;
    device->counters.live_bytes += clvi_buf_bytes(buf);
    clvi_buf_destroy(buf);
}

static void drop_table(clvi_device *device, table *t)
{
    destroy_own(device, t->buf);
    clvi_free(t->words);
    *t = (table){0};
}

/* The table on the device: one that is there, or a new one in the oldest one's place. */
static clv_status find_table(clvi_device *device, clvi_chain *c, size_t count, clvi_buf **out,
                             clv_error *error)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ (uint32_t)c->words[i]) * 0x100000001b3u;
    for (size_t i = 0; i < TABLES; i++) {
        const table *t = &c->tables[i];
        if (t->hash == hash && t->count == count &&
            memcmp(t->words, c->words, count * sizeof(*c->words)) == 0) {
            *out = t->buf;
            return CLV_OK;
        }
    }
    table *t = &c->tables[c->oldest];
    c->oldest = (c->oldest + 1) % TABLES;
    drop_table(device, t);
    t->words = clvi_malloc(count * sizeof(*t->words));
    if (t->words == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a chain of launches");
    memcpy(t->words, c->words, count * sizeof(*t->words));
    CLV_TRY(create_own(device, count * sizeof(*t->words), "chain of launches", &t->buf, error));
    CLV_TRY(clvi_upload(device, t->buf, 0, t->words, count * sizeof(*t->words), error));
    t->hash = hash;
    t->count = count;
    *out = t->buf;
    return CLV_OK;
}

/* Counters for so many links, all 0. */
static clv_status find_counters(clvi_device *device, clvi_chain *c, clv_error *error)
{
    if (c->counted >= c->link_count)
        return CLV_OK;
    destroy_own(device, c->counters);
    c->counters = NULL;
    c->counted = 0;
    const size_t links = c->link_count < 64 ? 64 : c->link_count;
    const size_t bytes = (1 + links * (1 + SHARES)) * APART * sizeof(int32_t);
    void *zeros = clvi_calloc(1, bytes);
    if (zeros == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a chain of launches");
    clv_status status = create_own(device, bytes, "counters of launches", &c->counters, error);
    if (status == CLV_OK) /* a fill would be left out in a rehearsal */
        status = clvi_upload(device, c->counters, 0, zeros, bytes, error);
    c->counted = status == CLV_OK ? links : 0;
    clvi_free(zeros);
    return status;
}

static clv_status launch_chain(clvi_device *device, clvi_chain *c, clv_error *error)
{
    size_t count = 0, local = 0;
    clvi_buf *words = NULL;
    CLV_TRY(write_table(c, &count, &local, error));
    CLV_TRY(find_table(device, c, count, &words, error));
    CLV_TRY(find_counters(device, c, error));
    clvi_launch l;
    clvi_launch_begin(&l, device, "chain", "chain", c->options);
    for (size_t i = 0; i < BUFFERS; i++)
        clvi_arg_view(&l, (clvi_view){i < c->buffer_count ? c->buffers[i] : NULL, 0});
    clvi_arg_view(&l, (clvi_view){words, 0});
    clvi_arg_view(&l, (clvi_view){c->counters, 0});
    clvi_arg_local(&l, local > 0 ? local : sizeof(float) * 16);
    clvi_arg_int(&l, (int32_t)c->link_count);
    return clvi_launch_run(&l, device->found->info.compute_units, 1, 1, error);
}

clv_status clvi_chain_flush(clvi_device *device, clv_error *error)
{
    clvi_chain *c = device->chain;
    if (c == NULL || c->enqueuing || c->link_count == 0)
        return CLV_OK;
    c->enqueuing = true;
    const clv_status status = launch_chain(device, c, error);
    c->enqueuing = false;
    c->link_count = c->argument_count = c->buffer_count = 0;
    return status;
}

void clvi_chain_fini(clvi_device *device)
{
    clvi_chain *c = device->chain;
    if (c == NULL)
        return;
    for (size_t i = 0; i < TABLES; i++)
        drop_table(device, &c->tables[i]);
    destroy_own(device, c->counters);
    clvi_free(c->links);
    clvi_free(c->arguments);
    clvi_free(c->words);
    clvi_free(c);
    device->chain = NULL;
}
