/* An ONNX model being put together: values, nodes, initialisers; then its file. Values are named
 * texts that live as long as the model. After a failure every call returns NULL and does nothing;
 * clvi_onnx_write reports the first. IR version 7, operator set 13. */
#ifndef CLVI_ONNX_MODEL_H
#define CLVI_ONNX_MODEL_H

#include "export/pieces.h"

typedef struct clvi_onnx clvi_onnx;

enum { CLVI_ONNX_IR = 7, CLVI_ONNX_OPSET = 13 };

clv_status clvi_onnx_create(clvi_onnx **out, clv_error *error) CLV_MUST_CHECK;
void clvi_onnx_destroy(clvi_onnx *onnx); /* NULL allowed */

/* Fails with a sentence, unless something failed before. */
void clvi_onnx_fail(clvi_onnx *onnx, clv_status status, const char *format, ...) CLV_PRINTF(3, 4);
bool clvi_onnx_failed(const clvi_onnx *onnx);
/* Memory and texts that live as long as the model; NULL after a failure. */
void *clvi_onnx_alloc(clvi_onnx *onnx, size_t bytes);
const char *clvi_onnx_text(clvi_onnx *onnx, const char *format, ...) CLV_PRINTF(2, 3);

/* ---- Nodes ---- */

typedef struct clvi_onnx_attr {
    const char *name;
    enum { CLVI_ONNX_FLOAT = 1, CLVI_ONNX_INT = 2, CLVI_ONNX_INTS = 7 } type;
    float f;
    int64_t i;
    const int64_t *ints;
    size_t count;
} clvi_onnx_attr;
/* Rows of a list of attributes; `values` of ONNX_INTS is an array, of which a copy is kept. */
#define ONNX_F(name_, value_)                                                                      \
    {                                                                                              \
        .name = (name_), .type = CLVI_ONNX_FLOAT, .f = (value_)                                    \
    }
#define ONNX_I(name_, value_)                                                                      \
    {                                                                                              \
        .name = (name_), .type = CLVI_ONNX_INT, .i = (value_)                                      \
    }
#define ONNX_INTS(name_, values_, count_)                                                          \
    {                                                                                              \
        .name = (name_), .type = CLVI_ONNX_INTS, .ints = (values_), .count = (count_)              \
    }

typedef struct clvi_onnx_node {
    const char *op;            /* "Conv" */
    const char *name;          /* of the first output; numbered where it is taken */
    const char *const *inputs; /* values */
    size_t input_count;
    const clvi_onnx_attr *attrs;
    size_t attr_count;
    const char **second; /* the name of a second output; NULL: there is one output */
} clvi_onnx_node;
/* Adds a node; returns the value of its first output. */
const char *clvi_onnx_add(clvi_onnx *onnx, const clvi_onnx_node *node);
/* A node of a few inputs, each a value, without attributes or with one list of them. */
#define ONNX_LIST(...)                                                                             \
    (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)
#define ONNX_ATTRS(...)                                                                            \
    (const clvi_onnx_attr[]){__VA_ARGS__},                                                         \
        sizeof((const clvi_onnx_attr[]){__VA_ARGS__}) / sizeof(clvi_onnx_attr)

/* ---- Initialisers ---- */

/* Types of elements, as ONNX numbers them; Cast takes them too. */
enum { CLVI_ONNX_F32 = 1, CLVI_ONNX_I64 = 7 };

/* Numbers that are copied: `count` of them, row by row in `shape`; shape NULL: [count]. Returns the
 * value, as those below do. */
const char *clvi_onnx_floats(clvi_onnx *onnx, const char *name, const float *values, size_t count,
                             const clv_shape *shape);
/* The same of integers, [count]. */
const char *clvi_onnx_ints(clvi_onnx *onnx, const char *name, const int64_t *values, size_t count);
/* A number without axes. */
const char *clvi_onnx_number(clvi_onnx *onnx, const char *name, double value);
/* A variable, read when the file is written. `order`: which of its elements, in the order of
 * `shape`, is which (reorder.h). */
const char *clvi_onnx_variable(clvi_onnx *onnx, const char *name, size_t segment,
                               const clv_shape *shape, const clvi_reorder *order);

/* ---- The model ---- */

/* An input or output of the whole, f32, [N, …]: `shape` begins with CLV_BATCH. */
void clvi_onnx_input(clvi_onnx *onnx, const char *name, const clv_shape *shape, const char *doc);
/* `value` becomes known as `name`. */
void clvi_onnx_output(clvi_onnx *onnx, const char *name, const char *value, const clv_shape *shape,
                      const char *doc);
void clvi_onnx_property(clvi_onnx *onnx, const char *key, const char *value);

/* How the file is made. */
typedef struct clvi_onnx_writing {
    const char *path;
    const char *producer, *version, *doc; /* of the model */
    clvi_export_read *read;               /* of the variables */
    const void *user;
} clvi_onnx_writing;
/* Writes the file, whole or not at all. Reads one variable at a time. Errors: the first failure
 * while putting together; CLV_E_DATA for more than the 2 GB that a file of ONNX may have; CLV_E_IO;
 * those of `read`. */
clv_status clvi_onnx_write(const clvi_onnx *onnx, const clvi_onnx_writing *writing,
                           clv_error *error) CLV_MUST_CHECK;

#endif
