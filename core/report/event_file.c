/* See event_file.h. The form of the file is TensorFlow's TFRecord. */
#include "report/event_file.h"

#include "base/files.h"

#include "events.pb-c.h"

#include <errno.h>
#include <math.h>
#include <time.h>
#include <unistd.h>

#define NAME_BEGIN "events.out.tfevents."

enum { DT_STRING = 7, SESSION_START = 1 };

struct clvi_event_file {
    FILE *stream;
    char *path;
    uint32_t crc[256];
    int64_t step;
    double wall_time;
};

/* ---- Records ---- */

/* CRC-32C (Castagnoli), bits reversed. */
static void fill_table(uint32_t table[256])
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++)
            value = (value >> 1) ^ ((value & 1) != 0 ? 0x82F63B78u : 0);
        table[i] = value;
    }
}

/* The masked checksum of the format: a checksum of something that holds checksums is a weak one. */
static uint32_t masked_crc(const uint32_t table[256], const uint8_t *bytes, size_t length)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < length; i++)
        crc = table[(crc ^ bytes[i]) & 0xFF] ^ (crc >> 8);
    crc = ~crc;
    return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
}

static void put_le(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static clv_status write_failed(const clvi_event_file *file, clv_error *error)
{
    return clvi_fail(error, CLV_E_IO, CLV_HERE, "%s: cannot be written: %s", file->path,
                     strerror(errno));
}

static clv_status write_event(clvi_event_file *file, Events__Event *event, clv_error *error)
{
    uint8_t head[12], tail[4];
    event->wall_time = file->wall_time;
    event->step = file->step;
    const size_t length = events__event__get_packed_size(event);
    uint8_t *packed = clvi_malloc(length + 1);
    if (packed == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: an event of %s", file->path);
    events__event__pack(event, packed);
    put_le(head, length, 8);
    put_le(head + 8, masked_crc(file->crc, head, 8), 4);
    put_le(tail, masked_crc(file->crc, packed, length), 4);
    const bool written = fwrite(head, 1, sizeof head, file->stream) == sizeof head &&
                         fwrite(packed, 1, length, file->stream) == length &&
                         fwrite(tail, 1, sizeof tail, file->stream) == sizeof tail;
    clvi_free(packed);
    return written ? CLV_OK : write_failed(file, error);
}

static clv_status write_value(clvi_event_file *file, Events__Summary__Value *value,
                              clv_error *error)
{
    Events__Summary summary = EVENTS__SUMMARY__INIT;
    Events__Event event = EVENTS__EVENT__INIT;
    summary.value = &value;
    summary.n_value = 1;
    event.what_case = EVENTS__EVENT__WHAT_SUMMARY;
    event.summary = &summary;
    return write_event(file, &event, error);
}

/* ---- The file ---- */

static clv_status remove_others(const char *folder, clv_error *error)
{
    char **names = NULL;
    size_t count = 0;
    CLV_TRY(clvi_dir_list(folder, &names, &count, error));
    clv_status status = CLV_OK;
    for (size_t i = 0; i < count && status == CLV_OK; i++) {
        char *path = clvi_path_join(folder, names[i]);
        if (path == NULL)
            status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: files of %s", folder);
        else if (strncmp(names[i], NAME_BEGIN, strlen(NAME_BEGIN)) == 0 && unlink(path) != 0)
            status = clvi_fail(error, CLV_E_IO, CLV_HERE, "%s: cannot be removed: %s", path,
                               strerror(errno));
        clvi_free(path);
    }
    clvi_names_free(names, count);
    return status;
}

static clv_status write_begin(clvi_event_file *file, clv_error *error)
{
    Events__Event version = EVENTS__EVENT__INIT, start = EVENTS__EVENT__INIT;
    Events__SessionLog session = EVENTS__SESSION_LOG__INIT;
    version.what_case = EVENTS__EVENT__WHAT_FILE_VERSION;
    version.file_version = "brain.Event:2";
    CLV_TRY(write_event(file, &version, error));
    session.status = SESSION_START;
    start.what_case = EVENTS__EVENT__WHAT_SESSION_LOG;
    start.session_log = &session;
    return write_event(file, &start, error);
}

static clv_status open_file(clvi_event_file *file, const char *folder, clv_error *error)
{
    char name[96];
    CLV_TRY(clvi_make_dirs(folder, 0755, error));
    CLV_TRY(remove_others(folder, error));
    snprintf(name, sizeof name, NAME_BEGIN "%010lld.conclave.%ld", (long long)time(NULL),
             (long)getpid());
    file->path = clvi_path_join(folder, name);
    if (file->path == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the event file of %s", folder);
    file->stream = fopen(file->path, "wb");
    if (file->stream == NULL)
        return write_failed(file, error);
    fill_table(file->crc);
    file->wall_time = (double)time(NULL);
    CLV_TRY(write_begin(file, error));
    return clvi_event_file_flush(file, error);
}

clv_status clvi_event_file_create(const char *folder, clvi_event_file **out, clv_error *error)
{
    clvi_event_file *file = clvi_calloc(1, sizeof *file);
    if (file == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the event file of %s", folder);
    const clv_status status = open_file(file, folder, error);
    if (status != CLV_OK) {
        clvi_event_file_close(file, NULL);
        return status;
    }
    *out = file;
    return CLV_OK;
}

clv_status clvi_event_file_close(clvi_event_file *file, clv_error *error)
{
    if (file == NULL)
        return CLV_OK;
    clv_status status = CLV_OK;
    if (file->stream != NULL && fclose(file->stream) != 0)
        status = write_failed(file, error);
    clvi_free(file->path);
    clvi_free(file);
    return status;
}

clv_status clvi_event_file_flush(clvi_event_file *file, clv_error *error)
{
    return fflush(file->stream) == 0 ? CLV_OK : write_failed(file, error);
}

/* ---- Values ---- */

void clvi_event_file_at(clvi_event_file *file, int64_t step, double wall_time)
{
    file->step = step;
    file->wall_time = wall_time;
}

clv_status clvi_event_file_add_scalar(clvi_event_file *file, const char *tag, double value,
                                      clv_error *error)
{
    Events__Summary__Value item = EVENTS__SUMMARY__VALUE__INIT;
    if (!isfinite(value))
        return CLV_OK;
    item.tag = (char *)tag;
    item.value_case = EVENTS__SUMMARY__VALUE__VALUE_SIMPLE_VALUE;
    item.simple_value = (float)value;
    return write_value(file, &item, error);
}

/* A list of byte strings for one of TensorBoard's plugins. */
static clv_status add_strings(clvi_event_file *file, const char *tag, const char *const about[2],
                              ProtobufCBinaryData *strings, size_t count, clv_error *error)
{
    Events__Summary__Value item = EVENTS__SUMMARY__VALUE__INIT;
    Events__SummaryMetadata metadata = EVENTS__SUMMARY_METADATA__INIT;
    Events__SummaryMetadata__PluginData plugin = EVENTS__SUMMARY_METADATA__PLUGIN_DATA__INIT;
    Events__Tensor tensor = EVENTS__TENSOR__INIT;
    Events__TensorShape shape = EVENTS__TENSOR_SHAPE__INIT;
    Events__TensorShape__Dim dim = EVENTS__TENSOR_SHAPE__DIM__INIT, *dims = &dim;
    plugin.plugin_name = (char *)about[0];
    metadata.plugin_data = &plugin;
    if (about[1] != NULL)
        metadata.summary_description = (char *)about[1];
    dim.size = (int64_t)count;
    shape.dim = &dims;
    shape.n_dim = 1;
    tensor.dtype = DT_STRING;
    tensor.tensor_shape = &shape;
    tensor.string_val = strings;
    tensor.n_string_val = count;
    item.tag = (char *)tag;
    item.metadata = &metadata;
    item.value_case = EVENTS__SUMMARY__VALUE__VALUE_TENSOR;
    item.tensor = &tensor;
    return write_value(file, &item, error);
}

clv_status clvi_event_file_add_text(clvi_event_file *file, const char *tag, const char *text,
                                    clv_error *error)
{
    const char *const about[2] = {"text", NULL};
    ProtobufCBinaryData string = {.len = strlen(text), .data = (uint8_t *)text};
    return add_strings(file, tag, about, &string, 1, error);
}

clv_status clvi_event_file_add_pictures(clvi_event_file *file, const char *tag,
                                        const char *description, const int size[2],
                                        const clvi_event_picture *pictures, size_t count,
                                        clv_error *error)
{
    const char *const about[2] = {"images", description};
    char sides[2][16];
    ProtobufCBinaryData *strings = clvi_calloc(count + 2, sizeof *strings);
    if (strings == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: %zu pictures of %s", count, file->path);
    for (int i = 0; i < 2; i++) { /* width, then height */
        snprintf(sides[i], sizeof sides[i], "%d", size[1 - i]);
        strings[i] = (ProtobufCBinaryData){strlen(sides[i]), (uint8_t *)sides[i]};
    }
    for (size_t i = 0; i < count; i++)
        strings[i + 2] = (ProtobufCBinaryData){pictures[i].length, (uint8_t *)pictures[i].png};
    const clv_status status = add_strings(file, tag, about, strings, count + 2, error);
    clvi_free(strings);
    return status;
}
