/* See tensors.h. Layouts: legacy files (Keras 1 and 2, and Keras 3 when asked for .h5) name their
 * layers in the attribute layer_names and each layer's weights in weight_names; Keras 3's
 * .weights.h5 has groups layers/NAME/vars. */
#include "tensors.h"

#include "base/text.h"

#include <hdf5.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { MOST_TENSORS = 65536, MOST_DEPTH = 16, MOST_NAMES_BYTES = 16 << 20, ROW_BYTES = 4 << 20 };

typedef struct tensor {
    char *path;       /* in the file */
    const char *name; /* what is written: the end of path */
    hid_t type;       /* of the elements in memory, little-endian */
    clvi_file_dtype dtype;
    int rank;
    int64_t dims[CLVI_FILE_MAX_RANK];
    uint64_t bytes;
    bool chunked;
} tensor;

typedef struct converter {
    hid_t file, access, group_access; /* these refuse links to other files */
    tensor *tensors;
    size_t count, capacity;
    uint64_t bytes, most_bytes;
} converter;

static clv_status bad(const char *path, const char *what, clv_error *error)
{
    char shown[128];
    CLV_FAIL(error, CLV_E_FORMAT, "'%s' in it %s", clvi_printable(path, shown, sizeof shown), what);
}

/* ---- Names ---- */

/* Strings of an attribute. */
typedef struct strings {
    char **items;
    size_t count, capacity;
} strings;

static void strings_fini(strings *s)
{
    for (size_t i = 0; i < s->count; i++)
        clvi_free(s->items[i]);
    clvi_free(s->items);
}

