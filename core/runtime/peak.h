/* The ceilings of a device, to judge kernels by: `conclave bench --peak`. */
#ifndef CLVI_PEAK_H
#define CLVI_PEAK_H

#include "runtime/runtime.h"

/* Measures, best of several repetitions, for up to a second or so:
 * gflops: 10^9 f32 operations per second of independent multiply-add chains in registers (a
 * multiply-add counts as 2), all compute units busy; copy_gbs: 10^9 bytes per second, read plus
 * written, of a kernel that copies 64 MiB (less where the device has little memory).
 * Errors: as of launches and buffers. */
clv_status clvi_device_measure_peak(clvi_device *device, double *gflops, double *copy_gbs,
                                    clv_error *error) CLV_MUST_CHECK;

#endif
