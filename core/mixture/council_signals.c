/* See council_signals.h. */
#include "mixture/council_signals.h"

#include "mixture/copies.h"
#include "mixture/council_impl.h"

/* ---- Parameters ---- */

/* A kernel counts elements in int. */
static const int64_t longest = (int64_t)1 << 30;

/* Networks of an expert, more than one where it is a mixture, or (index = experts) of the gate. */
static size_t network_count(const clvi_council *c, size_t index)
{
    const bool nested = index < clvi_council_expert_count(c) && clvi_council_nested(c, index);
    return nested ? clvi_council_leaf_count(clvi_council_nested(c, index)) : 1;
}

static const clvi_part *network(const clvi_council *c, size_t index, size_t which)
{
    const bool nested = index < clvi_council_expert_count(c) && clvi_council_nested(c, index);
    return nested ? clvi_council_leaf(clvi_council_nested(c, index), which)
                  : clvi_council_part(c, index);
}

/* Two networks, perhaps the same one, and how far their variables have been gone through. */
typedef struct walk {
    const clvi_store *store;
    const clvi_part *parts[2];
    uint32_t epoch; /* what trains in it; UINT32_MAX: what trains at some time */
    size_t next;
} walk;

/* Network `which` of two experts, or of the gate. */
static walk walk_of(const clvi_council *c, size_t first, size_t second, size_t which,
                    uint32_t epoch)
{
    return (walk){.store = c->site.store,
                  .parts = {network(c, first, which), network(c, second, which)},
                  .epoch = epoch};
}

static const clvi_segment *segment(const walk *w, int which, size_t variable)
{
    return clvi_store_segment(w->store, w->parts[which]->base + variable);
}

static bool trains(const walk *w, int which, size_t variable)
{
    return segment(w, which, variable)->trainable &&
           clvi_part_trains(w->parts[which], variable, w->epoch);
}

/* Whether variable v lies behind the piece that began with variable `first` as in the other part,
 * with nothing but padding in between, which is 0. */
static bool goes_on(const walk *w, size_t first, size_t v)
{
    const clvi_segment *begin[2] = {segment(w, 0, first), segment(w, 1, first)};
    const clvi_segment *now[2] = {segment(w, 0, v), segment(w, 1, v)};
    const uint64_t length = now[0]->offset - begin[0]->offset;
    return now[0]->slab == begin[0]->slab && now[1]->slab == begin[1]->slab &&
           now[1]->offset - begin[1]->offset == length &&
           (int64_t)length + now[0]->elements <= longest;
}

/* The next piece: variables first … of the elements; false: there is none. */
static bool next_piece(walk *w, size_t *first, int64_t *elements)
{
    const size_t count = w->parts[0]->variables;
    while (w->next < count && !trains(w, 0, w->next))
        w->next++;
    if (w->next >= count)
        return false;
    *first = w->next;
    for (; w->next < count; w->next++) {
        const clvi_segment *s = segment(w, 0, w->next);
        if (!s->trainable)
            continue; /* lies elsewhere */
        if (!trains(w, 0, w->next) || (w->next > *first && !goes_on(w, *first, w->next)))
            break;
        *elements = (int64_t)(s->offset - segment(w, 0, *first)->offset) + s->elements;
    }
    return true;
}

/* Whether two experts are of one architecture and the same of them trains. */
static bool are_alike(const clvi_council *c, size_t first, size_t second, uint32_t epoch)
{
    const size_t count = network_count(c, first);
    bool alike = count == network_count(c, second);
    for (size_t k = 0; alike && k < count; k++) {
        const walk w = walk_of(c, first, second, k, epoch);
        alike = clvi_copies_same_variables(w.parts[0]->graphs[CLVI_TRAIN],
                                           w.parts[1]->graphs[CLVI_TRAIN]);
        for (size_t v = 0; alike && v < w.parts[0]->variables; v++)
            alike = trains(&w, 0, v) == trains(&w, 1, v);
    }
    return alike;
}

static size_t gate_count(const clvi_council *council)
{
    return clvi_council_expert_count(council) + clvi_council_gated(council);
}

