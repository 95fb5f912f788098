/* What can be checked of a plugin without running its networks. */
#include "check/check.h"

#include "base/files.h"
#include "base/process.h"

#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* ---- Table and options ---- */

void check_table(check *c)
{
    const clv_kind kind =
        strncmp(clvi_path_name(c->file), "gate_", 5) == 0 ? CLV_KIND_GATE : CLV_KIND_EXPERT;
    clv_error error = CLV_ERROR_INIT;
    clv_status status = clvi_plugins_create(NULL, NULL, &c->plugins, &error);
    if (status == CLV_OK)
        status = clvi_plugins_find(c->plugins, kind, c->file, &c->plugin, &error);
    if (!check_works(c, status, &error))
        return;
    const clv_plugin *table = c->plugin->table;
    check_ok(c, "%s %s %s, ABI %u.%u, %zu own operations",
             table->kind == CLV_KIND_GATE ? "gate" : "expert", table->name, table->version,
             table->abi_major, table->abi_minor, c->plugin->ops->count);
}

/* The loader has refused a schema with a wrong default or without texts; what is left is what the
 * user gave, and that there is a value for each. */
void check_options(check *c)
{
    clv_error error = CLV_ERROR_INIT;
    const clv_status status =
        clvi_options_create(c->plugin->table, "check", c->raw, c->raw_count, &c->options, &error);
    if (check_works(c, status, &error))
        check_ok(c, "%u, each with a text and a default that is allowed",
                 c->plugin->table->option_count);
}

/* ---- Graphs ---- */

clv_status check_build(const check *c, const clv_build_input *input, clv_mode mode, clv_graph **out,
                       clv_error *error)
{
    clv_build_input with_mode = *input;
    with_mode.mode = (uint32_t)mode;
    return clvi_plugin_build(c->plugin, c->options, &with_mode, "check", out, error);
}

static bool same_shape(const clv_shape *a, const clv_shape *b)
{
    bool same = a->dtype == b->dtype && a->rank == b->rank;
    for (int i = 0; i < a->rank && same; i++)
        same = a->dims[i] == b->dims[i];
    return same;
}

/* The first variable that differs, or NULL. */
static const char *different_variable(const clv_graph *a, const clv_graph *b)
{
    const size_t most =
        a->variable_count > b->variable_count ? a->variable_count : b->variable_count;
    for (size_t v = 0; v < most; v++) {
        if (v >= a->variable_count)
            return b->variables[v].name;
        const clvi_variable *x = &a->variables[v];
        if (v >= b->variable_count)
            return x->name;
        const clvi_variable *y = &b->variables[v];
        const bool same_a = !(x->a < y->a) && !(x->a > y->a);
        if (strcmp(x->name, y->name) != 0 || x->is_state != y->is_state ||
            x->no_decay != y->no_decay || x->init != y->init || !same_a ||
            !same_shape(&a->tensors[x->tensor].shape, &b->tensors[y->tensor].shape))
            return x->name;
    }
    return NULL;
}

static bool same_node(const clvi_node *x, const clvi_node *y)
{
    bool same = x->op == y->op && strcmp(x->name, y->name) == 0 &&
                x->input_count == y->input_count && x->output_count == y->output_count;
    for (int i = 0; i < x->input_count && same; i++)
        same = x->inputs[i] == y->inputs[i];
    return same && (x->op->attr_bytes == 0 || memcmp(x->attrs, y->attrs, x->op->attr_bytes) == 0);
}

static bool same_inputs(const clv_graph *a, const clv_graph *b)
{
    bool same = a->input_count == b->input_count;
    for (size_t i = 0; i < a->input_count && same; i++) {
        const clv_input_desc *x = &a->inputs[i].desc, *y = &b->inputs[i].desc;
        same = strcmp(x->role, y->role) == 0 && memcmp(x->mean, y->mean, sizeof(x->mean)) == 0 &&
               memcmp(x->std, y->std, sizeof(x->std)) == 0 &&
               same_shape(&a->tensors[a->inputs[i].tensor].shape,
                          &b->tensors[b->inputs[i].tensor].shape);
    }
    return same;
}

