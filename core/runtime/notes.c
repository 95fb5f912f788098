/* See notes.h. */
#define _POSIX_C_SOURCE 200809L
#include "runtime/notes.h"

#include "base/files.h"
#include "base/process.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

/* ---- Platforms without devices ---- */

void clvi_note_platform(clvi_text *notes, const char *name, const char *version, cl_int code)
{
    const char *enabled = clvi_env_get(CLVI_ENV_RUSTICL_ENABLE);
    if (strcmp(name, "rusticl") == 0 && enabled == NULL)
        clvi_text_printf(notes,
                         "rusticl (Mesa) is installed but offers devices only when asked: set "
                         "RUSTICL_ENABLE=radeonsi (AMD), iris (Intel), nouveau (NVIDIA) or "
                         "llvmpipe (CPU, slow)\n");
    else if (strcmp(name, "rusticl") == 0)
        clvi_text_printf(notes,
                         "rusticl (Mesa) is installed, but no hardware fits RUSTICL_ENABLE=%s\n",
                         enabled);
    else if (strcmp(name, "Clover") == 0)
        clvi_text_printf(notes, "Clover (Mesa) is installed but offers no device; rusticl is its "
                                "successor\n");
    else if (code != CL_SUCCESS && code != CL_DEVICE_NOT_FOUND)
        clvi_text_printf(notes, "%s (%s) is installed but cannot list its devices: %s\n", name,
                         version, clvi_cl_code_name(code));
    else
        clvi_text_printf(notes,
                         "%s (%s) is installed but sees no device; check its driver, that you may "
                         "open its device files, and that its cache folder can be written\n",
                         name, version);
}

/* ---- Implementations that were not loaded ---- */

/* The library's name in the first line of an .icd file; the caller frees, NULL: there is none. */
static char *read_icd(const char *path)
{
    enum { MOST_BYTES = 4096 };
    clv_error none = CLV_ERROR_INIT; /* why it cannot be read is of no use to anybody */
    char *text = NULL;
    size_t bytes = 0;
    if (clvi_file_read(path, MOST_BYTES, &text, &bytes, &none) != CLV_OK)
        return NULL;
    text[strcspn(text, "\r\n")] = '\0';
    for (size_t length = strlen(text); length > 0 && text[length - 1] == ' ';)
        text[--length] = '\0';
    if (text[0] != '\0')
        return text;
    clvi_free(text);
    return NULL;
}

/* Asks a library as the OpenCL loader does (cl_khr_icd). */
static bool offers_platform(void *handle)
{
    typedef void *(*address_call)(const char *name);
    typedef cl_int (*platforms_call)(cl_uint most, cl_platform_id * out, cl_uint * count);
    address_call address;
    platforms_call platforms;
    cl_uint count = 0;
    /* POSIX lets a data pointer hold a function; C11 has no cast for it. */
    *(void **)&address = dlsym(handle, "clGetExtensionFunctionAddress");
    if (address == NULL)
        return false;
    *(void **)&platforms = address("clIcdGetPlatformIDsKHR");
    if (platforms == NULL)
        *(void **)&platforms = dlsym(handle, "clIcdGetPlatformIDsKHR");
    return platforms != NULL && platforms(0, NULL, &count) == CL_SUCCESS && count > 0;
}

static void note_library(clvi_text *notes, const char *path, const char *library)
{
    void *handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL); /* most often it is open already */
    if (handle == NULL) {
        const char *why = dlerror();
        clvi_text_printf(notes,
                         "%s is installed, but its library does not load (%s): install the package "
                         "that has %s, or remove the file\n",
                         path, why != NULL ? why : "no reason given", library);
        return;
    }
    if (!offers_platform(handle))
        clvi_text_printf(
            notes,
            "%s is installed, but its library %s offers no OpenCL platform: its driver "
            "may be missing, or of another version\n",
            path, library);
    dlclose(handle);
}

static void note_icd(clvi_text *notes, const char *path)
{
    char *library = read_icd(path);
    if (library != NULL)
        note_library(notes, path, library);
    else
        clvi_text_printf(notes, "%s names no library: reinstall the package it belongs to\n", path);
    clvi_free(library);
}

static void note_folder(clvi_text *notes, const char *folder)
{
    clv_error none = CLV_ERROR_INIT; /* no such folder: nothing is installed */
    char **names = NULL;
    size_t count = 0;
    if (clvi_dir_list(folder, &names, &count, &none) != CLV_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        char *path = clvi_has_ending(names[i], ".icd") ? clvi_path_join(folder, names[i]) : NULL;
        if (path != NULL)
            note_icd(notes, path);
        clvi_free(path);
    }
    clvi_names_free(names, count);
}

