#include "runtime_bench.h"

#include <unistd.h>

const char bench_kernels[] =
    "#include \"part.clh\"\n"
    "ONE void add(__global float *y, ulong y0, __global const float *x, ulong x0, int n, float a)\n"
    "{\n"
    "    for (int i = (int)get_group_id(0); i < n; i += (int)get_num_groups(0))\n"
    "        y[y0 + i] = x[x0 + i] + a * SCALE;\n"
    "}\n"
    "ONE void nothing(uint value) {}\n"
    "ONE void slow(__global float *y, ulong y0, int n)\n"
    "{\n"
    "    float x = y[y0 + get_group_id(0)];\n"
    "    for (int i = 0; i < n; i++)\n"
    "        x = fma(x, 0.5f, 1.0f);\n"
    "    y[y0 + get_group_id(0)] = x;\n"
    "}\n"
    "__attribute__((reqd_work_group_size(8, 1, 1))) __kernel void\n"
    "turn(__global float *y, ulong y0, __local float *t)\n"
    "{\n"
    "    const int i = (int)get_local_id(0);\n"
    "    t[i] = y[y0 + get_global_id(0)];\n"
    "    barrier(CLK_LOCAL_MEM_FENCE);\n"
    "    y[y0 + get_global_id(0)] = t[7 - i];\n"
    "}\n"
    "__kernel void unsized(uint value) {}\n";
static const char part_text[] =
    "#define ONE __attribute__((reqd_work_group_size(1, 1, 1))) __kernel\n"
    "#ifndef SCALE\n#define SCALE 1.0f\n#endif\n"
    "#if CLV_V != 4 && CLV_V != 8 && CLV_V != 16\n#error no width\n"
    "#endif\n";
static const char broken_text[] = "\n\n__kernel void broken(uint value) { nonsense; }\n";

char log_text[8192];

void take_log(void *user, clvi_log_level level, const char *line)
{
    (void)user;
    (void)level;
    if (strncmp(line, "compiling kernels ", 18) == 0) /* on a machine that is slow today */
        return;
    const size_t used = strlen(log_text);
    snprintf(log_text + used, sizeof(log_text) - used, "%s\n", line);
}

void write_kernels(bench *b, const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", b->folder, name);
    OK(clvi_file_write(path, text, strlen(text), &b->error));
}

void open_device(bench *b)
{
    OK(clvi_device_open(b->runtime, &(clvi_device_options){0}, &b->device, &b->error));
}

void reopen(bench *b)
{
    clvi_device_close(b->device);
    b->device = NULL;
    open_device(b);
}

clvi_device_counters counters(const bench *b)
{
    clvi_device_counters now;
    clvi_device_get_counters(b->device, &now);
    return now;
}

int bench_open(void **state)
{
    bench *b = calloc(1, sizeof(*b));
    char cache[128];
    assert_non_null(b);
    *state = b;
    strcpy(b->folder, "/tmp/conclave-runtime-XXXXXX");
    assert_non_null(mkdtemp(b->folder));
    b->error = (clv_error)CLV_ERROR_INIT;
    snprintf(cache, sizeof(cache), "%s/cache", b->folder);
    setenv("CONCLAVE_KERNEL_DIR", b->folder, 1);
    setenv("CONCLAVE_CACHE_DIR", cache, 1);
    setenv("CONCLAVE_CACHE", "1", 1);
    unsetenv("CONCLAVE_SYNC");
    write_kernels(b, "part.clh", part_text);
    write_kernels(b, "t.cl", bench_kernels);
    write_kernels(b, "broken.cl", broken_text);
    log_text[0] = '\0';
    clvi_set_log_sink(take_log, NULL);
    OK(clvi_runtime_create(&b->runtime, &b->error));
    open_device(b);
    return 0;
}

int bench_close(void **state)
{
    bench *b = *state;
    char command[128];
    clvi_device_close(b->device);
    clvi_runtime_destroy(b->runtime);
    clvi_set_log_sink(NULL, NULL);
    snprintf(command, sizeof(command), "rm -rf '%s'", b->folder);
    const int status = system(command);
    free(b);
    return status;
}

void launch_nothing(bench *b)
{
    clvi_launch l;
    clvi_launch_begin(&l, b->device, "t", "nothing", "");
    clvi_arg_uint(&l, 1);
    OK(clvi_launch_run(&l, 1, 1, 1, &b->error));
}

clv_status launch_add(bench *b, clvi_buf *x, const char *options, size_t groups)
{
    clvi_launch l;
    clvi_launch_begin(&l, b->device, "t", "add", options);
    clvi_arg_view(&l, (clvi_view){x, 1});
    clvi_arg_view(&l, (clvi_view){x, 0});
    clvi_arg_int(&l, 1);
    clvi_arg_float(&l, 2.0f);
    return clvi_launch_run(&l, groups, 1, 1, &b->error);
}

void launch_slow(bench *b, clvi_buf *x)
{
    clvi_launch l;
    clvi_launch_begin(&l, b->device, "t", "slow", "");
    clvi_arg_view(&l, (clvi_view){x, 0});
    clvi_arg_int(&l, b->device->found->software ? 5000 : 200000000);
    OK(clvi_launch_run(&l, b->device->found->software ? 3000 : 1, 1, 1, &b->error));
}

int no_device(void)
{
    clv_error error = CLV_ERROR_INIT;
    clvi_runtime *runtime = NULL;
    const clvi_device_info *info = NULL;
    clv_status status = clvi_runtime_create(&runtime, &error);
    if (status == CLV_OK)
        status = clvi_runtime_find(runtime, "auto", &info, &error);
    clvi_runtime_destroy(runtime);
    if (status == CLV_OK)
        return 0;
    const char *required = getenv("CONCLAVE_REQUIRE_DEVICE");
    fprintf(stderr, "%s\n", error.message);
    return required != NULL && strcmp(required, "1") == 0 ? 1 : 77;
}
