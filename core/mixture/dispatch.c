/* See dispatch.h; the kernels are in kernels/dispatch.cl. The images of an expert, its activations
 * and gradients stand behind those of the experts before it: room is needed for the assignments of
 * a batch, not for a batch of every expert. In inference only one expert's are needed at a time. */
#include "mixture/dispatch.h"

#include "ops/share.h"

#include <math.h>

/* An expert's images begin at a multiple of so many elements. */
enum { IMAGE_STEP = 64 };

struct clvi_dispatch {
    const clvi_site *site;
    size_t experts;
    int64_t most; /* assignments of a batch in training */
    clvi_slabs *slabs;
    clvi_buf *lists, *ids, *counts; /* [experts, batch], the same, [experts] */
    clvi_buf *images;               /* [most, image_elements] */
    uint64_t image_elements;        /* of one sample, of the expert that sees most */
    clvi_view route;                /* the last one */
    int64_t n;
    clvi_part_run run;  /* whose samples are sent */
    int32_t *count;     /* [experts], of the last route */
    uint64_t *places;   /* [experts] bytes in the slab */
    uint64_t *image_at; /* [experts] elements in `images` */
    clvi_view *views;   /* [forms]: of the expert that was fed last */
};

int64_t clvi_dispatch_most(const clv_route_desc *route, int64_t experts, int64_t n)
{
    const int64_t each = route->max_per_sample > 0 ? route->max_per_sample : experts;
    if (route->per_batch <= 0)
        return each * n;
    /* Rounded up for each expert; less 1e-9, so that rounding of the quotient adds none. */
    const double share = ceil(route->per_batch * (double)n / (double)experts - 1e-9);
    const int64_t most = experts * (int64_t)(share < (double)n ? share : (double)n);
    return most < each * n ? most : each * n;
}

clv_status clvi_dispatch_create(const clvi_site *site, size_t experts, int64_t most,
                                clvi_dispatch **out, clv_error *error)
{
    clvi_dispatch *d = clvi_calloc(1, sizeof *d);
    if (!d)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to send samples to %zu experts", experts);
    d->site = site;
    d->experts = experts;
    d->most = most;
    d->count = clvi_calloc(experts, sizeof *d->count);
    d->places = clvi_calloc(experts, sizeof *d->places);
    d->image_at = clvi_calloc(experts, sizeof *d->image_at);
    clv_status status = clvi_slabs_create(site->device, &d->slabs, error);
    if (status == CLV_OK && (!d->count || !d->places || !d->image_at))
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for %zu experts", experts);
    if (status != CLV_OK) {
        clvi_dispatch_destroy(d);
        return status;
    }
    *out = d;
    return CLV_OK;
}

void clvi_dispatch_destroy(clvi_dispatch *d)
{
    if (!d)
        return;
    clvi_slabs_destroy(d->slabs);
    clvi_buf_destroy(d->lists);
    clvi_buf_destroy(d->ids);
    clvi_buf_destroy(d->counts);
    clvi_buf_destroy(d->images);
    clvi_free(d->count);
    clvi_free(d->places);
    clvi_free(d->image_at);
    clvi_free(d->views);
    clvi_free(d);
}

clvi_slabs *clvi_dispatch_slabs(const clvi_dispatch *d)
{
    return d->slabs;
}

/* ---- Memory ---- */

/* Room for the training plans of all experts, one behind the other: each takes at most a·n_i + b,
 * and the n_i sum to at most `most`. Several plans of an expert share its place. */
static clv_status reserve(clvi_dispatch *d, const clvi_part *experts, clv_error *error)
{
    uint64_t steepest = 0, constants = 0;
    for (size_t i = 0; i < d->experts; i++) {
        const clvi_plan *plans[] = {experts[i].plans[CLVI_TRAIN], experts[i].later};
        uint64_t most = 0;
        for (int k = 0; k < 2; k++) {
            uint64_t per_sample, constant;
            if (!plans[k] || !clvi_plan_extent(plans[k], &per_sample, &constant))
                continue;
            steepest = per_sample > steepest ? per_sample : steepest;
            most = constant > most ? constant : most;
        }
        constants += most;
    }
    const uint64_t bytes = steepest * (uint64_t)d->most + constants;
    const uint64_t cap = clvi_device_get_info(d->site->device)->max_alloc_bytes;
    if (bytes > cap)
        CLV_FAIL(error, CLV_E_MEMORY,
                 "the activations of all experts together (%.0f MB) are larger than the largest "
                 "allocation of %s (%.0f MB)",
                 (double)bytes * 1e-6, clvi_device_get_info(d->site->device)->name,
                 (double)cap * 1e-6);
    return bytes > 0 ? clvi_slabs_reserve(d->slabs, bytes, error) : CLV_OK;
}

