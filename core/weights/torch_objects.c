/* See torch_objects.h. What stands in the files: PyTorch's torch/serialization.py and _utils.py. */
#include "weights/torch_objects.h"

#include "base/text.h"

typedef clvi_pickle_value value;

/* ---- Names ---- */

typedef enum global {
    ORDERED_DICT,
    SIZE,
    REBUILD_TENSOR,
    REBUILD_PARAMETER,
    STORAGE /* plus the dtype */
} global;

static const struct {
    const char *module, *name;
    int64_t number;
} globals[] = {
    {"collections", "OrderedDict", ORDERED_DICT},
    {"torch", "Size", SIZE},
    {"torch._utils", "_rebuild_tensor_v2", REBUILD_TENSOR},
    {"torch._utils", "_rebuild_tensor", REBUILD_TENSOR},
    {"torch._utils", "_rebuild_parameter", REBUILD_PARAMETER},
    {"torch", "FloatStorage", STORAGE + CLVI_FILE_F32},
    {"torch", "HalfStorage", STORAGE + CLVI_FILE_F16},
    {"torch", "BFloat16Storage", STORAGE + CLVI_FILE_BF16},
    {"torch", "DoubleStorage", STORAGE + CLVI_FILE_F64},
    {"torch", "IntStorage", STORAGE + CLVI_FILE_I32},
    {"torch", "LongStorage", STORAGE + CLVI_FILE_I64},
    {"torch", "ByteStorage", STORAGE + CLVI_FILE_U8},
};

static clv_status find(void *user, const char *module, const char *name, int64_t *out,
                       clv_error *error)
{
    (void)user;
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++)
        if (strcmp(module, globals[i].module) == 0 && strcmp(name, globals[i].name) == 0) {
            *out = globals[i].number;
            return CLV_OK;
        }
    char shown[2][96];
    const size_t length = strlen(name);
    const bool storage =
        strcmp(module, "torch") == 0 && length > 7 && strcmp(name + length - 7, "Storage") == 0;
    if (storage)
        CLV_FAIL(error, CLV_E_FORMAT,
                 "its pickle has numbers of the kind %s, known are Float, Half, BFloat16, Double, "
                 "Int, Long and ByteStorage",
                 clvi_printable(name, shown[0], sizeof shown[0]));
    CLV_FAIL(error, CLV_E_FORMAT,
             "its pickle names %s.%s, which is neither a tensor nor a container: nothing of it is "
             "run; save the model's state_dict() alone",
             clvi_printable(module, shown[0], sizeof shown[0]),
             clvi_printable(name, shown[1], sizeof shown[1]));
}

/* ---- Tensors ---- */

/* Objects begin with what they are. */
typedef enum object_kind { STORAGE_OBJECT, TENSOR_OBJECT } object_kind;
typedef struct storage_object {
    object_kind kind;
    clvi_torch_storage storage;
} storage_object;
typedef struct tensor_object {
    object_kind kind;
    clvi_torch_tensor tensor;
} tensor_object;

static const clvi_torch_storage *storage_of(const value *v)
{
    const storage_object *object = v->kind == CLVI_PICKLE_OBJECT ? v->object : NULL;
    return object && object->kind == STORAGE_OBJECT ? &object->storage : NULL;
}

const clvi_torch_tensor *clvi_torch_tensor_of(const value *v)
{
    const tensor_object *object = v->kind == CLVI_PICKLE_OBJECT ? v->object : NULL;
    return object && object->kind == TENSOR_OBJECT ? &object->tensor : NULL;
}

static clv_status bad_tensor(const char *what, clv_error *error)
{
    CLV_FAIL(error, CLV_E_FORMAT, "a tensor of its pickle is damaged: %s", what);
}

