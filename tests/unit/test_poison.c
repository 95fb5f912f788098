/* Devices that fail or hang, on whatever device there is (CONCLAVE_DEVICE chooses). Exit 77 without
 * one, failure when CONCLAVE_REQUIRE_DEVICE=1 says that there must be one. */
#include "runtime_bench.h"

#include <dlfcn.h>
#include <malloc.h>
#include <unistd.h>

/* ---- Failing queues ---- */

/* Stands before the OpenCL loader's, and fails as often as a test has asked for, without having
 * waited where it says so. (A failing user event would do without this, but PoCL 3.1 aborts the
 * process at one.) */
static int failing_waits;
static bool fails_at_once;

cl_int clWaitForEvents(cl_uint count, const cl_event *events)
{
    static cl_int (*loader)(cl_uint, const cl_event *);
    if (loader == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "clWaitForEvents");
        memcpy(&loader, &symbol, sizeof(loader));
    }
    const cl_int code = failing_waits > 0 && fails_at_once ? CL_SUCCESS : loader(count, events);
    if (failing_waits == 0)
        return code;
    failing_waits--;
    return CL_OUT_OF_RESOURCES;
}

static void test_poison(void **state)
{
    bench *b = *state;
    clvi_buf *x = NULL;
    float v = 0.0f;
    OK(clvi_buf_create(b->device, 64, "x", &x, &b->error));
    launch_nothing(b);
    failing_waits = 1;
    char first[512];
    REFUSED(clvi_download(b->device, x, 0, &v, 4, &b->error), CLV_E_CL, "download of \"x\"");
    snprintf(first, sizeof(first), "%s", b->error.message);
    assert_non_null(strstr(first, clvi_device_get_info(b->device)->name));
    assert_non_null(strstr(first, "newest kernel: t:nothing"));
    assert_int_equal(b->error.native_code, CL_OUT_OF_RESOURCES);
    clvi_launch l;
    clvi_launch_begin(&l, b->device, "t", "nothing", "");
    clvi_arg_uint(&l, 1);
    REFUSED(clvi_launch_run(&l, 1, 1, 1, &b->error), CLV_E_CL, first);
    REFUSED(clvi_wait(b->device, &b->error), CLV_E_CL, first);
    REFUSED(clvi_upload(b->device, x, 0, &v, 4, &b->error), CLV_E_CL, first);
    REFUSED(clvi_fill(b->device, x, 0, 4, 0, &b->error), CLV_E_CL, first);
    clvi_buf *y = NULL;
    REFUSED(clvi_buf_create(b->device, 64, "y", &y, &b->error), CLV_E_CL, first);
    clvi_buf_destroy(x);
    reopen(b); /* the others live on */
    launch_nothing(b);
    OK(clvi_wait(b->device, &b->error));
}

/* Frees as the C library does, and makes sure that nobody can go on using the content. */
static void release_wiped(void *block)
{
    if (block != NULL)
        explicit_bzero(block, malloc_usable_size(block));
    free(block);
}

/* What lies in a device buffer once everything of its queue has run; of OpenCL alone, for a device
 * that is closed. */
static void read_later(cl_command_queue queue, cl_mem mem, unsigned char *out, size_t bytes)
{
    assert_int_equal(clEnqueueReadBuffer(queue, mem, CL_TRUE, 0, bytes, out, 0, NULL, NULL),
                     CL_SUCCESS);
    clReleaseMemObject(mem);
    clReleaseCommandQueue(queue);
}

/* Uploads that are under way when the device fails keep the memory that they read from. */
static void test_close_with_uploads_under_way(void **state)
{
    enum { BYTES = 20 << 20 };
    bench *b = *state;
    clvi_buf *x = NULL, *y = NULL;
    unsigned char *in = malloc(BYTES), *out = malloc(BYTES);
    assert_true(in != NULL && out != NULL);
    for (unsigned i = 0; i < BYTES; i++)
        in[i] = (unsigned char)(i * 7 / 5 + i / 4099);
    OK(clvi_buf_create(b->device, BYTES, "x", &x, &b->error));
    OK(clvi_buf_create(b->device, 65535 * 4, "y", &y, &b->error));
    OK(clvi_fill(b->device, y, 0, 65535 * 4, 0, &b->error));
    launch_slow(b, y);
    OK(clvi_upload(b->device, x, 0, in, BYTES, &b->error));
    failing_waits = 1;
    fails_at_once = true;
    REFUSED(clvi_wait(b->device, &b->error), CLV_E_CL, "waiting");
    fails_at_once = false;
    cl_command_queue queue = b->device->queue;
    cl_mem mem = x->mem;
    clRetainCommandQueue(queue);
    clRetainMemObject(mem);
    clvi_buf_destroy(x);
    clvi_buf_destroy(y);
    clvi_set_allocator(&(clvi_allocator){malloc, realloc, release_wiped});
    clvi_device_close(b->device);
    clvi_set_allocator(NULL);
    b->device = NULL;
    read_later(queue, mem, out, BYTES);
    assert_memory_equal(in, out, BYTES);
    free(in);
    free(out);
    open_device(b);
}