static clv_status strings_add(strings *s, const char *text, size_t bytes, clv_error *error)
{
    void *items = s->items;
    if (s->count >= MOST_TENSORS)
        CLV_FAIL(error, CLV_E_FORMAT, "it has more than %d names", MOST_TENSORS);
    CLV_TRY(clvi_grow(&items, &s->capacity, s->count + 1, sizeof *s->items, error));
    s->items = items;
    char *copy = clvi_malloc(bytes + 1);
    if (copy == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory");
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    s->items[s->count++] = copy;
    return CLV_OK;
}

/* Texts of a fixed length each, or of any length. */
static clv_status read_texts(hid_t attribute, hid_t type, hsize_t count, strings *out,
                             clv_error *error)
{
    const bool any = H5Tis_variable_str(type) > 0;
    const size_t each = any ? sizeof(char *) : H5Tget_size(type);
    if (each == 0 || count > MOST_NAMES_BYTES / each)
        CLV_FAIL(error, CLV_E_FORMAT, "its list of names is too long");
    char *data = clvi_calloc((size_t)count + 1, each);
    if (data == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory");
    clv_status status = CLV_OK;
    if (H5Aread(attribute, type, data) < 0)
        status = clvi_fail(error, CLV_E_FORMAT, CLV_HERE, "its list of names is damaged");
    const bool read = status == CLV_OK;
    for (size_t i = 0; i < count && status == CLV_OK; i++) {
        const char *text = data + i * each;
        if (any)
            memcpy(&text, data + i * each, sizeof text);
        if (text == NULL)
            status = clvi_fail(error, CLV_E_FORMAT, CLV_HERE, "its list of names is damaged");
        else
            status = strings_add(out, text, any ? strlen(text) : strnlen(text, each), error);
    }
    if (any && read) {
        const hid_t space = H5Aget_space(attribute);
        H5Dvlen_reclaim(type, space, H5P_DEFAULT, data);
        H5Sclose(space);
    }
    clvi_free(data);
    return status;
}

static clv_status read_attribute(hid_t object, const char *name, strings *out, clv_error *error)
{
    const hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    const hid_t type = attribute >= 0 ? H5Aget_type(attribute) : -1;
    const hid_t space = attribute >= 0 ? H5Aget_space(attribute) : -1;
    clv_status status;
    const hssize_t count = space >= 0 ? H5Sget_simple_extent_npoints(space) : -1;
    if (type < 0 || count < 0)
        status = clvi_fail(error, CLV_E_FORMAT, CLV_HERE, "its list %s is damaged", name);
    else if (count > 0 && H5Tget_class(type) != H5T_STRING)
        status = clvi_fail(error, CLV_E_FORMAT, CLV_HERE, "its list %s has no texts", name);
    else if (count > MOST_TENSORS)
        status = clvi_fail(error, CLV_E_FORMAT, CLV_HERE, "its list %s is too long", name);
    else
        status = count > 0 ? read_texts(attribute, type, (hsize_t)count, out, error) : CLV_OK;
    if (space >= 0)
        H5Sclose(space);
    if (type >= 0)
        H5Tclose(type);
    if (attribute >= 0)
        H5Aclose(attribute);
    return status;
}

static bool has_attribute(hid_t object, const char *name)
{
    return H5Aexists(object, name) > 0;
}

/* Keras splits long lists: NAME, or NAME0, NAME1, … */
static clv_status read_names(hid_t object, const char *name, strings *out, clv_error *error)
{
    char part[64];
    if (has_attribute(object, name))
        return read_attribute(object, name, out, error);
    for (int i = 0; i < MOST_TENSORS; i++) {
        (void)snprintf(part, sizeof part, "%s%d", name, i);
        if (!has_attribute(object, part))
            break;
        CLV_TRY(read_attribute(object, part, out, error));
    }
    return CLV_OK;
}

static bool names_layers(hid_t object)
{
    return has_attribute(object, "layer_names") || has_attribute(object, "layer_names0");
}

/* ---- One dataset ---- */

/* What its elements are in memory; -1: none of ours. */
static hid_t element_type(hid_t type, clvi_file_dtype *dtype)
{
    size_t sign, exponent, exponent_bits, fraction, fraction_bits;
    const H5T_class_t kind = H5Tget_class(type);
    const size_t bytes = H5Tget_size(type);
    hid_t out = -1;
    if (kind == H5T_FLOAT && bytes == 2) {
        H5Tget_fields(type, &sign, &exponent, &exponent_bits, &fraction, &fraction_bits);
        if (exponent_bits == 5 || exponent_bits == 8) {
            *dtype = exponent_bits == 5 ? CLVI_FILE_F16 : CLVI_FILE_BF16;
            out = H5Tcopy(type);
            H5Tset_order(out, H5T_ORDER_LE);
        }
    } else if (kind == H5T_FLOAT && (bytes == 4 || bytes == 8)) {
        *dtype = bytes == 4 ? CLVI_FILE_F32 : CLVI_FILE_F64;
        out = H5Tcopy(bytes == 4 ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE);
    } else if (kind == H5T_INTEGER && bytes == 8) {
        *dtype = CLVI_FILE_I64;
        out = H5Tcopy(H5T_NATIVE_INT64);
    } else if (kind == H5T_INTEGER && bytes == 4) {
        *dtype = CLVI_FILE_I32;
        out = H5Tcopy(H5T_NATIVE_INT32);
    } else if (kind == H5T_INTEGER && bytes == 1) {
        *dtype = CLVI_FILE_U8;
        out = H5Tcopy(H5T_NATIVE_UINT8);
    }
    return out;
}

static clv_status read_shape(hid_t space, tensor *t, clv_error *error)
{
    hsize_t dims[H5S_MAX_RANK];
    const int rank = H5Sget_simple_extent_ndims(space);
    if (rank < 0 || rank > CLVI_FILE_MAX_RANK || H5Sget_simple_extent_dims(space, dims, NULL) < 0 ||
        (H5Sget_simple_extent_type(space) != H5S_SIMPLE &&
         H5Sget_simple_extent_type(space) != H5S_SCALAR))
        return bad(t->path, "has no shape of at most 8 dimensions", error);
    t->rank = rank;
    t->bytes = clvi_file_dtype_bytes(t->dtype);
    for (int i = 0; i < rank; i++) {
        if (dims[i] > (hsize_t)INT32_MAX ||
            (dims[i] > 0 && t->bytes > (uint64_t)INT64_MAX / dims[i]))
            return bad(t->path, "has more elements than any weight", error);
        t->dims[i] = (int64_t)dims[i];
        t->bytes *= dims[i];
    }
    return CLV_OK;
}

/* Data must lie in this file. */
static clv_status check_storage(hid_t set, tensor *t, clv_error *error)
{
    const hid_t made = H5Dget_create_plist(set);
    const H5D_layout_t layout = made >= 0 ? H5Pget_layout(made) : H5D_LAYOUT_ERROR;
    const int outside = made >= 0 ? H5Pget_external_count(made) : -1;
    if (made >= 0)
        H5Pclose(made);
    if (outside != 0 || layout == H5D_VIRTUAL)
        return bad(t->path, "has its data in another file", error);
    if (layout != H5D_COMPACT && layout != H5D_CONTIGUOUS && layout != H5D_CHUNKED)
        return bad(t->path, "is damaged", error);
    t->chunked = layout == H5D_CHUNKED;
    return CLV_OK;
}

static clv_status look_at(const converter *c, tensor *t, clv_error *error)
{
    const hid_t set = H5Dopen2(c->file, t->path, c->access);
    if (set < 0)
        return bad(t->path, "is missing or damaged", error);
    const hid_t type = H5Dget_type(set), space = H5Dget_space(set);
    clv_status status = CLV_OK;
    if (type < 0 || space < 0)
        status = bad(t->path, "is damaged", error);
    else if ((t->type = element_type(type, &t->dtype)) < 0)
        status = bad(t->path, "has elements that are no numbers of a known kind", error);
    if (status == CLV_OK)
        status = read_shape(space, t, error);
    if (status == CLV_OK)
        status = check_storage(set, t, error);
    if (type >= 0)
        H5Tclose(type);
    if (space >= 0)
        H5Sclose(space);
    H5Dclose(set);
    return status;
}

/* Notes a dataset. `skip`: characters of path before the name that is written. */
static clv_status add_tensor(converter *c, const char *path, size_t skip, clv_error *error)
{
    void *tensors = c->tensors;
    if (c->count >= MOST_TENSORS)
        CLV_FAIL(error, CLV_E_FORMAT, "it has more than %d tensors", MOST_TENSORS);
    CLV_TRY(clvi_grow(&tensors, &c->capacity, c->count + 1, sizeof *c->tensors, error));
    c->tensors = tensors;
    tensor *t = &c->tensors[c->count++];
    *t = (tensor){.path = clvi_strdup(path), .type = -1};
    if (t->path == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory");
    t->name = t->path + skip;
    CLV_TRY(look_at(c, t, error));
    if (t->bytes > c->most_bytes - c->bytes)
        return bad(path, "would take far more room than the file has", error);
    c->bytes += t->bytes;
    return CLV_OK;
}

/* ---- Files with layer_names ---- */

static clv_status list_layer(converter *c, const char *root, const char *layer, clv_error *error)
{
    clvi_text path = {0};
    strings names = {0};
    clvi_text_printf(&path, "%s/%s", root, layer);
    const hid_t group = path.failed ? -1 : H5Gopen2(c->file, path.data, c->group_access);
    clv_status status = CLV_OK;
    if (group < 0)
        status = bad(layer, "is missing or damaged", error);
    else
        status = read_names(group, "weight_names", &names, error);
    for (size_t i = 0; i < names.count && status == CLV_OK; i++) {
        path.length = 0;
        clvi_text_printf(&path, "%s/%s/%s", root, layer, names.items[i]);
        status = path.failed ? clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory")
                             : add_tensor(c, path.data, strlen(root) + 1, error);
    }
    if (group >= 0)
        H5Gclose(group);
    strings_fini(&names);
    clvi_text_fini(&path);
    return status;
}

static clv_status list_layers(converter *c, hid_t group, const char *root, clv_error *error)
{
    strings layers = {0};
    clv_status status = read_names(group, "layer_names", &layers, error);
    for (size_t i = 0; i < layers.count && status == CLV_OK; i++)
        status = list_layer(c, root, layers.items[i], error);
    strings_fini(&layers);
    return status;
}

/* ---- Files without: all datasets, but not the optimiser's ---- */

static clv_status walk(converter *c, const char *path, int depth, clv_error *error);

static clv_status visit(converter *c, const char *path, const char *name, int depth,
                        clv_error *error)
{
    clvi_text inner = {0};
    H5O_info_t about;
    clvi_text_printf(&inner, "%s/%s", path, name);
    clv_status status = CLV_OK;
    if (inner.failed)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory");
    else if (H5Oget_info_by_name(c->file, inner.data, &about, c->access) < 0)
        status = bad(name, "is damaged", error);
    else if (about.type == H5O_TYPE_DATASET)
        status = add_tensor(c, inner.data, 1, error);
    else if (about.type == H5O_TYPE_GROUP && strcmp(name, "optimizer") != 0 &&
             strcmp(name, "optimizer_weights") != 0)
        status = walk(c, inner.data, depth + 1, error);
    clvi_text_fini(&inner);
    return status;
}

static int compare(const void *a, const void *b)
{
    return clvi_natural_compare(*(char *const *)a, *(char *const *)b);
}

/* Names in a group; only those that lie in this file. */
static clv_status list_group(const converter *c, hid_t group, strings *out, clv_error *error)
{
    H5G_info_t about;
    if (H5Gget_info(group, &about) < 0)
        CLV_FAIL(error, CLV_E_FORMAT, "a group in it is damaged");
    for (hsize_t i = 0; i < about.nlinks; i++) {
        char name[1024];
        H5L_info_t link;
        if (H5Lget_info_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, i, &link, c->access) < 0 ||
            H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, i, name, sizeof name,
                               c->access) < 0)
            CLV_FAIL(error, CLV_E_FORMAT, "a group in it is damaged");
        if (link.type == H5L_TYPE_HARD)
            CLV_TRY(strings_add(out, name, strlen(name), error));
    }
    if (out->count > 1)
        qsort(out->items, out->count, sizeof *out->items, compare);
    return CLV_OK;
}

static clv_status walk(converter *c, const char *path, int depth, clv_error *error)
{
    strings names = {0};
    if (depth > MOST_DEPTH)
        CLV_FAIL(error, CLV_E_FORMAT, "its groups are nested too deep");
    const hid_t group = H5Gopen2(c->file, *path ? path : "/", c->group_access);
    if (group < 0)
        return bad(path, "is damaged", error);
    clv_status status = list_group(c, group, &names, error);
    H5Gclose(group);
    for (size_t i = 0; i < names.count && status == CLV_OK; i++)
        status = visit(c, path, names.items[i], depth, error);
    strings_fini(&names);
    return status;
}

/* ---- Writing ---- */

static clv_status read_rows(hid_t set, const tensor *t, hsize_t from, hsize_t rows, void *out,
                            clv_error *error)
{
    hsize_t start[CLVI_FILE_MAX_RANK] = {from}, count[CLVI_FILE_MAX_RANK] = {rows};
    for (int i = 1; i < t->rank; i++)
        count[i] = (hsize_t)t->dims[i];
    const hid_t space = H5Dget_space(set);
    const hid_t block =
        t->rank > 0 ? H5Screate_simple(t->rank, count, NULL) : H5Screate(H5S_SCALAR);
    herr_t code = space >= 0 && block >= 0 ? 0 : -1;
    if (code >= 0 && t->rank > 0)
        code = H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL);
    if (code >= 0)
        code = H5Dread(set, t->type, block, space, H5P_DEFAULT, out);
    if (space >= 0)
        H5Sclose(space);
    if (block >= 0)
        H5Sclose(block);
    return code >= 0 ? CLV_OK : bad(t->path, "is damaged", error);
}

