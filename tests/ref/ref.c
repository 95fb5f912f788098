/* What the references share. */
#include "ref.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const clv_attr *find(const ref_call *call, const char *name, clv_attr_type type)
{
    for (uint32_t i = 0; i < call->attr_count; i++) {
        if (strcmp(call->attrs[i].name, name) != 0)
            continue;
        if (call->attrs[i].type != (uint32_t)type) {
            fprintf(stderr, "ref: attribute %s is given with another type\n", name);
            abort();
        }
        return &call->attrs[i];
    }
    return NULL;
}

int64_t ref_int(const ref_call *call, const char *name, int64_t fallback)
{
    const clv_attr *a = find(call, name, CLV_ATTR_INT);
    return a != NULL ? a->i : fallback;
}

double ref_real(const ref_call *call, const char *name, double fallback)
{
    const clv_attr *a = find(call, name, CLV_ATTR_REAL);
    return a != NULL ? a->real : fallback;
}

const char *ref_text(const ref_call *call, const char *name, const char *fallback)
{
    const clv_attr *a = find(call, name, CLV_ATTR_TEXT);
    return a != NULL ? a->text : fallback;
}

static void unknown(const char *name)
{
    fprintf(stderr, "ref: no activation %s\n", name);
    abort();
}

double ref_act(double x, const char *name)
{
    if (strcmp(name, "relu") == 0)
        return x > 0 ? x : 0;
    if (strcmp(name, "silu") == 0)
        return x / (1 + exp(-x));
    if (strcmp(name, "none") != 0)
        unknown(name);
    return x;
}

double ref_act_slope(double x, const char *name)
{
    if (strcmp(name, "relu") == 0)
        return x > 0 ? 1 : 0;
    if (strcmp(name, "silu") == 0) {
        const double s = 1 / (1 + exp(-x));
        return s * (1 + x * (1 - s));
    }
    if (strcmp(name, "none") != 0)
        unknown(name);
    return 1;
}
