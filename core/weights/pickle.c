/* See pickle.h. Opcodes: CPython's Lib/pickletools.py. */
#include "weights/pickle.h"

#include "base/text.h"

#include <stdio.h>

typedef clvi_pickle_value value;

typedef struct machine {
    const unsigned char *stream, *at, *end;
    const clvi_pickle_user *user;
    clvi_arena *arena;
    size_t made;
    value **stack;
    size_t depth, stack_capacity;
    size_t *marks; /* depths */
    size_t mark_count, mark_capacity;
    value **memo;
    size_t memo_count, memo_capacity;
    value *result;
} machine;

/* ---- Names of opcodes, for refusals ---- */

static const struct {
    unsigned char code;
    const char *name;
} refused_opcodes[] = {{'F', "FLOAT"},
                       {'I', "INT"},
                       {'L', "LONG"},
                       {'P', "PERSID"},
                       {'S', "STRING"},
                       {'V', "UNICODE"},
                       {'g', "GET"},
                       {'i', "INST"},
                       {'o', "OBJ"},
                       {'p', "PUT"},
                       {0x81, "NEWOBJ"},
                       {0x82, "EXT1"},
                       {0x83, "EXT2"},
                       {0x84, "EXT4"},
                       {0x8b, "LONG4"},
                       {0x8e, "BINBYTES8"},
                       {0x8f, "EMPTY_SET"},
                       {0x90, "ADDITEMS"},
                       {0x91, "FROZENSET"},
                       {0x92, "NEWOBJ_EX"},
                       {0x96, "BYTEARRAY8"},
                       {0x97, "NEXT_BUFFER"},
                       {0x98, "READONLY_BUFFER"}};

static size_t place(const machine *m)
{
    return (size_t)(m->at - m->stream);
}

static clv_status refuse(const machine *m, unsigned char code, clv_error *error)
{
    for (size_t i = 0; i < sizeof refused_opcodes / sizeof *refused_opcodes; i++)
        if (refused_opcodes[i].code == code)
            CLV_FAIL(error, CLV_E_FORMAT,
                     "its pickle uses the opcode %s (at byte %zu), which plain data does not need",
                     refused_opcodes[i].name, place(m) - 1);
    CLV_FAIL(error, CLV_E_FORMAT, "its pickle uses the unknown opcode 0x%02x (at byte %zu)", code,
             place(m) - 1);
}

static clv_status damaged(const machine *m, const char *what, clv_error *error)
{
    CLV_FAIL(error, CLV_E_FORMAT, "its pickle is damaged: %s (before byte %zu)", what, place(m));
}

static clv_status out_of_memory(clv_error *error)
{
    CLV_FAIL(error, CLV_E_MEMORY, "out of memory for its pickle");
}

/* ---- Stack and memo ---- */

static clv_status make(machine *m, clvi_pickle_kind kind, value **out, clv_error *error)
{
    if (m->made >= CLVI_PICKLE_VALUES)
        CLV_FAIL(error, CLV_E_FORMAT, "its pickle has more than %d values", CLVI_PICKLE_VALUES);
    value *made = clvi_arena_alloc(m->arena, sizeof *made);
    if (!made)
        return out_of_memory(error);
    made->kind = kind;
    m->made++;
    *out = made;
    return CLV_OK;
}

static clv_status push(machine *m, value *item, clv_error *error)
{
    if (m->depth >= CLVI_PICKLE_VALUES)
        CLV_FAIL(error, CLV_E_FORMAT, "its pickle has more than %d values", CLVI_PICKLE_VALUES);
    CLV_TRY(
        clvi_grow((void **)&m->stack, &m->stack_capacity, m->depth + 1, sizeof *m->stack, error));
    m->stack[m->depth++] = item;
    return CLV_OK;
}

/* Lowest depth that may be taken from: nobody reaches below a mark. */
static size_t floor_of(const machine *m)
{
    return m->mark_count > 0 ? m->marks[m->mark_count - 1] : 0;
}

static clv_status pop(machine *m, value **out, clv_error *error)
{
    if (m->depth <= floor_of(m))
        return damaged(m, "it takes more than it has", error);
    *out = m->stack[--m->depth];
    return CLV_OK;
}