/* Rows of a few megabytes; all at once where chunks would be unpacked again and again. */
static clv_status write_rows(hid_t set, const tensor *t, clvi_tensor_writer *writer,
                             clv_error *error)
{
    const int64_t rows = t->rank > 0 ? t->dims[0] : 1;
    const uint64_t row_bytes = rows > 0 ? t->bytes / (uint64_t)rows : 0;
    if (t->bytes == 0)
        return CLV_OK;
    int64_t each = row_bytes < ROW_BYTES ? (int64_t)(ROW_BYTES / row_bytes) : 1;
    if (t->chunked || each > rows)
        each = rows;
    void *block = clvi_malloc((size_t)((uint64_t)each * row_bytes));
    if (block == NULL)
        return bad(t->path, "needs more memory than this program may take", error);
    clv_status status = CLV_OK;
    for (int64_t at = 0; at < rows && status == CLV_OK; at += each) {
        const int64_t now = rows - at < each ? rows - at : each;
        status = read_rows(set, t, (hsize_t)at, (hsize_t)now, block, error);
        if (status == CLV_OK)
            status = clvi_tensor_writer_append(
                writer, block,
                (int64_t)((uint64_t)now * row_bytes / clvi_file_dtype_bytes(t->dtype)), error);
    }
    clvi_free(block);
    return status;
}