static bool same_outputs(const clv_graph *a, const clv_graph *b)
{
    bool same = a->output_count == b->output_count && a->route.sparse == b->route.sparse &&
                a->route.max_per_sample == b->route.max_per_sample &&
                a->route.sums_to_one == b->route.sums_to_one;
    for (size_t i = 0; i < a->output_count && same; i++)
        same = strcmp(a->outputs[i].role, b->outputs[i].role) == 0 &&
               a->outputs[i].tensor == b->outputs[i].tensor;
    return same;
}

const char *check_difference(const clv_graph *a, const clv_graph *b, char *out)
{
    const char *variable = different_variable(a, b);
    out[0] = '\0';
    if (variable != NULL)
        snprintf(out, 256, "variable %.200s", variable);
    else if (!same_inputs(a, b))
        snprintf(out, 256, "the inputs");
    for (size_t k = 0; out[0] == '\0' && k < a->node_count && k < b->node_count; k++)
        if (!same_node(&a->nodes[k], &b->nodes[k]))
            snprintf(out, 256, "operation %.200s", a->nodes[k].name);
    if (out[0] == '\0' && a->node_count != b->node_count)
        snprintf(out, 256, "%zu and %zu operations", a->node_count, b->node_count);
    if (out[0] == '\0' && !same_outputs(a, b))
        snprintf(out, 256, "the outputs or the route");
    return out;
}

/* ---- Shapes ---- */

typedef struct size_row {
    int32_t height, width, channels;
} size_row;

/* What a network needs at least is its own affair, and it says so. */
static const size_row sizes[] = {{13, 11, 3},  {7, 5, 1},     {17, 32, 3},  {33, 31, 1},
                                 {32, 32, 3},  {64, 47, 3},   {65, 65, 1},  {96, 101, 3},
                                 {128, 97, 3}, {224, 224, 3}, {225, 231, 3}};
static const int32_t counts[] = {2, 3, 7, 46}; /* classes of an expert, experts of a gate */

enum { SIZES = sizeof(sizes) / sizeof(sizes[0]), COUNTS = sizeof(counts) / sizeof(counts[0]) };

typedef struct tally {
    int built, refused;
    bool size_built[SIZES];
    char refusal[512]; /* the first one */
} tally;

/* Whether an image that is in no extent larger was built. */
static bool smaller_built(const tally *seen, const clv_build_input *input)
{
    for (size_t s = 0; s < SIZES; s++)
        if (seen->size_built[s] && sizes[s].height <= input->image_height &&
            sizes[s].width <= input->image_width)
            return true;
    return false;
}

/* One input in both modes. False: something is wrong and was said. */
static bool try_input(check *c, const clv_build_input *input, tally *seen)
{
    clv_graph *graphs[2] = {NULL, NULL};
    clv_error errors[2] = {CLV_ERROR_INIT, CLV_ERROR_INIT};
    char place[96];
    bool good = true;
    snprintf(place, sizeof(place), "%d×%d pixels of %d channels, %d classes, %d experts",
             input->image_height, input->image_width, input->image_channels, input->classes,
             input->experts);
    for (int k = 0; k < 2; k++)
        (void)!check_build(c, input, k == 0 ? CLV_MODE_TRAIN : CLV_MODE_INFER, &graphs[k],
                           &errors[k]);
    if ((graphs[0] == NULL) != (graphs[1] == NULL)) {
        const int bad = graphs[0] == NULL ? 0 : 1;
        check_bad(c, "%s: builds in one mode only: %s", place, errors[bad].message);
        good = false;
    } else if (graphs[0] != NULL) {
        const char *variable = different_variable(graphs[0], graphs[1]);
        if (variable != NULL)
            check_bad(c,
                      "%s: variable %s is not the same in training and in inference, so weights "
                      "could not be loaded",
                      place, variable);
        good = variable == NULL;
        seen->built++;
    } else {
        /* What build refuses itself is its right. What the host found wrong with its calls may be
         * for an image too small, but not when a smaller one was built. */
        const bool own = errors[0].file != NULL && strcmp(errors[0].file, "plugin") == 0;
        good = own || !smaller_built(seen, input);
        if (!good)
            check_bad(c, "%s: %s", place, errors[0].message);
        if (seen->refused++ == 0)
            snprintf(seen->refusal, sizeof(seen->refusal), "%s", errors[0].message);
    }
    clvi_graph_destroy(graphs[0]);
    clvi_graph_destroy(graphs[1]);
    return good;
}

