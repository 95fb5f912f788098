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

clvi_origin clvi_origin_of(const clvi_weights *file)
{
    for (size_t i = 0; i < MARKS; i++)
        if (has(file, marks[i].first) && has(file, marks[i].second))
            return marks[i].origin;
    return CLVI_ORIGIN_UNKNOWN;
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

/* Index of the three numbers `name` (Keras 2 adds ":0") of the layer `normalization`; -1: none. */
static int64_t normalization(const clvi_weights *file, const char *name)
{
    static const char layer[] = "normalization/";
    for (size_t i = 0; i < clvi_weights_count(file); i++) {
        const clvi_file_tensor *t = clvi_weights_at(file, i);
        const char *last = strrchr(t->name, '/'), *at = strstr(t->name, layer);
        const size_t length = strlen(name);
        const bool begins = at && (at == t->name || at[-1] == '/');
        if (begins && t->elements == 3 && strncmp(last + 1, name, length) == 0 &&
            (last[1 + length] == '\0' || strcmp(last + 1 + length, ":0") == 0))
            return (int64_t)i;
    }
    return -1;
}

clv_status clvi_origin_keras_pixels(const clvi_weights *file, bool *known, float mean[3],
                                    float variance[3], clv_error *error)
{
    const int64_t m = normalization(file, "mean"), v = normalization(file, "variance");
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
