/* What OpenCL implementations and devices the system has, which of them can be used, and which one
 * a configuration means. */
#define _POSIX_C_SOURCE 200809L
#include "base/process.h"
#include "base/text.h"
#include "runtime/clblast.h"
#include "runtime/device.h"
#include "runtime/notes.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

enum { MOST_PLATFORMS = 32, MOST_DEVICES = 64, LEAST_MEGABYTES = 64 };

static const char *const no_memory = "out of memory: the list of OpenCL devices";

/* ---- Questions to OpenCL ---- */

/* The text without blanks at its ends; "" when the question is not answered, NULL: out of memory.
 */
static const char *tidy(clvi_runtime *runtime, char *text, cl_int code)
{
    if (code != CL_SUCCESS)
        return "";
    text += strspn(text, " \t\n");
    size_t length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        text[--length] = '\0';
    return clvi_arena_strdup(runtime->arena, text);
}

static const char *platform_text(clvi_runtime *runtime, cl_platform_id id, cl_platform_info what)
{
    char text[1024] = "";
    const cl_int code = clGetPlatformInfo(id, what, sizeof(text) - 1, text, NULL);
    return tidy(runtime, text, code);
}

static const char *device_text(clvi_runtime *runtime, cl_device_id id, cl_device_info what)
{
    char text[1024] = "";
    const cl_int code = clGetDeviceInfo(id, what, sizeof(text) - 1, text, NULL);
    return tidy(runtime, text, code);
}

/* Answers of the three integer types, 0 where there is none. */
static cl_uint device_uint(cl_device_id id, cl_device_info what)
{
    cl_uint value = 0;
    return clGetDeviceInfo(id, what, sizeof(value), &value, NULL) == CL_SUCCESS ? value : 0;
}

static uint64_t device_ulong(cl_device_id id, cl_device_info what)
{
    cl_ulong value = 0;
    return clGetDeviceInfo(id, what, sizeof(value), &value, NULL) == CL_SUCCESS ? value : 0;
}

static bool device_bool(cl_device_id id, cl_device_info what)
{
    cl_bool value = CL_FALSE;
    return clGetDeviceInfo(id, what, sizeof(value), &value, NULL) == CL_SUCCESS && value == CL_TRUE;
}

/* Whether a work-group can wait for what another one of the same kernel writes. A device of OpenCL
 * before 3.0 does not know the question. */
static bool has_atomics(cl_device_id id)
{
    enum { ATOMIC_MEMORY_CAPABILITIES = 0x1063, ACQ_REL = 1 << 1, SCOPE_DEVICE = 1 << 5 };
    const uint64_t has = device_ulong(id, ATOMIC_MEMORY_CAPABILITIES);
    return (has & ACQ_REL) && (has & SCOPE_DEVICE);
}

/* ---- One device ---- */

static clvi_device_type device_type(cl_device_id id)
{
    cl_device_type type = 0;
    if (clGetDeviceInfo(id, CL_DEVICE_TYPE, sizeof(type), &type, NULL) != CL_SUCCESS)
        return CLVI_DEVICE_OTHER;
    if (type & CL_DEVICE_TYPE_CPU) /* Oclgrind says it is everything at once */
        return CLVI_DEVICE_CPU;
    return type & CL_DEVICE_TYPE_GPU ? CLVI_DEVICE_GPU : CLVI_DEVICE_OTHER;
}

/* Why the device cannot be used; NULL: it can. Sets *failed when memory is exhausted. */
static const char *why_refused(clvi_runtime *runtime, const clvi_found_device *found, bool *failed)
{
    const clvi_device_info *info = &found->info;
    const char *reason = NULL;
    int major = 0, minor = 0;
    if (!device_bool(found->id, CL_DEVICE_AVAILABLE))
        return "its driver says that it is not available";
    if (!device_bool(found->id, CL_DEVICE_COMPILER_AVAILABLE))
        return "its driver has no compiler for kernels";
    if (sscanf(info->version, "OpenCL %d.%d", &major, &minor) != 2)
        reason = clvi_arena_printf(runtime->arena, "its version is not understood: \"%s\"",
                                   info->version);
    else if (major < 1 || (major == 1 && minor < 2))
        reason = clvi_arena_printf(runtime->arena, "it offers OpenCL %d.%d, and 1.2 is needed",
                                   major, minor);
    else if (info->global_bytes < (uint64_t)LEAST_MEGABYTES << 20)
        reason = clvi_arena_printf(runtime->arena, "it has %llu MB of memory, and %d MB are needed",
                                   (unsigned long long)(info->global_bytes >> 20), LEAST_MEGABYTES);
    else
        return NULL;
    *failed = reason == NULL;
    return reason;
}