static clv_build_input input_of(const check *c, const size_row *size, int32_t count)
{
    const bool gate = c->plugin->table->kind == CLV_KIND_GATE;
    return (clv_build_input){.struct_size = (uint32_t)sizeof(clv_build_input),
                             .mode = CLV_MODE_TRAIN,
                             .classes = gate ? 5 : count,
                             .experts = gate ? count : 1,
                             .image_height = size->height,
                             .image_width = size->width,
                             .image_channels = size->channels,
                             .features = gate ? 7 * count : 0};
}

/* Each choice of an option in turn: it builds, or is refused with a sentence. */
static bool try_choices(check *c, tally *seen)
{
    clv_options *own = c->options;
    bool good = true;
    for (uint32_t i = 0; i < c->plugin->table->option_count && good; i++) {
        const clv_option_spec spec = clvi_plugin_option(c->plugin->table, i);
        const char *words = spec.type == CLV_OPTION_CHOICE ? spec.choices
                            : spec.type == CLV_OPTION_BOOL ? "yes | no"
                                                           : "";
        while (*words != '\0' && good) {
            char word[64];
            words += strspn(words, " |");
            const size_t length = strcspn(words, " |");
            snprintf(word, sizeof(word), "%.*s", (int)(length < 63 ? length : 63), words);
            words += length;
            const clvi_raw_option raw = {spec.key, word, "check-plugin"};
            clv_error error = CLV_ERROR_INIT;
            if (length == 0 || clvi_options_create(c->plugin->table, "check", &raw, 1, &c->options,
                                                   &error) != CLV_OK)
                continue;
            good = try_input(c, &c->input, seen);
            clvi_options_destroy(c->options);
        }
    }
    c->options = own;
    return good;
}

void check_shapes(check *c)
{
    tally seen = {0};
    for (size_t k = 0; k < COUNTS; k++)
        for (size_t s = 0; s < SIZES; s++) {
            const clv_build_input input = input_of(c, &sizes[s], counts[k]);
            const int before = seen.built;
            if (!try_input(c, &input, &seen))
                return;
            seen.size_built[s] |= seen.built > before;
            /* The first of odd extents, for three classes, is what everything else runs with. */
            if (!c->builds && seen.built > before && counts[k] == 3) {
                c->input = input;
                c->builds = true;
            }
        }
    if (!c->builds) {
        check_bad(c, "no image size from %d×%d to %d×%d builds: %s", sizes[0].height,
                  sizes[0].width, sizes[SIZES - 1].height, sizes[SIZES - 1].width, seen.refusal);
        return;
    }
    const int built = seen.built, refused = seen.refused;
    if (try_choices(c, &seen))
        check_ok(c, "%d of %d builds%s%s; the other checks see %d×%d pixels", built,
                 built + refused, refused > 0 ? ", others refused: " : "", seen.refusal,
                 c->input.image_height, c->input.image_width);
    else
        c->builds = false;
}

/* ---- Repeats ---- */

enum { BUILDERS = 2, BUILDS_EACH = 8 };

typedef struct builder {
    const check *c;
    const clv_graph *like;
    char difference[256];
} builder;

/* A thread: builds again and again, and compares. */
static void *build_often(void *user)
{
    builder *b = user;
    for (int i = 0; i < BUILDS_EACH && b->difference[0] == '\0'; i++) {
        clv_graph *graph = NULL;
        clv_error error = CLV_ERROR_INIT;
        if (check_build(b->c, &b->c->input, CLV_MODE_TRAIN, &graph, &error) == CLV_OK)
            check_difference(b->like, graph, b->difference);
        else
            snprintf(b->difference, sizeof(b->difference), "a failure: %.200s", error.message);
        clvi_graph_destroy(graph);
    }
    return NULL;
}

