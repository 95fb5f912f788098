/* See foreign_names.h. A tensor's name is a layer and a leaf: "features.0" and "weight" in files of
 * PyTorch; "conv2d" and "kernel:0" or, in newer ones, "layers/conv2d" and "vars/0" in those of
 * Keras, which come as paths in the file. */
#include "weights/foreign_names.h"

#include "base/text.h"
#include "graph/weight_names.h"
#include "weights/reorder.h"

#include <stdlib.h>

/* A tensor's layer and leaf, as texts of the arena. */
typedef struct split {
    const char *layer, *leaf;
    int variable; /* its number, where a file of Keras only counts; -1: it has a name */
    bool passed;  /* nobody needs it */
} split;

typedef struct finder {
    const clvi_weights *file;
    const clv_graph *graph;
    clvi_arena *arena;
    split *splits; /* of each tensor */
    size_t count;  /* of tensors */
} finder;

static clv_status out_of_memory(const clvi_weights *file, clv_error *error)
{
    CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory for the names of its tensors",
             clvi_weights_path(file));
}

static bool begins_with(const char *text, const char *begin)
{
    return strncmp(text, begin, strlen(begin)) == 0;
}

/* ---- Files of PyTorch and checkpoints ---- */

/* Characters that wrappers of models put before every name. */
static size_t common_prefix(const clvi_weights *file)
{
    static const char *const wrappers[] = {"module.", "_orig_mod.", "model.", "net.", "network."};
    const size_t count = clvi_weights_count(file);
    size_t skip = 0;
    for (bool again = count > 0; again;) {
        again = false;
        for (size_t w = 0; w < sizeof wrappers / sizeof *wrappers && !again; w++) {
            again = true;
            for (size_t i = 0; i < count && again; i++)
                again = begins_with(clvi_weights_at(file, i)->name + skip, wrappers[w]);
            if (again)
                skip += strlen(wrappers[w]);
        }
    }
    return skip;
}

/* What stands before the names of the expert that is meant in a checkpoint: `prefix`, or, where
 * there is no expert of that name, that of the only one there is. The length is *length. */
static const char *expert_prefix(const clvi_weights *file, const char *prefix, size_t *length)
{
    const char *only = NULL;
    size_t count = 0;
    *length = strlen(prefix);
    for (size_t i = 0; i < clvi_weights_count(file); i++) {
        const char *name = clvi_weights_at(file, i)->name;
        const char *dot =
            begins_with(name, "expert.") ? strchr(name + strlen("expert."), '.') : NULL;
        if (begins_with(name, prefix))
            return prefix;
        if (!dot || (only && strncmp(name, only, count) == 0))
            continue;
        if (only)
            return prefix; /* the rest is read in vain: there are several */
        only = name;
        count = (size_t)(dot - name) + 1;
    }
    *length = only ? count : *length;
    return only ? only : prefix;
}

static clv_status split_torch(finder *f, const char *wanted, clv_error *error)
{
    const bool own = clvi_weights_layout_of(f->file) == CLVI_LAYOUT_OWN;
    size_t length;
    const char *prefix = expert_prefix(f->file, wanted, &length);
    const size_t skip = own ? 0 : common_prefix(f->file);
    for (size_t i = 0; i < f->count; i++) {
        const char *name = clvi_weights_at(f->file, i)->name + skip;
        split *s = &f->splits[i];
        /* Variables of other experts, and all but values, are not meant. */
        s->passed = (own && strncmp(name, prefix, length) != 0) ||
                    clvi_has_ending(name, ".num_batches_tracked");
        s->variable = -1;
        if (own && !s->passed)
            name += length;
        const char *dot = strrchr(name, '.');
        s->layer = clvi_arena_printf(f->arena, "%.*s", dot ? (int)(dot - name) : 0, name);
        s->leaf = dot ? dot + 1 : name;
        if (!s->layer)
            return out_of_memory(f->file, error);
    }
    return CLV_OK;
}

/* ---- Files of Keras ---- */

