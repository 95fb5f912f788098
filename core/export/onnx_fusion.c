/* How the operations of gates and fusion are written: fuse_scores, topk_mask, weigh_columns. Every
 * expert is computed for every image; one whose weight is exactly 0 is left out of the answer. */
#include "export/onnx_part.h"

#include <float.h>

/* Beyond every score, and far from what f32 cannot hold. */
static const double beyond = 1e30;

/* The scores of experts, [N, K, C], and who takes part, [N, K, 1]. */
typedef struct fusion {
    clvi_onnx *x;
    const char *name;
    const char *scores, *weights, *part; /* part: whether the weight is above 0 */
    const char *logits;
    int64_t experts, classes;
    bool probabilities;
} fusion;

static const char *number(const fusion *f, double value)
{
    return clvi_onnx_number(f->x, clvi_onnx_text(f->x, "%s.number", f->name), value);
}

/* ReduceMax or ReduceMin over the experts. */
static const char *reduced(const fusion *f, const char *op, const char *value)
{
    const int64_t axis = 1;
    return clvi_onnx_add(
        f->x,
        &(clvi_onnx_node){op, f->name, ONNX_LIST(value),
                          ONNX_ATTRS(ONNX_INTS("axes", &axis, 1), ONNX_I("keepdims", 0)), NULL});
}

/* The sum over an axis, which operator set 13 takes as an input. */
static const char *summed(clvi_onnx *x, const char *name, const char *value, int64_t axis,
                          bool keep)
{
    const char *axes = clvi_onnx_ints(x, clvi_onnx_text(x, "%s.axes", name), &axis, 1);
    return clvi_onnx_add(x, &(clvi_onnx_node){"ReduceSum", name, ONNX_LIST(value, axes),
                                              ONNX_ATTRS(ONNX_I("keepdims", keep)), NULL});
}

/* The scores, and `otherwise` where an expert has no part. */
static const char *masked(const fusion *f, const char *value, double otherwise)
{
    return clvi_onnx_plain(f->x, "Where", f->name, ONNX_LIST(f->part, value, number(f, otherwise)));
}

static const char *times(const fusion *f, const char *a, const char *b)
{
    return clvi_onnx_plain(f->x, "Mul", f->name, ONNX_LIST(a, b));
}

static const char *logarithm(const fusion *f, const char *value)
{
    return clvi_onnx_plain(f->x, "Log", f->name, ONNX_LIST(value));
}

/* Σ g s; of probabilities log Σ g exp(s), from the largest s on, so that nothing vanishes. */
static const char *weighted(const fusion *f)
{
    if (!f->probabilities)
        return summed(f->x, f->name, times(f, f->weights, masked(f, f->scores, 0)), 1, false);
    const int64_t extents[] = {-1, 1, f->classes};
    const char *s = masked(f, f->scores, -beyond), *top = reduced(f, "ReduceMax", s);
    const char *above = clvi_onnx_reshaped(f->x, f->name, top, extents, 3);
    s = clvi_onnx_plain(f->x, "Sub", f->name, ONNX_LIST(s, above));
    s = times(f, f->weights, clvi_onnx_plain(f->x, "Exp", f->name, ONNX_LIST(s)));
    s = logarithm(f, summed(f->x, f->name, s, 1, false));
    return clvi_onnx_plain(f->x, "Add", f->name, ONNX_LIST(s, top));
}

/* Who takes part as numbers of type `to`, [N, K, 1], and how many do, [N, 1]. */
static const char *counted(const fusion *f, int to, const char **count)
{
    const char *ones = clvi_onnx_along(f->x, "Cast", f->name, f->part, "to", to);
    *count = summed(f->x, f->name, ones, 1, false);
    return ones;
}

