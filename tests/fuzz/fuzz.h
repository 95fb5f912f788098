/* What the fuzzers feed and test_corpus.c replays. Each call gives any bytes to a part of core/data
 * or core/weights that reads what strangers wrote, and aborts where a promise is broken: an error
 * has one sentence that names the input, the same bytes give the same pixels. run.sh builds the
 * fuzzers. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

void fuzz_image(const uint8_t *bytes, size_t length);
void fuzz_archive(const uint8_t *bytes, size_t length);
void fuzz_weights(const uint8_t *bytes, size_t length);

#endif