/* What a variable of Keras is called here; NULL: none of a network's. */
static const char *keras_leaf(const char *leaf)
{
    static const char *const names[][2] = {{"kernel", "weight"},
                                           {"depthwise_kernel", "weight"},
                                           {"bias", "bias"},
                                           {"gamma", "weight"},
                                           {"beta", "bias"},
                                           {"moving_mean", "running_mean"},
                                           {"W", "weight"},
                                           {"b", "bias"},
                                           {"running_mean", "running_mean"},
                                           {"moving_variance", "running_var"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(leaf, names[i][0]) == 0)
            return names[i][1];
    return NULL;
}

/* "kernel:0" → "kernel"; of Keras 1 "block1_conv1_W_1:0" → "W", "convolution2d_1_b:0" → "b". */
static clv_status split_leaf(finder *f, split *s, const char *last, clv_error *error)
{
    char *leaf = clvi_arena_strdup(f->arena, last);
    if (!leaf)
        return out_of_memory(f->file, error);
    char *colon = strchr(leaf, ':');
    if (colon)
        *colon = '\0';
    const size_t layer = strlen(s->layer);
    if (strncmp(leaf, s->layer, layer) == 0 && leaf[layer] == '_') {
        leaf += layer + 1;
        char *end = strrchr(leaf, '_');
        if (end && strspn(end + 1, "0123456789") == strlen(end + 1))
            *end = '\0';
    }
    const char *known = keras_leaf(leaf);
    s->leaf = known ? known : leaf;
    return CLV_OK;
}

static clv_status split_keras(finder *f, clv_error *error)
{
    for (size_t i = 0; i < f->count; i++) {
        const char *name = clvi_weights_at(f->file, i)->name;
        const char *slash = strchr(name, '/'), *vars = strstr(name, "/vars/");
        const char *last = strrchr(name, '/');
        split *s = &f->splits[i];
        s->variable = -1;
        if (vars) { /* …/LAYER/vars/NUMBER */
            const char *begin = vars;
            while (begin > name && begin[-1] != '/')
                begin--;
            s->layer = clvi_arena_printf(f->arena, "%.*s", (int)(vars - begin), begin);
            s->variable = atoi(vars + strlen("/vars/"));
            s->leaf = vars + strlen("/vars/");
        } else {
            s->layer = clvi_arena_printf(f->arena, "%.*s", slash ? (int)(slash - name) : 0, name);
        }
        if (!s->layer)
            return out_of_memory(f->file, error);
        if (!vars)
            CLV_TRY(split_leaf(f, s, last ? last + 1 : name, error));
        /* What is done to pixels is not the network's here. */
        s->passed = begins_with(s->layer, "normalization") || begins_with(s->layer, "rescaling");
    }
    return CLV_OK;
}

/* ---- By name ---- */

static int compare_names(const void *a, const void *b)
{
    const clvi_foreign_name *left = a, *right = b;
    const int order = strcmp(left->name, right->name);
    return order != 0 ? order : (left->tensor > right->tensor) - (left->tensor < right->tensor);
}

int64_t clvi_foreign_names_tensor(const clvi_foreign_names *names, const char *name)
{
    size_t low = 0, high = names->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (strcmp(names->list[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low < names->count && strcmp(names->list[low].name, name) == 0
               ? (int64_t)names->list[low].tensor
               : -1;
}

static clv_status add_name(const finder *f, clvi_foreign_names *out, size_t tensor,
                           const char *layer, const char *leaf, clv_error *error)
{
    const char *name = clvi_arena_printf(f->arena, "%s%s%s", layer, *layer ? "." : "", leaf);
    if (!name)
        return out_of_memory(f->file, error);
    out->list[out->count++] = (clvi_foreign_name){name, tensor};
    return CLV_OK;
}

static clv_status new_list(const finder *f, clvi_foreign_names *out, clv_error *error)
{
    *out = (clvi_foreign_names){0};
    out->list = clvi_arena_alloc(f->arena, f->count * sizeof *out->list);
    return out->list ? CLV_OK : out_of_memory(f->file, error);
}

static void sort_names(clvi_foreign_names *names)
{
    if (names->count > 1)
        qsort(names->list, names->count, sizeof *names->list, compare_names);
}

/* Names by the list of a family; of the variables' own where family->family is NULL. */
static clv_status name_all(const finder *f, const clv_weight_names *family, clvi_foreign_names *out,
                           clv_error *error)
{
    CLV_TRY(new_list(f, out, error));
    for (size_t i = 0; i < f->count; i++)
        if (!f->splits[i].passed)
            CLV_TRY(add_name(f, out, i, clvi_weight_layer_ours(family, f->splits[i].layer),
                             f->splits[i].leaf, error));
    out->family = *family;
    sort_names(out);
    return CLV_OK;
}

static size_t count_found(const clvi_foreign_names *names, const clv_graph *graph)
{
    size_t found = 0;
    for (size_t v = 0; v < graph->variable_count; v++)
        found += clvi_foreign_names_tensor(names, graph->variables[v].name) >= 0;
    return found;
}

/* The variables' own names count only where no family has as many. */
static clv_status find_family(const finder *f, const clv_plugin *plugin, clvi_foreign_names *best,
                              size_t *found, clv_error *error)
{
    const bool keras = clvi_weights_layout_of(f->file) == CLVI_LAYOUT_KERAS;
    const size_t families = plugin ? clvi_weight_names_count(plugin) : 0;
    const clv_weight_names none = {0};
    CLV_TRY(name_all(f, &none, best, error));
    *found = count_found(best, f->graph);
    if (clvi_weights_layout_of(f->file) == CLVI_LAYOUT_OWN)
        return CLV_OK;
    for (size_t i = 0; i < families; i++) {
        const clv_weight_names family = clvi_weight_names_at(plugin, i);
        clvi_foreign_names now;
        if ((strcmp(family.family, "keras") == 0) != keras)
            continue;
        CLV_TRY(name_all(f, &family, &now, error));
        const size_t count = count_found(&now, f->graph);
        if (count > *found || (count == *found && count > 0 && !best->family.family)) {
            *best = now;
            *found = count;
        }
    }
    return CLV_OK;
}

/* ---- By order ---- */

typedef enum layer_kind { OTHER, CONVOLUTION, DEPTHWISE, DENSE, NORMALISATION } layer_kind;

/* Tensors, or variables, first … first + count - 1 are one layer's. */
typedef struct layer {
    layer_kind kind;
    size_t first, count;
    bool taken;
} layer;

/* The kind of a layer of Keras. */
static layer_kind keras_kind(const finder *f, const layer *l)
{
    layer_kind kind = OTHER;
    bool flat = l->count >= 3;
    for (size_t i = l->first; i < l->first + l->count; i++) {
        const clvi_file_tensor *t = clvi_weights_at(f->file, i);
        flat &= t->rank == 1;
        if (strcmp(f->splits[i].leaf, "running_mean") == 0)
            return NORMALISATION;
        if (t->rank == 2)
            kind = DENSE;
        else if (t->rank == 4)
            kind = strstr(t->name, "depthwise") ? DEPTHWISE : CONVOLUTION;
    }
    return flat ? NORMALISATION : kind;
}

static size_t list_keras(const finder *f, layer *layers)
{
    size_t count = 0;
    for (size_t i = 0; i < f->count; i++) {
        layer *last = count > 0 ? &layers[count - 1] : NULL;
        if (last && strcmp(f->splits[last->first].layer, f->splits[i].layer) == 0)
            last->count++;
        else
            layers[count++] = (layer){.first = i, .count = 1, .taken = f->splits[i].passed};
    }
    for (size_t i = 0; i < count; i++)
        layers[i].kind = keras_kind(f, &layers[i]);
    return count;
}

/* Characters of a variable's layer. */
static size_t layer_length(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? (size_t)(dot - name) : 0;
}

static layer_kind own_kind(const clv_graph *g, const layer *l)
{
    layer_kind kind = OTHER;
    for (size_t v = l->first; v < l->first + l->count; v++) {
        const int32_t rank = g->tensors[g->variables[v].tensor].shape.rank;
        if (g->variables[v].is_state)
            return NORMALISATION;
        kind = rank == 4 ? CONVOLUTION : rank == 3 ? DEPTHWISE : rank == 2 ? DENSE : kind;
    }
    return kind;
}

static size_t list_own(const clv_graph *g, layer *layers)
{
    size_t count = 0;
    for (size_t v = 0; v < g->variable_count; v++) {
        const char *name = g->variables[v].name;
        layer *last = count > 0 ? &layers[count - 1] : NULL;
        const char *before = last ? g->variables[last->first].name : NULL;
        const size_t length = layer_length(name);
        if (before && layer_length(before) == length && strncmp(before, name, length) == 0)
            last->count++;
        else
            layers[count++] = (layer){.first = v, .count = 1};
    }
    for (size_t i = 0; i < count; i++)
        layers[i].kind = own_kind(g, &layers[i]);
    return count;
}

/* Whether the first variable of one fits the first tensor of the other: their weights. */
static bool fits(const finder *f, const layer *own, const layer *theirs)
{
    clvi_reorder order;
    return clvi_reorder_find(f->graph, own->first, CLVI_LAYOUT_KERAS,
                             clvi_weights_at(f->file, theirs->first), &order);
}

/* The next layer of Keras of this kind; NULL: there is none left. */
static layer *next_of(layer *layers, size_t count, layer_kind kind)
{
    for (size_t i = 0; i < count; i++)
        if (!layers[i].taken && layers[i].kind == kind)
            return &layers[i];
    return NULL;
}

/* Leaf of a tensor: its name, or what its number means in a layer of this kind. */
static const char *leaf_of(const finder *f, size_t tensor, const layer *l)
{
    static const char *const plain[] = {"weight", "bias"};
    static const char *const norm[] = {"weight", "bias", "running_mean", "running_var"};
    const int number = f->splits[tensor].variable;
    const int known = l->kind == NORMALISATION ? (l->count == 4 ? 4 : 0) : 2;
    if (number < 0 || number >= known)
        return f->splits[tensor].leaf;
    return l->kind == NORMALISATION ? norm[number] : plain[number];
}

/* The first layer of a kind there is the first of that kind here, and so on. A dense layer here may
 * be a 1×1 convolution there. */
static clv_status name_by_order(const finder *f, clvi_foreign_names *out, clv_error *error)
{
    layer *theirs = clvi_arena_alloc(f->arena, f->count * sizeof *theirs);
    layer *own = clvi_arena_alloc(f->arena, f->graph->variable_count * sizeof *own);
    if (!theirs || !own)
        return out_of_memory(f->file, error);
    CLV_TRY(new_list(f, out, error));
    const size_t their_count = list_keras(f, theirs), own_count = list_own(f->graph, own);
    for (size_t k = 0; k < own_count; k++) {
        layer *l = next_of(theirs, their_count, own[k].kind);
        layer *wide = next_of(theirs, their_count, CONVOLUTION);
        if (own[k].kind == DENSE && (!l || !fits(f, &own[k], l)) && wide && fits(f, &own[k], wide))
            l = wide;
        if (!l)
            continue;
        const char *name = f->graph->variables[own[k].first].name;
        const char *ours = clvi_arena_printf(f->arena, "%.*s", (int)layer_length(name), name);
        if (!ours)
            return out_of_memory(f->file, error);
        for (size_t i = l->first; i < l->first + l->count; i++)
            CLV_TRY(add_name(f, out, i, ours, leaf_of(f, i, l), error));
        l->taken = true;
    }
    for (size_t k = 0; k < their_count; k++)
        for (size_t i = theirs[k].first; !theirs[k].taken && i < theirs[k].first + theirs[k].count;
             i++)
            CLV_TRY(add_name(f, out, i, "", clvi_weights_at(f->file, i)->name, error));
    out->by_order = true;
    sort_names(out);
    return CLV_OK;
}

/* ---- All ---- */

clv_status clvi_foreign_names_find(const clvi_weights *file, const clv_graph *graph,
                                   const clv_plugin *plugin, const char *prefix, clvi_arena *arena,
                                   clvi_foreign_names *out, clv_error *error)
{
    const clvi_weights_layout layout = clvi_weights_layout_of(file);
    finder f = {.file = file, .graph = graph, .arena = arena, .count = clvi_weights_count(file)};
    size_t found = 0;
    f.splits = clvi_arena_alloc(arena, f.count * sizeof *f.splits);
    if (!f.splits)
        return out_of_memory(file, error);
    CLV_TRY(layout == CLVI_LAYOUT_KERAS ? split_keras(&f, error) : split_torch(&f, prefix, error));
    CLV_TRY(find_family(&f, plugin, out, &found, error));
    if (layout == CLVI_LAYOUT_OWN && out->count == 0)
        CLV_FAIL(error, CLV_E_DATA, "%s: this checkpoint has no %.*s", clvi_weights_path(file),
                 (int)strlen(prefix) - 1, prefix);
    return layout == CLVI_LAYOUT_KERAS && found == 0 ? name_by_order(&f, out, error) : CLV_OK;
}
