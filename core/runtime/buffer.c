/* Device memory. Every cl_mem of Conclave is made and released here, and accounted for. On CPUs the
 * pages are given by the system when they are first touched: creating a buffer that does not fit
 * may succeed there. */
#include "runtime/device.h"

#include <stdio.h>
#include <sys/mman.h>

/* From this size on a buffer is worth pages of HUGE_PAGE bytes. */
enum { HUGE_PAGE = 2 << 20, HUGE_LEAST = 2 * HUGE_PAGE };

/* Bytes as a message shows them: "1.5 GB", "12.0 MB", "512 bytes". */
static const char *amount(uint64_t bytes, char *text, size_t size)
{
    if (bytes >= (uint64_t)1 << 30)
        snprintf(text, size, "%.1f GB", (double)bytes / (1 << 30));
    else if (bytes >= (uint64_t)1 << 20)
        snprintf(text, size, "%.1f MB", (double)bytes / (1 << 20));
    else
        snprintf(text, size, "%llu bytes", (unsigned long long)bytes);
    return text;
}

/* Asks for large pages under a buffer in the memory of a CPU that runs kernels. Kernels walk
 * through hundreds of megabytes, a line of each of several tensors at a time; with pages of 4 KiB
 * each of these costs a walk through the page table, which halves what memory gives. Only a hint:
 * where anything refuses, the buffer stays as it is. */
static void want_large_pages(clvi_buf *buf)
{
#ifdef MADV_HUGEPAGE
    clvi_device *device = buf->device;
    const size_t bytes = buf->bytes;
    const cl_mem mem = buf->mem;
    const clvi_found_device *found = device->found;
    if (found->info.type != CLVI_DEVICE_CPU || !found->unified || found->software ||
        bytes < HUGE_LEAST)
        return;
    cl_int code;
    cl_event mapped = NULL;
    unsigned char *at =
        clEnqueueMapBuffer(device->queue, mem, CL_FALSE, CL_MAP_WRITE_INVALIDATE_REGION, 0, bytes,
                           0, NULL, &mapped, &code);
    if (at == NULL || code != CL_SUCCESS)
        return;
    if (clvi_queue_settle(device, mapped)) {
        const size_t before = (HUGE_PAGE - (uintptr_t)at % HUGE_PAGE) % HUGE_PAGE;
        const size_t whole = (bytes - before) / HUGE_PAGE * HUGE_PAGE;
        (void)madvise(at + before, whole, MADV_HUGEPAGE);
        /* PoCL's buffers stay where they are after the unmapping; of others nobody says so. */
        if (found->pocl) {
            buf->pages = at + before;
            buf->pages_bytes = whole;
        }
    }
    clReleaseEvent(mapped);
    (void)clEnqueueUnmapMemObject(device->queue, mem, at, 0, NULL, NULL);
#else
    (void)buf;
#endif
}

clv_status clvi_buf_create(clvi_device *device, size_t bytes, const char *label, clvi_buf **out,
                           clv_error *error)
{
    char wanted[32], other[32];
    CLV_TRY(clvi_device_check(device, error));
    if (bytes == 0)
        CLV_FAIL(error, CLV_E_INTERNAL, "buffer \"%s\": 0 bytes", label);
    if (bytes > device->found->info.max_alloc_bytes)
        CLV_FAIL(error, CLV_E_MEMORY, "buffer \"%s\" of %s: %s allows at most %s in one buffer",
                 label, amount(bytes, wanted, sizeof(wanted)), device->found->short_name,
                 amount(device->found->info.max_alloc_bytes, other, sizeof(other)));
    clvi_buf *buf = clvi_calloc(1, sizeof(*buf));
    char *copy = buf != NULL ? clvi_strdup(label) : NULL;
    if (copy == NULL) {
        clvi_free(buf);
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: buffer \"%s\"", label);
    }
    cl_int code = CL_SUCCESS;
    cl_mem mem = clCreateBuffer(device->context, CL_MEM_READ_WRITE, bytes, NULL, &code);
    if (mem == NULL || code != CL_SUCCESS) {
        clvi_free(copy);
        clvi_free(buf);
        clvi_fail(error, CLV_E_MEMORY, CLV_HERE,
                  "buffer \"%s\" of %s does not fit on %s, where %s are in use: clCreateBuffer: %s "
                  "(%d); a smaller batch needs less",
                  label, amount(bytes, wanted, sizeof(wanted)), device->found->short_name,
                  amount(device->counters.live_bytes, other, sizeof(other)),
                  clvi_cl_code_name(code), (int)code);
        return CLV_E_MEMORY;
    }
    *buf = (clvi_buf){
        .device = device, .next = device->buffers, .mem = mem, .bytes = bytes, .label = copy};
    want_large_pages(buf);
    if (device->buffers != NULL)
        device->buffers->previous = buf;
    device->buffers = buf;
    clvi_device_counters *counters = &device->counters;
    counters->live_buffers++;
    counters->live_bytes += bytes;
    if (counters->peak_bytes < counters->live_bytes)
        counters->peak_bytes = counters->live_bytes;
    *out = buf;
    return CLV_OK;
}

void clvi_buf_destroy(clvi_buf *buf)
{
    if (buf == NULL)
        return;
    clvi_device *device = buf->device;
    device->counters.live_buffers--;
    device->counters.live_bytes -= buf->bytes;
    if (buf->next != NULL)
        buf->next->previous = buf->previous;
    if (buf->previous != NULL)
        buf->previous->next = buf->next;
    else
        device->buffers = buf->next;
    clvi_pages_forget(buf);
    clReleaseMemObject(buf->mem);
    clvi_free(buf->label);
    clvi_free(buf);
}

size_t clvi_buf_bytes(const clvi_buf *buf)
{
    return buf->bytes;
}
