/* The only process-wide state of the library: allocator table, log sink, environment,
 * the lock of the kernel compilers and the number of CLBlast's users.
 * Everything else hangs off a clv_runtime. */
#ifndef CLVI_PROCESS_H
#define CLVI_PROCESS_H

#include "memory.h"

typedef struct clvi_allocator {
    void *(*allocate)(size_t bytes);
    void *(*reallocate)(void *block, size_t bytes);
    void (*release)(void *block);
} clvi_allocator;
/* Replaces the allocator of clvi_malloc and friends (NULL: back to the C library's). For tests,
 * and only while no other thread allocates. */
void clvi_set_allocator(const clvi_allocator *allocator);
/* The table in use; only memory.c asks. */
clvi_allocator clvi_get_allocator(void);

typedef enum clvi_log_level {
    CLVI_LOG_ERROR,
    CLVI_LOG_WARN,
    CLVI_LOG_INFO,
    CLVI_LOG_DEBUG
} clvi_log_level;
/* One line, without its newline, to the sink. Thread-safe; a sink must not log itself. */
void clvi_log(clvi_log_level level, const char *format, ...) CLV_PRINTF(2, 3);
typedef void (*clvi_log_sink)(void *user, clvi_log_level level, const char *line);
/* NULL: drop everything (the default: a library is silent until a program gives it a sink). */
void clvi_set_log_sink(clvi_log_sink sink, void *user);

/* Kernels are compiled by one thread at a time in the process: some compilers die of two. */
void clvi_build_lock(void);
void clvi_build_unlock(void);

/* Processor cores that this process may use. */
size_t clvi_core_count(void);

/* Adds `change` (1, -1) to the number of runtimes that have used CLBlast, whose cache is the
 * process's; returns the number after it. */
int clvi_clblast_users(int change);

/* X(symbol, name, text): every environment variable that the library reads. getenv is called in
 * process.c only; the value is read anew at each call. */
#define CLVI_ENV_LIST(X)                                                                           \
    X(CACHE, "CONCLAVE_CACHE",                                                                     \
      "0: no kernel cache on disk; 1: keep compiled binaries, also with PoCL and NVIDIA")          \
    X(CACHE_DIR, "CONCLAVE_CACHE_DIR", "folder of the kernel cache and the tuning records")        \
    X(KERNEL_DIR, "CONCLAVE_KERNEL_DIR",                                                           \
      "read kernels from loose .cl files instead of the embedded ones")                            \
    X(PLUGIN_PATH, "CONCLAVE_PLUGIN_PATH", "folders of plugins, separated by ':'")                 \
    X(TRUST_PLUGINS, "CONCLAVE_TRUST_PLUGINS",                                                     \
      "one plugin folder to accept although others may write to it")                               \
    X(KEEP_PLUGINS, "CONCLAVE_KEEP_PLUGINS", "1: never dlclose a plugin (for sanitizer stacks)")   \
    X(WEIGHTS, "CONCLAVE_WEIGHTS",                                                                 \
      "folder of weights that have a name, such as torchvision:vgg16")                             \
    X(TORCH_HOME, "TORCH_HOME", "where PyTorch keeps weights, in hub/checkpoints")                 \
    X(KERAS_HOME, "KERAS_HOME", "where Keras keeps weights, in models")                            \
    X(HF_HUB_CACHE, "HF_HUB_CACHE", "where Hugging Face's tools keep weights")                     \
    X(HF_HOME, "HF_HOME", "the same, in hub")                                                      \
    X(XDG_DATA_HOME, "XDG_DATA_HOME", "base of the default folder of named weights")               \
    X(H5, "CONCLAVE_H5", "the program conclave-h5, where it is not beside the command")            \
    X(GNUPLOT, "CONCLAVE_GNUPLOT", "the program gnuplot, where it is not in a folder of PATH")     \
    X(PATH, "PATH", "where programs are, such as gnuplot")                                         \
    X(CONFIG_PATH, "CONCLAVE_CONFIG_PATH", "folders of shipped configs, separated by ':'")         \
    X(SYNC, "CONCLAVE_SYNC", "1: wait after each kernel launch and name the one that fails")       \
    X(ARENA, "CONCLAVE_ARENA", "0: a buffer with guard bands for every tensor instead of slabs")   \
    X(DEVICE, "CONCLAVE_DEVICE", "device to use where the configuration says auto")                \
    X(TUNING, "CONCLAVE_TUNING",                                                                   \
      "tuning record to use whatever the device: cpu16, cpu8, cpu4, gpu or gpu64")                 \
    X(XDG_CACHE_HOME, "XDG_CACHE_HOME", "base of the default cache folder")                        \
    X(HOME, "HOME", "home folder")                                                                 \
    X(POCL_CACHE_DIR, "POCL_CACHE_DIR", "where PoCL keeps the kernels that it compiled")           \
    X(POCL_EXTRA_BUILD_FLAGS, "POCL_EXTRA_BUILD_FLAGS", "options that PoCL adds to all programs")  \
    X(TMPDIR, "TMPDIR", "folder of temporary files; /tmp if not set")                              \
    X(TERM, "TERM", "dumb: no colour on the terminal")                                             \
    X(NO_COLOR, "NO_COLOR", "set: no colour on the terminal")                                      \
    X(OCL_ICD_VENDORS, "OCL_ICD_VENDORS", "where the OpenCL loader looks for implementations")     \
    X(RUSTICL_ENABLE, "RUSTICL_ENABLE", "Mesa drivers that offer rusticl devices")

typedef enum clvi_env {
#define CLVI_ENV_ENUM(symbol, name, text) CLVI_ENV_##symbol,
    CLVI_ENV_LIST(CLVI_ENV_ENUM)
#undef CLVI_ENV_ENUM
        CLVI_ENV_COUNT
} clvi_env;
/* The variable's value, or NULL when unset or empty. */
const char *clvi_env_get(clvi_env variable);
const char *clvi_env_name(clvi_env variable);
const char *clvi_env_text(clvi_env variable);

#endif
