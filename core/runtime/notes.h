/* What is installed but gives no device, and what to do about it: one line each, ended by '\n',
 * appended to `notes`. For platform.c. */
#ifndef CLVI_RUNTIME_NOTES_H
#define CLVI_RUNTIME_NOTES_H

#include "base/text.h"
#include "runtime/cl.h"

/* A platform whose list of devices is empty; `code` is what clGetDeviceIDs gave. */
void clvi_note_platform(clvi_text *notes, const char *name, const char *version, cl_int code);

/* Implementations that the OpenCL loader was to load and has not: every .icd file of `vendors` (a
 * folder or one such file; NULL: the system's folder) whose library cannot be loaded or offers
 * nothing. platform_count: what the loader has; with 0, at least one line is written. */
void clvi_note_icds(clvi_text *notes, const char *vendors, size_t platform_count);

/* GPUs under `root` ("" but in tests) that may not be opened (`may_open` answers as access(2)),
 * and, unless there is a GPU among the devices (`listed`), those that no implementation serves. */
void clvi_note_gpus(clvi_text *notes, const char *root, bool listed,
                    int (*may_open)(const char *path, int mode));

#endif
