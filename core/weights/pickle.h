/* Python's pickle format as data: a stack machine that makes numbers, texts and containers, and
 * asks its user about everything else. It imports nothing and calls nothing: a name of Python
 * that the user does not know, and every opcode beyond those of plain data, is refused by name.
 *
 * Memory stays in proportion to the stream: at most CLVI_PICKLE_VALUES values. Values may share
 * others and form circles: whoever walks them counts. */
#ifndef CLVI_PICKLE_H
#define CLVI_PICKLE_H

#include "base/error.h"
#include "base/memory.h"

#include <stdbool.h>

enum { CLVI_PICKLE_BYTES = 32 << 20, CLVI_PICKLE_VALUES = 1 << 22 };

typedef enum clvi_pickle_kind {
    CLVI_PICKLE_NONE,
    CLVI_PICKLE_BOOL,
    CLVI_PICKLE_INT,
    CLVI_PICKLE_BIG, /* an integer beyond 64 bits; its value is not kept */
    CLVI_PICKLE_REAL,
    CLVI_PICKLE_TEXT,
    CLVI_PICKLE_BYTES_OBJECT,
    CLVI_PICKLE_TUPLE,
    CLVI_PICKLE_LIST,
    CLVI_PICKLE_DICT,
    CLVI_PICKLE_GLOBAL, /* a name that the user knows */
    CLVI_PICKLE_OBJECT  /* made by the user */
} clvi_pickle_kind;

typedef struct clvi_pickle_value {
    clvi_pickle_kind kind;
    union {
        int64_t integer; /* BOOL: 0 or 1; GLOBAL: the user's number for it */
        double real;
        const char *text;                 /* NUL-terminated, `count` bytes before it */
        struct clvi_pickle_value **items; /* DICT: key, value, key, value, … */
        const void *object;
    };
    size_t count; /* of items (DICT: twice its pairs), or bytes of text */
    size_t capacity;
} clvi_pickle_value;

/* What the machine asks. Each returns CLV_OK and fills *out, or fails with a sentence. What they
 * make lies in the arena. */
typedef struct clvi_pickle_user {
    void *user;
    /* The user's number of a name of Python, such as "collections" "OrderedDict". */
    clv_status (*find)(void *user, const char *module, const char *name, int64_t *out,
                       clv_error *error);
    /* Python would call a global with a tuple: fills *out, whose kind is NONE. */
    clv_status (*call)(void *user, int64_t global, const clvi_pickle_value *arguments,
                       clvi_pickle_value *out, clv_error *error);
    /* What a persistent id stands for. */
    clv_status (*persistent)(void *user, const clvi_pickle_value *id, clvi_pickle_value *out,
                             clv_error *error);
} clvi_pickle_user;

/* Reads one pickle from the beginning of `bytes` bytes: *used is where it ends. Values lie in
 * `arena`. Errors: CLV_E_FORMAT with a sentence that names the opcode or name and its place, for
 * the caller to put the file's name before; CLV_E_MEMORY. */
clv_status clvi_pickle_read(const void *stream, size_t bytes, const clvi_pickle_user *user,
                            clvi_arena *arena, const clvi_pickle_value **out, size_t *used,
                            clv_error *error) CLV_MUST_CHECK;

/* True when the value is this text. */
bool clvi_pickle_is_text(const clvi_pickle_value *value, const char *text);
/* The value of a key of a DICT, the last one of equal keys; NULL when there is none. */
const clvi_pickle_value *clvi_pickle_get(const clvi_pickle_value *dict, const char *key);

#endif