/* Elements of the longest piece there will be. */
static int64_t longest_piece(const clvi_council *council)
{
    int64_t most = 0, elements = 0;
    size_t first;
    for (size_t i = 0; i < gate_count(council); i++)
        for (size_t k = 0; k < network_count(council, i); k++) {
            walk w = walk_of(council, i, i, k, UINT32_MAX);
            while (next_piece(&w, &first, &elements))
                most = elements > most ? elements : most;
        }
    return most;
}

int64_t clvi_council_signals_elements(const clvi_council *council, size_t index, uint32_t epoch)
{
    int64_t sum = 0;
    if (index >= gate_count(council))
        return 0;
    for (size_t k = 0; k < network_count(council, index); k++) {
        const walk w = walk_of(council, index, index, k, epoch);
        for (size_t v = 0; v < w.parts[0]->variables; v++)
            sum += trains(&w, 0, v) ? segment(&w, 0, v)->elements : 0;
    }
    return sum;
}

/* What a call of clvi_council_signals_add_parameters looks at. */
typedef struct look {
    clvi_signals *signals;
    clvi_store_kind kind;
    double factor;
    uint32_t epoch;
} look;

/* The pieces of a walk; *begins: none was yet. */
static clv_status add_pieces(const look *at, walk w, size_t first, size_t second, bool *begins,
                             clv_error *error)
{
    size_t variable;
    int64_t elements = 0;
    while (next_piece(&w, &variable, &elements)) {
        clvi_signals_piece piece = {.elements = elements};
        for (int k = 0; k < 2; k++) {
            const size_t index = w.parts[k]->base + variable;
            piece.gradients[k] = clvi_store_view(w.store, index, at->kind);
            piece.values[k] = clvi_store_view(w.store, index, CLVI_STORE_VALUE);
        }
        CLV_TRY(clvi_signals_add_product(at->signals, first, second, &piece, at->factor, *begins,
                                         error));
        *begins = false;
    }
    return CLV_OK;
}

static clv_status add_pair(const look *at, const clvi_council *c, size_t first, size_t second,
                           clv_error *error)
{
    bool begins = true;
    for (size_t k = 0; k < network_count(c, first); k++)
        CLV_TRY(
            add_pieces(at, walk_of(c, first, second, k, at->epoch), first, second, &begins, error));
    return CLV_OK;
}

clv_status clvi_council_signals_add_parameters(const clvi_council *council, clvi_signals *signals,
                                               clvi_store_kind kind, double factor, uint32_t epoch,
                                               clv_error *error)
{
    const look at = {signals, kind, factor, epoch};
    const size_t experts = clvi_council_expert_count(council);
    for (size_t i = 0; i < gate_count(council); i++)
        for (size_t j = i; j == i || (i < experts && j < experts); j++)
            if (i == j || are_alike(council, i, j, epoch))
                CLV_TRY(add_pair(&at, council, i, j, error));
    return CLV_OK;
}

/* ---- A step ---- */

clv_status clvi_council_signals_create(const clvi_council *c, clvi_signals **out, clv_error *error)
{
    const clvi_signals_desc desc = {.device = c->site.device,
                                    .fusion = &c->fusion,
                                    .classes = c->site.classes,
                                    .max_batch = c->site.max_batch,
                                    .answers = clvi_council_experts_answer(c),
                                    .most_product = longest_piece(c)};
    return clvi_signals_create(&desc, out, error);
}

clv_status clvi_council_signals_add(const clvi_council *c, clvi_signals *signals, clv_error *error)
{
    const clvi_view none = {NULL, 0};
    return clvi_signals_add(signals, clvi_council_route(c),
                            clvi_council_has_expert_logits(c) ? clvi_council_expert_logits(c)
                                                              : none,
                            c->run.labels, c->run.part.n, error);
}

clv_status clvi_council_signals_add_sent(const clvi_council *c, clvi_signals *signals, double share,
                                         clv_error *error)
{
    const clvi_view sent = {c->banks[CLVI_LOGITS].grads, 0};
    if (c->fusion.term_count == 0 || !sent.buf)
        return CLV_OK;
    return clvi_signals_add_gradients(signals, sent, c->run.part.n, share, error);
}