/* The items above the last mark, which goes; they stay on the stack above m->depth. */
static clv_status pop_mark(machine *m, value ***items, size_t *count, clv_error *error)
{
    if (m->mark_count == 0)
        return damaged(m, "it lacks a mark", error);
    const size_t from = m->marks[--m->mark_count];
    *items = m->stack ? m->stack + from : NULL;
    *count = m->depth - from;
    m->depth = from;
    return CLV_OK;
}

static clv_status push_mark(machine *m, clv_error *error)
{
    CLV_TRY(clvi_grow((void **)&m->marks, &m->mark_capacity, m->mark_count + 1, sizeof *m->marks,
                      error));
    m->marks[m->mark_count++] = m->depth;
    return CLV_OK;
}

static clv_status memo_put(machine *m, size_t index, clv_error *error)
{
    if (m->depth <= floor_of(m))
        return damaged(m, "it keeps what it does not have", error);
    if (index >= CLVI_PICKLE_VALUES)
        CLV_FAIL(error, CLV_E_FORMAT, "its pickle keeps a value under the number %zu, too high",
                 index);
    const size_t had = m->memo_capacity;
    CLV_TRY(clvi_grow((void **)&m->memo, &m->memo_capacity, index + 1, sizeof *m->memo, error));
    for (size_t i = had; i < m->memo_capacity; i++)
        m->memo[i] = NULL;
    m->memo[index] = m->stack[m->depth - 1];
    m->memo_count = m->memo_count > index + 1 ? m->memo_count : index + 1;
    return CLV_OK;
}

static clv_status memo_get(machine *m, size_t index, clv_error *error)
{
    if (index >= m->memo_count || !m->memo[index])
        return damaged(m, "it asks for a value that it did not keep", error);
    return push(m, m->memo[index], error);
}

/* ---- Bytes of the stream ---- */

static clv_status take(machine *m, size_t bytes, const unsigned char **out, clv_error *error)
{
    if (bytes > (size_t)(m->end - m->at))
        return damaged(m, "it ends in the middle", error);
    *out = m->at;
    m->at += bytes;
    return CLV_OK;
}

/* An unsigned number of `bytes` bytes, at most 8. */
static clv_status take_count(machine *m, size_t bytes, uint64_t *out, clv_error *error)
{
    const unsigned char *from = NULL;
    CLV_TRY(take(m, bytes, &from, error));
    *out = 0;
    for (size_t i = bytes; i-- > 0;)
        *out = *out << 8 | from[i];
    return CLV_OK;
}

static clv_status push_int(machine *m, int64_t number, clv_error *error)
{
    value *made = NULL;
    CLV_TRY(make(m, CLVI_PICKLE_INT, &made, error));
    made->integer = number;
    return push(m, made, error);
}

static clv_status op_int(machine *m, size_t bytes, clv_error *error)
{
    uint64_t number = 0;
    CLV_TRY(take_count(m, bytes, &number, error));
    return push_int(m, bytes == 4 ? (int64_t)(int32_t)(uint32_t)number : (int64_t)number, error);
}

/* LONG1: a signed number of any length. */
static clv_status op_long(machine *m, clv_error *error)
{
    uint64_t bytes = 0, number = 0;
    const unsigned char *from = NULL;
    value *made = NULL;
    CLV_TRY(take_count(m, 1, &bytes, error));
    CLV_TRY(take(m, (size_t)bytes, &from, error));
    if (bytes > 8) {
        CLV_TRY(make(m, CLVI_PICKLE_BIG, &made, error));
        return push(m, made, error);
    }
    for (size_t i = 0; i < bytes; i++)
        number |= (uint64_t)from[i] << (8 * i);
    if (bytes > 0 && bytes < 8 && from[bytes - 1] & 0x80)
        number |= UINT64_MAX << (8 * bytes);
    return push_int(m, (int64_t)number, error);
}

static clv_status op_real(machine *m, clv_error *error)
{
    const unsigned char *from = NULL;
    value *made = NULL;
    uint64_t bits = 0;
    CLV_TRY(take(m, 8, &from, error));
    CLV_TRY(make(m, CLVI_PICKLE_REAL, &made, error));
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | from[i];
    memcpy(&made->real, &bits, sizeof made->real);
    return push(m, made, error);
}

