/* Opening a data set: source, layout, splits, and what is told about them. */
#define _POSIX_C_SOURCE 200809L
#include "data/dataset_internal.h"

#include "data/image.h"
#include "data/split.h"

#include <sha2.h>
#include <unistd.h>

enum { PROBES = 256, MOST_WORKERS = 8, SIDE_LIMIT = 16384 };

const char *clvi_split_name(clvi_split split)
{
    static const char *const names[CLVI_SPLIT_COUNT] = {"train", "val", "test"};
    return (unsigned)split < CLVI_SPLIT_COUNT ? names[split] : "?";
}

static clv_status check_sources(const clvi_data_options *options, clv_error *error)
{
    if (options->source_count == 0 && (!options->path || !*options->path))
        CLV_FAIL(error, CLV_E_CONFIG, "[data] path is empty: give a folder or an archive");
    if (options->source_count > CLVI_MAX_SOURCES)
        CLV_FAIL(error, CLV_E_CONFIG, "%zu sections [data.NAME]; at most %d are possible",
                 options->source_count, CLVI_MAX_SOURCES);
    for (size_t i = 0; i < options->source_count; i++) {
        const clvi_data_source *source = &options->sources[i];
        if (!source->name || !*source->name || !source->path || !*source->path)
            CLV_FAIL(error, CLV_E_CONFIG, "[data.%s] path is empty: give a folder or an archive",
                     source->name ? source->name : "");
        for (size_t k = 0; k < i; k++)
            if (strcmp(options->sources[k].name, source->name) == 0)
                CLV_FAIL(error, CLV_E_CONFIG, "two sources are named [data.%s]", source->name);
    }
    return CLV_OK;
}

static clv_status check_options(const clvi_data_options *options, clv_error *error)
{
    CLV_TRY(check_sources(options, error));
    if (!(options->val_fraction >= 0.0 && options->val_fraction < 1.0))
        CLV_FAIL(error, CLV_E_CONFIG, "[data] val_fraction is %g; it must be in [0, 1)",
                 options->val_fraction);
    if (options->limit_per_class < 0)
        CLV_FAIL(error, CLV_E_CONFIG, "[data] limit_per_class is %lld; it must not be negative",
                 (long long)options->limit_per_class);
    if (options->height < 1 || options->width < 1 || options->height > SIDE_LIMIT ||
        options->width > SIDE_LIMIT)
        CLV_FAIL(error, CLV_E_CONFIG, "[data] image size is %d x %d; sides must be in 1 .. %d",
                 options->height, options->width, SIDE_LIMIT);
    if (options->channels != 0 && options->channels != 1 && options->channels != 3)
        CLV_FAIL(error, CLV_E_CONFIG,
                 "[data] channels is %d; it must be 1 or 3, or 0 for as stored", options->channels);
    if (options->workers < 0)
        CLV_FAIL(error, CLV_E_CONFIG, "[data] workers is %d; it must not be negative",
                 options->workers);
    return CLV_OK;
}

static int default_workers(void)
{
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (processors < 1)
        return 1;
    return processors > MOST_WORKERS ? MOST_WORKERS : (int)processors;
}

/* Labels and folders' splits of all images. *outside: images that are in no class folder. */
static clv_status make_items(const clvi_sources *sources, clvi_split_item **out, size_t *outside,
                             clv_error *error)
{
    clvi_split_item *items = clvi_calloc(clvi_sources_total(sources), sizeof *items);
    if (!items)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory for %zu images", sources->title,
                 clvi_sources_total(sources));
    size_t strays = 0;
    for (size_t k = 0; k < sources->count; k++) {
        const clvi_folders *folders = &sources->folders[k];
        clvi_split_item *item = items + sources->base[k];
        uint32_t guess = 0;
        for (size_t i = 0; i < sources->list[k]->count; i++, item++) {
            clvi_split split = CLVI_TRAIN;
            const bool placed =
                clvi_folders_place(folders, sources->list[k]->entries[i].path, &split, &guess);
            strays += !placed;
            item->split = (uint8_t)(placed ? split : CLVI_NOWHERE);
            item->label = placed ? sources->labels[k][guess] : 0;
            item->fixed = folders->folder[CLVI_VAL] != NULL;
        }
    }
    *out = items;
    *outside = strays;
    return CLV_OK;
}

/* Channels that most images have, judged by up to PROBES of them at equal distances; a tie counts
 * as colour. Images that cannot be read have no vote: they are reported when they are used. */
static clv_status resolve_channels(clvi_dataset *data, const clvi_split_item *items,
                                   clv_error *error)
{
    const clvi_sources *sources = &data->sources;
    const size_t total = clvi_sources_total(sources), step = total / PROBES + 1;
    clvi_scratch scratch = {0};
    clv_status status = CLV_OK;
    size_t grey = 0, colour = 0;
    for (size_t i = 0; i < total && status != CLV_E_MEMORY; i += step) {
        const uint8_t *bytes = NULL;
        size_t length = 0;
        int channels = 0;
        clv_error ignored = CLV_ERROR_INIT;
        if (items[i].split == CLVI_NOWHERE)
            continue;
        status = clvi_sources_read(sources, i, &scratch, &bytes, &length, &ignored);
        if (status == CLV_OK)
            status = clvi_image_probe(bytes, length, clvi_sources_entry(sources, i)->path,
                                      &channels, &ignored);
        grey += channels == 1;
        colour += channels == 3;
    }
    clvi_free(scratch.data);
    if (status == CLV_E_MEMORY)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory to look at its images", sources->title);
    data->form.channels = grey > colour ? 1 : 3;
    return CLV_OK;
}

