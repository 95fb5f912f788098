/* Programs and kernels of one device, and the cache of their binaries on disk. Runtime only. */
#ifndef CLVI_PROGRAM_H
#define CLVI_PROGRAM_H

#include "runtime/device.h"

/* Code that a driver makes at the first launch: PoCL makes one for grids within 65,535 work-items
 * in each dimension and another one for larger grids. */
enum { CLVI_VARIANT_SMALL = 1, CLVI_VARIANT_LARGE = 2, CLVI_SMALL_GRID = 65535 };

enum { CLVI_KEY_BYTES = 65 }; /* SHA-256 in hex, with its NUL */

/* One file of kernels with one set of options. Lives as long as the device. */
struct clvi_program {
    clvi_program *next;
    const char *name, *options; /* options: the variant's own, without the device's */
    const char *full_options;   /* as given to the compiler */
    cl_program program;         /* NULL: it did not build, see failure */
    const clv_error *failure;
    char key[CLVI_KEY_BYTES];
    const char *known; /* kernels in the cached binary: digit of variants, name, NUL; … ; "" */
    bool dirty;        /* the cache lacks something */
};

/* Kinds of arguments: a buffer, an offset in it, a number of 4 bytes, local memory. */
typedef enum clvi_arg_kind {
    CLVI_ARG_BUFFER = 'b',
    CLVI_ARG_OFFSET = 'o',
    CLVI_ARG_WORD = 'w',
    CLVI_ARG_LOCAL = 'l'
} clvi_arg_kind;

struct clvi_kernel {
    clvi_program *program;
    const char *name;
    uint64_t hash;
    cl_kernel kernel;
    size_t local[3]; /* reqd_work_group_size */
    cl_uint arg_count;
    unsigned variants; /* compiled so far */
    bool slow;         /* it was said that a launch takes long */
};

/* The kernel record, made on first use. Errors: CLV_E_BUILD, CLV_E_CL, CLV_E_DEVICE, CLV_E_MEMORY.
 */
clv_status clvi_kernel_get(clvi_device *device, const char *program, const char *kernel,
                           const char *options, clvi_kernel **out, clv_error *error) CLV_MUST_CHECK;

/* Text of a file of the folder kernels ("gemm" for gemm.cl, "tuning/cpu16.ini"): the loose one
 * where CONCLAVE_KERNEL_DIR has it, else the embedded one. *text is NULL on failure; the caller
 * frees it with clvi_free. Errors: CLV_E_BUILD naming what is missing. */
clv_status clvi_source_load(const char *name, char **text, size_t *bytes,
                            clv_error *error) CLV_MUST_CHECK;

/* clBuildProgram for the device, by one thread at a time in the process. */
cl_int clvi_program_compile(clvi_device *device, cl_program program, const char *options);

/* Builds the program's source anew, past the cache; the caller releases *out. Errors as above. */
clv_status clvi_program_from_source(clvi_device *device, const clvi_program *program,
                                    cl_program *out, clv_error *error) CLV_MUST_CHECK;

/* ---- cache.c ---- */

/* Finds the cache's folder (NULL: there is none to use). Never fails. */
void clvi_cache_init(clvi_device *device);
/* Fills program->key from the source and everything that the binary depends on. */
void clvi_cache_key(const clvi_device *device, clvi_program *program, const char *source,
                    size_t bytes);
/* Loads and builds program->program from the cache. False: not there, or defective (then logged,
 * and deleted where that is allowed). */
bool clvi_cache_load(clvi_device *device, clvi_program *program);
/* Writes the program's binary with its list of compiled kernels. Failures are logged. */
void clvi_cache_save(clvi_device *device, clvi_program *program);
/* Where bitcode is kept (programs.bitcode): makes it from the source, writes it unless another
 * process has, and loads what is there then, so that all processes have the same. False: the
 * program is to be built from source, and after a failure to make or write it all others are
 * that the cache does not hold. */
bool clvi_cache_make(clvi_device *device, clvi_program *program, const char *source, size_t bytes);
/* The driver's binary, in *binary (the caller frees with clvi_free); nothing to save: *bytes is 0.
 * Errors: CLV_E_CL, CLV_E_MEMORY. */
clv_status clvi_program_binary(cl_program program, unsigned char **binary, size_t *bytes,
                               clv_error *error) CLV_MUST_CHECK;

/* ---- bitcode.c ---- */

/* The caller frees .binary with clvi_free. */
typedef struct clvi_bitcode {
    unsigned char *binary;
    const unsigned char *start; /* in it */
    size_t bytes;
} clvi_bitcode;
/* The bitcode of a source, which PoCL names differently in each process: two calls may give
 * different bytes. Errors: CLV_E_CL where it does not compile, CLV_E_DATA where the driver gives
 * none, CLV_E_MEMORY. */
clv_status clvi_bitcode_make(clvi_device *device, const clvi_program *program, const char *text,
                             size_t text_bytes, clvi_bitcode *out, clv_error *error) CLV_MUST_CHECK;
#endif