static clv_status push_text(machine *m, clvi_pickle_kind kind, const void *from, size_t bytes,
                            clv_error *error)
{
    value *made = NULL;
    CLV_TRY(make(m, kind, &made, error));
    char *text = clvi_arena_alloc(m->arena, bytes + 1);
    if (!text)
        return out_of_memory(error);
    memcpy(text, from, bytes);
    made->text = text;
    made->count = bytes;
    return push(m, made, error);
}

static clv_status op_text(machine *m, clvi_pickle_kind kind, size_t length_bytes, clv_error *error)
{
    uint64_t bytes = 0;
    const unsigned char *from = NULL;
    CLV_TRY(take_count(m, length_bytes, &bytes, error));
    if (bytes > (uint64_t)(m->end - m->at))
        return damaged(m, "a text would go beyond its end", error);
    CLV_TRY(take(m, (size_t)bytes, &from, error));
    return push_text(m, kind, from, (size_t)bytes, error);
}

/* ---- Containers ---- */

/* Appends to a container, whose items are NULL as long as it is empty. */
static clv_status append(machine *m, value *to, value *const *items, size_t count, clv_error *error)
{
    if (to->count + count > to->capacity) {
        const size_t capacity = (to->count + count) * 2;
        value **more = clvi_arena_alloc(m->arena, capacity * sizeof(value *));
        if (!more)
            return out_of_memory(error);
        if (to->count > 0)
            memcpy(more, to->items, to->count * sizeof *more);
        to->items = more;
        to->capacity = capacity;
    }
    if (count > 0)
        memcpy(to->items + to->count, items, count * sizeof *items);
    to->count += count;
    return CLV_OK;
}

static clv_status push_container(machine *m, clvi_pickle_kind kind, value *const *items,
                                 size_t count, clv_error *error)
{
    value *made = NULL;
    CLV_TRY(make(m, kind, &made, error));
    if (kind == CLVI_PICKLE_DICT && count % 2 != 0)
        return damaged(m, "a key has no value", error);
    if (count > 0)
        CLV_TRY(append(m, made, items, count, error));
    return push(m, made, error);
}

static clv_status op_marked(machine *m, clvi_pickle_kind kind, clv_error *error)
{
    value **items = NULL;
    size_t count = 0;
    CLV_TRY(pop_mark(m, &items, &count, error));
    return push_container(m, kind, items, count, error);
}

/* TUPLE1 to TUPLE3. */
static clv_status op_tuple(machine *m, size_t count, clv_error *error)
{
    value *items[3] = {NULL};
    for (size_t i = count; i-- > 0;)
        CLV_TRY(pop(m, &items[i], error));
    return push_container(m, CLVI_PICKLE_TUPLE, items, count, error);
}

/* Puts items into the container below them. */
static clv_status extend(machine *m, clvi_pickle_kind kind, value *const *items, size_t count,
                         clv_error *error)
{
    if (m->depth <= floor_of(m) || m->stack[m->depth - 1]->kind != kind)
        return damaged(m, "it adds to what is no container", error);
    if (kind == CLVI_PICKLE_DICT && count % 2 != 0)
        return damaged(m, "a key has no value", error);
    return append(m, m->stack[m->depth - 1], items, count, error);
}

static clv_status op_extend(machine *m, clvi_pickle_kind kind, clv_error *error)
{
    value **items = NULL;
    size_t count = 0;
    CLV_TRY(pop_mark(m, &items, &count, error));
    return extend(m, kind, items, count, error);
}

static clv_status op_add(machine *m, clvi_pickle_kind kind, clv_error *error)
{
    value *items[2] = {NULL};
    const size_t count = kind == CLVI_PICKLE_DICT ? 2 : 1;
    for (size_t i = count; i-- > 0;)
        CLV_TRY(pop(m, &items[i], error));
    return extend(m, kind, items, count, error);
}

/* ---- What only the user knows ---- */

static clv_status push_global(machine *m, const char *module, const char *name, clv_error *error)
{
    int64_t number = 0;
    value *made = NULL;
    CLV_TRY(m->user->find(m->user->user, module, name, &number, error));
    CLV_TRY(make(m, CLVI_PICKLE_GLOBAL, &made, error));
    made->integer = number;
    return push(m, made, error);
}

