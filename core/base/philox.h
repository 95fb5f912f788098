/* Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3" (SC 2011). kernels/philox.clh is its twin on the device: same key and counter, same
 * bits. Key: (seed, stream). Counter: (epoch, sample, op, element). Nothing random in Conclave is
 * state. */
#ifndef CLVI_PHILOX_H
#define CLVI_PHILOX_H

#include <stdint.h>

typedef struct clvi_philox_key {
    uint32_t k[2];
} clvi_philox_key;

/* Key of a named stream: words of the 64-bit FNV-1a of the name mixed with the seed. */
clvi_philox_key clvi_philox_stream(uint64_t seed, const char *name);

/* Four independent 32-bit words. */
void clvi_philox(clvi_philox_key key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3,
                 uint32_t out[4]);

/* Word to a float in (0, 1): ((w >> 9) + 0.5) · 2^-23, exact in f32; with one bit more the largest
 * word would round to 1. */
static inline float clvi_philox_unit(uint32_t word)
{
    return ((float)(word >> 9) + 0.5f) * (1.0f / 8388608.0f);
}

/* Fills order[0..count) with a permutation of 0..count-1 (Fisher–Yates over Philox). */
void clvi_philox_shuffle(clvi_philox_key key, uint32_t epoch, uint32_t count, uint32_t *order);

#endif
