/* The kernel cache on disk: one file per program, named by the SHA-256 of all that its binary
 * depends on. A file that is missing, cut, altered or refused by the driver costs a build from
 * source and one line of log, never more.
 *
 * File: header below, then the list of kernels that the driver had compiled when it was written
 * (a digit with the bits CLVI_VARIANT_…, the name, a NUL), then the binary as the driver gave it,
 * or bitcode (bitcode.c), which holds no compiled kernels.
 */
#include "base/files.h"
#include "base/process.h"
#include "runtime/program.h"

#include <sha2.h>
#include <stdio.h>

enum { CACHE_FORMAT = 1, MOST_CACHE_BYTES = 256 << 20 };

typedef struct cache_header {
    char magic[8];
    uint32_t format; /* in the machine's byte order: files are not for others */
    uint32_t names_bytes;
    uint64_t binary_bytes;
    uint8_t hash[SHA256_DIGEST_LENGTH]; /* of all that follows the header */
} cache_header;

static const char cache_magic[8] = "CLVKERN";

/* ---- Folder and names ---- */

void clvi_cache_init(clvi_device *device)
{
    /* These drivers have caches of their own. NVIDIA's binaries are PTX; PoCL, asked for a binary,
     * compiles each of its kernels once more, for work-groups of any size: there it is bitcode. */
    const clvi_found_device *found = device->found;
    const char *on = clvi_env_get(CLVI_ENV_CACHE);
    const bool asked = on != NULL && strcmp(on, "1") == 0;
    const bool bitcode = found->pocl && found->info.type == CLVI_DEVICE_CPU && !asked;
    const bool own = found->pocl || strstr(found->info.platform, "NVIDIA") != NULL;
    if (own && !asked && !bitcode)
        return;
    char *folder = clvi_cache_folder();
    if (folder != NULL)
        device->programs.folder = clvi_arena_strdup(device->arena, folder);
    device->programs.bitcode = bitcode && device->programs.folder != NULL;
    clvi_free(folder);
}

void clvi_cache_key(const clvi_device *device, clvi_program *program, const char *source,
                    size_t bytes)
{
    const clvi_found_device *found = device->found;
    const char *flags = found->pocl ? clvi_env_get(CLVI_ENV_POCL_EXTRA_BUILD_FLAGS) : NULL;
    char format[24];
    snprintf(format, sizeof(format), "%d%s", CACHE_FORMAT,
             device->programs.bitcode ? " bitcode" : "");
    const char *const parts[] = {program->full_options,      found->info.name,
                                 found->info.version,        found->info.driver,
                                 found->info.platform,       found->platform_version,
                                 flags != NULL ? flags : "", format};
    SHA2_CTX context;
    SHA256Init(&context);
    SHA256Update(&context, (const uint8_t *)source, bytes);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        SHA256Update(&context, (const uint8_t *)"", 1);
        SHA256Update(&context, (const uint8_t *)parts[i], strlen(parts[i]));
    }
    SHA256End(&context, program->key);
}

/* Caller frees; NULL when memory is exhausted. */
static char *file_path(const clvi_device *device, const clvi_program *program)
{
    char name[CLVI_KEY_BYTES + 8];
    snprintf(name, sizeof(name), "%s.bin", program->key);
    return clvi_path_join(device->programs.folder, name);
}

/* One line per device: a cache that does not work is worth a hint, not a flood. */
static void complain(clvi_device *device, const char *what, const char *reason)
{
    if (!device->programs.complained)
        clvi_log(CLVI_LOG_WARN,
                 "kernel cache: %s: %s; set CONCLAVE_CACHE_DIR to another folder, or "
                 "CONCLAVE_CACHE=0",
                 what, reason);
    device->programs.complained = true;
}

/* ---- Reading ---- */

static void hash_payload(const void *names, size_t names_bytes, const void *binary,
                         size_t binary_bytes, uint8_t *hash)
{
    SHA2_CTX context;
    SHA256Init(&context);
    SHA256Update(&context, names, names_bytes);
    SHA256Update(&context, binary, binary_bytes);
    SHA256Final(hash, &context);
}

/* What is wrong with the file; NULL: nothing. */
static const char *find_defect(const char *data, size_t bytes, cache_header *header)
{
    uint8_t hash[SHA256_DIGEST_LENGTH];
    if (bytes < sizeof(*header))
        return "it is cut short";
    memcpy(header, data, sizeof(*header));
    if (memcmp(header->magic, cache_magic, sizeof(cache_magic)) != 0)
        return "it is no kernel cache file";
    if (header->format != CACHE_FORMAT)
        return "it has another format";
    const size_t payload = bytes - sizeof(*header);
    if (header->names_bytes > payload || header->binary_bytes != payload - header->names_bytes)
        return "its length is wrong";
    const char *names = data + sizeof(*header);
    hash_payload(names, header->names_bytes, names + header->names_bytes,
                 (size_t)header->binary_bytes, hash);
    if (memcmp(hash, header->hash, sizeof(hash)) != 0)
        return "its content is damaged";
    /* The list must end where it says, and be followed by an empty name. */
    if (header->names_bytes < 1 || names[header->names_bytes - 1] != '\0' ||
        (header->names_bytes > 1 && names[header->names_bytes - 2] != '\0'))
        return "its list of kernels is damaged";
    return NULL;
}

