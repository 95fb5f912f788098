#include "network_values.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

uint32_t network_hash(const char *name)
{
    uint32_t h = 0x811C9DC5u;
    for (const char *c = name; *c; c++)
        h = (h ^ (uint8_t)*c) * 0x01000193u;
    return h;
}

double network_uniform(uint32_t name_hash, uint32_t index)
{
    uint32_t x = index * 0x9E3779B1u + name_hash;
    x ^= x >> 16;
    x *= 0x85EBCA6Bu;
    x ^= x >> 13;
    x *= 0xC2B2AE35u;
    x ^= x >> 16;
    return (double)(x >> 8) / 8388608.0 - 1;
}

static bool ends_with(const char *text, const char *ending)
{
    const size_t a = strlen(text), b = strlen(ending);
    return a >= b && strcmp(text + a - b, ending) == 0;
}

void network_variable(const clvi_segment *variable, float *out)
{
    const clv_shape *s = &variable->shape;
    const uint32_t h = network_hash(variable->name);
    double offset = 0, scale = 0.1, inputs = 1;
    for (int axis = 0; axis < s->rank - 1; axis++)
        inputs *= (double)s->dims[axis];
    if (s->rank > 1)
        scale = sqrt(6.0 / inputs);
    else if (ends_with(variable->name, ".weight"))
        offset = 1, scale = 0.25;
    else if (ends_with(variable->name, ".running_var"))
        offset = 1, scale = 0.5;
    for (int64_t i = 0; i < variable->elements; i++)
        out[i] = (float)(offset + scale * network_uniform(h, (uint32_t)i));
}

void network_images(int step, int64_t count, float *out)
{
    char name[32];
    snprintf(name, sizeof name, "images.%d", step);
    const uint32_t h = network_hash(name);
    for (int64_t i = 0; i < count; i++)
        out[i] = (float)(2 * network_uniform(h, (uint32_t)i));
}

/* The numbers of NAME.at as places among `count`. */
static int64_t place(uint32_t h, int64_t i, int64_t count)
{
    return (int64_t)((network_uniform(h, (uint32_t)i) + 1) / 2 * (double)count);
}

void network_labels(int step, int64_t n, int64_t classes, float *out)
{
    char name[32];
    snprintf(name, sizeof name, "labels.%d", step);
    const uint32_t h = network_hash(name);
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)place(h, i, classes);
}

void network_row(const char *name, const float *values, int64_t count, double out[NETWORK_COLUMNS])
{
    char text[256];
    double squares = 0, product = 0;
    snprintf(text, sizeof text, "%s.along", name);
    const uint32_t along = network_hash(text);
    for (int64_t i = 0; i < count; i++) {
        const double v = (double)values[i];
        squares += v * v;
        product += v * network_uniform(along, (uint32_t)i);
    }
    out[0] = network_hash(name);
    out[1] = (double)count;
    out[2] = sqrt(squares);
    out[3] = product;
    snprintf(text, sizeof text, "%s.at", name);
    const uint32_t at = network_hash(text);
    for (int k = 0; k < NETWORK_SAMPLES; k++)
        out[4 + k] = (double)values[place(at, k, count)];
}
