/* Attributes of an operation, checked by its clvi_attr_spec table. Refuses rather than guesses. */
#include "graph/attrs.h"

#include "base/structs.h"
#include "base/text.h"

#include <math.h>

enum { MAX_SPECS = 32 };

/* One attribute on its way: what stands in every message, and where the value goes. */
typedef struct target {
    const char *op, *node;
    const clvi_attr_spec *spec;
    void *place;
} target;

static const char *type_text(uint32_t type)
{
    switch (type) {
    case CLV_ATTR_INT:
        return "an integer";
    case CLV_ATTR_REAL:
        return "a real number";
    case CLV_ATTR_TEXT:
        return "a text";
    case CLV_ATTR_INTS:
        return "a list of integers";
    default:
        return "of an unknown type";
    }
}

/* A range of 0 to 0 lets everything pass. */
static bool in_range(const clvi_attr_spec *spec, double value)
{
    const bool any = !(spec->min < 0 || spec->min > 0 || spec->max < 0 || spec->max > 0);
    return any || (value >= spec->min && value <= spec->max);
}

static clv_status out_of_range(const target *t, double value, clv_error *error)
{
    return clvi_fail(error, CLV_E_SHAPE, CLV_HERE,
                     "%s (%s): attribute %s is %.9g, allowed is %.9g to %.9g", t->node, t->op,
                     t->spec->name, value, t->spec->min, t->spec->max);
}

/* Index of `text` among "a|b|c", or -1. */
static int64_t find_choice(const char *choices, const char *text)
{
    const size_t length = strlen(text);
    int64_t index = 0;
    for (const char *at = choices; at != NULL; index++) {
        const char *bar = strchr(at, '|');
        const size_t width = bar != NULL ? (size_t)(bar - at) : strlen(at);
        if (width == length && memcmp(at, text, length) == 0)
            return index;
        at = bar != NULL ? bar + 1 : NULL;
    }
    return -1;
}

static clv_status take_int(const target *t, const clv_attr *attr, clv_error *error)
{
    if (!in_range(t->spec, (double)attr->i))
        return out_of_range(t, (double)attr->i, error);
    memcpy(t->place, &attr->i, sizeof(attr->i));
    return CLV_OK;
}

static clv_status take_real(const target *t, const clv_attr *attr, clv_error *error)
{
    const double value = attr->type == CLV_ATTR_INT ? (double)attr->i : attr->real;
    if (!isfinite(value))
        CLV_FAIL(error, CLV_E_SHAPE, "%s (%s): attribute %s is not a finite number", t->node, t->op,
                 t->spec->name);
    if (!in_range(t->spec, value))
        return out_of_range(t, value, error);
    memcpy(t->place, &value, sizeof(value));
    return CLV_OK;
}

static clv_status take_text(const target *t, const clv_attr *attr, clv_error *error)
{
    char shown[64];
    if (attr->text == NULL)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s (%s): attribute %s has no text", t->node, t->op,
                 t->spec->name);
    const int64_t index = find_choice(t->spec->choices, attr->text);
    if (index < 0)
        CLV_FAIL(error, CLV_E_SHAPE, "%s (%s): attribute %s is \"%s\", allowed is %s", t->node,
                 t->op, t->spec->name, clvi_printable(attr->text, shown, sizeof(shown)),
                 t->spec->choices);
    memcpy(t->place, &index, sizeof(index));
    return CLV_OK;
}

static clv_status take_ints(const target *t, const clv_attr *attr, clv_error *error)
{
    clvi_attr_ints list = {{0}, (int32_t)attr->int_count};
    if (attr->int_count > CLV_MAX_RANK)
        CLV_FAIL(error, CLV_E_SHAPE, "%s (%s): attribute %s has %u numbers, at most %d are allowed",
                 t->node, t->op, t->spec->name, attr->int_count, CLV_MAX_RANK);
    if (attr->int_count > 0 && attr->ints == NULL)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s (%s): attribute %s has no numbers", t->node, t->op,
                 t->spec->name);
    for (uint32_t i = 0; i < attr->int_count; i++) {
        if (!in_range(t->spec, (double)attr->ints[i]))
            return out_of_range(t, (double)attr->ints[i], error);
        list.values[i] = attr->ints[i];
    }
    memcpy(t->place, &list, sizeof(list));
    return CLV_OK;
}