/* NULL, or why the driver does not take the binary. */
static const char *build_binary(clvi_device *device, clvi_program *program, const char *binary,
                                size_t bytes)
{
    cl_int code = CL_SUCCESS, binary_code = CL_SUCCESS;
    const unsigned char *start = (const unsigned char *)binary;
    cl_program built = clCreateProgramWithBinary(device->context, 1, &device->found->id, &bytes,
                                                 &start, &binary_code, &code);
    if (built == NULL || code != CL_SUCCESS || binary_code != CL_SUCCESS) {
        if (built != NULL)
            clReleaseProgram(built);
        return clvi_cl_code_name(code != CL_SUCCESS ? code : binary_code);
    }
    code = clvi_program_compile(device, built, program->full_options);
    if (code != CL_SUCCESS) {
        clReleaseProgram(built);
        return clvi_cl_code_name(code);
    }
    program->program = built;
    return NULL;
}

static const char *use_file(clvi_device *device, clvi_program *program, const char *data,
                            size_t bytes)
{
    cache_header header;
    const char *defect = find_defect(data, bytes, &header);
    if (defect != NULL)
        return defect;
    const char *names = data + sizeof(header);
    char *known = clvi_arena_alloc(device->arena, header.names_bytes);
    if (known == NULL)
        return "out of memory";
    memcpy(known, names, header.names_bytes);
    defect = build_binary(device, program, names + header.names_bytes, (size_t)header.binary_bytes);
    if (defect == NULL)
        program->known = known;
    return defect;
}

bool clvi_cache_load(clvi_device *device, clvi_program *program)
{
    if (device->programs.folder == NULL)
        return false;
    char *path = file_path(device, program);
    if (path == NULL || !clvi_is_file(path)) {
        clvi_free(path);
        return false;
    }
    clv_error error = CLV_ERROR_INIT;
    char *data = NULL;
    size_t bytes = 0;
    const char *defect = NULL;
    if (clvi_file_read(path, MOST_CACHE_BYTES, &data, &bytes, &error) == CLV_OK)
        defect = use_file(device, program, data, bytes);
    else
        defect = error.message;
    clvi_free(data);
    if (defect != NULL) {
        const bool gone = remove(path) == 0;
        clvi_log(CLVI_LOG_WARN, "kernel cache: %s is %s: %s", path,
                 gone ? "deleted and built anew"
                      : "built anew at each start, since it cannot be deleted",
                 defect);
    }
    clvi_free(path);
    return defect == NULL;
}

/* ---- Writing ---- */

static void add_name(clvi_text *names, unsigned variants, const char *name)
{
    clvi_text_printf(names, "%u%s", variants, name);
    clvi_text_append_n(names, "", 1);
}

/* The kernels that the program's binary holds now: those launched, and those it was loaded with. */
static void list_kernels(const clvi_device *device, const clvi_program *program, clvi_text *names)
{
    const clvi_programs *programs = &device->programs;
    for (size_t i = 0; i < programs->capacity; i++) {
        const clvi_kernel *kernel = programs->table[i];
        if (kernel != NULL && kernel->program == program && kernel->variants != 0)
            add_name(names, kernel->variants, kernel->name);
    }
    for (const char *at = program->known; *at != '\0'; at += strlen(at) + 1) {
        bool listed = false;
        for (size_t i = 0; i < programs->capacity && !listed; i++) {
            const clvi_kernel *kernel = programs->table[i];
            listed =
                kernel != NULL && kernel->program == program && strcmp(kernel->name, at + 1) == 0;
        }
        if (!listed)
            add_name(names, (unsigned)(*at - '0'), at + 1);
    }
    clvi_text_append_n(names, "", 1);
}

/* `only_new`: a file that is there already stays. */
static clv_status write_file(const char *path, const cache_header *header, const char *names,
                             const unsigned char *binary, bool only_new, clv_error *error)
{
    clvi_atomic_file file;
    CLV_TRY(clvi_atomic_begin(&file, path, error));
    const bool good = fwrite(header, sizeof(*header), 1, file.stream) == 1 &&
                      fwrite(names, header->names_bytes, 1, file.stream) == 1 &&
                      fwrite(binary, (size_t)header->binary_bytes, 1, file.stream) == 1;
    const clv_status status =
        !good      ? clvi_fail(error, CLV_E_IO, CLV_HERE, "%s cannot be written", path)
        : only_new ? clvi_atomic_commit_new(&file, error)
                   : clvi_atomic_commit(&file, error);
    if (status != CLV_OK)
        clvi_atomic_abort(&file);
    return status;
}

