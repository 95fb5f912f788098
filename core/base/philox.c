/* Philox4x32-10 on the host. Constants: Salmon et al. (SC 2011), section 4.3. */
#include "base/philox.h"

#include <stddef.h>

static const uint32_t multiplier_0 = 0xD2511F53u;
static const uint32_t multiplier_1 = 0xCD9E8D57u;
static const uint32_t weyl_0 = 0x9E3779B9u; /* golden ratio */
static const uint32_t weyl_1 = 0xBB67AE85u; /* sqrt(3) - 1 */

/* The finalizer of SplitMix64 (Steele et al. 2014): a bijection in which every input bit reaches
 * every output bit. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

clvi_philox_key clvi_philox_stream(uint64_t seed, const char *name)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325); /* FNV-1a, 64 bits */
    for (const char *c = name; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001B3);
    /* For one name, different seeds never give the same key: both steps are bijections. */
    const uint64_t key = mix(hash ^ mix(seed + UINT64_C(0x9E3779B97F4A7C15)));
    return (clvi_philox_key){{(uint32_t)key, (uint32_t)(key >> 32)}};
}

void clvi_philox(clvi_philox_key key, uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3,
                 uint32_t out[4])
{
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)multiplier_0 * c0;
        const uint64_t p1 = (uint64_t)multiplier_1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ key.k[0];
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ key.k[1];
        c3 = (uint32_t)p0;
        key.k[0] += weyl_0;
        key.k[1] += weyl_1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* A number in [0, bound) without bias: Lemire, "Fast random integer generation in an interval"
 * (2019). The counter is (epoch, position, 0, draw), so that each position draws for itself. */
static uint32_t below(clvi_philox_key key, uint32_t epoch, uint32_t position, uint32_t bound)
{
    const uint32_t reject_below = (0u - bound) % bound;
    uint32_t words[4];
    for (uint32_t draw = 0;; draw++) {
        clvi_philox(key, epoch, position, 0, draw, words);
        for (size_t i = 0; i < 4; i++) {
            const uint64_t product = (uint64_t)words[i] * bound;
            if ((uint32_t)product >= reject_below)
                return (uint32_t)(product >> 32);
        }
    }
}

void clvi_philox_shuffle(clvi_philox_key key, uint32_t epoch, uint32_t count, uint32_t *order)
{
    for (uint32_t i = 0; i < count; i++)
        order[i] = i;
    for (uint32_t i = count; i > 1; i--) {
        const uint32_t other = below(key, epoch, i - 1, i);
        const uint32_t kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
}
