/* Launches that are only noted, and the first launches of what was noted.
 *
 * PoCL compiles a kernel when it is first launched, one at a time in a process, and keeps what it
 * compiled in a folder that processes share. So a network is rehearsed before it runs for the first
 * time: that says which kernels it launches. Each is then launched once, over scratch memory and
 * with extents of 0, which takes the time of its compilation only. As soon as one turns out not to
 * be in the folder, a process for each further core does the same, beginning with the last; should
 * it die, this one compiles for itself as it does without help. */
#include "base/child.h"
#include "base/process.h"
#include "runtime/compiling.h"
#include "runtime/program.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { MOST_HELPERS = 3 };

/* A kernel that launches were noted of. */
typedef struct noted {
    const char *program, *kernel, *options, *kinds;
    size_t least, most; /* work-groups in one dimension */
} noted;

typedef struct helper {
    pthread_t thread;
    atomic_bool ended; /* the thread has nothing left to do */
    FILE *list;        /* what it is to compile */
    const char *arguments[5];
    const char *device;
    volatile sig_atomic_t stop;
} helper;

struct clvi_rehearsal {
    bool started; /* helpers, or there is nothing left for them */
    noted *items;
    size_t count, capacity;
    helper helpers[MOST_HELPERS];
    size_t helper_count;
};

/* ---- Noting ---- */

/* Waits for all helpers' threads. */
static void join_helpers(struct clvi_rehearsal *r)
{
    for (size_t i = 0; i < r->helper_count; i++) {
        pthread_join(r->helpers[i].thread, NULL);
        fclose(r->helpers[i].list);
    }
    r->helper_count = 0;
}

static bool have_helpers_ended(struct clvi_rehearsal *r)
{
    bool ended = true;
    for (size_t i = 0; i < r->helper_count; i++)
        ended = ended && atomic_load(&r->helpers[i].ended);
    return ended;
}

bool clvi_rehearsal_begin(clvi_device *device)
{
    const clvi_programs *programs = &device->programs;
    const bool late = programs->folder == NULL || programs->bitcode; /* kernels are compiled late */
    const bool useful = device->found->pocl && !device->clblast && late;
    if (useful && device->rehearsal == NULL)
        device->rehearsal = clvi_calloc(1, sizeof(*device->rehearsal));
    if (!useful || device->rehearsal == NULL)
        return false;
    if (have_helpers_ended(device->rehearsal)) { /* what is noted now may want help again */
        join_helpers(device->rehearsal);
        device->rehearsal->started = false;
    }
    device->rehearsing = true;
    return true;
}

void clvi_rehearsal_end(clvi_device *device)
{
    device->rehearsing = false;
}

