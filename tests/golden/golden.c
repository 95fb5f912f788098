#include "golden.h"

#include "base/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sha2.h>

#include <cmocka.h>

enum { LIMIT = 200 * 1024, MANIFEST_LIMIT = 1 << 16, VERSION = 1, F32 = 1, I32 = 2, F64 = 4 };

/* What is left of a file. */
typedef struct cursor {
    const char *path, *at;
    size_t left;
} cursor;

static void take(cursor *c, void *to, size_t bytes)
{
    if (bytes > c->left)
        fail_msg("%s ends early", c->path);
    memcpy(to, c->at, bytes);
    c->at += bytes;
    c->left -= bytes;
}

static uint32_t take_u32(cursor *c)
{
    uint32_t value;
    take(c, &value, sizeof value);
    return value;
}

static void take_attribute(cursor *c, golden *g, uint32_t i)
{
    clv_attr *a = &g->attrs[i];
    *a = (clv_attr){.struct_size = sizeof *a};
    take(c, g->texts[i][0], 24);
    take(c, g->texts[i][1], 16);
    a->type = take_u32(c);
    (void)take_u32(c);
    take(c, &a->i, sizeof a->i);
    take(c, &a->real, sizeof a->real);
    a->name = g->texts[i][0];
    a->text = g->texts[i][1];
}

static void *allocate(int64_t count, size_t bytes)
{
    void *memory = calloc(count > 0 ? (size_t)count : 1, bytes);
    assert_non_null(memory);
    return memory;
}

static void take_data(cursor *c, golden_tensor *t, uint32_t dtype)
{
    const size_t each = dtype == F64 ? 8 : 4, bytes = (size_t)t->elements * each;
    char padding[8];
    if (dtype == F64) {
        t->d = allocate(t->elements, sizeof(double));
        take(c, t->d, bytes);
    } else {
        t->f = allocate(t->elements, sizeof(float));
        t->is_integer = dtype == I32;
        for (int64_t k = 0; k < t->elements; k++) {
            int32_t whole;
            if (dtype == F32)
                take(c, &t->f[k], sizeof t->f[k]);
            else
                take(c, &whole, sizeof whole), t->f[k] = (float)whole;
        }
    }
    take(c, padding, (8 - bytes % 8) % 8);
}

static void take_tensor(cursor *c, golden_tensor *t)
{
    *t = (golden_tensor){.elements = 1};
    take(c, t->name, 32);
    t->role = (golden_role)take_u32(c);
    t->index = take_u32(c);
    const uint32_t dtype = take_u32(c), rank = take_u32(c);
    take(c, t->dims, sizeof t->dims);
    if (rank > CLV_MAX_RANK || (dtype != F32 && dtype != I32 && dtype != F64))
        fail_msg("%s: a tensor of type %u with %u axes", c->path, dtype, rank);
    t->rank = (int)rank;
    for (uint32_t axis = 0; axis < rank; axis++) {
        if (t->dims[axis] < 0 || t->dims[axis] > LIMIT)
            fail_msg("%s: an extent of %lld", c->path, (long long)t->dims[axis]);
        t->elements *= t->dims[axis];
        if (t->elements > LIMIT)
            fail_msg("%s: a tensor is too large", c->path);
    }
    take_data(c, t, dtype);
}

void golden_read(golden *g, const char *path, const char *sha256)
{
    char *text = NULL, digest[SHA256_DIGEST_STRING_LENGTH], magic[4];
    size_t bytes = 0;
    *g = (golden){.attr_count = 0};
    if (clvi_file_read(path, LIMIT, &text, &bytes, NULL) != CLV_OK)
        fail_msg("%s cannot be read, or is larger than %d bytes", path, LIMIT);
    SHA256Data((const uint8_t *)text, bytes, digest);
    if (strcmp(digest, sha256) != 0)
        fail_msg("%s is not the file that the manifest knows; run make.py", path);
    cursor c = {path, text, bytes};
    take(&c, magic, sizeof magic);
    if (memcmp(magic, "CLVG", 4) != 0 || take_u32(&c) != VERSION)
        fail_msg("%s is no golden file of version %d", path, VERSION);
    (void)take_u32(&c); /* seed */
    g->attr_count = take_u32(&c);
    g->tensor_count = take_u32(&c);
    if (g->attr_count > GOLDEN_MAX_ATTRS || g->tensor_count > GOLDEN_MAX_TENSORS)
        fail_msg("%s has too many attributes or tensors", path);
    take(&c, g->torch, 28);
    take(&c, g->op, 32);
    for (uint32_t i = 0; i < g->attr_count; i++)
        take_attribute(&c, g, i);
    for (uint32_t i = 0; i < g->tensor_count; i++)
        take_tensor(&c, &g->tensors[i]);
    if (c.left != 0)
        fail_msg("%s goes on for %zu bytes after its end", path, c.left);
    clvi_free(text);
}

void golden_fini(golden *g)
{
    for (uint32_t i = 0; i < g->tensor_count; i++) {
        free(g->tensors[i].f);
        free(g->tensors[i].d);
    }
}

const golden_tensor *golden_find(const golden *g, golden_role role, uint32_t index)
{
    for (uint32_t i = 0; i < g->tensor_count; i++)
        if (g->tensors[i].role == role && g->tensors[i].index == index)
            return &g->tensors[i];
    return NULL;
}

const clv_attr *golden_attr(const golden *g, const char *name)
{
    for (uint32_t i = 0; i < g->attr_count; i++)
        if (strcmp(g->attrs[i].name, name) == 0)
            return &g->attrs[i];
    return NULL;
}

double golden_real(const golden *g, const char *name)
{
    const clv_attr *a = golden_attr(g, name);
    if (a == NULL || a->type != CLV_ATTR_REAL)
        fail_msg("there is no attribute %s that is a real number", name);
    return a->real;
}

size_t golden_manifest(const char *folder, golden_entry entries[GOLDEN_MAX_ENTRIES])
{
    char *path = clvi_path_join(folder, "MANIFEST"), *text = NULL;
    size_t bytes = 0, count = 0;
    if (path != NULL && clvi_file_read(path, MANIFEST_LIMIT, &text, &bytes, NULL) == CLV_OK)
        for (const char *line = text; count < GOLDEN_MAX_ENTRIES; count++) {
            int length = 0;
            golden_entry *e = &entries[count];
            if (sscanf(line, "%64[0-9a-f]  %63[a-zA-Z0-9_.-]\n%n", e->sha256, e->name, &length) !=
                2)
                break;
            line += length;
        }
    clvi_free(text);
    clvi_free(path);
    return count;
}

void golden_check_manifest(const char *folder, const golden_entry *entries, size_t count)
{
    char **names = NULL;
    size_t listed = 0, found = 0;
    assert_int_equal(clvi_dir_list(folder, &names, &listed, NULL), CLV_OK);
    for (size_t i = 0; i < listed; i++) {
        const char *ending = strrchr(names[i], '.');
        bool known = ending == NULL || strcmp(ending, ".golden") != 0;
        found += !known;
        for (size_t k = 0; !known && k < count; k++)
            known = strcmp(names[i], entries[k].name) == 0;
        if (!known)
            fail_msg("%s is not in the manifest; run make.py", names[i]);
    }
    assert_int_equal(found, count);
    clvi_names_free(names, listed);
}