clv_status clvi_program_binary(cl_program program, unsigned char **binary, size_t *bytes,
                               clv_error *error)
{
    *bytes = 0;
    CLV_CL(error, clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof(*bytes), bytes, NULL));
    if (*bytes == 0)
        return CLV_OK;
    *binary = clvi_malloc(*bytes);
    if (*binary == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a binary of %zu bytes", *bytes);
    CLV_CL(error, clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof(*binary), binary, NULL));
    return CLV_OK;
}

/* A program that was made from a binary answers with that same binary, whatever its driver has
 * compiled since. One made from source answers with all that the driver has by now (PoCL: in its
 * folder for this source and these options, where it has unpacked that binary, and put the kernels
 * compiled since). */
static clv_status get_newest_binary(clvi_device *device, const clvi_program *program,
                                    unsigned char **binary, size_t *bytes, clv_error *error)
{
    if (program->known[0] == '\0')
        return clvi_program_binary(program->program, binary, bytes, error);
    cl_program fresh = NULL;
    CLV_TRY(clvi_program_from_source(device, program, &fresh, error));
    const clv_status status = clvi_program_binary(fresh, binary, bytes, error);
    clReleaseProgram(fresh);
    return status;
}

/* Puts a binary and the list of its kernels into the cache's folder. */
static clv_status store(clvi_device *device, const char *path, const clvi_text *names,
                        const unsigned char *binary, size_t bytes, clv_error *error)
{
    cache_header header = {
        .format = CACHE_FORMAT, .names_bytes = (uint32_t)names->length, .binary_bytes = bytes};
    if (names->failed)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory");
    CLV_TRY(clvi_make_dirs(device->programs.folder, 0700, error));
    memcpy(header.magic, cache_magic, sizeof(cache_magic));
    hash_payload(names->data, names->length, binary, bytes, header.hash);
    return write_file(path, &header, names->data, binary, device->programs.bitcode, error);
}

static clv_status save(clvi_device *device, clvi_program *program, const char *path,
                       clv_error *error)
{
    unsigned char *binary = NULL;
    size_t bytes = 0;
    clvi_text names = {0};
    clv_status status = get_newest_binary(device, program, &binary, &bytes, error);
    if (status == CLV_OK && bytes > 0) {
        list_kernels(device, program, &names);
        status = store(device, path, &names, binary, bytes, error);
    }
    clvi_text_fini(&names);
    clvi_free(binary);
    return status;
}

void clvi_cache_save(clvi_device *device, clvi_program *program)
{
    clv_error error = CLV_ERROR_INIT;
    char *path = file_path(device, program);
    if (path == NULL || save(device, program, path, &error) != CLV_OK)
        complain(device, device->programs.folder, path != NULL ? error.message : "out of memory");
    clvi_free(path);
    program->dirty = false;
}

/* ---- Bitcode ---- */

static clv_status save_bitcode(clvi_device *device, const char *path, const clvi_bitcode *bitcode,
                               clv_error *error)
{
    clvi_text names = {0};
    clvi_text_append_n(&names, "", 1); /* no compiled kernels */
    const clv_status status = store(device, path, &names, bitcode->start, bitcode->bytes, error);
    clvi_text_fini(&names);
    return status;
}

bool clvi_cache_make(clvi_device *device, clvi_program *program, const char *source, size_t bytes)
{
    if (!device->programs.bitcode || device->programs.unmade)
        return false;
    clv_error error = CLV_ERROR_INIT;
    clvi_bitcode bitcode = {0};
    const clv_status made = clvi_bitcode_make(device, program, source, bytes, &bitcode, &error);
    if (made != CLV_OK) {
        clvi_log(CLVI_LOG_DEBUG, "kernel cache: %s", error.message);
        device->programs.unmade = made == CLV_E_DATA;
        return false;
    }
    char *path = file_path(device, program);
    const bool kept = path != NULL && save_bitcode(device, path, &bitcode, &error) == CLV_OK;
    if (!kept) {
        complain(device, device->programs.folder, path != NULL ? error.message : "out of memory");
        /* What nobody keeps is of no use: PoCL keeps compiled kernels under a hash of it. */
        device->programs.unmade = true;
    }
    clvi_free(bitcode.binary);
    clvi_free(path);
    return kept && clvi_cache_load(device, program);
}