static clv_status take(const target *t, const clv_attr *attr, clv_error *error)
{
    const bool fits = attr->type == (uint32_t)t->spec->type ||
                      (attr->type == CLV_ATTR_INT && t->spec->type == CLV_ATTR_REAL);
    if (!fits)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s (%s): attribute %s is %s, wanted is %s", t->node, t->op,
                 t->spec->name, type_text(attr->type), type_text((uint32_t)t->spec->type));
    switch (t->spec->type) {
    case CLV_ATTR_INT:
        return take_int(t, attr, error);
    case CLV_ATTR_REAL:
        return take_real(t, attr, error);
    case CLV_ATTR_TEXT:
        return take_text(t, attr, error);
    case CLV_ATTR_INTS:
        return take_ints(t, attr, error);
    }
    CLV_FAIL(error, CLV_E_INTERNAL, "%s (%s): the attribute table of the op is wrong", t->node,
             t->op);
}

static void set_default(const clvi_attr_spec *spec, void *place)
{
    const int64_t whole = (int64_t)spec->default_value;
    if (spec->type == CLV_ATTR_REAL)
        memcpy(place, &spec->default_value, sizeof(spec->default_value));
    else if (spec->type != CLV_ATTR_INTS)
        memcpy(place, &whole, sizeof(whole));
}

static clv_status unknown(const clvi_op *op, const char *node, const char *name, clv_error *error)
{
    char shown[64];
    const char *names[MAX_SPECS];
    for (size_t i = 0; i < op->attr_count; i++)
        names[i] = op->attrs[i].name;
    clvi_printable(name, shown, sizeof(shown));
    const char *near = clvi_nearest(name, names, op->attr_count);
    if (near != NULL)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s (%s): unknown attribute \"%s\"; did you mean %s?", node,
                 op->name, shown, near);
    CLV_FAIL(error, CLV_E_PLUGIN, "%s (%s): unknown attribute \"%s\"", node, op->name, shown);
}

/* Attribute i of the list as this host knows the struct. */
static clv_status fetch(const clvi_attr_list *given, uint32_t i, const char *node, clv_attr *out,
                        clv_error *error)
{
    const size_t need = CLVI_BYTES_TO(clv_attr, reserved);
    clvi_struct_at(out, sizeof(*out), given->attrs, i, given->stride);
    if (out->struct_size < need || out->struct_size > given->stride)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "%s: clv_attr.struct_size of attribute %u is %u, allowed is %zu to the stride of "
                 "%u bytes",
                 node, i, out->struct_size, need, given->stride);
    if (out->name == NULL)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s: attribute %u has no name", node, i);
    if (out->reserved != 0)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s: clv_attr.reserved of attribute %s is not 0", node,
                 out->name);
    return CLV_OK;
}

static clv_status check_list(const clvi_op *op, const char *node, const clvi_attr_list *given,
                             clv_error *error)
{
    const size_t need = CLVI_BYTES_TO(clv_attr, reserved);
    if (op->attr_count > MAX_SPECS)
        CLV_FAIL(error, CLV_E_INTERNAL, "%s: more than %d attributes", op->name, MAX_SPECS);
    if (given->count == 0)
        return CLV_OK;
    if (given->attrs == NULL || given->stride < need || given->stride % _Alignof(clv_attr) != 0)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "%s (%s): %u attributes at a stride of %u bytes, wanted is at least %zu", node,
                 op->name, given->count, given->stride, need);
    return CLV_OK;
}

clv_status clvi_attrs_parse(const clvi_op *op, const char *node, const clvi_attr_list *given,
                            void *out, clv_error *error)
{
    bool seen[MAX_SPECS] = {false};
    CLV_TRY(check_list(op, node, given, error));
    for (size_t s = 0; s < op->attr_count; s++)
        set_default(&op->attrs[s], (char *)out + op->attrs[s].offset);
    for (uint32_t i = 0; i < given->count; i++) {
        clv_attr attr;
        size_t s = 0;
        CLV_TRY(fetch(given, i, node, &attr, error));
        while (s < op->attr_count && strcmp(op->attrs[s].name, attr.name) != 0)
            s++;
        if (s == op->attr_count)
            return unknown(op, node, attr.name, error);
        if (seen[s])
            CLV_FAIL(error, CLV_E_PLUGIN, "%s (%s): attribute %s is given twice", node, op->name,
                     attr.name);
        seen[s] = true;
        const target t = {op->name, node, &op->attrs[s], (char *)out + op->attrs[s].offset};
        CLV_TRY(take(&t, &attr, error));
    }
    for (size_t s = 0; s < op->attr_count; s++)
        if (op->attrs[s].required && !seen[s])
            CLV_FAIL(error, CLV_E_PLUGIN, "%s (%s): attribute %s is missing", node, op->name,
                     op->attrs[s].name);
    return CLV_OK;
}
