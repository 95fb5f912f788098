/* See cached.h. */
#include "cached.h"

#include "base/process.h"
#include "config/reader.h"
#include "train/checkpoint.h"
#include "train/predictions.h"
#include "train/run_dir.h"

#include <stdio.h>

/* Names of experts stand in the names of sections, which are not long. */
enum { MOST_NAME = 36 };

/* One run. */
typedef struct source {
    const char *path; /* the arena's */
    clvi_config *config;
    clvi_checkpoint *best;
    clvi_predictions predictions[CLVI_SPLIT_COUNT]; /* of validation and test */
} source;

/* A call under way. */
typedef struct reading {
    clvi_arena *arena;
    source *sources;
    size_t count;
    const char **names; /* of all experts */
    size_t name_count, name_capacity;
    const char **overrides;
    size_t override_count, override_capacity;
} reading;

static clv_status no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: the experts to be fused");
}

/* ---- Opening ---- */

static void source_fini(source *s)
{
    clvi_config_destroy(s->config);
    clvi_checkpoint_close(s->best);
    for (int k = 0; k < CLVI_SPLIT_COUNT; k++)
        clvi_predictions_fini(&s->predictions[k]);
}

/* A file of the run, in the arena; NULL: no memory. */
static const char *file_of(const reading *r, const source *s, const char *name)
{
    return clvi_arena_printf(r->arena, "%s/%s", s->path, name);
}

static clv_status open_source(reading *r, source *s, clv_error *error)
{
    const char *best = file_of(r, s, CLVI_RUN_BEST);
    const char *predictions = file_of(r, s, CLVI_RUN_PREDICTIONS);
    if (best == NULL || predictions == NULL)
        return no_memory(error);
    char run[256];
    if (!clvi_has_file(s->path, CLVI_RUN_SUMMARY))
        CLV_FAIL(error, CLV_E_USAGE,
                 "--on-cached: %s was not finished; `conclave train --resume %s` goes on with it",
                 s->path, clvi_shell_word(s->path, run, sizeof run));
    CLV_TRY(clvi_run_config(s->path, &s->config, error));
    CLV_TRY(clvi_checkpoint_open(best, &s->best, error));
    for (int k = CLVI_VAL; k <= CLVI_TEST; k++)
        CLV_TRY(clvi_predictions_read(predictions, (clvi_split)k, &s->predictions[k], error));
    return CLV_OK;
}

static clv_status open_sources(reading *r, const char *list, const char *output, clv_error *error)
{
    size_t most = 1;
    for (const char *c = list; *c != '\0'; c++)
        most += *c == ',';
    r->sources = clvi_arena_alloc(r->arena, most * sizeof *r->sources);
    if (r->sources == NULL)
        return no_memory(error);
    for (const char *at = list; *at != '\0';) {
        const size_t length = strcspn(at, ",");
        char *path = NULL;
        const char *word = clvi_arena_printf(r->arena, "%.*s", (int)length, at);
        if (word == NULL)
            return no_memory(error);
        at += length + (at[length] != '\0');
        if (length == 0)
            continue;
        CLV_TRY(clvi_run_find(output, word, &path, error));
        source *s = &r->sources[r->count++];
        s->path = clvi_arena_strdup(r->arena, path);
        clvi_free(path);
        CLV_TRY(s->path != NULL ? open_source(r, s, error) : no_memory(error));
    }
    return CLV_OK;
}

/* ---- What has to be the same ---- */

static clv_status check_classes(const source *a, const source *b, clv_error *error)
{
    const size_t count = clvi_checkpoint_class_count(a->best);
    if (count != clvi_checkpoint_class_count(b->best))
        CLV_FAIL(error, CLV_E_USAGE,
                 "--on-cached: %s tells %zu classes apart and %s %zu; experts that are fused need "
                 "the same classes",
                 a->path, count, b->path, clvi_checkpoint_class_count(b->best));
    for (size_t i = 0; i < count; i++)
        if (strcmp(clvi_checkpoint_class_name(a->best, i),
                   clvi_checkpoint_class_name(b->best, i)) != 0)
            CLV_FAIL(error, CLV_E_USAGE,
                     "--on-cached: class %zu is %s in %s and %s in %s; experts that are fused need "
                     "the same classes",
                     i + 1, clvi_checkpoint_class_name(a->best, i), a->path,
                     clvi_checkpoint_class_name(b->best, i), b->path);
    return CLV_OK;
}

