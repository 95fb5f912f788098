/* See trainable.h. A block is a scope at the top of the parameters' names: the first part of a name
 * and a number behind it, "features.7", "layer1.0", "hidden". */
#include "mixture/trainable.h"

#include "base/text.h"
#include "ops/op.h"

#include <fnmatch.h>
#include <stdio.h>

enum { STAGES = 2, NAME_BYTES = 256, NEAREST = 3 };

typedef enum norm_rule { NORM_AUTO, NORM_TRAIN, NORM_FROZEN } norm_rule;

/* One stage: what trains, and how nodes run. */
typedef struct stage {
    bool *trains;   /* [variables] */
    uint8_t *modes; /* [nodes] */
} stage;

struct clvi_trainable {
    const clvi_config *config;
    const char *section;
    const clv_graph *graph;
    norm_rule norm;
    int64_t from_epoch; /* of stage 1, from 1; 0: there is none */
    stage stages[STAGES];
    bool *head;     /* [variables] behind the features */
    int32_t *block; /* [variables] in the order of the graph; -1: head or state */
    int32_t block_count;
};

static bool is_parameter(const clv_graph *g, clv_tensor t)
{
    return t != CLV_NO_TENSOR && g->tensors[t].kind == CLVI_TENSOR_VARIABLE &&
           !g->variables[g->tensors[t].variable].is_state;
}

/* ---- Blocks and head ---- */

/* Length of the block's name in the scoped name of a variable or node; 0: at the top. */
static size_t block_length(const char *name)
{
    const char *last = strrchr(name, '.');
    if (!last)
        return 0;
    const char *dot = strchr(name, '.');
    if (dot == last)
        return (size_t)(dot - name);
    const size_t digits = strspn(dot + 1, "0123456789");
    return digits > 0 && dot[1 + digits] == '.' ? (size_t)(dot - name) + 1 + digits
                                                : (size_t)(dot - name);
}

static bool same_block(const char *a, const char *b)
{
    const size_t length = block_length(a);
    return length == block_length(b) && strncmp(a, b, length) == 0;
}

/* Marks everything that an output needs. */
static void mark_needed(const clv_graph *g, clv_tensor output, bool *needed)
{
    needed[output] = true;
    for (size_t k = g->node_count; k-- > 0;) {
        const clvi_node *node = &g->nodes[k];
        bool any = false;
        for (int o = 0; o < node->output_count; o++)
            any |= needed[node->outputs[o]];
        for (int i = 0; i < node->input_count && any; i++)
            if (node->inputs[i] != CLV_NO_TENSOR)
                needed[node->inputs[i]] = true;
    }
}

/* Marks the parameters that the logits need and the features do not; none without features. */
static clv_status find_head(clvi_trainable *t, clv_error *error)
{
    const clv_graph *g = t->graph;
    const clv_tensor features = clvi_graph_find_output(g, "features");
    if (features == CLV_NO_TENSOR)
        return CLV_OK;
    bool *needed = clvi_calloc(2, g->tensor_count * sizeof *needed);
    if (!needed)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to find the head of %s", g->label);
    bool *below = needed + g->tensor_count;
    mark_needed(g, clvi_graph_find_output(g, "logits"), needed);
    mark_needed(g, features, below);
    for (size_t v = 0; v < g->variable_count; v++) {
        const clv_tensor at = g->variables[v].tensor;
        t->head[v] = is_parameter(g, at) && needed[at] && !below[at];
    }
    clvi_free(needed);
    return CLV_OK;
}

/* The block of a parameter that has one already by its name, or of another of its node. */
static int32_t known_block(const clvi_trainable *t, const clvi_node *node)
{
    const clv_graph *g = t->graph;
    for (int i = 0; i < node->input_count; i++) {
        if (!is_parameter(g, node->inputs[i]))
            continue;
        const char *name = g->tensors[node->inputs[i]].name;
        for (size_t v = 0; v < g->variable_count; v++)
            if (t->block[v] >= 0 && same_block(g->variables[v].name, name))
                return t->block[v];
    }
    return -1;
}

/* Numbers the blocks before the head in the order in which the graph uses them. The parameters of
 * one node are of one block, however they are called. */
