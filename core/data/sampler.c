/* See sampler.h. */
#include "data/sampler.h"

/* The images of each class. */
typedef struct shelves {
    uint32_t *list;  /* training images, class by class */
    uint32_t *begin; /* [classes + 1]: those of class k are list[begin[k]..begin[k + 1]) */
    uint32_t *round; /* room for the largest class: one time round it */
    uint32_t *drawn; /* [images of an epoch] */
} shelves;

static size_t share(const clvi_dataset *data)
{
    const size_t classes = clvi_dataset_class_count(data);
    const size_t each = (clvi_dataset_count(data, CLVI_TRAIN) + classes / 2) / classes;
    return each > 0 ? each : 1;
}

size_t clvi_sampler_count(const clvi_dataset *data, clvi_sampler sampler)
{
    const size_t images = clvi_dataset_count(data, CLVI_TRAIN);
    if (sampler == CLVI_SAMPLER_SHUFFLE || images == 0)
        return images;
    return share(data) * clvi_dataset_class_count(data);
}

static void free_shelves(shelves *s)
{
    clvi_free(s->list);
    clvi_free(s->begin);
    clvi_free(s->round);
    clvi_free(s->drawn);
}

static clv_status fill_shelves(const clvi_dataset *data, shelves *s, clv_error *error)
{
    const size_t classes = clvi_dataset_class_count(data);
    const size_t images = clvi_dataset_count(data, CLVI_TRAIN);
    s->list = clvi_malloc(images * sizeof *s->list);
    s->begin = clvi_calloc(classes + 2, sizeof *s->begin);
    s->round = clvi_malloc(images * sizeof *s->round);
    s->drawn = clvi_malloc(share(data) * classes * sizeof *s->drawn);
    if (!s->list || !s->begin || !s->round || !s->drawn)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the order of %zu images", images);
    /* begin[k + 2] counts class k, then begin[k + 1] moves forward while its list is filled. */
    for (size_t i = 0; i < images; i++)
        s->begin[clvi_dataset_sample(data, CLVI_TRAIN, i)->label + 2]++;
    for (size_t k = 2; k < classes + 2; k++)
        s->begin[k] += s->begin[k - 1];
    for (size_t i = 0; i < images; i++)
        s->list[s->begin[clvi_dataset_sample(data, CLVI_TRAIN, i)->label + 1]++] = (uint32_t)i;
    return CLV_OK;
}

/* Writes `each` images of class k: places epoch·each … of the endless row of its rounds. */
static void draw_class(const shelves *s, size_t k, size_t each, clvi_philox_key key, uint32_t epoch,
                       uint32_t *out)
{
    const uint32_t *list = s->list + s->begin[k];
    const uint32_t count = s->begin[k + 1] - s->begin[k];
    const clvi_philox_key own = {{key.k[0], key.k[1] ^ ((uint32_t)k + 1u)}};
    uint64_t place = (uint64_t)epoch * each;
    for (size_t i = 0; i < each; i++, place++) {
        if (i == 0 || place % count == 0)
            clvi_philox_shuffle(own, (uint32_t)(place / count), count, s->round);
        out[i] = list[s->round[place % count]];
    }
}

clv_status clvi_sampler_order(const clvi_dataset *data, clvi_sampler sampler, clvi_philox_key key,
                              uint32_t epoch, uint32_t *order, clv_error *error)
{
    const size_t count = clvi_sampler_count(data, sampler);
    if (sampler == CLVI_SAMPLER_SHUFFLE || count == 0) {
        clvi_philox_shuffle(key, epoch, (uint32_t)count, order);
        return CLV_OK;
    }
    if (count > UINT32_MAX)
        CLV_FAIL(error, CLV_E_DATA, "an epoch of %zu images is too long", count);
    shelves s = {0};
    const clv_status status = fill_shelves(data, &s, error);
    if (status == CLV_OK) {
        const size_t each = share(data);
        for (size_t k = 0; k < clvi_dataset_class_count(data); k++)
            draw_class(&s, k, each, key, epoch, s.drawn + k * each);
        clvi_philox_shuffle(key, epoch, (uint32_t)count, order);
        for (size_t i = 0; i < count; i++)
            order[i] = s.drawn[order[i]];
    }
    free_shelves(&s);
    return status;
}
