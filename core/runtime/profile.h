/* Which kernel ran when, and for which step of a network: for `conclave profile`. Off by default;
 * while it is on, every launch keeps an event of its own. */
#ifndef CLVI_PROFILE_H
#define CLVI_PROFILE_H

#include "runtime/runtime.h"

/* What launches belong to. The strings must outlive the profile. */
typedef struct clvi_profile_scope {
    const char *part;   /* "expert.a", "optimizer" */
    const char *step;   /* the node's name, or what is done */
    const char *kind;   /* the op's name, or "" */
    const char *pass;   /* "forward", "backward", "prepare" or "" */
    double macs, bytes; /* multiply-adds, and the least that must be read and written */
} clvi_profile_scope;

typedef struct clvi_profile_launch {
    const char *program, *kernel; /* live as long as the device */
    clvi_profile_scope scope;
    unsigned long call; /* launches of one call of clvi_profile_enter share it */
    double begin, end;  /* seconds from clvi_profile_begin */
} clvi_profile_launch;

/* From now on launches are recorded. Errors: CLV_E_DEVICE when the driver's time stamps are of
 * no use (timer.c), CLV_E_MEMORY. */
clv_status clvi_profile_begin(clvi_device *device, clv_error *error) CLV_MUST_CHECK;
/* Waits, ends recording. The launches, in their order, belong to the device until the next begin or
 * its end. */
clv_status clvi_profile_end(clvi_device *device, const clvi_profile_launch **launches,
                            size_t *count, clv_error *error) CLV_MUST_CHECK;
bool clvi_profile_is_on(const clvi_device *device);
/* Launches from here on belong to `scope` (copied). Nothing happens when recording is off. */
void clvi_profile_enter(clvi_device *device, const clvi_profile_scope *scope);
/* The same for what is no step of a network. */
void clvi_profile_enter_part(clvi_device *device, const char *part, const char *step);

#endif