static void find_blocks(clvi_trainable *t)
{
    const clv_graph *g = t->graph;
    for (size_t v = 0; v < g->variable_count; v++)
        t->block[v] = -1;
    for (size_t k = 0; k < g->node_count; k++) {
        const clvi_node *node = &g->nodes[k];
        int32_t block = known_block(t, node);
        for (int i = 0; i < node->input_count; i++) {
            if (!is_parameter(g, node->inputs[i]))
                continue;
            const int32_t v = g->tensors[node->inputs[i]].variable;
            if (t->head[v] || t->block[v] >= 0)
                continue;
            block = block >= 0 ? block : t->block_count++;
            t->block[v] = block;
        }
    }
}

/* ---- What is named ---- */

/* Appends "; nearest: …" with the names that `word` may have meant. */
static void append_nearest(const clvi_trainable *t, const char *word, clvi_text *out)
{
    const clv_graph *g = t->graph;
    const size_t most = 2 * g->variable_count + 4;
    char(*names)[NAME_BYTES] = clvi_calloc(most, sizeof *names);
    const char **list = clvi_calloc(most, sizeof *list);
    size_t count = 0;
    for (size_t v = 0; names && list && v < g->variable_count; v++) {
        const char *name = g->variables[v].name;
        const int length = (int)block_length(name);
        if (g->variables[v].is_state)
            continue;
        snprintf(names[count], NAME_BYTES, "%s", name);
        list[count] = names[count], count++;
        if (length == 0 || (v > 0 && same_block(name, g->variables[v - 1].name)))
            continue;
        snprintf(names[count], NAME_BYTES, "%.*s", length, name);
        list[count] = names[count], count++;
    }
    static const char *const words[] = {"head", "last:1", "all", "none"};
    for (size_t i = 0; list && i < sizeof words / sizeof *words; i++)
        list[count++] = words[i];
    for (int found = 0; found < NEAREST && count > 0; found++) {
        const char *near = clvi_nearest(word, list, count);
        if (!near)
            break;
        clvi_text_printf(out, "%s%s", found ? ", " : "; nearest: ", near);
        for (size_t i = 0; i < count; i++)
            if (list[i] == near) {
                list[i] = list[--count];
                break;
            }
    }
    clvi_free(names);
    clvi_free(list);
}

/* A pattern fits a parameter's whole name, or a scope that it lies in. */
static bool fits(const char *pattern, const char *name)
{
    char scope[NAME_BYTES];
    if (fnmatch(pattern, name, 0) == 0)
        return true;
    snprintf(scope, sizeof scope, "%s", name);
    for (char *dot = strrchr(scope, '.'); dot; dot = strrchr(scope, '.')) {
        *dot = '\0';
        if (fnmatch(pattern, scope, 0) == 0)
            return true;
    }
    return false;
}

/* "last:N" → N; -1: the word is another. */
static int64_t last_blocks(const char *word)
{
    int64_t n = -1;
    if (strncmp(word, "last:", 5) != 0 || !clvi_parse_int(word + 5, &n))
        return -1;
    return n >= 0 ? n : -1;
}

static clv_status refuse(const clvi_trainable *t, const char *key, const char *word,
                         clv_error *error)
{
    clvi_text text = {0};
    append_nearest(t, word, &text);
    const clv_status status =
        clvi_config_fail(t->config, t->section, key, error,
                         "'%s' fits the name of no parameter%s (`conclave summary` shows them; "
                         "words: all, none, head, last:N)",
                         word, clvi_text_get(&text));
    clvi_text_fini(&text);
    return status;
}

/* Adds what one word of the list names. */
static clv_status add_word(const clvi_trainable *t, const char *key, const char *word, bool *trains,
                           clv_error *error)
{
    const clv_graph *g = t->graph;
    const int64_t last = last_blocks(word);
    const bool head = strcmp(word, "head") == 0 || last >= 0, all = strcmp(word, "all") == 0;
    bool any = false;
    if (last > t->block_count)
        return clvi_config_fail(t->config, t->section, key, error,
                                "'%s' asks for more than the %d blocks before the head", word,
                                (int)t->block_count);
    for (size_t v = 0; v < g->variable_count; v++) {
        if (g->variables[v].is_state)
            continue;
        const bool named = all || (head && t->head[v]) ||
                           (last > 0 && t->block[v] >= t->block_count - last) ||
                           (!all && !head && fits(word, g->variables[v].name));
        trains[v] |= named;
        any |= named;
    }
    if (!any && head)
        return clvi_config_fail(t->config, t->section, key, error,
                                "this expert has no head: no parameter follows its features");
    return any || all ? CLV_OK : refuse(t, key, word, error);
}

