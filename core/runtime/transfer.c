/* Moving bytes: host to device through staging memory, device to host, device to device, filling.
 */
#include "runtime/device.h"

#include <stdio.h>

/* Staging slabs hold at least SLAB_BYTES, and larger uploads go in pieces of PIECE_BYTES, so that
 * staging takes at most CLVI_STAGING_SLABS · PIECE_BYTES. */
enum { SLAB_BYTES = 1 << 20, PIECE_BYTES = 8 << 20, STAGING_ALIGN = 64 };

static clv_status check_range(const clvi_buf *buf, size_t offset, size_t bytes, const char *what,
                              clv_error *error)
{
    if (offset > buf->bytes || bytes > buf->bytes - offset)
        CLV_FAIL(error, CLV_E_INTERNAL,
                 "%s: bytes %zu to %zu + %zu do not lie in buffer \"%s\" of %zu bytes", what,
                 offset, offset, bytes, buf->label, buf->bytes);
    return CLV_OK;
}

/* "upload to \"weights\"" */
static const char *name_it(const char *verb, const clvi_buf *buf, char *text, size_t bytes)
{
    snprintf(text, bytes, "%s \"%.100s\"", verb, buf->label);
    return text;
}

/* ---- Staging ---- */

static bool is_done(cl_event event)
{
    cl_int state = CL_QUEUED;
    return clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof(state), &state, NULL) ==
               CL_SUCCESS &&
           state == CL_COMPLETE;
}

/* Makes the slab empty; its last write is waited for when it is under way. */
static clv_status empty_slab(clvi_device *device, clvi_slab *slab, clv_error *error)
{
    if (slab->last != NULL) {
        CLV_TRY(clvi_queue_wait_event(device, slab->last, "upload", error));
        clReleaseEvent(slab->last);
        slab->last = NULL;
    }
    slab->used = 0;
    return CLV_OK;
}

/* Gives the empty slab room for `bytes`. */
static clv_status enlarge_slab(clvi_slab *slab, size_t bytes, clv_error *error)
{
    if (slab->capacity >= bytes)
        return CLV_OK;
    const size_t capacity = bytes > SLAB_BYTES ? bytes : SLAB_BYTES;
    clvi_free(slab->data);
    slab->capacity = 0;
    slab->data = clvi_malloc(capacity);
    if (slab->data == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: %zu bytes to pass an upload through",
                 capacity);
    slab->capacity = capacity;
    return CLV_OK;
}

/* A slab with room for `bytes`: the current one if it has it, else the next one that is finished, a
 * new one, or the oldest one after waiting for it. */
static clv_status take_slab(clvi_device *device, size_t bytes, clvi_slab **out, clv_error *error)
{
    clvi_staging *staging = &device->staging;
    if (staging->count > 0) {
        clvi_slab *slab = &staging->slabs[staging->current];
        if (slab->last != NULL && is_done(slab->last))
            CLV_TRY(empty_slab(device, slab, error));
        if (slab->capacity - slab->used >= bytes) {
            *out = slab;
            return CLV_OK;
        }
        if (slab->used > 0) {
            const unsigned next = (staging->current + 1) % staging->count;
            const clvi_slab *oldest = &staging->slabs[next];
            const bool free_one = oldest->last == NULL || is_done(oldest->last);
            if (!free_one && staging->count < CLVI_STAGING_SLABS) {
                /* The new slab takes its place behind the current one, so that the order stays. */
                memmove(&staging->slabs[staging->current + 2],
                        &staging->slabs[staging->current + 1],
                        (staging->count - staging->current - 1) * sizeof(staging->slabs[0]));
                staging->current++;
                staging->count++;
                staging->slabs[staging->current] = (clvi_slab){0};
            } else {
                staging->current = next;
            }
        }
    } else {
        staging->count = 1;
    }
    clvi_slab *slab = &staging->slabs[staging->current];
    CLV_TRY(empty_slab(device, slab, error));
    CLV_TRY(enlarge_slab(slab, bytes, error));
    *out = slab;
    return CLV_OK;
}

bool clvi_staging_fini(clvi_device *device)
{
    clvi_staging *staging = &device->staging;
    bool idle = true;
    for (unsigned i = 0; i < staging->count; i++) {
        const clvi_slab *slab = &staging->slabs[i];
        if (slab->last != NULL && !clvi_queue_settle(device, slab->last)) {
            idle = false;
            continue;
        }
        if (slab->last != NULL)
            clReleaseEvent(slab->last);
        clvi_free(slab->data);
    }
    *staging = (clvi_staging){0};
    return idle;
}

static clv_status upload_piece(clvi_device *device, clvi_buf *buf, size_t offset, const void *data,
                               size_t bytes, clv_error *error)
{
    char what[128];
    clvi_slab *slab = NULL;
    const size_t room = (bytes + STAGING_ALIGN - 1) / STAGING_ALIGN * STAGING_ALIGN;
    CLV_TRY(take_slab(device, room, &slab, error));
    unsigned char *staged = slab->data + slab->used;
    memcpy(staged, data, bytes);
    cl_event event = NULL;
    const cl_int code = clEnqueueWriteBuffer(device->queue, buf->mem, CL_FALSE, offset, bytes,
                                             staged, 0, NULL, &event);
    if (code != CL_SUCCESS)
        return clvi_queue_fail(device, code, "clEnqueueWriteBuffer",
                               name_it("upload to", buf, what, sizeof(what)), error);
    slab->used += room;
    if (slab->last != NULL)
        clReleaseEvent(slab->last);
    slab->last = event;
    return clvi_queue_advance(device, error);
}

