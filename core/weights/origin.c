/* See origin.h. */
#include "weights/origin.h"

#include "base/files.h"
#include "base/memory.h"

#include <jansson.h>
#include <string.h>

/* Two tensors that no other network has. */
static const struct mark {
    clvi_origin origin;
    const char *first, *second;
} marks[] = {
    {CLVI_ORIGIN_TIMM, "conv_stem.weight", "blocks.0.0.conv_dw.weight"},
    {CLVI_ORIGIN_TIMM, "features.0.weight", "pre_logits.fc1.weight"},
    {CLVI_ORIGIN_TORCHVISION, "features.0.0.weight", "features.1.0.block.0.0.weight"},
    {CLVI_ORIGIN_TORCHVISION, "features.28.weight", "classifier.6.weight"},
    {CLVI_ORIGIN_TORCHVISION, "features.40.weight", "classifier.6.weight"},
    {CLVI_ORIGIN_KERAS_EFFICIENTNET, "stem_conv/", "block1a_dwconv/"},
    {CLVI_ORIGIN_KERAS_VGG, "block1_conv1/", "block5_conv3/"},
};
enum { MARKS = sizeof marks / sizeof *marks };

bool clvi_origin_has_biases(const clv_graph *graph)
{
    static const char *const names[] = {"features.40.weight", "features.41.running_mean",
                                        "classifier.6.weight"};
    size_t found = 0;
    for (size_t v = 0; v < graph->variable_count; v++)
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            found += strcmp(graph->variables[v].name, names[i]) == 0;
    return found == sizeof names / sizeof *names;
}

/* True where a tensor's name is `wanted`, or ends with it behind a dot or slash; where `wanted` is
 * a folder, if it is a part of the name. */
static bool has(const clvi_weights *file, const char *wanted)
{
    const size_t tail = strlen(wanted);
    const bool folder = wanted[tail - 1] == '/';
    for (size_t i = 0; i < clvi_weights_count(file); i++) {
        const char *name = clvi_weights_at(file, i)->name;
        for (const char *at = strstr(name, wanted); at != NULL; at = strstr(at + 1, wanted))
            if ((at == name || at[-1] == '.' || at[-1] == '/') && (folder || at[tail] == '\0'))
                return true;
    }
    return false;
}

/* The tensor whose name is `wanted` or ends with it behind a slash; NULL: none. */
static const clvi_file_tensor *find(const clvi_weights *file, const char *wanted)
{
    const size_t tail = strlen(wanted);
    for (size_t i = 0; i < clvi_weights_count(file); i++) {
        const clvi_file_tensor *t = clvi_weights_at(file, i);
        const size_t length = strlen(t->name);
        if (length >= tail && strcmp(t->name + length - tail, wanted) == 0 &&
            (length == tail || t->name[length - tail - 1] == '/'))
            return t;
    }
    return NULL;
}

static bool has_elements(const clvi_weights *file, const char *wanted, int64_t elements)
{
    const clvi_file_tensor *t = find(file, wanted);
    return t && t->elements == elements;
}

/* Keras 3 calls layers by their kind and number; VGG16 has 13 convolutions, EfficientNet-B0 16
 * depthwise ones, of which the last has 3×3 for each of 1152 channels. */
static clvi_origin counted_origin(const clvi_weights *file)
{
    if (has_elements(file, "layers/conv2d/vars/1", 64) &&
        has_elements(file, "layers/conv2d_12/vars/1", 512) &&
        !find(file, "layers/conv2d_13/vars/0"))
        return CLVI_ORIGIN_KERAS_VGG;
    if (has_elements(file, "layers/conv2d/vars/0", (int64_t)3 * 3 * 3 * 32) &&
        has_elements(file, "layers/depthwise_conv2d_15/vars/0", (int64_t)3 * 3 * 1152))
        return CLVI_ORIGIN_KERAS_EFFICIENTNET;
    return CLVI_ORIGIN_UNKNOWN;
}

clvi_origin clvi_origin_of(const clvi_weights *file)
{
    for (size_t i = 0; i < MARKS; i++)
        if (has(file, marks[i].first) && has(file, marks[i].second))
            return marks[i].origin;
    return counted_origin(file);
}

static bool three(const json_t *list, double out[3])
{
    for (size_t c = 0; c < 3; c++) {
        const json_t *number = json_array_get(list, c);
        if (!json_is_number(number))
            return false;
        out[c] = json_number_value(number);
    }
    return json_array_size(list) == 3;
}

clv_status clvi_origin_timm_pixels(const clvi_weights *file, bool *known, double mean[3],
                                   double std[3], clv_error *error)
{
    const char *path = clvi_weights_path(file), *slash = strrchr(path, '/');
    char *folder = clvi_strdup(slash ? path : ".");
    if (folder && slash)
        folder[slash - path] = '\0';
    char *beside = folder ? clvi_path_join(*folder ? folder : "/", "config.json") : NULL;
    clvi_free(folder);
    if (!beside)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", path);
    double m[3], s[3];
    json_t *json = clvi_is_file(beside) ? json_load_file(beside, 0, NULL) : NULL;
    const json_t *pixels = json_object_get(json, "pretrained_cfg");
    *known = three(json_object_get(pixels, "mean"), m) && three(json_object_get(pixels, "std"), s);
    if (*known) {
        memcpy(mean, m, sizeof m);
        memcpy(std, s, sizeof s);
    }
    json_decref(json);
    clvi_free(beside);
    return CLV_OK;
}

/* Index of the three numbers of the layer `normalization` that Keras 3 calls vars/NUMBER, and
 * others `name` or `name`:0; -1: none. */
static int64_t normalization(const clvi_weights *file, const char *name, const char *number)
{
    static const char layer[] = "normalization/";
    const size_t length = strlen(name);
    for (size_t i = 0; i < clvi_weights_count(file); i++) {
        const clvi_file_tensor *t = clvi_weights_at(file, i);
        const char *last = strrchr(t->name, '/'), *at = strstr(t->name, layer);
        if (!at || (at != t->name && at[-1] != '/') || t->elements != 3)
            continue;
        last++;
        if (strcmp(at + strlen(layer), number) == 0 ||
            (strncmp(last, name, length) == 0 &&
             (last[length] == '\0' || strcmp(last + length, ":0") == 0)))
            return (int64_t)i;
    }
    return -1;
}

clv_status clvi_origin_keras_pixels(const clvi_weights *file, bool *known, float mean[3],
                                    float variance[3], clv_error *error)
{
    const int64_t m = normalization(file, "mean", "vars/0"),
                  v = normalization(file, "variance", "vars/1");
    float both[2][3];
    if (m >= 0 && v >= 0) {
        CLV_TRY(clvi_weights_read_f32(file, (size_t)m, both[0], error));
        CLV_TRY(clvi_weights_read_f32(file, (size_t)v, both[1], error));
        memcpy(mean, both[0], sizeof both[0]);
        memcpy(variance, both[1], sizeof both[1]);
    }
    *known = m >= 0 && v >= 0;
    return CLV_OK;
}
