/* Reads the golden vectors that make.py writes; see there for the format. */
#ifndef CLV_TEST_GOLDEN_H
#define CLV_TEST_GOLDEN_H

#include <conclave/plugin.h>

typedef enum golden_role {
    GOLDEN_INPUT = 1,
    GOLDEN_PARAMETER,
    GOLDEN_STATE,
    GOLDEN_ABSENT,
    GOLDEN_TRAIN,    /* output in training; in inference too, where there is no GOLDEN_INFER */
    GOLDEN_INFER,    /* output in inference */
    GOLDEN_AFTER,    /* a state after training's forward */
    GOLDEN_GRAD_OUT, /* gradient of an output */
    GOLDEN_GRAD_IN,  /* gradient of an input */
    GOLDEN_LOSS,     /* of each step of a trajectory */
    GOLDEN_TRAINED   /* a variable after them */
} golden_role;

typedef struct golden_tensor {
    char name[33]; /* of a trajectory's tensors; "" otherwise */
    golden_role role;
    uint32_t index; /* which input or output */
    bool is_integer;
    int rank;
    int64_t dims[CLV_MAX_RANK];
    int64_t elements;
    float *f;  /* f32 and i32 data as floats, else NULL */
    double *d; /* f64 data, else NULL */
} golden_tensor;

enum { GOLDEN_MAX_TENSORS = 64, GOLDEN_MAX_ATTRS = 12, GOLDEN_MAX_ENTRIES = 128 };

typedef struct golden {
    char op[33], torch[29];
    uint32_t attr_count, tensor_count;
    clv_attr attrs[GOLDEN_MAX_ATTRS];
    char texts[GOLDEN_MAX_ATTRS][2][25]; /* name and text of each attribute */
    golden_tensor tensors[GOLDEN_MAX_TENSORS];
} golden;

/* Reads a file of the wanted SHA-256 (64 hexadecimal digits). Fails the running test where it
 * cannot. */
void golden_read(golden *g, const char *path, const char *sha256);
void golden_fini(golden *g);
/* The tensor of a role and index, or NULL. */
const golden_tensor *golden_find(const golden *g, golden_role role, uint32_t index);
/* A real attribute; fails the running test where there is none of this name. */
double golden_real(const golden *g, const char *name);
/* An attribute, or NULL. */
const clv_attr *golden_attr(const golden *g, const char *name);

/* A line of a manifest. */
typedef struct golden_entry {
    char sha256[65], name[64];
} golden_entry;

/* Reads FOLDER/MANIFEST; returns the number of entries, 0 where it cannot be read. */
size_t golden_manifest(const char *folder, golden_entry entries[GOLDEN_MAX_ENTRIES]);
/* Fails the running test where a golden file in the folder is not in the manifest or lacks. */
void golden_check_manifest(const char *folder, const golden_entry *entries, size_t count);

#endif