clv_status clvi_upload(clvi_device *device, clvi_buf *buf, size_t offset_bytes, const void *data,
                       size_t bytes, clv_error *error)
{
    CLV_TRY(clvi_queue_enter(device, error));
    CLV_TRY(check_range(buf, offset_bytes, bytes, "upload", error));
    for (size_t done = 0; done < bytes;) {
        const size_t piece = bytes - done < PIECE_BYTES ? bytes - done : PIECE_BYTES;
        CLV_TRY(upload_piece(device, buf, offset_bytes + done, (const unsigned char *)data + done,
                             piece, error));
        done += piece;
    }
    return CLV_OK;
}

/* ---- Downloads ---- */

/* Reads and waits. *over: nothing will be written to `data` any more. */
static clv_status read_into(clvi_device *device, const clvi_buf *buf, size_t offset, void *data,
                            size_t bytes, const char *what, bool *over, clv_error *error)
{
    cl_event event = NULL;
    const cl_int code = clEnqueueReadBuffer(device->queue, buf->mem, CL_FALSE, offset, bytes, data,
                                            0, NULL, &event);
    *over = true;
    if (code != CL_SUCCESS)
        return clvi_queue_fail(device, code, "clEnqueueReadBuffer", what, error);
    const clv_status status = clvi_queue_wait_event(device, event, what, error);
    *over = status == CLV_OK || clvi_queue_settle(device, event);
    clReleaseEvent(event);
    return status;
}

/* What hangs may write when nobody expects it any more: to memory that is given up then, not to the
 * caller's. */
static clv_status read_through(clvi_device *device, const clvi_buf *buf, size_t offset,
                               unsigned char *data, size_t bytes, const char *what,
                               clv_error *error)
{
    void *own = clvi_malloc(bytes < PIECE_BYTES ? bytes : PIECE_BYTES);
    clv_status status = CLV_OK;
    bool over = true;
    if (own == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: %s", what);
    for (size_t done = 0; status == CLV_OK && done < bytes;) {
        const size_t piece = bytes - done < PIECE_BYTES ? bytes - done : PIECE_BYTES;
        status = read_into(device, buf, offset + done, own, piece, what, &over, error);
        if (status == CLV_OK)
            memcpy(data + done, own, piece);
        done += piece;
    }
    if (over)
        clvi_free(own);
    return status;
}

clv_status clvi_download(clvi_device *device, clvi_buf *buf, size_t offset_bytes, void *data,
                         size_t bytes, clv_error *error)
{
    char what[128];
    CLV_TRY(clvi_queue_enter(device, error));
    CLV_TRY(check_range(buf, offset_bytes, bytes, "download", error));
    device->counters.reads++;
    name_it("download of", buf, what, sizeof(what));
    if (bytes == 0)
        return clvi_queue_wait(device, what, error);
    if (device->rehearsing) {
        memset(data, 0, bytes);
        return CLV_OK;
    }
    if (device->watch.on)
        return read_through(device, buf, offset_bytes, data, bytes, what, error);
    bool over = false; /* always: what is not watched is waited for without end */
    return read_into(device, buf, offset_bytes, data, bytes, what, &over, error);
}

/* ---- The others ---- */

clv_status clvi_copy(clvi_device *device, clvi_buf *from, size_t from_bytes, clvi_buf *to,
                     size_t to_bytes, size_t bytes, clv_error *error)
{
    char what[128];
    CLV_TRY(clvi_queue_enter(device, error));
    CLV_TRY(check_range(from, from_bytes, bytes, "copy", error));
    CLV_TRY(check_range(to, to_bytes, bytes, "copy", error));
    if (bytes == 0 || device->rehearsing)
        return CLV_OK;
    const cl_int code = clEnqueueCopyBuffer(device->queue, from->mem, to->mem, from_bytes, to_bytes,
                                            bytes, 0, NULL, NULL);
    if (code != CL_SUCCESS)
        return clvi_queue_fail(device, code, "clEnqueueCopyBuffer",
                               name_it("copy to", to, what, sizeof(what)), error);
    return clvi_queue_advance(device, error);
}

clv_status clvi_fill(clvi_device *device, clvi_buf *buf, size_t offset_bytes, size_t bytes,
                     uint32_t pattern, clv_error *error)
{
    char what[128];
    CLV_TRY(clvi_queue_enter(device, error));
    CLV_TRY(check_range(buf, offset_bytes, bytes, "fill", error));
    if (offset_bytes % sizeof(pattern) != 0 || bytes % sizeof(pattern) != 0)
        CLV_FAIL(error, CLV_E_INTERNAL, "fill of \"%s\": %zu + %zu is not in whole elements",
                 buf->label, offset_bytes, bytes);
    if (bytes == 0 || device->rehearsing)
        return CLV_OK;
    const cl_int code = clEnqueueFillBuffer(device->queue, buf->mem, &pattern, sizeof(pattern),
                                            offset_bytes, bytes, 0, NULL, NULL);
    if (code != CL_SUCCESS)
        return clvi_queue_fail(device, code, "clEnqueueFillBuffer",
                               name_it("fill of", buf, what, sizeof(what)), error);
    return clvi_queue_advance(device, error);
}