static clv_status add_list(const clvi_trainable *t, const char *key, bool *trains, clv_error *error)
{
    const char *given = clvi_config_text(t->config, t->section, key);
    clv_status status = CLV_OK;
    bool any = false, none = false;
    for (const char *at = given; *at && status == CLV_OK;) {
        char word[NAME_BYTES];
        at += strspn(at, " \t,");
        const size_t length = strcspn(at, " \t,");
        if (length == 0)
            break;
        if (length >= sizeof word)
            return clvi_config_fail(t->config, t->section, key, error, "'%.40s…' is too long", at);
        snprintf(word, sizeof word, "%.*s", (int)length, at);
        at += length;
        if (strcmp(word, "none") == 0)
            none = true;
        else
            status = add_word(t, key, word, trains, error), any = true;
    }
    CLV_TRY(status);
    if (none == any)
        return clvi_config_fail(t->config, t->section, key, error,
                                any ? "`none` stands alone"
                                    : "it is empty; write all, none, head, last:N or names of "
                                      "parameters");
    return CLV_OK;
}

/* ---- How nodes run ---- */

/* What find_modes goes by; all by node or tensor. */
typedef struct search {
    const clvi_trainable *t;
    stage *s;
    bool *above; /* tensor: something trainable lies above it */
    bool
        *reaches; /* tensor: a node with frozen parameters and nothing trainable above lies below */
} search;

/* Whether a node carries parameters, how many of them train. */
static void count_inputs(const search *q, const clvi_node *node, uint32_t mask, int *parameters,
                         int *training)
{
    const clv_graph *g = q->t->graph;
    *parameters = *training = 0;
    for (int i = 0; i < node->input_count; i++) {
        if (!(mask >> i & 1) || !is_parameter(g, node->inputs[i]))
            continue;
        ++*parameters;
        *training += q->s->trains[g->tensors[node->inputs[i]].variable];
    }
}

static bool any_above(const search *q, const clvi_node *node)
{
    for (int i = 0; i < node->input_count; i++)
        if (node->inputs[i] != CLV_NO_TENSOR &&
            q->above[clvi_graph_root(q->t->graph, node->inputs[i])])
            return true;
    return false;
}

/* A node without parameters of its own whose block has some, all of them frozen. */
static bool in_frozen_block(const search *q, const clvi_node *node)
{
    const clv_graph *g = q->t->graph;
    bool any = false;
    for (size_t v = 0; v < g->variable_count; v++) {
        if (g->variables[v].is_state || !same_block(g->variables[v].name, node->name))
            continue;
        if (q->s->trains[v])
            return false;
        any = true;
    }
    return any && block_length(node->name) > 0;
}

static clv_mode mode_of(const search *q, const clvi_node *node, bool frozen)
{
    int norms, training;
    count_inputs(q, node, node->op->norm_inputs, &norms, &training);
    if (norms == 0 || node->op->norm_inputs == 0)
        return frozen ? CLV_MODE_INFER : CLV_MODE_TRAIN;
    if (q->t->norm == NORM_TRAIN || (q->t->norm == NORM_AUTO && training > 0))
        return CLV_MODE_TRAIN;
    return frozen ? CLV_MODE_INFER : CLVI_MODE_FROZEN;
}

static void find_modes(const search *q)
{
    const clv_graph *g = q->t->graph;
    for (size_t v = 0; v < g->variable_count; v++)
        q->above[g->variables[v].tensor] = q->s->trains[v];
    for (size_t k = 0; k < g->node_count; k++) {
        const bool above = any_above(q, &g->nodes[k]);
        for (int o = 0; o < g->nodes[k].output_count && above; o++)
            q->above[clvi_graph_root(g, g->nodes[k].outputs[o])] = true;
    }
    for (size_t k = g->node_count; k-- > 0;) {
        const clvi_node *node = &g->nodes[k];
        int parameters, training;
        count_inputs(q, node, UINT32_MAX, &parameters, &training);
        const bool above = any_above(q, node); /* its own parameters among it */
        bool leads = parameters > 0;
        for (int o = 0; o < node->output_count; o++)
            leads |= q->reaches[clvi_graph_root(g, node->outputs[o])];
        const bool frozen = !above && (leads || in_frozen_block(q, node));
        for (int i = 0; i < node->input_count && frozen; i++)
            if (node->inputs[i] != CLV_NO_TENSOR)
                q->reaches[clvi_graph_root(g, node->inputs[i])] = true;
        q->s->modes[k] = (uint8_t)mode_of(q, node, frozen);
    }
}