void check_repeats(check *c)
{
    builder builders[BUILDERS];
    pthread_t threads[BUILDERS];
    clv_graph *graph = NULL;
    clv_error error = CLV_ERROR_INIT;
    int started = 0;
    if (!check_works(c, check_build(c, &c->input, CLV_MODE_TRAIN, &graph, &error), &error))
        return;
    for (int i = 0; i < BUILDERS; i++)
        builders[i] = (builder){.c = c, .like = graph};
    build_often(&builders[0]); /* alone, then together */
    while (builders[0].difference[0] == '\0' && started < BUILDERS &&
           pthread_create(&threads[started], NULL, build_often, &builders[started]) == 0)
        started++;
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    clvi_graph_destroy(graph);
    for (int i = 0; i < BUILDERS; i++)
        if (builders[i].difference[0] != '\0')
            check_bad(c, "build gives another graph another time%s; they differ in %s",
                      started > 0 ? " when two threads build" : "", builders[i].difference);
    check_ok(c, "the same graph %d times, from one thread and from two at once",
             1 + BUILDS_EACH * (1 + started));
}

/* ---- Leaks ---- */

static atomic_long live_blocks;

static void *count_allocate(size_t bytes)
{
    void *block = malloc(bytes);
    live_blocks += block != NULL;
    return block;
}

static void *count_reallocate(void *block, size_t bytes)
{
    void *moved = realloc(block, bytes);
    live_blocks += block == NULL && moved != NULL;
    return moved;
}

static void count_release(void *block)
{
    live_blocks -= block != NULL;
    free(block);
}

void check_count_blocks(void)
{
    static const clvi_allocator table = {count_allocate, count_reallocate, count_release};
    clvi_set_allocator(&table);
}

size_t check_heap_bytes(void)
{
#if defined(__GLIBC__) && (__GLIBC__ > 2 || __GLIBC_MINOR__ >= 33)
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
#else
    return 0;
#endif
}

static long open_files(void)
{
    DIR *folder = opendir("/proc/self/fd");
    long count = 0;
    while (folder != NULL && readdir(folder) != NULL)
        count++;
    if (folder != NULL)
        closedir(folder);
    return count;
}

enum { LEAK_BUILDS = 32, LEAK_WINDOWS = 4 };

static bool build_many(check *c)
{
    for (int i = 0; i < LEAK_BUILDS; i++) {
        clv_graph *graph = NULL;
        clv_error error = CLV_ERROR_INIT;
        if (!check_works(c, check_build(c, &c->input, CLV_MODE_TRAIN, &graph, &error), &error))
            return false;
        clvi_graph_destroy(graph);
    }
    return true;
}

/* A leak grows in each window of builds by as much; the first window may fill caches. */
void check_leaks(check *c)
{
    size_t bytes[LEAK_WINDOWS + 1];
    if (!build_many(c))
        return;
    const long blocks = live_blocks, files = open_files();
    bytes[0] = check_heap_bytes();
    for (int w = 0; w < LEAK_WINDOWS; w++) {
        if (!build_many(c))
            return;
        bytes[w + 1] = check_heap_bytes();
    }
    const int builds = LEAK_BUILDS * LEAK_WINDOWS;
    bool grows = true;
    for (int w = 0; w < LEAK_WINDOWS; w++)
        grows &= bytes[w + 1] >= bytes[w] + LEAK_BUILDS * sizeof(void *);
    if (grows)
        check_bad(c, "leak: build leaves about %zu bytes of memory behind each time",
                  (bytes[LEAK_WINDOWS] - bytes[0]) / (size_t)builds);
    if (live_blocks != blocks)
        check_bad(c, "leak: %d builds leave %ld blocks of the host's memory behind", builds,
                  live_blocks - blocks);
    if (open_files() != files)
        check_bad(c, "leak: %d builds leave %ld files open", builds, open_files() - files);
    check_ok(c, "%d builds leave neither memory nor open files behind", builds);
}
