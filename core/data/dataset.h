/* An image data set: class folders in a directory or an archive, split into train, validation and
 * test, and the loader threads that turn its files into batches of pixels. Knows nothing of
 * devices. */
#ifndef CLVI_DATASET_H
#define CLVI_DATASET_H

#include "base/files.h"
#include "data/image.h"

typedef enum clvi_split { CLVI_TRAIN, CLVI_VAL, CLVI_TEST, CLVI_SPLIT_COUNT } clvi_split;
const char *clvi_split_name(clvi_split split); /* "train", "val", "test" */

enum { CLVI_MAX_SOURCES = 16 };

/* One of several sources: the keys of [data.NAME]. Strings are copied. */
typedef struct clvi_data_source {
    const char *name; /* unlike those of the other sources */
    const char *path;
    const char *split_folder[CLVI_SPLIT_COUNT]; /* as below */
} clvi_data_source;

/* The keys of [data]. Zero means the default in every field but height and width, which must be
 * given. Strings are copied. */
typedef struct clvi_data_options {
    const char *path; /* a folder, or a .tar (packed or not) or .zip of class folders */
    /* names, any case; NULL: train / val, valid, validation / test */
    const char *split_folder[CLVI_SPLIT_COUNT];
    bool split_folder_optional; /* a name that no folder of `path` has counts as NULL */
    clvi_data_source sources[CLVI_MAX_SOURCES]; /* in place of path and split_folder, where */
    size_t source_count;                        /* this is not 0 */
    double val_fraction; /* share of train drawn per class where there is no val folder; 0: none */
    uint64_t split_seed; /* draws that share; `seed` of the run does not touch it */
    int64_t limit_per_class;     /* training images per class after validation was drawn; 0: all */
    bool keep_duplicates;        /* dedup = no: identical images are as any others */
    int height, width, channels; /* pixels delivered, sides up to 16384; channels 1 or 3, 0: as most
                                  * of up to 256 images have */
    clvi_resample resample;      /* how sizes are changed, */
    clvi_fit fit;                /* and what becomes of other proportions */
    int workers;                 /* decoding threads; 0: one per processor, at most 8 */
    bool no_cache;               /* do not keep decoded pixels in memory (they are kept where all of
                                  * them fit in a quarter of it) */
    bool skip_bad; /* on_bad = skip (each one logged), otherwise the first is an error */
} clvi_data_options;

typedef struct clvi_dataset clvi_dataset;

/* One image. Strings live as long as the data set. */
typedef struct clvi_sample {
    const char *path; /* inside the data set, "train/ka/1.png" */
    uint32_t label;   /* class index */
    uint32_t id;      /* index in the list of all images, source by source and sorted within each:
                       * names its random numbers */
    uint32_t source;  /* index of its source */
} clvi_sample;

/* Lists and splits the images (archives are read once, in full; pixels are not decoded yet).
 * Classes in natural order of their folders' names, the same set for every split and source:
 * folders of one name are one class. README.md in this folder says which folders are taken for
 * what, and where identical images go. Errors, one sentence each naming file or folder: no such
 * path, no class folders, an empty class, fewer than two classes, a class that only val or test
 * has, an unreadable, damaged or unsafe archive (CLV_E_DATA, CLV_E_IO); a wrong option
 * (CLV_E_CONFIG). */
clv_status clvi_dataset_open(const clvi_data_options *options, clvi_dataset **out,
                             clv_error *error) CLV_MUST_CHECK;
void clvi_dataset_close(clvi_dataset *data); /* NULL allowed; loaders must be gone */

