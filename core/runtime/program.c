/* Kernel programs: their sources, building them, and the table of kernels that launches look into.
 */
#include "runtime/program.h"

#include "runtime/compiling.h"

#include "base/files.h"
#include "base/process.h"
#include "runtime/flatten.h"
#include "runtime/kernel_sources.h"

#include <stdio.h>

enum { FIRST_CAPACITY = 256, MOST_OPTIONS = 1024 };

/* ---- Sources ---- */

/* *text stays NULL when the folder has no such file. */
static clv_status load_loose(const char *folder, const char *name, char **text, size_t *bytes,
                             clv_error *error)
{
    clvi_flat flat = {.resize = clvi_realloc, .release = clvi_free};
    const bool verbatim = strrchr(name, '.') != NULL;
    char file[128];
    snprintf(file, sizeof(file), verbatim ? "%s" : "%s.cl", name);
    char *path = clvi_path_join(folder, file);
    if (path == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the path of kernel %s", name);
    if (!clvi_is_file(path)) {
        clvi_free(path);
        return CLV_OK;
    }
    const bool good = verbatim ? clvi_flat_read(&flat, path) : clvi_flatten(&flat, path);
    clvi_free(path);
    if (good) {
        *text = flat.text;
        *bytes = flat.bytes;
        flat.text = NULL;
    } else {
        clvi_fail(error, CLV_E_BUILD, CLV_HERE, "%s (CONCLAVE_KERNEL_DIR)", flat.message);
    }
    clvi_flat_fini(&flat);
    return good ? CLV_OK : CLV_E_BUILD;
}

clv_status clvi_source_load(const char *name, char **text, size_t *bytes, clv_error *error)
{
    const char *folder = clvi_env_get(CLVI_ENV_KERNEL_DIR);
    *text = NULL;
    if (folder != NULL)
        CLV_TRY(load_loose(folder, name, text, bytes, error));
    if (*text != NULL)
        return CLV_OK;
    const char *stem = clvi_path_name(name);
    for (size_t i = 0; i < clvi_kernel_source_count; i++) {
        const clvi_kernel_source *source = &clvi_kernel_sources[i];
        if (strcmp(source->name, stem) != 0)
            continue;
        char *copy = clvi_malloc(source->bytes + 1);
        if (copy == NULL)
            CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the source of kernel %s", name);
        memcpy(copy, source->text, source->bytes + 1);
        *text = copy;
        *bytes = source->bytes;
        return CLV_OK;
    }
    CLV_FAIL(error, CLV_E_BUILD, "the library holds no kernels \"%s\"", name);
}

static const clvi_added_source *find_added(const clvi_device *device, const char *name)
{
    const clvi_added_source *source = device->programs.added;
    while (source != NULL && strcmp(source->name, name) != 0)
        source = source->next;
    return source;
}

clv_status clvi_device_add_source(clvi_device *device, const char *name, const char *text,
                                  clv_error *error)
{
    CLV_ASSERT(strchr(name, '.') != NULL);
    const clvi_added_source *known = find_added(device, name);
    if (known != NULL && strcmp(known->text, text) == 0)
        return CLV_OK;
    if (known != NULL)
        CLV_FAIL(error, CLV_E_PLUGIN, "%s has two programs \"%s\" with different texts",
                 device->found->short_name, name);
    clvi_added_source *source = clvi_arena_alloc(device->arena, sizeof(*source));
    const char *name_copy = clvi_arena_strdup(device->arena, name);
    const char *text_copy = clvi_arena_strdup(device->arena, text);
    if (source == NULL || name_copy == NULL || text_copy == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the source of kernel %s", name);
    *source = (clvi_added_source){device->programs.added, name_copy, text_copy};
    device->programs.added = source;
    return CLV_OK;
}

/* The text of a program, of the library or added; the caller frees. */
static clv_status load_program(const clvi_device *device, const char *name, char **text,
                               size_t *bytes, clv_error *error)
{
    const clvi_added_source *added = find_added(device, name);
    if (added == NULL)
        return clvi_source_load(name, text, bytes, error);
    *text = clvi_strdup(added->text);
    if (*text == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the source of kernel %s", name);
    *bytes = strlen(*text);
    return CLV_OK;
}

/* ---- Building ---- */

/* What fast_math = yes asks for: -cl-fast-relaxed-math without -cl-finite-math-only, since kernels
 * compare with infinity and let NaN through. */
static const char fast_options[] =
    " -cl-mad-enable -cl-no-signed-zeros -cl-unsafe-math-optimizations";

/* Every option that a compiler sees is put together here, in this order: part of the cache's key.
 */
static const char *all_options(const clvi_device *device, const char *name, const char *extra)
{
    const int items = clvi_tuning_int(device, "items");
    const char *version = strcmp(name, "chain") == 0 ? "3.0" : "1.2"; /* atomics */
    char group[32] = "";
    if (items > 1)
        snprintf(group, sizeof(group), " -DCLV_ITEMS=%d", items);
    return clvi_arena_printf(device->arena, "-cl-std=CL%s -DCLV_V=%d%s%s%s%s", version,
                             clvi_tuning_int(device, "vector"), group,
                             device->fast_math ? fast_options : "", extra[0] != '\0' ? " " : "",
                             extra);
}

cl_int clvi_program_compile(clvi_device *device, cl_program program, const char *options)
{
    clvi_build_lock();
    const cl_int code = clBuildProgram(program, 1, &device->found->id, options, NULL, NULL);
    clvi_build_unlock();
    return code;
}

/* The line of a build log that says what is wrong: the first with "error", else the first at all.
 */
static void first_error_line(const char *log, char *line, size_t bytes)
{
    const char *best = NULL;
    for (const char *at = log; *at != '\0';) {
        const size_t length = strcspn(at, "\n");
        const char *word = strstr(at, "error");
        if (word != NULL && word < at + length) {
            best = at;
            break;
        }
        if (best == NULL && length > 0)
            best = at;
        at += length + (at[length] != '\0');
    }
    if (best == NULL)
        best = "the compiler says nothing";
    snprintf(line, bytes, "%.*s", (int)strcspn(best, "\n"), best);
}

static clv_status report_build(clvi_device *device, const clvi_program *program, cl_program built,
                               cl_int code, clv_error *error)
{
    char line[256];
    size_t bytes = 0;
    const cl_device_id id = device->found->id;
    clGetProgramBuildInfo(built, id, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes);
    char *log = clvi_calloc(1, bytes + 1);
    if (log != NULL && bytes > 0)
        clGetProgramBuildInfo(built, id, CL_PROGRAM_BUILD_LOG, bytes, log, NULL);
    first_error_line(log != NULL ? log : "", line, sizeof(line));
    clvi_log(CLVI_LOG_ERROR, "kernels %s.cl with \"%s\" on %s: %s (%d)", program->name,
             program->full_options, device->found->short_name, clvi_cl_code_name(code), (int)code);
    for (const char *at = log != NULL ? log : ""; *at != '\0';) {
        const size_t length = strcspn(at, "\n");
        clvi_log(CLVI_LOG_ERROR, "  %.*s", (int)length, at);
        at += length + (at[length] != '\0');
    }
    clvi_free(log);
    return clvi_fail_code(error, CLV_E_BUILD, code, CLV_HERE,
                          "kernels %s.cl do not build with \"%s\" on %s: %s", program->name,
                          program->full_options, device->found->short_name, line);
}

static clv_status build_text(clvi_device *device, const clvi_program *program, const char *text,
                             size_t bytes, cl_program *out, clv_error *error)
{
    cl_int code = CL_SUCCESS;
    cl_program built = clCreateProgramWithSource(device->context, 1, &text, &bytes, &code);
    if (built == NULL || code != CL_SUCCESS)
        return clvi_cl_fail(error, code, CLV_HERE, "clCreateProgramWithSource");
    code = clvi_program_compile(device, built, program->full_options);
    if (code != CL_SUCCESS) {
        const clv_status status = report_build(device, program, built, code, error);
        clReleaseProgram(built);
        return status;
    }
    *out = built;
    return CLV_OK;
}

clv_status clvi_program_from_source(clvi_device *device, const clvi_program *program,
                                    cl_program *out, clv_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    CLV_TRY(load_program(device, program->name, &text, &bytes, error));
    const clv_status status = build_text(device, program, text, bytes, out, error);
    clvi_free(text);
    return status;
}

/* The program for use: from the cache, else from source. */
static clv_status build(clvi_device *device, clvi_program *program, clv_error *error)
{
    char *text = NULL;
    size_t bytes = 0;
    CLV_TRY(load_program(device, program->name, &text, &bytes, error));
    clvi_cache_key(device, program, text, bytes);
    clv_status status = CLV_OK;
    if (clvi_cache_load(device, program)) {
        device->counters.programs_cached++;
    } else {
        clvi_compiling_begin(device, program->name, NULL);
        if (!clvi_cache_make(device, program, text, bytes))
            status = build_text(device, program, text, bytes, &program->program, error);
        clvi_compiling_end(device);
        device->counters.programs_built += status == CLV_OK;
    }
    clvi_free(text);
    return status;
}

static clv_status no_memory(const char *program, clv_error *error)
{
    return clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory: kernels %s.cl", program);
}

/* The program, built when it is new. One that does not build is remembered with its reason, so that
 * it is not tried at every launch. */
static clv_status get_program(clvi_device *device, const char *name, const char *options,
                              clvi_program **out, clv_error *error)
{
    clvi_program *program = device->programs.first;
    while (program != NULL &&
           (strcmp(program->name, name) != 0 || strcmp(program->options, options) != 0))
        program = program->next;
    if (program == NULL) {
        if (strlen(options) > MOST_OPTIONS)
            CLV_FAIL(error, CLV_E_INTERNAL, "kernels %s.cl: options of %zu bytes", name,
                     strlen(options));
        program = clvi_arena_alloc(device->arena, sizeof(*program));
        clv_error *failure = clvi_arena_alloc(device->arena, sizeof(*failure));
        if (program == NULL || failure == NULL)
            return no_memory(name, error);
        program->name = clvi_arena_strdup(device->arena, name);
        program->options = clvi_arena_strdup(device->arena, options);
        program->full_options = all_options(device, name, options);
        program->known = "";
        if (program->name == NULL || program->options == NULL || program->full_options == NULL)
            return no_memory(name, error);
        *failure = (clv_error)CLV_ERROR_INIT;
        if (build(device, program, failure) == CLV_E_MEMORY)
            return clvi_error_copy(error, failure);
        program->failure = program->program == NULL ? failure : NULL;
        program->next = device->programs.first;
        device->programs.first = program;
    }
    if (program->failure != NULL)
        return clvi_error_copy(error, program->failure);
    *out = program;
    return CLV_OK;
}

/* ---- Kernels ---- */

/* Variants of the kernel that the cached binary holds. */
static unsigned known_variants(const clvi_program *program, const char *kernel)
{
    for (const char *at = program->known; *at != '\0'; at += strlen(at) + 1) {
        if (strcmp(at + 1, kernel) == 0)
            return (unsigned)(*at - '0');
    }
    return 0;
}

/* What to do where a kernel wants more of a work-group than there is. */
static const char *smaller_record(const clvi_device *device)
{
    return strcmp(device->tuning.record, "gpu") == 0
               ? "; CONCLAVE_TUNING=gpu64 chooses kernels that want less"
               : "";
}

/* Reads and checks what a launch needs to know. */
static clv_status inspect_kernel(clvi_device *device, clvi_kernel *kernel, clv_error *error)
{
    const cl_device_id id = device->found->id;
    const char *program = kernel->program->name;
    size_t most = 0;
    cl_ulong local_bytes = 0;
    CLV_CL(error, clGetKernelWorkGroupInfo(kernel->kernel, id, CL_KERNEL_COMPILE_WORK_GROUP_SIZE,
                                           sizeof(kernel->local), kernel->local, NULL));
    CLV_CL(error, clGetKernelWorkGroupInfo(kernel->kernel, id, CL_KERNEL_WORK_GROUP_SIZE,
                                           sizeof(most), &most, NULL));
    CLV_CL(error, clGetKernelWorkGroupInfo(kernel->kernel, id, CL_KERNEL_LOCAL_MEM_SIZE,
                                           sizeof(local_bytes), &local_bytes, NULL));
    CLV_CL(error, clGetKernelInfo(kernel->kernel, CL_KERNEL_NUM_ARGS, sizeof(kernel->arg_count),
                                  &kernel->arg_count, NULL));
    /* rusticl 22.3 answers 32, the width it prefers, whatever the kernel and the device. */
    if (device->found->rusticl)
        most = device->found->info.max_group;
    const size_t items = kernel->local[0] * kernel->local[1] * kernel->local[2];
    if (items == 0)
        CLV_FAIL(error, CLV_E_INTERNAL, "kernel %s:%s has no reqd_work_group_size", program,
                 kernel->name);
    if (items > most)
        CLV_FAIL(error, CLV_E_DEVICE,
                 "kernel %s:%s wants work-groups of %zu work-items, and %s allows %zu%s", program,
                 kernel->name, items, device->found->short_name, most, smaller_record(device));
    if (local_bytes > device->found->info.local_bytes)
        CLV_FAIL(error, CLV_E_DEVICE,
                 "kernel %s:%s wants %llu bytes of local memory, and %s has %llu%s", program,
                 kernel->name, (unsigned long long)local_bytes, device->found->short_name,
                 (unsigned long long)device->found->info.local_bytes, smaller_record(device));
    if (kernel->arg_count > CLVI_LAUNCH_ARGS)
        CLV_FAIL(error, CLV_E_INTERNAL, "kernel %s:%s has %u arguments, more than %d", program,
                 kernel->name, (unsigned)kernel->arg_count, CLVI_LAUNCH_ARGS);
    return CLV_OK;
}

static clv_status make_kernel(clvi_device *device, clvi_program *program, const char *name,
                              clvi_kernel **out, clv_error *error)
{
    clvi_kernel *kernel = clvi_arena_alloc(device->arena, sizeof(*kernel));
    char *copy = clvi_arena_strdup(device->arena, name);
    if (kernel == NULL || copy == NULL)
        return no_memory(program->name, error);
    cl_int code = CL_SUCCESS;
    *kernel = (clvi_kernel){.program = program, .name = copy};
    kernel->kernel = clCreateKernel(program->program, name, &code);
    if (kernel->kernel == NULL || code != CL_SUCCESS) {
        clvi_cl_fail(error, code, CLV_HERE, "clCreateKernel");
        clvi_prepend(error, "kernel %s:%s on %s", program->name, name, device->found->short_name);
        return CLV_E_CL;
    }
    const clv_status status = inspect_kernel(device, kernel, error);
    if (status != CLV_OK) {
        clReleaseKernel(kernel->kernel);
        return status;
    }
    kernel->variants = known_variants(program, name);
    *out = kernel;
    return CLV_OK;
}

/* ---- The table ---- */

static uint64_t hash_more(uint64_t hash, const char *text)
{
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return (hash ^ 0xff) * 0x100000001b3u;
}

static bool is_kernel(const clvi_kernel *kernel, const char *program, const char *name,
                      const char *options)
{
    return strcmp(kernel->name, name) == 0 && strcmp(kernel->program->name, program) == 0 &&
           strcmp(kernel->program->options, options) == 0;
}

/* Where the kernel is in the table, or the free place where it belongs. */
static clvi_kernel **find_place(const clvi_programs *programs, uint64_t hash, const char *program,
                                const char *name, const char *options)
{
    const size_t mask = programs->capacity - 1;
    size_t i = (size_t)hash & mask;
    while (programs->table[i] != NULL && (programs->table[i]->hash != hash ||
                                          !is_kernel(programs->table[i], program, name, options)))
        i = (i + 1) & mask;
    return &programs->table[i];
}

/* Doubles the table when it is half full. */
static clv_status make_room(clvi_programs *programs, clv_error *error)
{
    if (2 * (programs->count + 1) <= programs->capacity)
        return CLV_OK;
    const size_t capacity = 2 * programs->capacity;
    clvi_kernel **table = clvi_calloc(capacity, sizeof(*table));
    if (table == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a table of %zu kernels", capacity);
    for (size_t i = 0; i < programs->capacity; i++) {
        if (programs->table[i] == NULL)
            continue;
        size_t place = (size_t)programs->table[i]->hash & (capacity - 1);
        while (table[place] != NULL)
            place = (place + 1) & (capacity - 1);
        table[place] = programs->table[i];
    }
    clvi_free(programs->table);
    programs->table = table;
    programs->capacity = capacity;
    return CLV_OK;
}

clv_status clvi_kernel_get(clvi_device *device, const char *program, const char *kernel,
                           const char *options, clvi_kernel **out, clv_error *error)
{
    clvi_programs *programs = &device->programs;
    const uint64_t mixed = ((uint64_t)(uintptr_t)program * 31 + (uint64_t)(uintptr_t)kernel) * 31 +
                           (uint64_t)(uintptr_t)options;
    clvi_kernel **recent = &programs->recent[mixed * 0x9e3779b97f4a7c15u >> 56];
    if (*recent != NULL && is_kernel(*recent, program, kernel, options)) {
        *out = *recent;
        return CLV_OK;
    }
    const uint64_t hash =
        hash_more(hash_more(hash_more(0xcbf29ce484222325u, program), kernel), options);
    clvi_kernel **place = find_place(programs, hash, program, kernel, options);
    if (*place == NULL) {
        clvi_program *record = NULL;
        clvi_kernel *made = NULL;
        CLV_TRY(make_room(programs, error));
        CLV_TRY(get_program(device, program, options, &record, error));
        CLV_TRY(make_kernel(device, record, kernel, &made, error));
        made->hash = hash;
        place = find_place(programs, hash, program, kernel, options);
        *place = made;
        programs->count++;
    }
    *recent = *place;
    *out = *place;
    return CLV_OK;
}

clv_status clvi_programs_init(clvi_device *device, clv_error *error)
{
    clvi_programs *programs = &device->programs;
    programs->table = clvi_calloc(FIRST_CAPACITY, sizeof(*programs->table));
    if (programs->table == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the table of kernels");
    programs->capacity = FIRST_CAPACITY;
    clvi_cache_init(device);
    return CLV_OK;
}

void clvi_programs_fini(clvi_device *device)
{
    clvi_programs *programs = &device->programs;
    for (size_t i = 0; i < programs->capacity; i++) {
        if (programs->table[i] != NULL)
            clReleaseKernel(programs->table[i]->kernel);
    }
    for (clvi_program *program = programs->first; program != NULL; program = program->next) {
        if (program->program != NULL)
            clReleaseProgram(program->program);
    }
    clvi_free(programs->table);
    *programs = (clvi_programs){0};
}

void clvi_device_save_programs(clvi_device *device)
{
    bool waited = false;
    for (clvi_program *program = device->programs.first; program != NULL; program = program->next) {
        if (!program->dirty || program->program == NULL || device->programs.folder == NULL ||
            device->programs.bitcode)
            continue;
        /* A driver may compile when a launch begins to run. */
        if (!waited && clvi_queue_wait(device, "saving kernels", NULL) != CLV_OK)
            return;
        waited = true;
        clvi_cache_save(device, program);
    }
}