static void test_sync_names_the_kernel(void **state)
{
    bench *b = *state;
    setenv("CONCLAVE_SYNC", "1", 1);
    reopen(b);
    assert_non_null(strstr(clvi_device_banner(b->device), "CONCLAVE_SYNC"));
    launch_nothing(b);
    failing_waits = 1;
    clvi_launch l;
    clvi_launch_begin(&l, b->device, "t", "nothing", "");
    clvi_arg_uint(&l, 1);
    REFUSED(clvi_launch_run(&l, 1, 1, 1, &b->error), CLV_E_CL, "kernel t:nothing on ");
    assert_non_null(strstr(b->error.message, clvi_device_get_info(b->device)->name));
    unsetenv("CONCLAVE_SYNC");
}

/* ---- Watching, as on GPUs ---- */

/* A device with watching on, whose queue is busy for longer than a wait may take. */
static void hang(bench *b, clvi_buf *x)
{
    OK(clvi_fill(b->device, x, 0, 65535 * 4, 0, &b->error));
    launch_slow(b, x); /* compiled */
    OK(clvi_wait(b->device, &b->error));
    b->device->watch.on = true;
    b->device->watch.wait_seconds = 0.01;
    launch_slow(b, x);
}

/* A download that comes too late does not write to memory that its caller has back. */
static void test_late_download_leaves_the_memory(void **state)
{
    enum { BYTES = 9 << 20 };
    bench *b = *state;
    clvi_buf *x = NULL;
    unsigned char *out = malloc(BYTES), *same = malloc(BYTES);
    assert_true(out != NULL && same != NULL);
    memset(out, 0x55, BYTES);
    memset(same, 0x55, BYTES);
    OK(clvi_buf_create(b->device, BYTES, "x", &x, &b->error));
    b->device->watch.on = true;
    OK(clvi_fill(b->device, x, 0, BYTES, 0xaaaaaaaau, &b->error));
    OK(clvi_download(b->device, x, 0, out, BYTES, &b->error)); /* in time: all of it */
    for (int i = 0; i < BYTES; i++)
        assert_int_equal(out[i], 0xaa);
    memset(out, 0x55, BYTES);
    hang(b, x);
    REFUSED(clvi_download(b->device, x, 0, out, BYTES, &b->error), CLV_E_DEVICE, "t:slow");
    unsigned char last;
    clRetainCommandQueue(b->device->queue);
    clRetainMemObject(x->mem);
    read_later(b->device->queue, x->mem, &last, 1);
    assert_memory_equal(out, same, BYTES);
    clvi_buf_destroy(x);
    free(out);
    free(same);
}

/* A device that hangs is closed without another wait, and its uploads keep their memory. */
static void test_close_while_hanging(void **state)
{
    bench *b = *state;
    clvi_buf *x = NULL;
    const uint32_t value = 0x12345678u;
    OK(clvi_buf_create(b->device, 65535 * 4, "x", &x, &b->error));
    hang(b, x);
    OK(clvi_upload(b->device, x, 0, &value, sizeof(value), &b->error));
    REFUSED(clvi_wait(b->device, &b->error), CLV_E_DEVICE, "t:slow");
    cl_command_queue queue = b->device->queue;
    cl_mem mem = x->mem;
    clRetainCommandQueue(queue);
    clRetainMemObject(mem);
    clvi_buf_destroy(x);
    clvi_set_allocator(&(clvi_allocator){malloc, realloc, release_wiped});
    clvi_device_close(b->device);
    clvi_set_allocator(NULL);
    b->device = NULL;
    assert_non_null(strstr(log_text, "is left as it is"));
    uint32_t found = 0;
    read_later(queue, mem, (unsigned char *)&found, sizeof(found));
    assert_int_equal(found, value);
    open_device(b);
}