static clv_status make_stage(clvi_trainable *t, int index, clv_error *error)
{
    const clv_graph *g = t->graph;
    stage *s = &t->stages[index];
    search q = {.t = t, .s = s};
    s->trains = clvi_calloc(g->variable_count + 1, sizeof *s->trains);
    s->modes = clvi_calloc(g->node_count + 1, sizeof *s->modes);
    q.above = clvi_calloc(g->tensor_count + 1, sizeof *q.above);
    q.reaches = clvi_calloc(g->tensor_count + 1, sizeof *q.reaches);
    clv_status status = CLV_OK;
    if (!s->trains || !s->modes || !q.above || !q.reaches)
        status =
            clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for what trains of %s", t->section);
    if (status == CLV_OK)
        status = add_list(t, "trainable", s->trains, error);
    if (status == CLV_OK && index > 0)
        status = add_list(t, "unfreeze", s->trains, error);
    if (status == CLV_OK)
        find_modes(&q);
    clvi_free(q.above);
    clvi_free(q.reaches);
    return status;
}

static clv_status make_stages(clvi_trainable *t, clv_error *error)
{
    const clvi_config *c = t->config;
    const size_t count = t->graph->variable_count;
    CLV_TRY(make_stage(t, 0, error));
    if (t->from_epoch == 0) {
        if (strcmp(clvi_config_text(c, t->section, "unfreeze"), "all") != 0)
            return clvi_config_fail(c, t->section, "unfreeze", error,
                                    "it has no effect without unfreeze_at_epoch");
        return CLV_OK;
    }
    if (t->from_epoch == 1)
        return clvi_config_fail(c, t->section, "unfreeze_at_epoch", error,
                                "1 is the first epoch: name in `trainable` what trains from the "
                                "beginning");
    CLV_TRY(make_stage(t, 1, error));
    if (memcmp(t->stages[0].trains, t->stages[1].trains, count * sizeof(bool)) == 0)
        return clvi_config_fail(c, t->section, "unfreeze_at_epoch", error,
                                "all that `unfreeze` names trains from the beginning");
    return CLV_OK;
}

clv_status clvi_trainable_create(const clvi_config *config, const char *section,
                                 const clv_graph *graph, clvi_trainable **out, clv_error *error)
{
    const char *norm = clvi_config_text(config, section, "bn");
    clvi_trainable *t = clvi_calloc(1, sizeof *t);
    if (!t)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for what trains of %s", section);
    t->config = config;
    t->section = section;
    t->graph = graph;
    t->norm = strcmp(norm, "train") == 0    ? NORM_TRAIN
              : strcmp(norm, "frozen") == 0 ? NORM_FROZEN
                                            : NORM_AUTO;
    t->from_epoch = clvi_config_int(config, section, "unfreeze_at_epoch");
    t->head = clvi_calloc(graph->variable_count + 1, sizeof *t->head);
    t->block = clvi_calloc(graph->variable_count + 1, sizeof *t->block);
    clv_status status = CLV_OK;
    if (!t->head || !t->block)
        status =
            clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for what trains of %s", section);
    if (status == CLV_OK)
        status = find_head(t, error);
    if (status == CLV_OK)
        find_blocks(t);
    if (status == CLV_OK)
        status = make_stages(t, error);
    if (status != CLV_OK) {
        clvi_trainable_destroy(t);
        return status;
    }
    *out = t;
    return CLV_OK;
}

void clvi_trainable_destroy(clvi_trainable *t)
{
    if (!t)
        return;
    for (int i = 0; i < STAGES; i++) {
        clvi_free(t->stages[i].trains);
        clvi_free(t->stages[i].modes);
    }
    clvi_free(t->head);
    clvi_free(t->block);
    clvi_free(t);
}

/* ---- Facts ---- */

clvi_trains clvi_trainable_of(void *trainable, const char *name)
{
    const clvi_trainable *t = trainable;
    for (size_t v = 0; v < t->graph->variable_count; v++)
        if (strcmp(t->graph->variables[v].name, name) == 0)
            return t->stages[0].trains[v]                        ? CLVI_TRAINS
                   : t->from_epoch > 0 && t->stages[1].trains[v] ? CLVI_TRAINS_LATER
                                                                 : CLVI_TRAINS_NEVER;
    return CLVI_TRAINS_NEVER;
}