/* The path of image `id` below the top folder of its source. */
static const char *path_of(const clvi_sources *sources, size_t id, size_t *source)
{
    size_t place = 0;
    *source = clvi_sources_find(sources, id, &place);
    return clvi_folders_path(&sources->folders[*source],
                             sources->list[*source]->entries[place].path);
}

static clv_status make_samples(clvi_dataset *data, const clvi_split_item *items, clv_error *error)
{
    const size_t total = clvi_sources_total(&data->sources);
    for (size_t i = 0; i < total; i++)
        if (items[i].split != CLVI_NOWHERE)
            data->counts[items[i].split]++;
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++) {
        data->samples[s] = clvi_calloc(data->counts[s], sizeof *data->samples[s]);
        if (!data->samples[s])
            CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory for %zu images", data->sources.title,
                     total);
    }
    size_t at[CLVI_SPLIT_COUNT] = {0};
    for (size_t i = 0; i < total; i++) {
        const int s = items[i].split;
        if (s == CLVI_NOWHERE)
            continue;
        size_t source = 0;
        const char *path = path_of(&data->sources, i, &source);
        data->samples[s][at[s]++] = (clvi_sample){
            .path = path, .label = items[i].label, .id = (uint32_t)i, .source = (uint32_t)source};
    }
    return CLV_OK;
}

/* Dropping what stands in test can leave a class with nothing to learn from. */
static clv_status check_train(const clvi_dataset *data, clv_error *error)
{
    char name[100];
    const clvi_sources *sources = &data->sources;
    bool *seen = clvi_calloc(sources->class_count, sizeof *seen);
    if (!seen)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory to check its classes", sources->title);
    for (size_t i = 0; i < data->counts[CLVI_TRAIN]; i++)
        seen[data->samples[CLVI_TRAIN][i].label] = true;
    clv_status status = CLV_OK;
    for (size_t k = 0; k < sources->class_count && status == CLV_OK; k++)
        if (!seen[k])
            status =
                clvi_fail(error, CLV_E_DATA, CLV_HERE,
                          "%s: every training image of class %s stands in val or test as well; "
                          "[data] dedup = no keeps them",
                          sources->title, clvi_printable(sources->classes[k], name, sizeof name));
    clvi_free(seen);
    return status;
}

static void hash_number(SHA2_CTX *context, uint64_t number)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(number >> (8 * i));
    SHA256Update(context, bytes, sizeof bytes);
}

static void make_fingerprint(clvi_dataset *data, const clvi_split_item *items)
{
    static const char digits[] = "0123456789abcdef";
    const clvi_sources *sources = &data->sources;
    const size_t total = clvi_sources_total(sources);
    uint8_t digest[CLVI_DIGEST_BYTES];
    SHA2_CTX context;
    SHA256Init(&context);
    for (size_t i = 0; i < total; i++) {
        if (items[i].split == CLVI_NOWHERE)
            continue;
        size_t source = 0;
        const char *path = path_of(sources, i, &source);
        SHA256Update(&context, (const uint8_t *)path, strlen(path) + 1);
        hash_number(&context, items[i].label);
        hash_number(&context, items[i].split);
        hash_number(&context, clvi_sources_entry(sources, i)->bytes);
        /* All zero where the size alone tells the image from all others. */
        SHA256Update(&context, items[i].digest, CLVI_DIGEST_BYTES);
        if (sources->count > 1)
            hash_number(&context, source);
    }
    SHA256Final(digest, &context);
    for (int i = 0; i < CLVI_DIGEST_BYTES; i++) {
        data->fingerprint[2 * i] = digits[digest[i] >> 4];
        data->fingerprint[2 * i + 1] = digits[digest[i] & 15];
    }
}

/* "; written: 100, printed: 50" */
static void describe_sources(const clvi_dataset *data, clvi_text *text)
{
    size_t counts[CLVI_MAX_SOURCES] = {0};
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++)
        for (size_t i = 0; i < data->counts[s]; i++)
            counts[data->samples[s][i].source]++;
    for (size_t k = 0; data->sources.count > 1 && k < data->sources.count; k++)
        clvi_text_printf(text, "%s %s: %zu", k == 0 ? ";" : ",", data->sources.names[k], counts[k]);
}

