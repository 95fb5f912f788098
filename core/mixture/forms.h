/* What networks see: a batch's pixels on the device, augmented once, then one copy for each
 * distinct preprocessing. */
#ifndef CLVI_FORMS_H
#define CLVI_FORMS_H

#include "graph/plan.h"
#include "mixture/image.h"
#include "mixture/input_form.h"

typedef struct clvi_forms clvi_forms;

typedef struct clvi_forms_desc {
    clvi_device *device;
    int height, width, channels; /* of the pixels that will be given, margins included */
    clvi_picture seen;           /* of them */
    int64_t max_batch;
    uint32_t augment_key[2]; /* Philox key of the stream "augment" */
} clvi_forms_desc;

clv_status clvi_forms_create(const clvi_forms_desc *desc, clvi_forms **out,
                             clv_error *error) CLV_MUST_CHECK;
void clvi_forms_destroy(clvi_forms *forms); /* NULL allowed */

/* The index of a form, made when it is new; networks that want the same share one. Before
 * clvi_forms_commit. */
clv_status clvi_forms_find(clvi_forms *forms, const clvi_input_form *wanted, size_t *out,
                           clv_error *error) CLV_MUST_CHECK;
/* As clvi_input_form_describe, of the pictures that will be given; the caller frees. */
clv_status clvi_forms_describe(const clvi_forms *forms, const clvi_input_form *wanted, char **out,
                               clv_error *error) CLV_MUST_CHECK;

/* Appends what commit will make that grows with the batch to list[*count…]; there is room for
 * clvi_forms_beside_most more. */
size_t clvi_forms_beside_most(const clvi_forms *forms);
void clvi_forms_beside(const clvi_forms *forms, clvi_beside *list, size_t *count);
/* Makes the buffers. Errors: CLV_E_MEMORY. */
clv_status clvi_forms_commit(clvi_forms *forms, clv_error *error) CLV_MUST_CHECK;

/* Uploads n samples' ids, NULL: all 0. Enqueues only. */
clv_status clvi_forms_begin(clvi_forms *forms, int64_t n, const uint32_t *ids,
                            clv_error *error) CLV_MUST_CHECK;
/* Uploads their pixels and makes every form of them. Enqueues only. */
clv_status clvi_forms_feed(clvi_forms *forms, int64_t n, const uint8_t *pixels, uint32_t epoch,
                           const clvi_augment *augment, clv_error *error) CLV_MUST_CHECK;
/* [n, height, width, channels] of a form; the samples' ids [n]. Valid until the next feed. */
clvi_view clvi_forms_view(const clvi_forms *forms, size_t index);
clvi_view clvi_forms_ids(const clvi_forms *forms);
size_t clvi_forms_count(const clvi_forms *forms);
const clvi_input_form *clvi_forms_at(const clvi_forms *forms, size_t index);
/* Elements of one sample of a form. */
int64_t clvi_forms_elements(const clvi_forms *forms, size_t index);
uint64_t clvi_forms_bytes(const clvi_forms *forms); /* of device memory */

#endif
