/* What the host demands of a plugin's table. The 16 frozen bytes are read first and alone; nothing
 * behind them is touched before version and size agree. */
#include "graph/weight_names.h"
#include "base/files.h"
#include "base/structs.h"
#include "plugin/loader.h"

#include <stddef.h>
#include <stdio.h>

enum { MAX_OPTIONS = 256, MAX_LINE_BYTES = 200 };

/* The part of clv_plugin that never changes. */
typedef struct head {
    uint32_t magic, struct_size;
    uint16_t abi_major, abi_minor;
    uint32_t kind;
} head;
_Static_assert(sizeof(head) == 16 && offsetof(clv_plugin, name) == 16,
               "the first 16 bytes of clv_plugin are frozen");

typedef struct subject {
    const char *path;
    head head;
    uint16_t host_minor; /* CLV_ABI_MINOR, but in a test of what a later host does */
} subject;

const char *clvi_kind_text(uint32_t kind)
{
    return kind == CLV_KIND_EXPERT ? "expert" : kind == CLV_KIND_GATE ? "gate" : "plugin";
}

/* "PATH: clv_plugin.FIELD SENTENCE (plugin ABI 1.0, host ABI 0.1)" */
CLV_PRINTF(4, 5)
static clv_status refuse(const subject *s, const char *field, clv_error *error, const char *format,
                         ...)
{
    char sentence[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    return clvi_fail(error, CLV_E_PLUGIN, CLV_HERE,
                     "%s: clv_plugin.%s %s (plugin ABI %u.%u, host ABI %d.%u)", s->path, field,
                     sentence, s->head.abi_major, s->head.abi_minor, CLV_ABI_MAJOR, s->host_minor);
}

static clv_status check_head(const subject *s, clv_error *error)
{
    const head *h = &s->head;
    const size_t need = CLVI_BYTES_TO(clv_plugin, build);
    if (h->magic != CLV_PLUGIN_MAGIC)
        return refuse(s, "magic", error, "is 0x%08x, wanted is 0x%08x", h->magic, CLV_PLUGIN_MAGIC);
    if (h->abi_major != CLV_ABI_MAJOR)
        return refuse(s, "abi_major", error,
                      "is %u, wanted is %d: compile the plugin with this host's headers",
                      h->abi_major, CLV_ABI_MAJOR);
    if (h->abi_minor > s->host_minor)
        return refuse(s, "abi_minor", error,
                      "is %u, this host has %u: it wants a newer Conclave, or to be compiled with "
                      "this host's headers",
                      h->abi_minor, s->host_minor);
    if (h->struct_size < need)
        return refuse(s, "struct_size", error, "is %u bytes, wanted is at least %zu",
                      h->struct_size, need);
    if (h->kind != CLV_KIND_EXPERT && h->kind != CLV_KIND_GATE)
        return refuse(s, "kind", error, "is %u, wanted is %d (expert) or %d (gate)", h->kind,
                      CLV_KIND_EXPERT, CLV_KIND_GATE);
    return CLV_OK;
}

/* One line of printable UTF-8, 1 to MAX_LINE_BYTES bytes. */
static bool is_line(const char *text)
{
    const size_t length = strnlen(text, MAX_LINE_BYTES + 1);
    for (size_t i = 0; i < length && length <= MAX_LINE_BYTES;) {
        const unsigned char c = (unsigned char)text[i];
        const size_t step = clvi_utf8_sequence(text + i, length - i);
        if (step == 0 || c < 0x20 || c == 0x7F)
            return false;
        i += step;
    }
    return length > 0 && length <= MAX_LINE_BYTES;
}

static clv_status check_line(const subject *s, const char *field, const char *text,
                             clv_error *error)
{
    if (text == NULL)
        return refuse(s, field, error, "is NULL, it is mandatory");
    if (!is_line(text))
        return refuse(s, field, error, "is not one line of 1 to %d bytes of UTF-8", MAX_LINE_BYTES);
    return CLV_OK;
}

static clv_status check_name(const subject *s, const char *name, clv_error *error)
{
    char wanted[CLVI_PLUGIN_NAME_BYTES + 16];
    const char *file = clvi_path_name(s->path);
    CLV_TRY(check_line(s, "name", name, error));
    if (!clvi_is_plugin_name(name))
        return refuse(s, "name", error, "is \"%s\", allowed are " CLVI_PLUGIN_NAME_RULE, name,
                      CLVI_PLUGIN_NAME_BYTES);
    snprintf(wanted, sizeof(wanted), "%s_%s.so", clvi_kind_text(s->head.kind), name);
    if (strcmp(file, wanted) != 0)
        return refuse(s, "name", error, "is \"%s\" and its kind is %s: the file must be called %s",
                      name, clvi_kind_text(s->head.kind), wanted);
    return CLV_OK;
}

bool clvi_is_plugin_name(const char *name)
{
    return clvi_is_plain_name(name, CLVI_PLUGIN_NAME_BYTES);
}

clv_option_spec clvi_plugin_option(const clv_plugin *plugin, size_t index)
{
    clv_option_spec spec;
    clvi_struct_at(&spec, sizeof(spec), plugin->options, index, plugin->option_stride);
    return spec;
}

/* Keys of a section that are the host's own, now or by design (see plugins/README.md). */
static bool is_reserved(const char *key)
{
    static const char *const reserved[] = {
        "plugin",    "mixture",           "weights", "init",     "weights_strict", "bn",
        "trainable", "unfreeze_at_epoch", "seed",    "unfreeze", "preprocess"};
    for (size_t i = 0; i < sizeof(reserved) / sizeof(*reserved); i++)
        if (strcmp(key, reserved[i]) == 0)
            return true;
    return false;
}

static clv_status check_option(const subject *s, const clv_plugin *table, uint32_t index,
                               clv_error *error)
{
    const clv_option_spec spec = clvi_plugin_option(table, index);
    const size_t need = CLVI_BYTES_TO(clv_option_spec, text);
    char field[32];
    snprintf(field, sizeof(field), "options[%u]", index);
    if (spec.struct_size < need || spec.struct_size > table->option_stride)
        return refuse(s, field, error, "has a struct_size of %u, allowed is %zu to the stride, %u",
                      spec.struct_size, need, table->option_stride);
    clv_error cause = CLV_ERROR_INIT;
    const clv_status status = clvi_value_check_spec(&spec, &cause);
    if (status == CLV_E_MEMORY)
        return clvi_fail(error, status, CLV_HERE, "%s: %s", s->path, cause.message);
    if (status != CLV_OK)
        return refuse(s, field, error, "is wrong: %s", cause.message);
    if (!(spec.min <= spec.max))
        return refuse(s, field, error, "(%s) has a smallest value above its largest", spec.key);
    if (spec.type == CLV_OPTION_CHOICE && spec.choices == NULL)
        return refuse(s, field, error, "(%s) has no choices", spec.key);
    if (spec.text == NULL || !is_line(spec.text))
        return refuse(s, field, error, "(%s) has no line of help", spec.key);
    if (is_reserved(spec.key))
        return refuse(s, field, error, "is called %s, a key of the host's own", spec.key);
    for (uint32_t i = 0; i < index; i++)
        if (clvi_name_equal(clvi_plugin_option(table, i).key, spec.key))
            return refuse(s, field, error, "and options[%u] are both called %s", i, spec.key);
    return CLV_OK;
}

static clv_status check_options(const subject *s, const clv_plugin *table, clv_error *error)
{
    const size_t need = CLVI_BYTES_TO(clv_option_spec, text);
    if (table->option_count > MAX_OPTIONS)
        return refuse(s, "option_count", error, "is %u, allowed are at most %d",
                      table->option_count, MAX_OPTIONS);
    if ((table->options == NULL) != (table->option_count == 0))
        return refuse(s, "options", error, "is %s but option_count is %u",
                      table->options == NULL ? "NULL" : "not NULL", table->option_count);
    if (table->option_count == 0)
        return CLV_OK;
    if (table->option_stride < need || table->option_stride % _Alignof(clv_option_spec) != 0)
        return refuse(s, "option_stride", error,
                      "is %u bytes, wanted is at least %zu and a multiple of %zu",
                      table->option_stride, need, _Alignof(clv_option_spec));
    for (uint32_t i = 0; i < table->option_count; i++)
        CLV_TRY(check_option(s, table, i, error));
    return CLV_OK;
}

clv_status clvi_plugin_check_for(const char *path, const clv_plugin *table, uint16_t host_minor,
                                 clv_error *error)
{
    subject s = {.path = path, .host_minor = host_minor};
    if (table == NULL)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "%s: clv_plugin_v1 returned NULL (plugin ABI unknown, host ABI %d.%d)", path,
                 CLV_ABI_MAJOR, CLV_ABI_MINOR);
    if ((uintptr_t)table % _Alignof(clv_plugin) != 0)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "%s: clv_plugin_v1 returned a table at an odd address (plugin ABI unknown, host "
                 "ABI %d.%d)",
                 path, CLV_ABI_MAJOR, CLV_ABI_MINOR);
    memcpy(&s.head, table, sizeof(s.head));
    CLV_TRY(check_head(&s, error));
    CLV_TRY(check_name(&s, table->name, error));
    CLV_TRY(check_line(&s, "version", table->version, error));
    CLV_TRY(check_line(&s, "summary", table->summary, error));
    if (table->build == NULL)
        return refuse(&s, "build", error, "is NULL, it is mandatory");
    const char *fault = clvi_weight_names_fault(table);
    if (fault != NULL)
        return refuse(&s, "weight_names", error, "is wrong: %s", fault);
    return check_options(&s, table, error);
}

clv_status clvi_plugin_check(const char *path, const clv_plugin *table, clv_error *error)
{
    return clvi_plugin_check_for(path, table, CLV_ABI_MINOR, error);
}