/* A tuple of whole numbers >= 0, at most 8 of them. */
static clv_status take_numbers(const value *v, int64_t *out, int *count, clv_error *error)
{
    if (v->kind != CLVI_PICKLE_TUPLE)
        return bad_tensor("shape or strides are no tuple", error);
    if (v->count > CLVI_FILE_MAX_RANK)
        return bad_tensor("it has more than 8 dimensions", error);
    for (size_t i = 0; i < v->count; i++) {
        if (v->items[i]->kind != CLVI_PICKLE_INT || v->items[i]->integer < 0)
            return bad_tensor("shape or strides are no whole numbers from 0", error);
        out[i] = v->items[i]->integer;
    }
    *count = (int)v->count;
    return CLV_OK;
}

/* All elements must lie in the storage. */
static clv_status check_view(clvi_torch_tensor *t, clv_error *error)
{
    const int64_t room = t->storage->elements;
    int64_t last = t->first;
    t->elements = 1;
    for (int i = 0; i < t->rank; i++) {
        if (t->dims[i] == 0)
            t->elements = 0;
        else if (t->dims[i] == 1)
            t->strides[i] = 0;
    }
    for (int i = 0; i < t->rank && t->elements > 0; i++) {
        if (t->dims[i] > room / t->elements)
            return bad_tensor("it has more elements than its storage", error);
        t->elements *= t->dims[i];
        const int64_t steps = t->dims[i] - 1;
        if (steps > 0 && t->strides[i] > (room - last) / steps)
            return bad_tensor("elements would lie beyond its storage", error);
        last += steps * t->strides[i];
    }
    if (t->elements > 0 && last >= room)
        return bad_tensor("elements would lie beyond its storage", error);
    t->span = t->elements > 0 ? last - t->first + 1 : 0;
    return CLV_OK;
}

/* (storage, first, shape, strides, …) */
static clv_status rebuild_tensor(clvi_arena *arena, const value *arguments, value *out,
                                 clv_error *error)
{
    if (arguments->count < 4 || !storage_of(arguments->items[0]))
        return bad_tensor("it has no storage", error);
    if (arguments->items[1]->kind != CLVI_PICKLE_INT || arguments->items[1]->integer < 0)
        return bad_tensor("its offset is no whole number from 0", error);
    tensor_object *object = clvi_arena_alloc(arena, sizeof *object);
    if (!object)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory for its pickle");
    object->kind = TENSOR_OBJECT;
    clvi_torch_tensor *t = &object->tensor;
    int strides = 0;
    t->storage = storage_of(arguments->items[0]);
    t->first = arguments->items[1]->integer;
    CLV_TRY(take_numbers(arguments->items[2], t->dims, &t->rank, error));
    CLV_TRY(take_numbers(arguments->items[3], t->strides, &strides, error));
    if (strides != t->rank)
        return bad_tensor("it has not as many strides as dimensions", error);
    if (t->first > t->storage->elements)
        return bad_tensor("elements would lie beyond its storage", error);
    CLV_TRY(check_view(t, error));
    out->kind = CLVI_PICKLE_OBJECT;
    out->object = object;
    return CLV_OK;
}

/* ---- Containers ---- */

/* Python 2 writes OrderedDict([[key, value], …]), Python 3 OrderedDict(). */
static clv_status make_dict(clvi_torch_objects *o, const value *arguments, value *out,
                            clv_error *error)
{
    out->kind = CLVI_PICKLE_DICT;
    if (arguments->count == 0)
        return CLV_OK;
    const value *pairs = arguments->items[0];
    if (arguments->count != 1 || pairs->kind != CLVI_PICKLE_LIST)
        CLV_FAIL(error, CLV_E_FORMAT, "its pickle is damaged: a dictionary of no list");
    o->copied += pairs->count;
    if (o->copied > CLVI_PICKLE_VALUES)
        CLV_FAIL(error, CLV_E_FORMAT, "its pickle has more than %d values", CLVI_PICKLE_VALUES);
    out->items = clvi_arena_alloc(o->arena, 2 * pairs->count * sizeof(value *));
    if (!out->items)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory for its pickle");
    out->capacity = out->count = 2 * pairs->count;
    for (size_t i = 0; i < pairs->count; i++) {
        const value *pair = pairs->items[i];
        if ((pair->kind != CLVI_PICKLE_LIST && pair->kind != CLVI_PICKLE_TUPLE) || pair->count != 2)
            CLV_FAIL(error, CLV_E_FORMAT, "its pickle is damaged: a dictionary of no pairs");
        out->items[2 * i] = pair->items[0];
        out->items[2 * i + 1] = pair->items[1];
    }
    return CLV_OK;
}