static const char pocl_platform[] = "Portable Computing Language";

/* Short name of an implementation for banners and messages. */
static const char *short_platform(const char *name)
{
    return strcmp(name, pocl_platform) == 0 ? "PoCL" : name;
}

static clv_status describe_device(clvi_runtime *runtime, clvi_found_device *found, size_t platform,
                                  size_t device, clv_error *error)
{
    clvi_device_info *info = &found->info;
    const cl_device_id id = found->id;
    info->name = device_text(runtime, id, CL_DEVICE_NAME);
    info->vendor = device_text(runtime, id, CL_DEVICE_VENDOR);
    info->version = device_text(runtime, id, CL_DEVICE_VERSION);
    info->driver = device_text(runtime, id, CL_DRIVER_VERSION);
    info->selector = clvi_arena_printf(runtime->arena, "%zu:%zu", platform, device);
    if (info->name == NULL || info->vendor == NULL || info->version == NULL ||
        info->driver == NULL || info->selector == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "%s", no_memory);
    found->short_name =
        clvi_arena_printf(runtime->arena, "%s %s", short_platform(info->platform), info->name);
    info->type = device_type(id);
    info->global_bytes = device_ulong(id, CL_DEVICE_GLOBAL_MEM_SIZE);
    info->max_alloc_bytes = device_ulong(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    info->local_bytes = device_ulong(id, CL_DEVICE_LOCAL_MEM_SIZE);
    info->align_bytes = device_uint(id, CL_DEVICE_MEM_BASE_ADDR_ALIGN) / 8;
    if (info->align_bytes < 128)
        info->align_bytes = 128;
    if (clGetDeviceInfo(id, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof(info->max_group),
                        &info->max_group, NULL) != CL_SUCCESS)
        info->max_group = 1;
    info->compute_units = device_uint(id, CL_DEVICE_MAX_COMPUTE_UNITS);
    found->vector = device_uint(id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT);
    found->rusticl = strcmp(info->platform, "rusticl") == 0;
    found->pocl = strcmp(info->platform, pocl_platform) == 0;
    found->software =
        strstr(info->name, "llvmpipe") != NULL || strstr(info->platform, "Oclgrind") != NULL;
    found->atomics = has_atomics(id);
    found->unified = device_bool(id, CL_DEVICE_HOST_UNIFIED_MEMORY);
    bool failed = found->short_name == NULL;
    info->refused = why_refused(runtime, found, &failed);
    if (failed)
        CLV_FAIL(error, CLV_E_MEMORY, "%s", no_memory);
    return CLV_OK;
}

/* ---- All devices ---- */

static clv_status add_platform(clvi_runtime *runtime, cl_platform_id id, size_t index,
                               clv_error *error)
{
    const char *name = platform_text(runtime, id, CL_PLATFORM_NAME);
    const char *version = platform_text(runtime, id, CL_PLATFORM_VERSION);
    if (name == NULL || version == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "%s", no_memory);
    cl_device_id ids[MOST_DEVICES];
    cl_uint count = 0;
    const cl_int code = clGetDeviceIDs(id, CL_DEVICE_TYPE_ALL, MOST_DEVICES, ids, &count);
    if (code != CL_SUCCESS || count == 0) {
        clvi_note_platform(&runtime->notes, name, version, code);
        return CLV_OK;
    }
    if (count > MOST_DEVICES)
        count = MOST_DEVICES;
    CLV_TRY(clvi_grow((void **)&runtime->found, &runtime->capacity, runtime->count + count,
                      sizeof(*runtime->found), error));
    for (cl_uint i = 0; i < count; i++) {
        clvi_found_device found = {
            .id = ids[i], .platform = id, .platform_version = version, .info = {.platform = name}};
        CLV_TRY(describe_device(runtime, &found, index, i, error));
        runtime->found[runtime->count++] = found;
    }
    return CLV_OK;
}

static clv_status find_devices(clvi_runtime *runtime, clv_error *error)
{
    cl_platform_id ids[MOST_PLATFORMS];
    cl_uint count = 0;
    const cl_int code = clGetPlatformIDs(MOST_PLATFORMS, ids, &count);
    if (code != CL_SUCCESS) {
        count = 0;
        if (code != CL_PLATFORM_NOT_FOUND_KHR)
            clvi_text_printf(&runtime->notes, "the OpenCL loader fails: %s\n",
                             clvi_cl_code_name(code));
    }
    if (count > MOST_PLATFORMS)
        count = MOST_PLATFORMS;
    for (cl_uint i = 0; i < count; i++)
        CLV_TRY(add_platform(runtime, ids[i], i, error));
    bool gpu = false;
    for (size_t i = 0; i < runtime->count; i++)
        gpu |= runtime->found[i].info.type == CLVI_DEVICE_GPU;
    clvi_note_icds(&runtime->notes, clvi_env_get(CLVI_ENV_OCL_ICD_VENDORS), count);
    clvi_note_gpus(&runtime->notes, "", gpu, access);
    if (runtime->notes.failed)
        CLV_FAIL(error, CLV_E_MEMORY, "%s", no_memory);
    if (runtime->notes.length > 0) /* lines are separated, not ended */
        runtime->notes.data[--runtime->notes.length] = '\0';
    return CLV_OK;
}

clv_status clvi_runtime_create(clvi_runtime **out, clv_error *error)
{
    clvi_runtime *runtime = clvi_calloc(1, sizeof(*runtime));
    if (runtime == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "%s", no_memory);
    clv_status status = clvi_arena_create(&runtime->arena, error);
    if (status == CLV_OK)
        status = find_devices(runtime, error);
    if (status != CLV_OK) {
        clvi_runtime_destroy(runtime);
        return status;
    }
    *out = runtime;
    return CLV_OK;
}

void clvi_runtime_destroy(clvi_runtime *runtime)
{
    if (runtime == NULL)
        return;
    CLV_ASSERT(runtime->open_devices == 0);
    clvi_clblast_release(runtime);
    clvi_text_fini(&runtime->notes);
    clvi_free(runtime->found);
    clvi_arena_destroy(runtime->arena);
    clvi_free(runtime);
}

size_t clvi_runtime_device_count(const clvi_runtime *runtime)
{
    return runtime->count;
}

const clvi_device_info *clvi_runtime_device(const clvi_runtime *runtime, size_t index)
{
    CLV_ASSERT(index < runtime->count);
    return &runtime->found[index].info;
}

const char *clvi_runtime_notes(const clvi_runtime *runtime)
{
    return clvi_text_get(&runtime->notes);
}

/* ---- Selection ---- */

/* Larger is preferred by `auto`, `cpu` and `gpu`. */
static int rank(const clvi_found_device *found)
{
    if (found->software)
        return 0;
    if (found->info.type == CLVI_DEVICE_GPU)
        return found->unified ? 3 : 4;
    return found->info.type == CLVI_DEVICE_CPU ? 2 : 1;
}

static bool contains_folded(const char *text, const char *part)
{
    const size_t length = strlen(part);
    for (; *text != '\0'; text++) {
        if (strncasecmp(text, part, length) == 0)
            return true;
    }
    return false;
}

/* Does `select` (not "auto") name this device? */
static bool is_named(const clvi_found_device *found, const char *select)
{
    if (strcasecmp(select, "cpu") == 0)
        return found->info.type == CLVI_DEVICE_CPU;
    if (strcasecmp(select, "gpu") == 0)
        return found->info.type == CLVI_DEVICE_GPU;
    const size_t digits = strspn(select, "0123456789");
    const size_t more = select[digits] == ':' ? strspn(select + digits + 1, "0123456789") : 0;
    if (digits > 0 && more > 0 && select[digits + 1 + more] == '\0')
        return strcmp(found->info.selector, select) == 0;
    char name[1024];
    snprintf(name, sizeof(name), "%s %s", found->info.platform, found->info.name);
    return contains_folded(name, select) || contains_folded(found->short_name, select);
}

/* ": 0:0 PoCL pthread-…; 1:0 …", or what to do when there is no device. */
static void list_candidates(const clvi_runtime *runtime, char *text, size_t bytes)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < runtime->count && used < bytes; i++) {
        const clvi_found_device *found = &runtime->found[i];
        used += (size_t)snprintf(text + used, bytes - used, "%s%s %.60s%s",
                                 i == 0 ? "candidates: " : "; ", found->info.selector,
                                 found->short_name, found->info.refused ? " (refused)" : "");
    }
    if (runtime->count == 0) {
        const char *notes = clvi_runtime_notes(runtime);
        snprintf(text, bytes, "%.*s", (int)strcspn(notes, "\n"), notes);
    }
}