clv_status clvi_rehearsal_note(clvi_device *device, const clvi_launch *launch, const size_t *groups,
                               clv_error *error)
{
    struct clvi_rehearsal *r = device->rehearsal;
    const clvi_named_kernel *named = &launch->named;
    size_t most = groups[0] > groups[1] ? groups[0] : groups[1];
    most = groups[2] > most ? groups[2] : most;
    for (size_t i = 0; i < r->count; i++) {
        noted *n = &r->items[i];
        if (strcmp(n->kernel, named->kernel) != 0 || strcmp(n->program, named->program) != 0 ||
            strcmp(n->options, named->options) != 0)
            continue;
        n->most = most > n->most ? most : n->most;
        n->least = most < n->least ? most : n->least;
        return CLV_OK;
    }
    if (r->count == r->capacity) {
        const size_t capacity = r->capacity > 0 ? 2 * r->capacity : 64;
        noted *items = clvi_realloc(r->items, capacity * sizeof(*items));
        if (items == NULL)
            CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the list of kernels");
        r->items = items;
        r->capacity = capacity;
    }
    noted *n = &r->items[r->count];
    *n = (noted){clvi_arena_strdup(device->arena, named->program),
                 clvi_arena_strdup(device->arena, named->kernel),
                 clvi_arena_strdup(device->arena, named->options),
                 clvi_arena_strdup(device->arena, named->kinds),
                 most,
                 most};
    if (n->program == NULL || n->kernel == NULL || n->options == NULL || n->kinds == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the list of kernels");
    r->count++;
    return CLV_OK;
}

/* ---- Helpers ---- */

static void ignore_line(void *user, const char *line)
{
    (void)user;
    (void)line;
}

static void *run_helper(void *user)
{
    enum { SILENCE = 120 };
    helper *h = user;
    clv_error error = CLV_ERROR_INIT;
    clvi_child_end end;
    const clvi_child_desc desc = {.arguments = h->arguments,
                                  .input = fileno(h->list),
                                  .silence_seconds = SILENCE,
                                  .line = ignore_line,
                                  .stop = &h->stop};
    if (clvi_child_run(&desc, &end, &error) != CLV_OK)
        clvi_log(CLVI_LOG_DEBUG, "kernels are compiled without help: %s", error.message);
    else if (end.signal != 0 && !h->stop)
        clvi_log(CLVI_LOG_DEBUG, "a helper that compiles kernels ended by signal %d", end.signal);
    atomic_store(&h->ended, true);
    return NULL;
}

/* Helper `index` of `count` begins at the end; others at even distances before it. */
static bool write_list(const struct clvi_rehearsal *r, size_t index, size_t count, FILE *to)
{
    for (size_t k = 0; k < r->count; k++) {
        const noted *n = &r->items[(2 * r->count - 1 - k - index * r->count / count) % r->count];
        if (strchr(n->program, '.') == NULL) /* a plugin's own source is not known elsewhere */
            fprintf(to, "%s\t%s\t%s\t%s\t%zu\t%zu\n", n->program, n->kernel, n->options, n->kinds,
                    n->least, n->most);
    }
    return fflush(to) == 0 && fseek(to, 0, SEEK_SET) == 0;
}

void clvi_rehearsal_start_helpers(clvi_device *device)
{
    struct clvi_rehearsal *r = device->rehearsal;
    if (r == NULL || r->started || device->rehearsing || r->count == 0 || device->helper == NULL)
        return;
    r->started = true;
    const size_t cores = clvi_core_count();
    const size_t wanted = cores - 1 < MOST_HELPERS ? cores - 1 : MOST_HELPERS;
    for (size_t i = 0; i < wanted; i++) {
        helper *h = &r->helpers[r->helper_count];
        *h = (helper){.list = tmpfile(),
                      .arguments = {device->helper, "--quiet", device->found->info.selector,
                                    device->fast_math ? "fast" : NULL, NULL}};
        if (h->list == NULL)
            return;
        if (!write_list(r, i, wanted, h->list) ||
            pthread_create(&h->thread, NULL, run_helper, h) != 0) {
            fclose(h->list);
            return;
        }
        r->helper_count++;
    }
}

void clvi_rehearsal_fini(clvi_device *device)
{
    struct clvi_rehearsal *r = device->rehearsal;
    if (r == NULL)
        return;
    for (size_t i = 0; i < r->helper_count; i++)
        r->helpers[i].stop = 1;
    join_helpers(r);
    clvi_free(r->items);
    clvi_free(r);
    device->rehearsal = NULL;
}

/* ---- First launches ---- */

/* The place inside is in elements: its middle. */
enum { SCRATCH_BYTES = 4 << 20, SCRATCH_FROM = 1 << 19, LOCAL_BYTES = 16 << 10 };

static clv_status create_scratch(clvi_device *device, clvi_buf **out, clv_error *error)
{
    CLV_TRY(clvi_buf_create(device, SCRATCH_BYTES, "scratch", out, error));
    return clvi_fill(device, *out, 0, SCRATCH_BYTES, 0, error);
}

/* A launch whose buffers are the scratch memory, from a place inside on, and whose numbers are 0.
 */
static clv_status launch_blank(clvi_device *device, const noted *n, clvi_buf *scratch,
                               size_t groups, clv_error *error)
{
    clvi_launch l;
    clvi_launch_begin(&l, device, n->program, n->kernel, n->options);
    for (const char *kind = n->kinds; *kind != '\0'; kind++) {
        if (*kind == CLVI_ARG_BUFFER)
            clvi_arg_view(&l, (clvi_view){scratch, SCRATCH_FROM}); /* the next one, too */
        else if (*kind == CLVI_ARG_LOCAL)
            clvi_arg_local(&l, LOCAL_BYTES);
        else if (*kind == CLVI_ARG_WORD)
            clvi_arg_int(&l, 0);
    }
    return clvi_launch_run(&l, groups, 1, 1, error);
}

/* Small grids and large ones are compiled apart; a group is enough for small ones. */
static clv_status launch_first(clvi_device *device, const noted *n, clvi_buf *scratch,
                               clv_error *error)
{
    clvi_kernel *kernel = NULL;
    CLV_TRY(clvi_kernel_get(device, n->program, n->kernel, n->options, &kernel, error));
    const size_t small = CLVI_SMALL_GRID / kernel->local[0];
    if (n->least <= small && (kernel->variants & CLVI_VARIANT_SMALL) == 0)
        CLV_TRY(launch_blank(device, n, scratch, 1, error));
    if (n->most > small && (kernel->variants & CLVI_VARIANT_LARGE) == 0)
        CLV_TRY(launch_blank(device, n, scratch, n->most, error));
    return CLV_OK;
}

clv_status clvi_rehearsal_perform(clvi_device *device, bool *all, clv_error *error)
{
    struct clvi_rehearsal *r = device->rehearsal;
    clvi_buf *scratch = NULL;
    bool known = true;
    CLV_ASSERT(r != NULL && !device->rehearsing);
    const uint64_t peak = device->counters.peak_bytes;
    clv_status status = create_scratch(device, &scratch, error);
    for (size_t i = 0; i < r->count && status == CLV_OK; i++) {
        /* What a plugin's own source makes of extents of 0 is not known. */
        if (strchr(r->items[i].program, '.') != NULL)
            known = false;
        else
            status = launch_first(device, &r->items[i], scratch, error);
    }
    if (status == CLV_OK)
        status = clvi_wait(device, error);
    clvi_buf_destroy(scratch);
    device->counters.peak_bytes = peak; /* what networks take is what is asked for */
    if (status == CLV_OK) {
        *all = known;
        /* What takes long from now on computes, or is not on the list. */
        r->started = true;
    }
    return status;
}

/* One line of the list, which it cuts. */
static clv_status compile_line(clvi_device *device, clvi_buf *scratch, char *line, clv_error *error)
{
    enum { WORDS = 6 };
    const char *word[WORDS];
    line[strcspn(line, "\n")] = '\0';
    for (int i = 0; i < WORDS; i++) {
        word[i] = strsep(&line, "\t");
        if (word[i] == NULL)
            CLV_FAIL(error, CLV_E_USAGE, "a line of the list of kernels has %d words", i);
    }
    const noted n = {
        word[0], word[1], word[2], word[3], strtoul(word[4], NULL, 10), strtoul(word[5], NULL, 10)};
    return launch_first(device, &n, scratch, error);
}

clv_status clvi_compile_list(clvi_device *device, FILE *list, FILE *report, clv_error *error)
{
    clvi_buf *scratch = NULL;
    char line[2048];
    clv_status status = create_scratch(device, &scratch, error);
    while (status == CLV_OK && fgets(line, sizeof(line), list) != NULL) {
        status = compile_line(device, scratch, line, error);
        fputs("done\n", report);
        fflush(report);
    }
    clvi_buf_destroy(scratch);
    return status;
}