static clv_status check_pictures(const source *a, const source *b, clv_error *error)
{
    static const char *const keys[] = {"resize", "fit"};
    int size[2][3];
    clvi_checkpoint_image(a->best, &size[0][0], &size[0][1], &size[0][2]);
    clvi_checkpoint_image(b->best, &size[1][0], &size[1][1], &size[1][2]);
    if (memcmp(size[0], size[1], sizeof size[0]) != 0)
        CLV_FAIL(error, CLV_E_USAGE,
                 "--on-cached: %s was trained on pictures of %dx%dx%d and %s on %dx%dx%d (width, "
                 "height, channels); experts that are fused see the same pictures",
                 a->path, size[0][1], size[0][0], size[0][2], b->path, size[1][1], size[1][0],
                 size[1][2]);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(clvi_config_text(a->config, "data", keys[i]),
                   clvi_config_text(b->config, "data", keys[i])) != 0)
            CLV_FAIL(error, CLV_E_USAGE,
                     "--on-cached: data.%s is %s in %s and %s in %s; experts that are fused see "
                     "the same pictures",
                     keys[i], clvi_config_text(a->config, "data", keys[i]), a->path,
                     clvi_config_text(b->config, "data", keys[i]), b->path);
    if (clvi_config_real(a->config, "data", "crop_share") !=
        clvi_config_real(b->config, "data", "crop_share"))
        CLV_FAIL(error, CLV_E_USAGE,
                 "--on-cached: data.crop_share of %s and %s differ; experts that are fused see the "
                 "same pictures",
                 a->path, b->path);
    return CLV_OK;
}

/* What an expert was trained on must judge no fusion, and all are judged by the same. */
static clv_status check_images(const source *a, const source *b, clv_error *error)
{
    for (int k = CLVI_VAL; k <= CLVI_TEST; k++) {
        const clvi_predictions *x = &a->predictions[k], *y = &b->predictions[k];
        bool same = x->count == y->count;
        for (size_t i = 0; i < x->count && same; i++)
            same = x->items[i].label == y->items[i].label &&
                   strcmp(x->items[i].image, y->items[i].image) == 0;
        if (!same)
            CLV_FAIL(error, CLV_E_USAGE,
                     "--on-cached: %s and %s were judged by other %s images (%zu and %zu); experts "
                     "that are fused need the same data, split alike",
                     a->path, b->path, clvi_split_name((clvi_split)k), x->count, y->count);
    }
    return CLV_OK;
}

/* The names of images tell little of what is in the files: that is a question of the fingerprint,
 * which the training images have a part in. */
static void warn_of_data(const reading *r)
{
    const char *data = clvi_checkpoint_data(r->sources[0].best);
    for (size_t i = 1; i < r->count; i++) {
        const char *other = clvi_checkpoint_data(r->sources[i].best);
        if (*data == '\0' || *other == '\0' || strcmp(data, other) == 0)
            continue;
        clvi_log(CLVI_LOG_WARN,
                 "--on-cached: %s and %s were not trained on the same files, whatever their names: "
                 "one may have learnt from what judges here",
                 r->sources[0].path, r->sources[i].path);
        return;
    }
}

/* ---- Names ---- */

static bool is_taken(const reading *r, const char *name)
{
    for (size_t i = 0; i < r->name_count; i++)
        if (strcmp(r->names[i], name) == 0)
            return true;
    return false;
}