size_t clvi_dataset_class_count(const clvi_dataset *data);
const char *clvi_dataset_class_name(const clvi_dataset *data, size_t index);
size_t clvi_dataset_count(const clvi_dataset *data, clvi_split split); /* 0: no such split */
const clvi_sample *clvi_dataset_sample(const clvi_dataset *data, clvi_split split, size_t index);
size_t clvi_dataset_source_count(const clvi_dataset *data); /* 1 or more */
/* As options gave it; "" for the one source that has no name. */
const char *clvi_dataset_source_name(const clvi_dataset *data, size_t index);
int clvi_dataset_channels(const clvi_dataset *data);                       /* 1 or 3, resolved */
void clvi_dataset_size(const clvi_dataset *data, int *height, int *width); /* of the pixels */
/* The path, or the paths of all sources with " + " between them. */
const char *clvi_dataset_path(const clvi_dataset *data);
/* What opening found, for the log: counts per split, duplicates dropped, images skipped. */
const char *clvi_dataset_summary(const clvi_dataset *data);
/* Hex SHA-256 over the sorted (path below the top folder, label, split, size, content hash) of the
 * images in use, source by source: the manifest of a checkpoint. An image whose size no other has
 * is told by its size alone, so that opening a folder need not read all of it. A folder and an
 * archive of the same files give the same. */
const char *clvi_dataset_fingerprint(const clvi_dataset *data);

/* Mean seconds that reading and decoding one of the first `count` images of a split takes this
 * thread; what is kept in memory is read and decoded all the same. Images that cannot be read are
 * passed over; both 0 where none is left. Errors: CLV_E_MEMORY. */
clv_status clvi_dataset_time_images(const clvi_dataset *data, clvi_split split, size_t count,
                                    double *read, double *decode, clv_error *error) CLV_MUST_CHECK;

/* Hands out batches in a given order, decoded by worker threads ahead of use. What is delivered
 * does not depend on their number. Thread: one caller at a time for each loader; several loaders
 * may share a data set. */
typedef struct clvi_loader clvi_loader;
typedef struct clvi_batch {
    size_t count;          /* images in this batch; 0: the order is exhausted */
    const uint8_t *pixels; /* [count, height, width, channels] */
    const int32_t *labels; /* [count] */
    /* [count] clvi_sample.id; where an image stands in the order again, plus the number of all
     * images (of every split, used or not) for each time before: random numbers of its own each
     * time */
    const uint32_t *ids;
    const uint32_t *indices; /* [count] index within the split */
} clvi_batch;
clv_status clvi_loader_create(clvi_dataset *data, clvi_split split, size_t batch, clvi_loader **out,
                              clv_error *error) CLV_MUST_CHECK;
void clvi_loader_destroy(clvi_loader *loader); /* NULL allowed; stops its threads */
/* From the next start on batches come without pixels (their place is not written): for a caller who
 * knows the images from a pass before. What was bad then is skipped. */
void clvi_loader_leave_pixels(clvi_loader *loader);
/* Begins a pass over split indices order[0..count) (copied); a pass under way is dropped. */
clv_status clvi_loader_start(clvi_loader *loader, const uint32_t *order, size_t count,
                             clv_error *error) CLV_MUST_CHECK;
/* Begins a pass over all images of the split as they stand in it. */
clv_status clvi_loader_start_in_order(clvi_loader *loader, clv_error *error) CLV_MUST_CHECK;
/* As clvi_loader_start, but goes on where a pass over this order stood that clvi_loader_position
 * gave `first` of: the batches from there on are those that this pass would have had. */
clv_status clvi_loader_start_at(clvi_loader *loader, const uint32_t *order, size_t count,
                                size_t first, clv_error *error) CLV_MUST_CHECK;
/* How many images of the order lie behind, those of the batch in use (and skipped ones) among
 * them. */
size_t clvi_loader_position(const clvi_loader *loader);
/* Next batch; its arrays stay valid until the next call on this loader. A bad image: CLV_E_DATA
 * naming the file and the reason, of the first such image in the order, at each call until the next
 * start (or skipped, making the batch smaller, under skip_bad). A file that cannot be read:
 * CLV_E_IO in any case. Before the first start: an empty batch. */
clv_status clvi_loader_next(clvi_loader *loader, clvi_batch *out, clv_error *error) CLV_MUST_CHECK;

#endif