/* Of one sample in all forms that an expert sees. */
static uint64_t sample_elements(const clvi_dispatch *d, const clvi_part *p)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < p->form_count; i++)
        sum += (uint64_t)clvi_forms_elements(d->site->forms, p->forms[i]);
    return sum;
}

clv_status clvi_dispatch_commit(clvi_dispatch *d, const clvi_part *experts, clv_error *error)
{
    clvi_device *device = d->site->device;
    const size_t batch = (size_t)d->site->max_batch;
    const int64_t rows = d->site->train && d->most > (int64_t)batch ? d->most : (int64_t)batch;
    size_t forms = 0;
    for (size_t i = 0; i < d->experts; i++) {
        const uint64_t elements = sample_elements(d, &experts[i]);
        d->image_elements = elements > d->image_elements ? elements : d->image_elements;
        forms += experts[i].form_count;
    }
    d->views = clvi_calloc(clvi_forms_count(d->site->forms), sizeof *d->views);
    if (!d->views)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory to send images to %zu experts", d->experts);
    if (d->site->train)
        CLV_TRY(reserve(d, experts, error));
    CLV_TRY(clvi_buf_create(device, d->experts * batch * 4, "lists of samples", &d->lists, error));
    CLV_TRY(clvi_buf_create(device, d->experts * batch * 4, "their numbers", &d->ids, error));
    CLV_TRY(clvi_buf_create(device, d->experts * 4, "counts of samples", &d->counts, error));
    return clvi_buf_create(device, ((size_t)rows * d->image_elements + forms * IMAGE_STEP) * 4,
                           "routed images", &d->images, error);
}

uint64_t clvi_dispatch_bytes(const clvi_dispatch *d)
{
    return clvi_slabs_bytes(d->slabs) + clvi_buf_bytes(d->lists) + clvi_buf_bytes(d->ids) +
           clvi_buf_bytes(d->counts) + clvi_buf_bytes(d->images);
}

/* ---- Routing ---- */

/* Bytes that a plan takes for a batch of n; 0 where it needs no place. */
static uint64_t bytes_of(const clvi_plan *plan, int64_t n)
{
    uint64_t per_sample, constant;
    if (!plan || !clvi_plan_extent(plan, &per_sample, &constant))
        return 0;
    return per_sample * (uint64_t)n + constant;
}

/* Elements that n samples of a form take. */
static uint64_t form_room(const clvi_dispatch *d, size_t form, int64_t n)
{
    const uint64_t elements = (uint64_t)(clvi_forms_elements(d->site->forms, form) * n);
    return (elements + IMAGE_STEP - 1) / IMAGE_STEP * IMAGE_STEP;
}

static void place(clvi_dispatch *d, const clvi_part *experts, int mode)
{
    uint64_t at = 0, image = 0;
    for (size_t i = 0; i < d->experts; i++) {
        d->places[i] = at;
        d->image_at[i] = image;
        if (mode == CLVI_INFER || d->count[i] == 0)
            continue;
        const uint64_t first = bytes_of(experts[i].plans[CLVI_TRAIN], d->count[i]);
        const uint64_t second = bytes_of(experts[i].later, d->count[i]);
        at += first > second ? first : second;
        for (size_t k = 0; k < experts[i].form_count; k++)
            image += form_room(d, experts[i].forms[k], d->count[i]);
    }
}

clv_status clvi_dispatch_complete(const clvi_dispatch *d, clvi_view route, clvi_view logits,
                                  int64_t n, clv_error *error)
{
    const clvi_share share = clvi_share_of(n, 2 * (int64_t)d->experts, 1);
    clvi_launch l;
    clvi_launch_begin(&l, d->site->device, "dispatch", "dispatch_complete", "");
    clvi_arg_view(&l, route);
    clvi_arg_view(&l, logits.buf ? logits : route); /* a row of 0: all alike */
    clvi_arg_int(&l, (int32_t)n);
    clvi_arg_int(&l, (int32_t)d->experts);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}