static void test_long_launch_is_said(void **state)
{
    static const char part[] = "kernel t:slow took ";
    bench *b = *state;
    clvi_buf *x = NULL;
    OK(clvi_buf_create(b->device, 65535 * 4, "x", &x, &b->error));
    OK(clvi_fill(b->device, x, 0, 65535 * 4, 0, &b->error));
    b->device->watch.on = true;
    b->device->watch.launch_seconds = 0.02;
    for (int i = 0; i < 2; i++) {
        launch_slow(b, x);
        for (int k = 0; k < CLVI_WATCHED + 3; k++)
            launch_nothing(b);
        OK(clvi_wait(b->device, &b->error));
    }
    OK(clvi_timer_find_clock(b->device, &b->error));
    const char *said = strstr(log_text, part);
    assert_int_equal(said != NULL, b->device->timer.clock == CLVI_CLOCK_DEVICE);
    assert_true(said == NULL || strstr(said + 1, part) == NULL); /* once */
    assert_null(strstr(log_text, "kernel t:nothing took"));
    clvi_buf_destroy(x);
}

static void *no_block(size_t bytes)
{
    (void)bytes;
    return NULL;
}

static void *no_other_block(void *block, size_t bytes)
{
    (void)block, (void)bytes;
    return NULL;
}

/* Where there is no memory to find out whether time stamps can be believed, nothing is said, and
 * nothing fails. */
static void test_long_launch_without_memory(void **state)
{
    bench *b = *state;
    clvi_buf *x = NULL;
    OK(clvi_buf_create(b->device, 65535 * 4, "x", &x, &b->error));
    OK(clvi_fill(b->device, x, 0, 65535 * 4, 0, &b->error));
    launch_nothing(b); /* compiled */
    b->device->watch.on = true;
    b->device->watch.launch_seconds = 0.02;
    launch_slow(b, x);
    clvi_set_allocator(&(clvi_allocator){no_block, no_other_block, free});
    clv_status status = CLV_OK;
    for (int k = 0; k < CLVI_WATCHED + 3 && status == CLV_OK; k++) {
        clvi_launch l;
        clvi_launch_begin(&l, b->device, "t", "nothing", "");
        clvi_arg_uint(&l, 1);
        status = clvi_launch_run(&l, 1, 1, 1, &b->error);
    }
    clvi_set_allocator(NULL);
    if (status != CLV_OK)
        fail_msg("%s", b->error.message);
    assert_int_equal(b->device->timer.clock, CLVI_CLOCK_UNKNOWN);
    assert_null(strstr(log_text, "kernel t:slow took "));
    OK(clvi_wait(b->device, &b->error));
    clvi_buf_destroy(x);
}

static void test_late_wait_fails(void **state)
{
    bench *b = *state;
    clvi_buf *x = NULL;
    OK(clvi_buf_create(b->device, 65535 * 4, "x", &x, &b->error));
    OK(clvi_fill(b->device, x, 0, 65535 * 4, 0, &b->error));
    launch_nothing(b); /* compiled */
    launch_slow(b, x);
    OK(clvi_wait(b->device, &b->error));
    b->device->watch.on = true;
    b->device->watch.wait_seconds = 30;
    launch_slow(b, x);
    OK(clvi_wait(b->device, &b->error)); /* in time */
    b->device->watch.wait_seconds = 0.01;
    launch_nothing(b);
    launch_slow(b, x);
    launch_nothing(b); /* the newest, but not the one that hangs */
    REFUSED(clvi_wait(b->device, &b->error), CLV_E_DEVICE, "runs kernel t:slow");
    assert_non_null(strstr(b->error.message, clvi_device_get_info(b->device)->name));
    REFUSED(clvi_fill(b->device, x, 0, 4, 0, &b->error), CLV_E_DEVICE, "runs kernel t:slow");
    assert_non_null(strstr(log_text, "the device is not used any more"));
    while (clvi_watch_hanging(b->device) != NULL)
        usleep(1000);
    clvi_buf_destroy(x);
    reopen(b);
    launch_nothing(b);
    OK(clvi_wait(b->device, &b->error));
    assert_null(strstr(log_text, "is left as it is"));
}

int main(void)
{
    const int verdict = no_device();
    if (verdict != 0)
        return verdict;
    const struct CMUnitTest tests[] = {
        BENCH_TEST(test_poison),
        BENCH_TEST(test_close_with_uploads_under_way),
        BENCH_TEST(test_sync_names_the_kernel),
        BENCH_TEST(test_long_launch_is_said),
        BENCH_TEST(test_long_launch_without_memory),
        BENCH_TEST(test_late_wait_fails),
        BENCH_TEST(test_late_download_leaves_the_memory),
        BENCH_TEST(test_close_while_hanging),
    };
    return cmocka_run_group_tests_name("poison", tests, NULL, NULL);
}
