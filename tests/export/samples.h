/* Mixtures with numbers at random, for tests of exports: what they are, and what they make of
 * pictures. Every call fails the running cmocka test where it cannot do its work. */
#ifndef EXPORT_SAMPLES_H
#define EXPORT_SAMPLES_H

#include "../unit/test_device.h"

#include "export/source.h"

enum { SAMPLE_CLASSES = 5, SAMPLE_BATCH = 3 };

typedef struct sample {
    clvi_config *config;
    clvi_mixture *mixture;
    clvi_device *device; /* NULL: a draft */
    int height, width, channels;
    size_t experts;
    double temperature; /* such that probabilities are neither alike nor 0 and 1 */
    uint8_t *pixels;    /* [SAMPLE_BATCH, height, width, channels] */
    float logits[SAMPLE_BATCH * SAMPLE_CLASSES];
} sample;

/* Where samples are built. */
typedef struct sample_place {
    clvi_device *device; /* NULL: they are drafts, whose numbers sample_source makes */
    clvi_plugins *plugins;
    const char *const *overrides; /* "section.key=value" */
    size_t override_count;
} sample_place;
/* The mixture of a configuration, which says data.channels. sample_fini even where it fails. */
clv_status sample_try(sample *s, const sample_place *place, const char *text, clv_error *error);
/* The same; on a device with numbers and, of pictures, its answer. */
void sample_init(sample *s, const sample_place *place, const char *text);
void sample_fini(sample *s);
/* Pictures that differ in brightness and colour, and from place to place, and what it makes of
 * them. */
void sample_answer(sample *s);

/* As core/export takes it. */
clvi_export_source sample_source(const sample *s);
/* Writes "image", the pictures as [N, C, H, W], "probabilities", "temperature", by which logits
 * were divided, and, of a gate, "weights". */
void sample_write_answers(sample *s, const char *path);
/* Runs $CONCLAVE_PYTHON, or /usr/bin/python3, with a script's arguments; skips the test where that
 * says 77, fails it where it fails. */
void sample_run_script(const char *script, const char *arguments);

#endif