static clv_status write_all(const converter *c, clvi_tensor_writer *writer, FILE *report,
                            clv_error *error)
{
    CLV_TRY(clvi_tensor_writer_metadata(writer, "format", "keras", error));
    for (size_t i = 0; i < c->count; i++)
        CLV_TRY(clvi_tensor_writer_declare(writer, c->tensors[i].name, c->tensors[i].dtype,
                                           c->tensors[i].rank, c->tensors[i].dims, error));
    for (size_t i = 0; i < c->count; i++) {
        const tensor *t = &c->tensors[i];
        const hid_t set = H5Dopen2(c->file, t->path, c->access);
        if (set < 0)
            return bad(t->path, "is damaged", error);
        const clv_status status = write_rows(set, t, writer, error);
        H5Dclose(set);
        CLV_TRY(status);
        fputs("tensor\n", report);
        fflush(report);
    }
    return clvi_tensor_writer_commit(writer, error);
}

/* ---- The file ---- */

static clv_status list_tensors(converter *c, clv_error *error)
{
    const hid_t root = H5Gopen2(c->file, "/", c->group_access);
    const hid_t model = H5Lexists(c->file, "model_weights", c->access) > 0
                            ? H5Gopen2(c->file, "/model_weights", c->group_access)
                            : -1;
    clv_status status;
    if (root < 0)
        status = clvi_fail(error, CLV_E_FORMAT, CLV_HERE, "its root is damaged");
    else if (model >= 0 && names_layers(model))
        status = list_layers(c, model, "/model_weights", error);
    else if (names_layers(root))
        status = list_layers(c, root, "", error);
    else
        status = walk(c, "", 0, error);
    if (model >= 0)
        H5Gclose(model);
    if (root >= 0)
        H5Gclose(root);
    if (status == CLV_OK && c->count == 0)
        CLV_FAIL(error, CLV_E_FORMAT, "it has no weights");
    return status;
}

