/* What PoCL's front end makes of a source: LLVM bitcode, before anything is known of launches. PoCL
 * preprocesses a source, with headers of 700 KB, each time that it is built, also where all that
 * follows lies in its own folder; a program made from bitcode goes there at once. */
#include "base/process.h"
#include "runtime/program.h"

enum { TRIES = 3 };

/* Where the bitcode lies in a binary of PoCL, which is a list of files: length, name, length,
 * content; lengths are 4 bytes, the lowest first. False: there is none. */
static bool find_bitcode(const unsigned char *binary, size_t bytes, size_t *from, size_t *length)
{
    static const unsigned char magic[] = {'B', 'C', 0xc0, 0xde};
    for (size_t i = 4; i + sizeof(magic) <= bytes; i++) {
        const unsigned char *at = binary + i - 4;
        const size_t size = at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24;
        if (memcmp(binary + i, magic, sizeof(magic)) == 0 && size % 4 == 0 && size <= bytes - i) {
            *from = i;
            *length = size;
            return true;
        }
    }
    return false;
}

/* A compiled object: of an executable, PoCL would compile each kernel for its binary. */
static clv_status get_object(clvi_device *device, const clvi_program *program, const char *text,
                             size_t text_bytes, unsigned char **binary, size_t *bytes,
                             clv_error *error)
{
    cl_int code = CL_SUCCESS;
    cl_program object = clCreateProgramWithSource(device->context, 1, &text, &text_bytes, &code);
    if (object == NULL || code != CL_SUCCESS)
        return clvi_cl_fail(error, code, CLV_HERE, "clCreateProgramWithSource");
    clvi_build_lock();
    code = clCompileProgram(object, 1, &device->found->id, program->full_options, 0, NULL, NULL,
                            NULL, NULL);
    clvi_build_unlock();
    const clv_status status = code == CL_SUCCESS
                                  ? clvi_program_binary(object, binary, bytes, error)
                                  : clvi_cl_fail(error, code, CLV_HERE, "clCompileProgram");
    clReleaseProgram(object);
    return status;
}

clv_status clvi_bitcode_make(clvi_device *device, const clvi_program *program, const char *text,
                             size_t text_bytes, clvi_bitcode *out, clv_error *error)
{
    unsigned char *binary = NULL;
    size_t bytes = 0, from = 0, length = 0;
    clv_status status = CLV_OK;
    bool found = false;
    /* PoCL reads a file of its own folder, which another process may be writing. */
    for (int i = 0; i < TRIES && status == CLV_OK && !found; i++) {
        clvi_free(binary);
        binary = NULL;
        status = get_object(device, program, text, text_bytes, &binary, &bytes, error);
        found = status == CLV_OK && find_bitcode(binary, bytes, &from, &length);
    }
    if (status == CLV_OK && !found)
        status = clvi_fail(error, CLV_E_DATA, CLV_HERE,
                           "%s gives no bitcode of kernels %s.cl; they are built from source",
                           device->found->short_name, program->name);
    if (status != CLV_OK) {
        clvi_free(binary);
        return status;
    }
    *out = (clvi_bitcode){.binary = binary, .start = binary + from, .bytes = length};
    return CLV_OK;
}