/* Votes for a class, and the mean probability, which decides ties. */
static const char *vote(const fusion *f)
{
    const char *count, *part = counted(f, CLVI_ONNX_F32, &count);
    const int64_t classes = f->classes;
    const float values[] = {0, 1};
    const char *best = clvi_onnx_add(
        f->x, &(clvi_onnx_node){"ArgMax", f->name, ONNX_LIST(f->logits),
                                ONNX_ATTRS(ONNX_I("axis", 2), ONNX_I("keepdims", 0)), NULL});
    const char *depth =
        clvi_onnx_ints(f->x, clvi_onnx_text(f->x, "%s.depth", f->name), &classes, 1);
    const char *off_on =
        clvi_onnx_floats(f->x, clvi_onnx_text(f->x, "%s.values", f->name), values, 2, NULL);
    const char *votes = clvi_onnx_plain(f->x, "OneHot", f->name, ONNX_LIST(best, depth, off_on));
    const char *p = clvi_onnx_along(f->x, "Softmax", f->name, f->logits, "axis", 2);
    votes = summed(f->x, f->name, times(f, votes, part), 1, false);
    p = summed(f->x, f->name, times(f, p, part), 1, false);
    p = clvi_onnx_plain(f->x, "Div", f->name, ONNX_LIST(p, count));
    p = clvi_onnx_plain(f->x, "Add", f->name, ONNX_LIST(votes, p));
    return logarithm(f, clvi_onnx_plain(f->x, "Max", f->name, ONNX_LIST(p, number(f, 1e-30))));
}

/* The middle two of those that take part, which stand first when sorted; of an odd number they are
 * the same. Of probabilities their mean is one of probabilities. */
static const char *median(const fusion *f)
{
    const int64_t experts = f->experts, numbers[] = {-1, 2};
    const int64_t extents[] = {-1, 1, 1}, whole[] = {1, 1, f->classes};
    const char *indices, *count, *between[2];
    const char *k = clvi_onnx_ints(f->x, clvi_onnx_text(f->x, "%s.k", f->name), &experts, 1);
    const char *s = clvi_onnx_add(
        f->x, &(clvi_onnx_node){"TopK", f->name, ONNX_LIST(masked(f, f->scores, beyond), k),
                                ONNX_ATTRS(ONNX_I("axis", 1), ONNX_I("largest", 0)), &indices});
    (void)counted(f, CLVI_ONNX_I64, &count);
    const char *two = clvi_onnx_ints(f->x, clvi_onnx_text(f->x, "%s.two", f->name), numbers + 1, 1);
    const char *less = clvi_onnx_ints(f->x, clvi_onnx_text(f->x, "%s.less", f->name), numbers, 1);
    less = clvi_onnx_plain(f->x, "Add", f->name, ONNX_LIST(count, less));
    const char *shape = clvi_onnx_ints(f->x, clvi_onnx_text(f->x, "%s.classes", f->name), whole, 3);
    for (int i = 0; i < 2; i++) {
        const char *at = clvi_onnx_plain(f->x, "Div", f->name, ONNX_LIST(i ? count : less, two));
        at = clvi_onnx_reshaped(f->x, f->name, at, extents, 3);
        at = clvi_onnx_plain(f->x, "Expand", f->name, ONNX_LIST(at, shape));
        at = clvi_onnx_add(f->x, &(clvi_onnx_node){"GatherElements", f->name, ONNX_LIST(s, at),
                                                   ONNX_ATTRS(ONNX_I("axis", 1)), NULL});
        between[i] = f->probabilities ? clvi_onnx_plain(f->x, "Exp", f->name, ONNX_LIST(at)) : at;
    }
    const char *sum =
        summed(f->x, f->name,
               clvi_onnx_plain(f->x, "Add", f->name, ONNX_LIST(between[0], between[1])), 1, false);
    sum = times(f, sum, number(f, 0.5));
    return f->probabilities ? logarithm(f, sum) : sum;
}

void clvi_onnx_fuse_scores(clvi_onnx_part *p, const clvi_node *node)
{
    char rule[32], scores[32];
    const clv_shape *s = clvi_onnx_shape(p, node->inputs[0]);
    fusion f = {.x = p->onnx,
                .name = clvi_onnx_name(p, node),
                .logits = clvi_onnx_in(p, node, 0),
                .experts = s->dims[1],
                .classes = s->dims[2]};
    clvi_onnx_choice_of(node, "combine", rule);
    f.probabilities = strcmp(clvi_onnx_choice_of(node, "scores", scores), "probabilities") == 0;
    const char *g = clvi_onnx_in(p, node, 1);
    f.weights = clvi_onnx_reshaped(f.x, f.name, g, (int64_t[]){-1, f.experts, 1}, 3);
    f.part = clvi_onnx_plain(f.x, "Greater", f.name, ONNX_LIST(f.weights, number(&f, 0)));
    f.scores = f.probabilities ? clvi_onnx_along(f.x, "LogSoftmax", f.name, f.logits, "axis", 2)
                               : f.logits;
    clvi_onnx_set(
        p, node,
        strcmp(rule, "weighted") == 0       ? weighted(&f)
        : strcmp(rule, "product_rule") == 0 ? summed(f.x, f.name, masked(&f, f.scores, 0), 1, false)
        : strcmp(rule, "max") == 0  ? reduced(&f, "ReduceMax", masked(&f, f.scores, -beyond))
        : strcmp(rule, "min") == 0  ? reduced(&f, "ReduceMin", masked(&f, f.scores, beyond))
        : strcmp(rule, "vote") == 0 ? vote(&f)
                                    : median(&f));
}