/* GLOBAL: two lines. */
static clv_status op_global(machine *m, clv_error *error)
{
    char names[2][256];
    for (int i = 0; i < 2; i++) {
        const unsigned char *line = m->at;
        const unsigned char *newline = memchr(line, '\n', (size_t)(m->end - line));
        if (!newline || (size_t)(newline - line) >= sizeof names[i])
            return damaged(m, "a name has no end", error);
        memcpy(names[i], line, (size_t)(newline - line));
        names[i][newline - line] = '\0';
        m->at = newline + 1;
    }
    return push_global(m, names[0], names[1], error);
}

static clv_status op_stack_global(machine *m, clv_error *error)
{
    value *name = NULL, *module = NULL;
    CLV_TRY(pop(m, &name, error));
    CLV_TRY(pop(m, &module, error));
    if (name->kind != CLVI_PICKLE_TEXT || module->kind != CLVI_PICKLE_TEXT)
        return damaged(m, "a name is no text", error);
    return push_global(m, module->text, name->text, error);
}

static clv_status op_reduce(machine *m, clv_error *error)
{
    value *arguments = NULL, *global = NULL, *made = NULL;
    CLV_TRY(pop(m, &arguments, error));
    CLV_TRY(pop(m, &global, error));
    if (global->kind != CLVI_PICKLE_GLOBAL || arguments->kind != CLVI_PICKLE_TUPLE)
        return damaged(m, "it calls what cannot be called", error);
    CLV_TRY(make(m, CLVI_PICKLE_NONE, &made, error));
    CLV_TRY(m->user->call(m->user->user, global->integer, arguments, made, error));
    return push(m, made, error);
}

/* BUILD gives an object attributes; dictionaries of PyTorch have some, which nobody needs. */
static clv_status op_build(machine *m, clv_error *error)
{
    value *attributes = NULL, *object = NULL;
    CLV_TRY(pop(m, &attributes, error));
    CLV_TRY(pop(m, &object, error));
    if (object->kind != CLVI_PICKLE_DICT)
        return damaged(m, "it gives attributes to what is no dictionary", error);
    return push(m, object, error);
}

static clv_status op_persistent(machine *m, clv_error *error)
{
    value *id = NULL, *made = NULL;
    CLV_TRY(pop(m, &id, error));
    CLV_TRY(make(m, CLVI_PICKLE_NONE, &made, error));
    CLV_TRY(m->user->persistent(m->user->user, id, made, error));
    return push(m, made, error);
}

/* ---- Opcodes ---- */

static clv_status op_simple(machine *m, clvi_pickle_kind kind, int64_t number, clv_error *error)
{
    value *made = NULL;
    CLV_TRY(make(m, kind, &made, error));
    made->integer = number;
    return push(m, made, error);
}

/* An opcode whose argument is a number: protocol, frame, places in the memo. */
static clv_status op_numbered(machine *m, unsigned char code, clv_error *error)
{
    uint64_t number = 0;
    const size_t bytes = code == 0x95 ? 8 : code == 'r' || code == 'j' ? 4 : 1;
    CLV_TRY(take_count(m, bytes, &number, error));
    if (code == 0x80 && number > 5)
        CLV_FAIL(error, CLV_E_FORMAT, "its pickle has the protocol %d; known are those up to 5",
                 (int)number);
    if (code == 'q' || code == 'r')
        return memo_put(m, (size_t)number, error);
    if (code == 'h' || code == 'j')
        return memo_get(m, (size_t)number, error);
    return CLV_OK; /* frames only say how much follows */
}

static clv_status op_pop(machine *m, clv_error *error)
{
    value *gone = NULL;
    return pop(m, &gone, error);
}

static clv_status op_pop_mark(machine *m, clv_error *error)
{
    value **gone = NULL;
    size_t count = 0;
    return pop_mark(m, &gone, &count, error);
}