/* No link leads out of the file. */
static herr_t refuse_link(const char *from, const char *group, const char *to, const char *object,
                          unsigned *flags, hid_t access, void *user)
{
    (void)from, (void)group, (void)to, (void)object, (void)flags, (void)access, (void)user;
    return -1;
}

static clv_status open_file(converter *c, const char *path, clv_error *error)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    H5PLset_loading_state(0);
    c->access = H5Pcreate(H5P_DATASET_ACCESS);
    c->group_access = H5Pcreate(H5P_GROUP_ACCESS);
    if (c->access < 0 || c->group_access < 0 || H5Pset_elink_cb(c->access, refuse_link, NULL) < 0 ||
        H5Pset_elink_cb(c->group_access, refuse_link, NULL) < 0)
        CLV_FAIL(error, CLV_E_INTERNAL, "the HDF5 library does not start");
    c->file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    if (c->file < 0)
        CLV_FAIL(error, CLV_E_FORMAT, "the HDF5 library does not open it; is it damaged?");
    /* From here on this program opens nothing more. */
    const struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_NOFILE, &none);
    return CLV_OK;
}

clv_status h5_convert(const char *path, uint64_t most_bytes, FILE *output, FILE *report,
                      clv_error *error)
{
    converter c = {.file = -1, .access = -1, .group_access = -1, .most_bytes = most_bytes};
    clvi_tensor_writer *writer = NULL;
    clv_status status = open_file(&c, path, error);
    if (status == CLV_OK)
        status = list_tensors(&c, error);
    if (status == CLV_OK)
        status = clvi_tensor_writer_create_on(output, "the weights", &writer, error);
    if (status == CLV_OK)
        status = write_all(&c, writer, report, error);
    clvi_tensor_writer_destroy(writer);
    for (size_t i = 0; i < c.count; i++) {
        if (c.tensors[i].type >= 0)
            H5Tclose(c.tensors[i].type);
        clvi_free(c.tensors[i].path);
    }
    clvi_free(c.tensors);
    if (c.file >= 0)
        H5Fclose(c.file);
    if (c.access >= 0)
        H5Pclose(c.access);
    if (c.group_access >= 0)
        H5Pclose(c.group_access);
    return status;
}
