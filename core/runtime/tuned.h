/* A user's own tuning record of a device, in the folder `tuning` of the cache folder: what
 * `conclave tune` measured. It has the form of those in kernels/tuning, changes the shipped one of
 * the device's class, and is used for the device, the driver and the kernels that it names. */
#ifndef CLVI_TUNED_H
#define CLVI_TUNED_H

#include "base/text.h"
#include "runtime/runtime.h"

/* Which record answers. Strings live as long as the device. */
typedef struct clvi_tuning_state {
    const char *shipped; /* "cpu16", …: of kernels/tuning */
    const char *path;    /* the user's record in force; NULL: none */
    const char *date;    /* of that, as it says */
    bool changed;        /* whether it says something else than the shipped one */
    uint32_t digest;     /* of all values in force */
} clvi_tuning_state;
clvi_tuning_state clvi_device_tuning(const clvi_device *device);
/* Appends one sentence about it, as of device `index` of the runtime if it were opened now, without
 * opening it. Errors: those of a shipped record. */
clv_status clvi_runtime_tuning(const clvi_runtime *runtime, size_t index, clvi_text *out,
                               clv_error *error) CLV_MUST_CHECK;

/* Where the user's record of a device lies or would lie; the caller frees. NULL: there is no cache
 * folder, or memory is exhausted. */
char *clvi_tuned_path(const clvi_device_info *info);
/* Appends the lines by which a record is known to be of this device, driver and these kernels. */
void clvi_tuned_head(const clvi_device_info *info, const char *date, clvi_text *out);

/* FNV-1a of all kernels and shipped records that are in use (CONCLAVE_KERNEL_DIR's too). */
uint64_t clvi_kernels_hash(void);

#endif