int clvi_trainable_stages(const clvi_trainable *t)
{
    return t->from_epoch > 0 ? STAGES : 1;
}

int clvi_trainable_stage(const clvi_trainable *t, uint32_t epoch)
{
    return t->from_epoch > 0 && (int64_t)epoch + 1 >= t->from_epoch ? 1 : 0;
}

const bool *clvi_trainable_variables(const clvi_trainable *t, int index)
{
    return t->stages[index].trains;
}

const uint8_t *clvi_trainable_modes(const clvi_trainable *t, int index)
{
    return t->stages[index].modes;
}

/* ---- The part that is the same in each epoch ---- */

static clv_status no_cut(const clvi_trainable *t, const char *why, clv_error *error)
{
    return clvi_config_fail(t->config, "train", "cache_features", error, "%s", why);
}

/* Marks tensors that are the same for an image in each epoch: made from the image and from what is
 * frozen, without random numbers and without statistics of a batch. */
static void find_lasting(const clvi_trainable *t, bool *lasting, bool *statistics)
{
    const clv_graph *g = t->graph;
    const stage *s = &t->stages[0];
    for (size_t i = 0; i < g->input_count; i++)
        lasting[g->inputs[i].tensor] = true;
    for (size_t v = 0; v < g->variable_count; v++)
        lasting[g->variables[v].tensor] = g->variables[v].is_state || !s->trains[v];
    for (size_t k = 0; k < g->node_count; k++) {
        const clvi_node *node = &g->nodes[k];
        bool all = true;
        for (int i = 0; i < node->input_count; i++)
            all &= node->inputs[i] == CLV_NO_TENSOR || lasting[node->inputs[i]];
        const bool moves = node->op->norm_inputs != 0 && s->modes[k] == CLV_MODE_TRAIN;
        *statistics |= all && moves;
        all &= !moves && !(node->op->draws && s->modes[k] == CLV_MODE_TRAIN);
        for (int o = 0; o < node->output_count; o++)
            lasting[node->outputs[o]] = all;
    }
}

/* The one lasting tensor that other nodes on the way to the logits read. */
static clv_status find_cut(const clvi_trainable *t, const bool *lasting, bool *needed,
                           clv_tensor *out, clv_error *error)
{
    const clv_graph *g = t->graph;
    const clv_tensor logits = clvi_graph_find_output(g, "logits");
    clv_tensor cut = CLV_NO_TENSOR;
    int count = 0;
    needed[logits] = true;
    if (lasting[logits])
        return no_cut(t, "nothing of the expert trains", error);
    for (size_t k = g->node_count; k-- > 0;) {
        const clvi_node *node = &g->nodes[k];
        bool run = false;
        for (int o = 0; o < node->output_count; o++)
            run |= needed[node->outputs[o]] && !lasting[node->outputs[o]];
        for (int i = 0; i < node->input_count && run; i++) {
            const clv_tensor in = node->inputs[i];
            if (in == CLV_NO_TENSOR || g->tensors[in].kind == CLVI_TENSOR_VARIABLE)
                continue;
            const clv_tensor root = clvi_graph_root(g, in);
            needed[in] = true;
            count += lasting[in] && cut != root;
            cut = lasting[in] ? root : cut;
        }
    }
    if (count != 1)
        return no_cut(t, "the part that trains begins at several places", error);
    if (g->tensors[cut].kind != CLVI_TENSOR_ACTIVATION)
        return no_cut(t, "no layer is frozen below what trains: there are no features to keep",
                      error);
    *out = cut;
    return CLV_OK;
}

clv_status clvi_trainable_cut(const clvi_trainable *t, clv_tensor *out, clv_error *error)
{
    const size_t tensors = t->graph->tensor_count;
    if (t->from_epoch > 0)
        return no_cut(t, "unfreeze_at_epoch changes the features during the training", error);
    bool *lasting = clvi_calloc(2, tensors * sizeof *lasting);
    bool statistics = false;
    if (!lasting)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to look for features of %s", t->section);
    find_lasting(t, lasting, &statistics);
    const clv_status status =
        statistics ? no_cut(t,
                            "bn = train lets the frozen layers' statistics move, and with them the "
                            "features; write bn = auto or frozen",
                            error)
                   : find_cut(t, lasting, lasting + tensors, out, error);
    clvi_free(lasting);
    return status;
}