/* "tiny-lr=0.01" → "tiny-lr_0_01", with a number behind it where there is one of that name. */
static const char *name_after(const reading *r, const char *text)
{
    char name[MOST_NAME + 1];
    const char *unique = name;
    snprintf(name, sizeof name, "%s", text);
    for (char *c = name; *c != '\0'; c++)
        if (strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", *c) == NULL)
            *c = '_';
    for (int number = 2; unique != NULL && is_taken(r, unique); number++)
        unique = clvi_arena_printf(r->arena, "%s_%d", name, number);
    return unique != NULL ? clvi_arena_strdup(r->arena, unique) : NULL;
}

static clv_status name_experts(reading *r, clv_error *error)
{
    size_t count = 0;
    for (size_t i = 0; i < r->count; i++)
        count += clvi_config_leaf_count(r->sources[i].config);
    r->names = clvi_arena_alloc(r->arena, (count + 1) * sizeof *r->names);
    if (r->names == NULL)
        return no_memory(error);
    for (size_t i = 0; i < r->count; i++) {
        const source *s = &r->sources[i];
        const size_t experts = clvi_config_leaf_count(s->config);
        const char *run = clvi_path_name(s->path);
        for (size_t k = 0; k < experts; k++) {
            r->names[r->name_count] =
                name_after(r, experts == 1 ? run : clvi_config_leaf_name(s->config, k));
            if (r->names[r->name_count++] == NULL)
                return no_memory(error);
        }
    }
    return CLV_OK;
}

/* ---- Overrides ---- */

static clv_status put(reading *r, const char *section, const char *key, const char *value,
                      clv_error *error)
{
    enum { STEP = 64 };
    if (r->override_count == r->override_capacity) {
        const size_t capacity = r->override_capacity + STEP + r->override_capacity / 2;
        const char **more = clvi_arena_alloc(r->arena, capacity * sizeof *more);
        if (more == NULL)
            return no_memory(error);
        if (r->override_count > 0)
            memcpy(more, r->overrides, r->override_count * sizeof *more);
        r->overrides = more;
        r->override_capacity = capacity;
    }
    const char *text = clvi_arena_printf(r->arena, "%s.%s=%s", section, key, value);
    if (text == NULL)
        return no_memory(error);
    r->overrides[r->override_count++] = text;
    return CLV_OK;
}

/* The images: every key of [data] and [data.NAME], but no path where sources have theirs. */
static clv_status put_data(void *user, const char *section, const char *key, const char *value,
                           int line, clv_error *error)
{
    (void)line;
    const bool meant = strcmp(section, "data") == 0 || strncmp(section, "data.", 5) == 0;
    const bool path = strcmp(section, "data") == 0 && strcmp(key, "path") == 0;
    return meant && !(path && value[0] == '\0') ? put(user, section, key, value, error) : CLV_OK;
}

static clv_status pass_section(void *user, const char *name, int line, clv_error *error)
{
    (void)user, (void)name, (void)line, (void)error;
    return CLV_OK;
}

static void pass_fault(void *user, int line, const char *sentence)
{
    (void)user, (void)line, (void)sentence;
}

static clv_status put_images(reading *r, clv_error *error)
{
    clvi_text dump = {0};
    const clvi_ini_sink sink = {
        .user = r, .section = pass_section, .entry = put_data, .fault = pass_fault};
    clvi_config_dump(r->sources[0].config, &dump);
    const clv_status status =
        dump.failed ? no_memory(error) : clvi_ini_read(dump.data, dump.length, &sink, error);
    clvi_text_fini(&dump);
    CLV_TRY(status);
    return put(r, "data", "augment", "none", error);
}

static clv_status put_expert(reading *r, const source *s, size_t index, const char *name,
                             clv_error *error)
{
    const char *from = clvi_config_leaf_section(s->config, index);
    const char *to = clvi_arena_printf(r->arena, "expert.%s", name);
    const char *init = clvi_arena_printf(r->arena, "%s/%s:%s", s->path, CLVI_RUN_BEST,
                                         clvi_config_leaf_name(s->config, index));
    size_t count;
    const clvi_raw_option *options = clvi_config_options(s->config, from, &count);
    if (to == NULL || init == NULL)
        return no_memory(error);
    CLV_TRY(put(r, to, "plugin", clvi_config_text(s->config, from, "plugin"), error));
    CLV_TRY(put(r, to, "preprocess", clvi_config_text(s->config, from, "preprocess"), error));
    CLV_TRY(put(r, to, "init", init, error));
    CLV_TRY(put(r, to, "trainable", "none", error));
    for (size_t i = 0; i < count; i++)
        CLV_TRY(put(r, to, options[i].key, options[i].value, error));
    return CLV_OK;
}

static clv_status put_all(reading *r, const char *output, clv_error *error)
{
    clvi_text list = {0};
    const char *folder = clvi_arena_printf(r->arena, "%s/.features", output);
    size_t at = 0;
    CLV_TRY(put_images(r, error));
    for (size_t i = 0; i < r->count; i++)
        for (size_t k = 0; k < clvi_config_leaf_count(r->sources[i].config); k++)
            CLV_TRY(put_expert(r, &r->sources[i], k, r->names[at++], error));
    for (size_t i = 0; i < r->name_count; i++)
        clvi_text_printf(&list, "%s%s", i > 0 ? ", " : "", r->names[i]);
    const clv_status status = list.failed || folder == NULL
                                  ? no_memory(error)
                                  : put(r, "mixture", "experts", clvi_text_get(&list), error);
    clvi_text_fini(&list);
    CLV_TRY(status);
    CLV_TRY(put(r, "mixture", "init_epochs", "0", error)); /* they are trained */
    CLV_TRY(put(r, "train", "cache_features", "yes", error));
    CLV_TRY(put(r, "train", "feature_folder", folder, error));
    /* All experts stand in a checkpoint, and an epoch takes less than writing it. */
    return put(r, "train", "checkpoint_every", "1000", error);
}

/* ---- The whole ---- */

static clv_status read_runs(reading *r, const char *list, const char *output, clv_error *error)
{
    CLV_TRY(open_sources(r, list, output, error));
    if (r->count == 0)
        CLV_FAIL(error, CLV_E_USAGE, "--on-cached: give runs, RUN,RUN,…");
    for (size_t i = 1; i < r->count; i++) {
        CLV_TRY(check_classes(&r->sources[0], &r->sources[i], error));
        CLV_TRY(check_pictures(&r->sources[0], &r->sources[i], error));
        CLV_TRY(check_images(&r->sources[0], &r->sources[i], error));
    }
    warn_of_data(r);
    CLV_TRY(name_experts(r, error));
    if (r->name_count < 2)
        CLV_FAIL(error, CLV_E_USAGE, "--on-cached %s: there is one expert; give more runs", list);
    return put_all(r, output, error);
}

clv_status cached_read(const char *list, const char *output, clvi_arena *arena, cached_experts *out,
                       clv_error *error)
{
    reading r = {.arena = arena};
    const clv_status status = read_runs(&r, list, output, error);
    const char **runs = clvi_arena_alloc(arena, (r.count + 1) * sizeof *runs);
    for (size_t i = 0; i < r.count; i++) {
        if (runs != NULL)
            runs[i] = r.sources[i].path;
        source_fini(&r.sources[i]);
    }
    CLV_TRY(status);
    if (runs == NULL)
        return no_memory(error);
    *out = (cached_experts){r.overrides, r.override_count, runs, r.count};
    return CLV_OK;
}