void clvi_note_icds(clvi_text *notes, const char *vendors, size_t platform_count)
{
    const char *where = vendors != NULL ? vendors : "/etc/OpenCL/vendors";
    if (clvi_is_file(where) && clvi_has_ending(where, ".icd"))
        note_icd(notes, where);
    else
        note_folder(notes, where);
    if (platform_count == 0 && vendors != NULL)
        clvi_text_printf(notes,
                         "OCL_ICD_VENDORS=%s names no OpenCL implementation that can be loaded\n",
                         vendors);
    else if (platform_count == 0)
        clvi_text_printf(notes, "no OpenCL implementation is installed: `apt-get install "
                                "pocl-opencl-icd` gives one for the CPU\n");
}

/* ---- GPUs ---- */

/* Kernel drivers of GPUs, and what makes OpenCL devices of them. */
static const struct {
    const char *driver, *advice;
} gpu_drivers[] = {
    {"amdgpu", "install mesa-opencl-icd and set RUSTICL_ENABLE=radeonsi, or AMD's ROCm"},
    {"radeon", "install mesa-opencl-icd and set RUSTICL_ENABLE=r600"},
    {"i915", "install intel-opencl-icd, or mesa-opencl-icd and set RUSTICL_ENABLE=iris"},
    {"xe", "install intel-opencl-icd, or mesa-opencl-icd and set RUSTICL_ENABLE=iris"},
    {"nouveau", "install NVIDIA's driver with nvidia-opencl-icd, or mesa-opencl-icd and set "
                "RUSTICL_ENABLE=nouveau"},
    {"nvidia", "install nvidia-opencl-icd in the driver's version"},
};

static const char *advice_for(const char *driver)
{
    for (size_t i = 0; i < sizeof(gpu_drivers) / sizeof(gpu_drivers[0]); i++) {
        if (strcmp(gpu_drivers[i].driver, driver) == 0)
            return gpu_drivers[i].advice;
    }
    return NULL; /* a screen without a GPU, or one of a virtual machine */
}

/* The kernel driver of a render node, "" when unknown. */
static const char *driver_of(const char *root, const char *node, char *out, size_t bytes)
{
    char link[PATH_MAX], target[PATH_MAX];
    const int wrote = snprintf(link, sizeof(link), "%s/sys/class/drm/%s/device/driver", root, node);
    out[0] = '\0';
    if (wrote < 0 || (size_t)wrote >= sizeof(link))
        return out;
    const ssize_t length = readlink(link, target, sizeof(target) - 1);
    target[length > 0 ? length : 0] = '\0';
    snprintf(out, bytes, "%.*s", (int)bytes - 1, clvi_path_name(target));
    return out;
}

/* One render node; true when it is an NVIDIA GPU's. */
static bool note_node(clvi_text *notes, const char *root, const char *node, bool listed,
                      int (*may_open)(const char *path, int mode))
{
    char path[PATH_MAX], driver[64];
    if (strncmp(node, "renderD", 7) != 0)
        return false;
    snprintf(path, sizeof(path), "%s/dev/dri/%s", root, node);
    const char *advice = advice_for(driver_of(root, node, driver, sizeof(driver)));
    if (may_open(path, R_OK | W_OK) != 0)
        clvi_text_printf(notes,
                         "there is a GPU that you may not use: %s is not readable and writable; "
                         "join the group that owns it (`sudo usermod -aG render $USER`, then log "
                         "in again)\n",
                         path);
    else if (!listed && advice != NULL)
        clvi_text_printf(notes,
                         "there is a GPU (%s, driver %s) that no OpenCL implementation serves: "
                         "%s\n",
                         path, driver, advice);
    return strcmp(driver, "nvidia") == 0;
}

void clvi_note_gpus(clvi_text *notes, const char *root, bool listed,
                    int (*may_open)(const char *path, int mode))
{
    char path[PATH_MAX];
    clv_error none = CLV_ERROR_INIT; /* no such folder: no GPU with a render node */
    char **names = NULL;
    size_t count = 0;
    bool nvidia = false;
    snprintf(path, sizeof(path), "%s/dev/dri", root);
    if (clvi_dir_list(path, &names, &count, &none) != CLV_OK)
        names = NULL;
    for (size_t i = 0; i < count; i++)
        nvidia |= note_node(notes, root, names[i], listed, may_open);
    clvi_names_free(names, count);
    /* In a container an NVIDIA GPU may have this file only. */
    snprintf(path, sizeof(path), "%s/dev/nvidia0", root);
    if (!nvidia && !listed && may_open(path, F_OK) == 0)
        clvi_text_printf(notes,
                         "there is a GPU (%s, driver nvidia) that no OpenCL implementation "
                         "serves: %s\n",
                         path, advice_for("nvidia"));
}
