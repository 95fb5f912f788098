/* The objects of PyTorch that a pickle of tensors and containers names: storages, tensors, and the
 * dictionaries and shapes around them. Every other name of Python is refused. */
#ifndef CLVI_TORCH_OBJECTS_H
#define CLVI_TORCH_OBJECTS_H

#include "weights/file_tensor.h"
#include "weights/pickle.h"

/* Elements that tensors view. */
typedef struct clvi_torch_storage {
    clvi_file_dtype dtype;
    const char *key;                         /* of its data in the file */
    int64_t elements;                        /* >= 0 */
    const struct clvi_torch_storage *before; /* the one named before this one; NULL: none */
} clvi_torch_storage;

/* A view of a storage: element (i, j, …) is at first + i·strides[0] + j·strides[1] + … All of them
 * lie in the storage, and there are no more of them than it has. */
typedef struct clvi_torch_tensor {
    const clvi_torch_storage *storage;
    int64_t first, elements;
    int64_t span; /* elements from the first to the last in the storage, 0 when there is none */
    int rank;
    int64_t dims[CLVI_FILE_MAX_RANK], strides[CLVI_FILE_MAX_RANK];
} clvi_torch_tensor;

/* Working memory of one reading; zero-initialise but for the arena. */
typedef struct clvi_torch_objects {
    clvi_arena *arena;
    size_t copied; /* items of dictionaries made of lists */
    /* The storage named last. One of a file is named as often as tensors view it. */
    const clvi_torch_storage *storages;
    size_t storage_count;
} clvi_torch_objects;
/* The user to read a pickle with. */
clvi_pickle_user clvi_torch_objects_user(clvi_torch_objects *objects);

/* The tensor, or the storage, that a value is; NULL: it is none. */
const clvi_torch_tensor *clvi_torch_tensor_of(const clvi_pickle_value *value);

#endif