static clv_status call(void *user, int64_t number, const value *arguments, value *out,
                       clv_error *error)
{
    clvi_torch_objects *o = user;
    switch (number) {
    case ORDERED_DICT:
        return make_dict(o, arguments, out, error);
    case SIZE:
        if (arguments->count != 1 || arguments->items[0]->kind != CLVI_PICKLE_TUPLE)
            CLV_FAIL(error, CLV_E_FORMAT, "its pickle is damaged: a shape of no tuple");
        *out = *arguments->items[0];
        return CLV_OK;
    case REBUILD_TENSOR:
        return rebuild_tensor(o->arena, arguments, out, error);
    case REBUILD_PARAMETER: /* (tensor, requires_grad, hooks) */
        if (arguments->count < 1 || !clvi_torch_tensor_of(arguments->items[0]))
            CLV_FAIL(error, CLV_E_FORMAT, "its pickle is damaged: a parameter without a tensor");
        *out = *arguments->items[0];
        return CLV_OK;
    default:
        CLV_FAIL(error, CLV_E_FORMAT, "its pickle is damaged: it calls a kind of number");
    }
}

/* ("storage", kind, key, location, elements[, None]) */
static clv_status persistent(void *user, const value *id, value *out, clv_error *error)
{
    clvi_torch_objects *o = user;
    const bool sound = id->kind == CLVI_PICKLE_TUPLE && id->count >= 5 &&
                       clvi_pickle_is_text(id->items[0], "storage") &&
                       id->items[1]->kind == CLVI_PICKLE_GLOBAL &&
                       id->items[1]->integer >= STORAGE && id->items[2]->kind == CLVI_PICKLE_TEXT &&
                       strlen(id->items[2]->text) == id->items[2]->count &&
                       id->items[4]->kind == CLVI_PICKLE_INT && id->items[4]->integer >= 0;
    if (!sound)
        CLV_FAIL(error, CLV_E_FORMAT, "its pickle is damaged: a storage is not described as such");
    if (id->count > 5 && id->items[5]->kind != CLVI_PICKLE_NONE)
        CLV_FAIL(error, CLV_E_FORMAT,
                 "its pickle has a storage within another one, as PyTorch before 0.4 made them; "
                 "load and save it with a newer PyTorch");
    if (id->items[4]->integer > INT64_MAX / 8)
        CLV_FAIL(error, CLV_E_FORMAT, "its pickle is damaged: a storage has too many elements");
    storage_object *object = clvi_arena_alloc(o->arena, sizeof *object);
    if (!object)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory for its pickle");
    object->kind = STORAGE_OBJECT;
    object->storage =
        (clvi_torch_storage){.dtype = (clvi_file_dtype)(id->items[1]->integer - STORAGE),
                             .key = id->items[2]->text,
                             .elements = id->items[4]->integer,
                             .before = o->storages};
    o->storages = &object->storage;
    o->storage_count++;
    out->kind = CLVI_PICKLE_OBJECT;
    out->object = object;
    return CLV_OK;
}

clvi_pickle_user clvi_torch_objects_user(clvi_torch_objects *objects)
{
    return (clvi_pickle_user){
        .user = objects, .find = find, .call = call, .persistent = persistent};
}
