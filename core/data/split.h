/* Which image goes to which split: identical images, the drawn validation share, the limit per
 * class. Works on labels, sizes and hashes alone. Only core/data includes this. */
#ifndef CLVI_SPLIT_H
#define CLVI_SPLIT_H

#include "data/sources.h"

enum { CLVI_DIGEST_BYTES = 32 }; /* SHA-256 */

#define CLVI_NOWHERE CLVI_SPLIT_COUNT /* an image that is not used */

/* What is known of an image; one for each image of the sources, in their order. */
typedef struct clvi_split_item {
    uint32_t label;
    uint32_t twin; /* the first image with the same bytes; itself where there is none */
    uint8_t split; /* clvi_split or CLVI_NOWHERE */
    bool fixed;    /* its source has a val folder: it is not drawn for validation */
    bool hashed;   /* digest is set; false where no other image has this size */
    uint8_t digest[CLVI_DIGEST_BYTES];
} clvi_split_item;

/* Fills twin, hashed and digest of all items that are in a split. Reads only files that share
 * their size with another. Errors: those of clvi_source_read; CLV_E_DATA not if `skip_bad`. */
clv_status clvi_split_compare(const clvi_sources *sources, bool skip_bad, clvi_split_item *items,
                              clv_error *error) CLV_MUST_CHECK;

typedef struct clvi_split_counts {
    size_t stand_in_test; /* dropped from train and val, being in test as well */
    size_t stand_in_val;  /* dropped from train, being in the val folder as well */
    size_t above_limit;   /* left out by limit_per_class */
} clvi_split_counts;

typedef struct clvi_split_items {
    clvi_split_item *item;
    size_t count, class_count;
} clvi_split_items;

/* Settles the splits of items whose `split` says the folder they came from: drops images that stand
 * in test (or val) as well, draws validation from those of train that are not fixed, then limits
 * train. Errors: CLV_E_MEMORY. */
clv_status clvi_split_assign(const clvi_split_items *items, const clvi_data_options *options,
                             clvi_split_counts *out, clv_error *error) CLV_MUST_CHECK;

#endif
