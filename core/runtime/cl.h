/* The only way into OpenCL's headers: fixes the version first. For the runtime's own files. */
#ifndef CLVI_CL_H
#define CLVI_CL_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <CL/cl_ext.h>

#include "base/error.h"

/* "CL_OUT_OF_RESOURCES" of a code, "unknown code" of one that no header names. Static storage. */
const char *clvi_cl_code_name(cl_int code);

/* Records "<call>: <name> (<code>)" with native_code = code; of `call` only what stands before its
 * "(" is shown. CLV_E_MEMORY for the codes that mean it, else CLV_E_CL. Returns the status. */
clv_status clvi_cl_fail(clv_error *error, cl_int code, const char *file, int line,
                        const char *call);

/* Returns from the function when the OpenCL call does not give CL_SUCCESS. */
#define CLV_CL(error, call)                                                                        \
    do {                                                                                           \
        const cl_int clv_cl_code = (call);                                                         \
        if (clv_cl_code != CL_SUCCESS)                                                             \
            return clvi_cl_fail((error), clv_cl_code, __FILE__, __LINE__, #call);                  \
    } while (0)

#endif