/* 1 on the k largest of a row, of equal ones the first, as ONNX says of TopK too. */
static const char *chosen(clvi_onnx *x, const char *name, const char *keys, int64_t k,
                          int64_t columns)
{
    const float values[] = {0, 1};
    const char *indices = NULL;
    const char *most = clvi_onnx_ints(x, clvi_onnx_text(x, "%s.k", name), &k, 1);
    const char *depth = clvi_onnx_ints(x, clvi_onnx_text(x, "%s.depth", name), &columns, 1);
    const char *off_on = clvi_onnx_floats(x, clvi_onnx_text(x, "%s.values", name), values, 2, NULL);
    (void)clvi_onnx_add(x, &(clvi_onnx_node){"TopK", name, ONNX_LIST(keys, most),
                                             ONNX_ATTRS(ONNX_I("axis", -1)), &indices});
    const char *mask = clvi_onnx_plain(x, "OneHot", name, ONNX_LIST(indices, depth, off_on));
    return summed(x, name, mask, 1, false);
}

void clvi_onnx_topk_mask(clvi_onnx_part *p, const clvi_node *node)
{
    clvi_onnx *x = p->onnx;
    char normalise[32];
    const char *z = clvi_onnx_in(p, node, 0), *name = clvi_onnx_name(p, node);
    const int64_t columns = clvi_onnx_shape(p, node->inputs[0])->dims[1];
    const char *bias = clvi_onnx_in(p, node, 1), *keys = z;
    const char *all = clvi_onnx_along(x, "Softmax", name, z, "axis", -1);
    if (bias)
        keys = clvi_onnx_plain(x, "Add", name, ONNX_LIST(all, bias));
    const char *mask = chosen(x, name, keys, clvi_onnx_int_of(node, "k"), columns);
    const char *least = clvi_onnx_number(x, clvi_onnx_text(x, "%s.least", name), (double)FLT_MIN);
    if (strcmp(clvi_onnx_choice_of(node, "normalise", normalise), "after") == 0) {
        const char *zero = clvi_onnx_number(x, clvi_onnx_text(x, "%s.zero", name), 0);
        const char *low = clvi_onnx_number(x, clvi_onnx_text(x, "%s.low", name), -beyond);
        const char *in = clvi_onnx_plain(x, "Greater", name, ONNX_LIST(mask, zero));
        all = clvi_onnx_plain(x, "Where", name, ONNX_LIST(in, z, low));
        all = clvi_onnx_along(x, "Softmax", name, all, "axis", -1);
    }
    all = clvi_onnx_plain(x, "Max", name, ONNX_LIST(all, least));
    clvi_onnx_set(p, node, clvi_onnx_plain(x, "Mul", name, ONNX_LIST(all, mask)));
}

/* Each column times K and the weight of its expert. */
void clvi_onnx_weigh_columns(clvi_onnx_part *p, const clvi_node *node)
{
    clvi_onnx *x = p->onnx;
    const char *name = clvi_onnx_name(p, node), *columns = clvi_onnx_in(p, node, 0);
    const char *weights = clvi_onnx_in(p, node, 1), *owner = clvi_onnx_in(p, node, 2);
    const int64_t experts = clvi_onnx_shape(p, node->inputs[1])->dims[1];
    const char *k = clvi_onnx_number(x, clvi_onnx_text(x, "%s.experts", name), (double)experts);
    const char *each = clvi_onnx_add(x, &(clvi_onnx_node){"Gather", name, ONNX_LIST(weights, owner),
                                                          ONNX_ATTRS(ONNX_I("axis", 1)), NULL});
    each = clvi_onnx_plain(x, "Mul", name, ONNX_LIST(each, k));
    clvi_onnx_set(p, node, clvi_onnx_plain(x, "Mul", name, ONNX_LIST(columns, each)));
}
