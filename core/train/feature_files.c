/* See feature_files.h. */
#include "train/feature_files.h"

#include "base/files.h"
#include "base/process.h"
#include "weights/safetensors.h"

#include <sha2.h>
#include <stdio.h>

/* Counts up when the same network would give other numbers. */
static const char format[] = "conclave features 2";

/* One file. */
typedef struct file {
    char *path;
    int64_t width;
    clvi_safetensors *open;     /* NULL: it is not there */
    clvi_tensor_writer *writer; /* NULL: nothing is begun */
} file;

struct clvi_feature_files {
    size_t experts, blocks;
    int64_t counts[CLVI_SPLIT_COUNT];
    file *files; /* [experts, blocks] */
};

static file *file_of(const clvi_feature_files *f, size_t expert, size_t block)
{
    return &f->files[expert * f->blocks + block];
}

static clv_status no_memory(clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for the files of features");
}

void clvi_feature_files_destroy(clvi_feature_files *f)
{
    if (!f)
        return;
    for (size_t i = 0; f->files && i < f->experts * f->blocks; i++) {
        clvi_safetensors_close(f->files[i].open);
        clvi_tensor_writer_destroy(f->files[i].writer);
        clvi_free(f->files[i].path);
    }
    clvi_free(f->files);
    clvi_free(f);
}

/* ---- Names ---- */

/* A text and its end, so that no two lists of texts are the same bytes. */
static void hash_text(SHA2_CTX *context, const char *text)
{
    SHA256Update(context, (const uint8_t *)text, strlen(text) + 1);
}

static void hash_int(SHA2_CTX *context, int64_t number)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)number);
    hash_text(context, text);
}

/* What all experts have in common: the device, its batches, and the images as they come from the
 * files. */
static void hash_place(SHA2_CTX *context, const clvi_config *config, clvi_mixture *mixture,
                       const clvi_dataset *data, int64_t batch)
{
    static const char *const keys[] = {"resize", "fit"};
    const clvi_device *device = clvi_store_device(clvi_mixture_store(mixture));
    int height, width;
    clvi_dataset_size(data, &height, &width);
    hash_text(context, format);
    hash_text(context, clvi_device_banner(device));
    hash_int(context, clvi_device_uses_winograd(device));
    hash_int(context, batch);
    hash_text(context, clvi_dataset_fingerprint(data));
    hash_int(context, height);
    hash_int(context, width);
    hash_int(context, clvi_dataset_channels(data));
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        hash_text(context, clvi_config_text(config, "data", keys[i]));
    hash_int(context, (int64_t)(1e6 * clvi_config_real(config, "data", "crop_share")));
}

static clv_status hash_variable(SHA2_CTX *context, const clvi_store *store, size_t segment,
                                const char *name, clv_error *error)
{
    const int64_t elements = clvi_store_segment(store, segment)->elements;
    float *values = clvi_malloc((size_t)elements * sizeof *values);
    if (!values)
        return no_memory(error);
    const clv_status status = clvi_store_read(store, segment, CLVI_STORE_VALUE, values, error);
    hash_text(context, name);
    hash_int(context, elements);
    if (status == CLV_OK)
        SHA256Update(context, (const uint8_t *)values, (size_t)elements * sizeof *values);
    clvi_free(values);
    return status;
}

/* The code that makes the network, which its name does not tell. */
static clv_status hash_file(SHA2_CTX *context, const char *path, clv_error *error)
{
    enum { MOST_BYTES = 1 << 30 };
    char *bytes = NULL;
    size_t count = 0;
    CLV_TRY(clvi_file_read(path, MOST_BYTES, &bytes, &count, error));
    hash_int(context, (int64_t)count);
    SHA256Update(context, (const uint8_t *)bytes, count);
    clvi_free(bytes);
    return CLV_OK;
}

/* An expert's network, what it sees and its weights, whatever it is called. */
static clv_status hash_expert(SHA2_CTX *context, const clvi_config *config, clvi_mixture *mixture,
                              size_t expert, clv_error *error)
{
    const clvi_mixture_part part = clvi_mixture_part_at(mixture, expert);
    const clvi_store *store = clvi_mixture_store(mixture);
    const size_t prefix = strlen(part.section);
    size_t count;
    const clvi_raw_option *options = clvi_config_options(config, part.section, &count);
    hash_text(context, clvi_config_text(config, part.section, "plugin"));
    if (part.plugin_path)
        CLV_TRY(hash_file(context, part.plugin_path, error));
    hash_text(context, part.preprocessing);
    for (size_t i = 0; i < count; i++) {
        hash_text(context, options[i].key);
        hash_text(context, options[i].value);
    }
    for (size_t i = 0; i < clvi_store_count(store); i++) {
        const char *name = clvi_store_segment(store, i)->name;
        if (strncmp(name, part.section, prefix) == 0 && name[prefix] == '.')
            CLV_TRY(hash_variable(context, store, i, name + prefix, error));
    }
    return CLV_OK;
}

/* ---- Files that there are ---- */

/* Whether an open file holds all rows. */
static bool is_whole(const clvi_feature_files *f, const file *of, const clvi_safetensors *open)
{
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++) {
        const int64_t index = clvi_safetensors_find(open, clvi_split_name((clvi_split)s));
        const clvi_file_tensor *t = index >= 0 ? clvi_safetensors_at(open, (size_t)index) : NULL;
        if (!t || t->dtype != CLVI_FILE_F32 || t->rank != 2 || t->dims[0] != f->counts[s] ||
            t->dims[1] != of->width)
            return false;
    }
    return true;
}