static clv_status make_summary(clvi_dataset *data, const clvi_split_counts *counts, size_t outside,
                               clv_error *error)
{
    clvi_text text = {0};
    const clvi_sources *sources = &data->sources;
    size_t drawn = 0; /* sources that validation was drawn from */
    for (size_t k = 0; k < sources->count; k++)
        drawn += !sources->folders[k].folder[CLVI_VAL];
    clvi_text_printf(&text, "%zu classes; %zu train, %zu val%s, %zu test images of %d channel%s",
                     sources->class_count, data->counts[CLVI_TRAIN], data->counts[CLVI_VAL],
                     data->counts[CLVI_VAL] == 0 || drawn == 0 ? ""
                     : drawn == sources->count                 ? " (drawn from train)"
                                                               : " (in part drawn from train)",
                     data->counts[CLVI_TEST], data->form.channels,
                     data->form.channels == 1 ? "" : "s");
    describe_sources(data, &text);
    if (counts->stand_in_test > 0)
        clvi_text_printf(&text, "; %zu dropped that stand in test as well", counts->stand_in_test);
    if (counts->stand_in_val > 0)
        clvi_text_printf(&text, "; %zu dropped that stand in val as well", counts->stand_in_val);
    if (counts->above_limit > 0)
        clvi_text_printf(&text, "; %zu left out by limit_per_class", counts->above_limit);
    if (outside > 0)
        clvi_text_printf(&text, "; %zu outside of the class folders ignored", outside);
    data->summary = text.failed ? NULL : clvi_strdup(clvi_text_get(&text));
    clvi_text_fini(&text);
    if (!data->summary)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: no memory for its summary", sources->title);
    return CLV_OK;
}

/* Everything that needs the items, which live no longer than this. */
static clv_status settle(clvi_dataset *data, const clvi_data_options *options,
                         clvi_split_item *items, size_t outside, clv_error *error)
{
    const clvi_sources *sources = &data->sources;
    const clvi_split_items all = {items, clvi_sources_total(sources), sources->class_count};
    clvi_split_counts counts = {0};
    CLV_TRY(clvi_split_compare(sources, options->skip_bad, items, error));
    CLV_TRY(clvi_split_assign(&all, options, &counts, error));
    CLV_TRY(make_samples(data, items, error));
    CLV_TRY(check_train(data, error));
    if (data->form.channels == 0)
        CLV_TRY(resolve_channels(data, items, error));
    make_fingerprint(data, items);
    return make_summary(data, &counts, outside, error);
}

static clv_status fill(clvi_dataset *data, const clvi_data_options *options, clv_error *error)
{
    CLV_TRY(clvi_sources_open(options, &data->sources, error));
    data->form = (clvi_image_form){.height = options->height,
                                   .width = options->width,
                                   .channels = options->channels,
                                   .resample = options->resample,
                                   .fit = options->fit};
    data->workers = options->workers > 0 ? options->workers : default_workers();
    data->skip_bad = options->skip_bad;
    size_t outside = 0;
    clvi_split_item *items = NULL;
    CLV_TRY(make_items(&data->sources, &items, &outside, error));
    const clv_status status = settle(data, options, items, outside, error);
    clvi_free(items);
    CLV_TRY(status);
    return clvi_pixels_init(data, !options->no_cache, error);
}

clv_status clvi_dataset_open(const clvi_data_options *options, clvi_dataset **out, clv_error *error)
{
    CLV_TRY(check_options(options, error));
    clvi_dataset *data = clvi_calloc(1, sizeof *data);
    if (!data)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to open a data set");
    const clv_status status = fill(data, options, error);
    if (status != CLV_OK) {
        clvi_dataset_close(data);
        return status;
    }
    *out = data;
    return CLV_OK;
}

void clvi_dataset_close(clvi_dataset *data)
{
    if (!data)
        return;
    clvi_pixels_fini(data);
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++)
        clvi_free(data->samples[s]);
    clvi_sources_close(&data->sources);
    clvi_free(data->summary);
    clvi_free(data);
}

size_t clvi_dataset_class_count(const clvi_dataset *data)
{
    return data->sources.class_count;
}

const char *clvi_dataset_class_name(const clvi_dataset *data, size_t index)
{
    CLV_ASSERT(index < data->sources.class_count);
    return data->sources.classes[index];
}

size_t clvi_dataset_count(const clvi_dataset *data, clvi_split split)
{
    return data->counts[split];
}

const clvi_sample *clvi_dataset_sample(const clvi_dataset *data, clvi_split split, size_t index)
{
    CLV_ASSERT(index < data->counts[split]);
    return &data->samples[split][index];
}

void clvi_dataset_size(const clvi_dataset *data, int *height, int *width)
{
    *height = data->form.height, *width = data->form.width;
}

size_t clvi_dataset_source_count(const clvi_dataset *data)
{
    return data->sources.count;
}

const char *clvi_dataset_source_name(const clvi_dataset *data, size_t index)
{
    CLV_ASSERT(index < data->sources.count);
    return data->sources.names[index];
}

int clvi_dataset_channels(const clvi_dataset *data)
{
    return data->form.channels;
}

const char *clvi_dataset_path(const clvi_dataset *data)
{
    return data->sources.title;
}

const char *clvi_dataset_summary(const clvi_dataset *data)
{
    return data->summary;
}

const char *clvi_dataset_fingerprint(const clvi_dataset *data)
{
    return data->fingerprint;
}