/* Opcodes that make data. */
static clv_status run_data(machine *m, unsigned char code, clv_error *error)
{
    switch (code) {
    case 'N':
        return op_simple(m, CLVI_PICKLE_NONE, 0, error);
    case 0x88:
    case 0x89:
        return op_simple(m, CLVI_PICKLE_BOOL, code == 0x88, error);
    case 'J':
        return op_int(m, 4, error);
    case 'M':
        return op_int(m, 2, error);
    case 'K':
        return op_int(m, 1, error);
    case 0x8a:
        return op_long(m, error);
    case 'G':
        return op_real(m, error);
    case 'X': /* BINUNICODE, then its short and long forms, and Python 2's texts */
    case 'T':
        return op_text(m, CLVI_PICKLE_TEXT, 4, error);
    case 0x8c:
    case 'U':
        return op_text(m, CLVI_PICKLE_TEXT, 1, error);
    case 0x8d:
        return op_text(m, CLVI_PICKLE_TEXT, 8, error);
    case 'B':
        return op_text(m, CLVI_PICKLE_BYTES_OBJECT, 4, error);
    case 'C':
        return op_text(m, CLVI_PICKLE_BYTES_OBJECT, 1, error);
    default:
        return refuse(m, code, error);
    }
}

static clv_status run_container(machine *m, unsigned char code, clv_error *error)
{
    switch (code) {
    case ')':
        return push_container(m, CLVI_PICKLE_TUPLE, NULL, 0, error);
    case ']':
        return push_container(m, CLVI_PICKLE_LIST, NULL, 0, error);
    case '}':
        return push_container(m, CLVI_PICKLE_DICT, NULL, 0, error);
    case 't':
        return op_marked(m, CLVI_PICKLE_TUPLE, error);
    case 'l':
        return op_marked(m, CLVI_PICKLE_LIST, error);
    case 'd':
        return op_marked(m, CLVI_PICKLE_DICT, error);
    case 0x85:
    case 0x86:
    case 0x87:
        return op_tuple(m, (size_t)code - 0x84, error);
    case 'a':
        return op_add(m, CLVI_PICKLE_LIST, error);
    case 's':
        return op_add(m, CLVI_PICKLE_DICT, error);
    case 'e':
        return op_extend(m, CLVI_PICKLE_LIST, error);
    case 'u':
        return op_extend(m, CLVI_PICKLE_DICT, error);
    default:
        return run_data(m, code, error);
    }
}

static clv_status run(machine *m, unsigned char code, clv_error *error)
{
    switch (code) {
    case 0x80: /* PROTO, FRAME, BINPUT, LONG_BINPUT, BINGET, LONG_BINGET */
    case 0x95:
    case 'q':
    case 'r':
    case 'h':
    case 'j':
        return op_numbered(m, code, error);
    case 0x94:
        return memo_put(m, m->memo_count, error);
    case '(':
        return push_mark(m, error);
    case '0':
        return op_pop(m, error);
    case '1':
        return op_pop_mark(m, error);
    case 'c':
        return op_global(m, error);
    case 0x93:
        return op_stack_global(m, error);
    case 'R':
        return op_reduce(m, error);
    case 'b':
        return op_build(m, error);
    case 'Q':
        return op_persistent(m, error);
    default:
        return run_container(m, code, error);
    }
}

static clv_status run_all(machine *m, clv_error *error)
{
    while (m->at < m->end) {
        const unsigned char code = *m->at++;
        if (code != '.') {
            CLV_TRY(run(m, code, error));
            continue;
        }
        if (m->mark_count > 0)
            return damaged(m, "it ends within a container", error);
        return pop(m, &m->result, error);
    }
    return damaged(m, "it has no end", error);
}

clv_status clvi_pickle_read(const void *stream, size_t bytes, const clvi_pickle_user *user,
                            clvi_arena *arena, const clvi_pickle_value **out, size_t *used,
                            clv_error *error)
{
    machine m = {.stream = stream, .at = stream, .user = user, .arena = arena};
    m.end = m.at + bytes;
    const clv_status status = run_all(&m, error);
    clvi_free(m.stack);
    clvi_free(m.marks);
    clvi_free(m.memo);
    if (status != CLV_OK)
        return status;
    *out = m.result;
    *used = place(&m);
    return CLV_OK;
}

bool clvi_pickle_is_text(const clvi_pickle_value *v, const char *text)
{
    return v->kind == CLVI_PICKLE_TEXT && v->count == strlen(text) &&
           memcmp(v->text, text, v->count) == 0;
}

const clvi_pickle_value *clvi_pickle_get(const clvi_pickle_value *dict, const char *key)
{
    for (size_t i = dict->count; i >= 2; i -= 2)
        if (clvi_pickle_is_text(dict->items[i - 2], key))
            return dict->items[i - 1];
    return NULL;
}