/* What cannot be read is made anew. */
static void look_for(const clvi_feature_files *f, file *of)
{
    clv_error fault = CLV_ERROR_INIT;
    if (!clvi_is_file(of->path))
        return;
    if (clvi_safetensors_open(of->path, &of->open, &fault) != CLV_OK) {
        of->open = NULL;
        clvi_log(CLVI_LOG_WARN, "%s; it is made anew", fault.message);
    } else if (!is_whole(f, of, of->open)) {
        clvi_safetensors_close(of->open);
        of->open = NULL;
        clvi_log(CLVI_LOG_WARN, "%s does not hold what its name says; it is made anew", of->path);
    }
}

static clv_status name_files(clvi_feature_files *f, const clvi_config *config,
                             clvi_mixture *mixture, const clvi_dataset *data, int64_t batch,
                             clv_error *error)
{
    const char *folder = clvi_config_text(config, "train", "feature_folder");
    const clvi_kept kept = clvi_mixture_kept(mixture);
    for (size_t e = 0; e < f->experts; e++) {
        SHA2_CTX context;
        char key[SHA256_DIGEST_STRING_LENGTH];
        SHA256Init(&context);
        hash_place(&context, config, mixture, data, batch);
        CLV_TRY(hash_expert(&context, config, mixture, e, error));
        SHA256End(&context, key);
        for (size_t b = 0; b < f->blocks; b++) {
            clvi_text path = {0};
            file *of = file_of(f, e, b);
            clvi_text_printf(&path, "%s/%.32s-%s.safetensors", folder, key, kept.blocks[b].role);
            of->path = path.data;
            of->width = clvi_mixture_kept_columns(mixture, b, e).width;
            if (path.failed)
                return no_memory(error);
            look_for(f, of);
        }
    }
    return CLV_OK;
}

clv_status clvi_feature_files_create(const clvi_config *config, clvi_mixture *mixture,
                                     const clvi_dataset *data, int64_t batch,
                                     clvi_feature_files **out, clv_error *error)
{
    const char *folder = clvi_config_text(config, "train", "feature_folder");
    CLV_TRY(clvi_make_dirs(folder, 0755, error));
    CLV_TRY(clvi_atomic_sweep(folder, error));
    clvi_feature_files *f = clvi_calloc(1, sizeof *f);
    if (!f)
        return no_memory(error);
    f->experts = clvi_mixture_expert_count(mixture);
    f->blocks = clvi_mixture_kept(mixture).count;
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++)
        f->counts[s] = (int64_t)clvi_dataset_count(data, (clvi_split)s);
    f->files = clvi_calloc(f->experts * f->blocks, sizeof *f->files);
    const clv_status status =
        f->files ? name_files(f, config, mixture, data, batch, error) : no_memory(error);
    if (status != CLV_OK) {
        clvi_feature_files_destroy(f);
        return status;
    }
    *out = f;
    return CLV_OK;
}

bool clvi_feature_files_have(const clvi_feature_files *f, size_t expert, size_t block)
{
    return file_of(f, expert, block)->open != NULL;
}

clv_status clvi_feature_files_read(const clvi_feature_files *f, size_t expert, size_t block,
                                   clvi_split split, float *out, size_t stride, clv_error *error)
{
    const file *of = file_of(f, expert, block);
    const size_t rows = (size_t)f->counts[split], width = (size_t)of->width;
    const int64_t index = clvi_safetensors_find(of->open, clvi_split_name(split));
    float *values = clvi_malloc(rows * width * sizeof *values + 1);
    if (!values)
        return no_memory(error);
    const clv_status status = clvi_safetensors_read(of->open, (size_t)index, values, error);
    for (size_t r = 0; r < rows && status == CLV_OK; r++)
        memcpy(out + r * stride, values + r * width, width * sizeof *values);
    clvi_free(values);
    return status;
}

/* ---- New files ---- */

clv_status clvi_feature_files_begin(clvi_feature_files *f, size_t expert, size_t block,
                                    clv_error *error)
{
    file *of = file_of(f, expert, block);
    CLV_TRY(clvi_tensor_writer_create(of->path, &of->writer, error));
    CLV_TRY(clvi_tensor_writer_metadata(of->writer, "format", format, error));
    for (int s = 0; s < CLVI_SPLIT_COUNT; s++)
        CLV_TRY(clvi_tensor_writer_declare(of->writer, clvi_split_name((clvi_split)s),
                                           CLVI_FILE_F32, 2,
                                           (const int64_t[]){f->counts[s], of->width}, error));
    return CLV_OK;
}

clv_status clvi_feature_files_add(clvi_feature_files *f, size_t expert, size_t block,
                                  const float *from, size_t n, size_t stride, clv_error *error)
{
    file *of = file_of(f, expert, block);
    for (size_t r = 0; r < n && of->writer; r++)
        CLV_TRY(clvi_tensor_writer_append(of->writer, from + r * stride, of->width, error));
    return CLV_OK;
}

clv_status clvi_feature_files_commit(clvi_feature_files *f, clv_error *error)
{
    for (size_t i = 0; i < f->experts * f->blocks; i++) {
        file *of = &f->files[i];
        if (!of->writer)
            continue;
        CLV_TRY(clvi_tensor_writer_commit(of->writer, error));
        clvi_tensor_writer_destroy(of->writer);
        of->writer = NULL;
    }
    return CLV_OK;
}
