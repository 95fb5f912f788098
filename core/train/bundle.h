/* A bundle: one safetensors file with all that the use of a trained run takes. Tensors: the
 * variables that one uses (averages where there are some), under the names of a checkpoint.
 * Metadata, each a text: format "conclave bundle 1"; conclave, the version that wrote it; config,
 * as resolved; classes, a JSON list of their names; preprocessing and training, JSON objects;
 * temperature, where it is known. Two further tensors, where the run knew them, are what it said of
 * its validation images, as in predictions.csv: "validation.confidence" and
 * "validation.gate_entropy", F64 [images]. Nothing in it depends on the time or on the file's name.
 */
#ifndef CLVI_BUNDLE_H
#define CLVI_BUNDLE_H

#include "weights/safetensors.h"

#include <jansson.h>

#define CLVI_BUNDLE_FORMAT "conclave bundle 1"

/* What the metadata of a bundle says. */
typedef struct clvi_bundle {
    json_t *classes;  /* the names, at least two strings */
    json_t *training; /* {"epoch", "device", "data"}: where it comes from */
    int64_t epoch;
    int image[3];       /* height, width, channels of the pixels that a mixture is given */
    double temperature; /* 0: not known */
} clvi_bundle;

/* Reads the metadata of an open file, whose format is CLVI_BUNDLE_FORMAT, and checks it. *out is
 * the caller's, for clvi_bundle_fini. Errors: CLV_E_FORMAT naming the file and the key. */
clv_status clvi_bundle_read(const clvi_safetensors *file, clvi_bundle *out,
                            clv_error *error) CLV_MUST_CHECK;
void clvi_bundle_fini(clvi_bundle *bundle); /* a zeroed one is allowed */

/* What a run said of its validation images: [count] each, NAN where it is not known. */
typedef struct clvi_bundle_validation {
    double *confidence, *gate_entropy; /* NULL: nothing is known */
    size_t count;
} clvi_bundle_validation;
/* Reads it from an open bundle; all 0 where it has none. *out is the caller's, for
 * clvi_bundle_validation_fini. Errors: CLV_E_FORMAT naming the tensor, CLV_E_IO, CLV_E_MEMORY. */
clv_status clvi_bundle_validation_read(const clvi_safetensors *file, clvi_bundle_validation *out,
                                       clv_error *error) CLV_MUST_CHECK;
/* Room for `count` images. Errors: CLV_E_MEMORY. */
clv_status clvi_bundle_validation_init(clvi_bundle_validation *out, size_t count,
                                       clv_error *error) CLV_MUST_CHECK;
void clvi_bundle_validation_fini(clvi_bundle_validation *validation);

/* What a bundle is made of, all borrowed. */
typedef struct clvi_bundle_parts {
    const clvi_safetensors *from; /* open file with the tensors: a checkpoint, or a bundle */
    const char *config;           /* resolved */
    json_t *classes;              /* list of names */
    json_t *preprocessing;        /* object; "height", "width" and "channels" are read again */
    json_t *training;             /* object; "epoch" is read again */
    double temperature;           /* <= 0: not known */
    clvi_bundle_validation validation;
} clvi_bundle_parts;

/* Writes the bundle, whole or not at all: all tensors of the checkpoint but those that only
 * training reads, bit for bit. Errors: those of clvi_safetensors_read and of the writer. */
clv_status clvi_bundle_write(const char *path, const clvi_bundle_parts *parts,
                             clv_error *error) CLV_MUST_CHECK;

#endif
