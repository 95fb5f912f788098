/* Which folders of a source are splits and which are classes. Only core/data includes this. */
#ifndef CLVI_FOLDERS_H
#define CLVI_FOLDERS_H

#include "data/dataset.h"
#include "data/source.h"

/* Strings are borrowed from the source, but for `classes`. Free with clvi_folders_fini. */
typedef struct clvi_folders {
    const char *top;                      /* the one top folder that is passed through, or NULL */
    const char *folder[CLVI_SPLIT_COUNT]; /* split folders' names; all NULL: classes stand bare */
    char **classes;                       /* natural order */
    size_t class_count, class_capacity;
} clvi_folders;

/* Finds splits and classes and checks that each class folder holds an image.
 * Errors: CLV_E_DATA, one sentence naming the folder; CLV_E_CONFIG for wrong folder names. */
clv_status clvi_folders_find(const clvi_source *source, const clvi_data_options *options,
                             clvi_folders *out, clv_error *error) CLV_MUST_CHECK;
void clvi_folders_fini(clvi_folders *folders);

/* Split and class of an image; false when it stands outside of every class folder. *label is also
 * the first guess, so that images in their order are placed quickly. */
bool clvi_folders_place(const clvi_folders *folders, const char *path, clvi_split *split,
                        uint32_t *label);
/* The path below the top folder, "Train/ka/1.png". */
const char *clvi_folders_path(const clvi_folders *folders, const char *path);

#endif