static clv_status no_such_device(const clvi_runtime *runtime, const char *select,
                                 const clvi_found_device *refused, clv_error *error)
{
    char candidates[400];
    list_candidates(runtime, candidates, sizeof(candidates));
    if (refused != NULL)
        CLV_FAIL(error, CLV_E_DEVICE, "device %s (%s) cannot be used: %s; %s",
                 refused->info.selector, refused->short_name, refused->info.refused, candidates);
    if (runtime->count == 0)
        CLV_FAIL(error, CLV_E_DEVICE, "there is no OpenCL device; %s", candidates);
    if (strcasecmp(select, "auto") == 0)
        CLV_FAIL(error, CLV_E_DEVICE, "no OpenCL device can be used; %s", candidates);
    static const char *const classes[] = {"auto", "cpu", "gpu"};
    const char *near = clvi_nearest(select, classes, sizeof(classes) / sizeof(classes[0]));
    if (near != NULL && strcasecmp(near, select) != 0)
        CLV_FAIL(error, CLV_E_DEVICE, "no OpenCL device is meant by \"%.80s\"; did you mean %s? %s",
                 select, near, candidates);
    CLV_FAIL(error, CLV_E_DEVICE, "no OpenCL device is meant by \"%.80s\"; %s", select, candidates);
}

