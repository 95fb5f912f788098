/* Which folders of a source are splits and which are classes. Only core/data includes this. */
#ifndef CLVI_FOLDERS_H
#define CLVI_FOLDERS_H

#include "data/dataset.h"
#include "data/source.h"

/* Strings are borrowed from the source, but for `classes`. Free with clvi_folders_fini. */
typedef struct clvi_folders {
    const char *top;                      /* the one top folder that is passed through, or NULL */
    const char *folder[CLVI_SPLIT_COUNT]; /* split folders' names; all NULL: classes stand bare */
    char **classes;                       /* of all splits, natural order, each once */
    bool *in_train;                       /* [class_count] train has the class */
    size_t class_count, class_capacity;
} clvi_folders;

/* Finds splits and classes. `names`: of the split folders, each NULL for the usual ones. `alone`: a
 * split folder for train must be there if there is any. Errors: CLV_E_DATA, one sentence naming the
 * folder; CLV_E_CONFIG for wrong folder names. */
clv_status clvi_folders_find(const clvi_source *source, const char *const names[CLVI_SPLIT_COUNT],
                             bool alone, clvi_folders *out, clv_error *error) CLV_MUST_CHECK;
/* Makes NULL of names that no folder has where splits are looked for. */
void clvi_folders_keep_known(const clvi_source *source, const char *names[CLVI_SPLIT_COUNT]);
void clvi_folders_fini(clvi_folders *folders);

/* Errors: CLV_E_DATA where train (of a source that is not alone: the source) has too few classes,
 * or what looks like splits without classes. */
clv_status clvi_folders_check_classes(const clvi_source *source, const clvi_folders *folders,
                                      bool alone, clv_error *error) CLV_MUST_CHECK;
/* Errors: CLV_E_DATA naming a class folder that holds no image. */
clv_status clvi_folders_check_images(const clvi_source *source, const clvi_folders *folders,
                                     clv_error *error) CLV_MUST_CHECK;
/* Where a folder of that class stands, for messages, in `out`; returns `out`. */
const char *clvi_folders_locate(const clvi_source *source, const clvi_folders *folders,
                                const char *class_name, char *out, size_t bytes);

/* Split and class (an index of `classes`) of an image; false when it stands outside of every class
 * folder. *label is also the first guess, so that images in their order are placed quickly. */
bool clvi_folders_place(const clvi_folders *folders, const char *path, clvi_split *split,
                        uint32_t *label);
/* The path below the top folder, "Train/ka/1.png". */
const char *clvi_folders_path(const clvi_folders *folders, const char *path);

#endif