clv_status clvi_dispatch_route(clvi_dispatch *d, const clvi_part *experts, clvi_view route,
                               const clvi_part_run *run, clv_error *error)
{
    int64_t sum = 0;
    clvi_launch l;
    clvi_launch_begin(&l, d->site->device, "dispatch", "dispatch_lists", "");
    clvi_arg_view(&l, (clvi_view){d->lists, 0});
    clvi_arg_view(&l, (clvi_view){d->ids, 0});
    clvi_arg_view(&l, (clvi_view){d->counts, 0});
    clvi_arg_view(&l, route);
    clvi_arg_view(&l, run->ids.buf ? run->ids : clvi_forms_ids(d->site->forms));
    clvi_arg_int(&l, (int32_t)run->n);
    clvi_arg_int(&l, (int32_t)d->experts);
    clvi_arg_int(&l, (int32_t)d->site->max_batch);
    CLV_TRY(clvi_launch_run(&l, d->experts, 1, 1, error));
    CLV_TRY(clvi_download(d->site->device, d->counts, 0, d->count, d->experts * sizeof *d->count,
                          error));
    for (size_t i = 0; i < d->experts; i++)
        sum += d->count[i];
    /* In inference one expert at a time needs memory, and somebody may ask for more of them. */
    if (run->mode == CLVI_TRAIN && sum > d->most)
        CLV_FAIL(error, CLV_E_PLUGIN,
                 "the gate sends %lld samples of %lld to experts, where its route declares at most "
                 "%lld",
                 (long long)sum, (long long)run->n, (long long)d->most);
    d->route = route;
    d->n = run->n;
    d->run = *run;
    place(d, experts, run->mode);
    return CLV_OK;
}

void clvi_dispatch_assume(clvi_dispatch *d, clvi_view route, int64_t n)
{
    memset(d->count, 0, d->experts * sizeof *d->count);
    d->route = route;
    d->n = n;
}

int64_t clvi_dispatch_count(const clvi_dispatch *d, size_t expert)
{
    return d->count[expert];
}

clvi_bank_rows clvi_dispatch_rows(const clvi_dispatch *d, size_t expert)
{
    return (clvi_bank_rows){d->count[expert], {d->lists, expert * (uint64_t)d->site->max_batch}};
}

clv_status clvi_dispatch_feed(clvi_dispatch *d, const clvi_part *experts, size_t expert,
                              clvi_part_run *run, clv_error *error)
{
    const clvi_part *p = &experts[expert];
    const clvi_bank_rows rows = clvi_dispatch_rows(d, expert);
    uint64_t at = d->image_at[expert];
    for (size_t k = 0; k < p->form_count; k++) {
        const size_t form = p->forms[k];
        d->views[form] = (clvi_view){d->images, at};
        at += form_room(d, form, d->count[expert]);
        CLV_TRY(clvi_bank_gather(d->site->device, clvi_forms_elements(d->site->forms, form),
                                 clvi_part_image(d->site, &d->run, form), d->views[form], rows,
                                 error));
    }
    run->n = d->count[expert];
    run->images = d->views;
    run->ids = (clvi_view){d->ids, expert * (uint64_t)d->site->max_batch};
    clvi_plan *const plans[] = {p->plans[CLVI_TRAIN], p->later};
    for (int k = 0; k < 2 && run->mode == CLVI_TRAIN; k++)
        if (plans[k])
            clvi_plan_place(plans[k], d->places[expert]);
    return CLV_OK;
}

clv_status clvi_dispatch_mask(const clvi_dispatch *d, clvi_view seed, clv_error *error)
{
    const clvi_share share = clvi_share_of(d->n, (int64_t)d->experts, 1);
    clvi_launch l;
    clvi_launch_begin(&l, d->site->device, "dispatch", "dispatch_mask", "");
    clvi_arg_view(&l, seed);
    clvi_arg_view(&l, d->route);
    clvi_arg_int(&l, (int32_t)d->n);
    clvi_arg_int(&l, (int32_t)d->experts);
    clvi_arg_int(&l, share.items);
    return clvi_launch_run(&l, share.groups, 1, 1, error);
}