const char *clvi_runtime_wanted(const char *select)
{
    if (select != NULL && select[0] != '\0' && strcasecmp(select, "auto") != 0)
        return select;
    const char *wanted = clvi_env_get(CLVI_ENV_DEVICE);
    return wanted != NULL && strcasecmp(wanted, "auto") != 0 ? wanted : "auto";
}

clv_status clvi_runtime_select(const clvi_runtime *runtime, const char *select,
                               const clvi_found_device **out, clv_error *error)
{
    select = clvi_runtime_wanted(select);
    const bool automatic = strcasecmp(select, "auto") == 0;
    const bool by_type = strcasecmp(select, "cpu") == 0 || strcasecmp(select, "gpu") == 0;
    const clvi_found_device *best = NULL, *refused = NULL;
    size_t matches = 0;
    for (size_t i = 0; i < runtime->count; i++) {
        const clvi_found_device *found = &runtime->found[i];
        if (!automatic && !is_named(found, select))
            continue;
        if (found->info.refused != NULL) {
            refused = refused != NULL ? refused : found;
            continue;
        }
        matches++;
        /* The first of several that match a name; the most capable one of a kind. */
        if (best == NULL || ((automatic || by_type) && rank(found) > rank(best)))
            best = found;
    }
    if (best == NULL)
        return no_such_device(runtime, select, refused, error);
    if (matches > 1)
        clvi_log(CLVI_LOG_INFO, "device \"%s\": %zu fit, using %s %s", select, matches,
                 best->info.selector, best->short_name);
    *out = best;
    return CLV_OK;
}

clv_status clvi_runtime_find(const clvi_runtime *runtime, const char *select,
                             const clvi_device_info **out, clv_error *error)
{
    const clvi_found_device *found = NULL;
    CLV_TRY(clvi_runtime_select(runtime, select, &found, error));
    *out = &found->info;
    return CLV_OK;
}
