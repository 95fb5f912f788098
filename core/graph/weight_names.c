/* See weight_names.h. */
#include "graph/weight_names.h"

#include "base/structs.h"
#include <stdbool.h>

enum { MOST_ORIGINS = 64, MOST_LAYERS = 65536, MOST_NAME_BYTES = 200 };

size_t clvi_weight_names_count(const clv_plugin *plugin)
{
    return plugin->struct_size >= CLVI_BYTES_TO(clv_plugin, weight_name_stride)
               ? plugin->weight_name_count
               : 0;
}

clv_weight_names clvi_weight_names_at(const clv_plugin *plugin, size_t index)
{
    clv_weight_names names;
    clvi_struct_at(&names, sizeof(names), plugin->weight_names, index, plugin->weight_name_stride);
    return names;
}

clv_layer_name clvi_weight_layer_at(const clv_weight_names *names, size_t index)
{
    clv_layer_name layer;
    clvi_struct_at(&layer, sizeof(layer), names->layers, index, names->layer_stride);
    return layer;
}

const char *clvi_weight_layer_ours(const clv_weight_names *names, const char *theirs)
{
    for (size_t i = 0; i < names->layer_count; i++) {
        const clv_layer_name layer = clvi_weight_layer_at(names, i);
        if (strcmp(layer.theirs, theirs) == 0)
            return layer.ours;
    }
    return theirs;
}

const char *clvi_weight_layer_theirs(const clv_weight_names *names, const char *ours)
{
    for (size_t i = 0; i < names->layer_count; i++) {
        const clv_layer_name layer = clvi_weight_layer_at(names, i);
        if (strcmp(layer.ours, ours) == 0)
            return layer.theirs;
    }
    return ours;
}

static bool is_name(const char *text)
{
    if (text == NULL || *text == '\0')
        return false;
    const size_t length = strnlen(text, MOST_NAME_BYTES + 1);
    for (size_t i = 0; i < length; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return length <= MOST_NAME_BYTES;
}

static const char *layers_fault(const clv_weight_names *names)
{
    if ((names->layers == NULL) != (names->layer_count == 0))
        return "layers and layer_count do not agree";
    if (names->layer_count > MOST_LAYERS)
        return "layer_count is above 65536";
    if (names->layer_count > 0 && (names->layer_stride < CLVI_BYTES_TO(clv_layer_name, ours) ||
                                   names->layer_stride % _Alignof(clv_layer_name) != 0))
        return "layer_stride is too small or odd";
    for (size_t i = 0; i < names->layer_count; i++) {
        const clv_layer_name layer = clvi_weight_layer_at(names, i);
        if (layer.struct_size < CLVI_BYTES_TO(clv_layer_name, ours) ||
            layer.struct_size > names->layer_stride || layer.reserved != 0)
            return "clv_layer_name.struct_size does not fit, or reserved is not 0";
        if (!is_name(layer.theirs) || !is_name(layer.ours))
            return "the name of a layer is not 1 to 200 printable letters";
    }
    return NULL;
}

const char *clvi_weight_names_fault(const clv_plugin *plugin)
{
    const size_t count = clvi_weight_names_count(plugin);
    if (count == 0)
        return NULL;
    if (plugin->weight_names == NULL || count > MOST_ORIGINS)
        return "weight_names and weight_name_count do not agree";
    if (plugin->weight_name_stride < CLVI_BYTES_TO(clv_weight_names, reserved) ||
        plugin->weight_name_stride % _Alignof(clv_weight_names) != 0)
        return "weight_name_stride is too small or odd";
    for (size_t i = 0; i < count; i++) {
        const clv_weight_names names = clvi_weight_names_at(plugin, i);
        if (names.struct_size < CLVI_BYTES_TO(clv_weight_names, reserved) ||
            names.struct_size > plugin->weight_name_stride || names.reserved != 0)
            return "clv_weight_names.struct_size does not fit, or reserved is not 0";
        if (!is_name(names.family))
            return "a family is not 1 to 200 printable letters";
        if ((names.option == NULL) != (names.value == NULL))
            return "option and value must both be there, or none";
        const char *fault = layers_fault(&names);
        if (fault != NULL)
            return fault;
    }
    return NULL;
}
