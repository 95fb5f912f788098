/* Every parameter of a plugin's network against central differences; see probe.h. */
#include "check/probe.h"

/* The wrong ones by name, the first three. */
typedef struct wrong_list {
    int count;
    char text[400];
} wrong_list;

static void add_wrong(wrong_list *list, const char *name, const probe_answer *answer)
{
    const size_t used = strlen(list->text);
    if (list->count++ < 3)
        snprintf(list->text + used, sizeof(list->text) - used,
                 "%s%s (slope %.4g, by differences %.4g)", used > 0 ? ", " : "", name,
                 answer->given, answer->found);
}

/* What was found, of all graphs. */
typedef struct tally {
    wrong_list wrong;
    int parameters, judged, unclear;
} tally;

static clv_status probe_all(rig *r, probe *p, tally *t, clv_error *error)
{
    for (size_t place = 0; place < rig_count(r); place++) {
        probe_answer answer;
        if (!rig_has_grad(r, place))
            continue;
        CLV_TRY(probe_place(p, place, 0, &answer, error));
        if (answer.verdict == PROBE_DIFFERS)
            add_wrong(&t->wrong, rig_name(r, place), &answer);
        t->parameters++;
    }
    return CLV_OK;
}

static clv_status probe_graph(const check *c, const clv_graph *graph, tally *t, clv_error *error)
{
    const rig_desc desc = {.device = c->device,
                           .graph = graph,
                           .mode = CLV_MODE_TRAIN,
                           .batch = CHECK_BATCH,
                           .only = -1};
    rig r;
    probe p = {.r = NULL};
    clv_status status = rig_open(&r, &desc, error);
    if (status == CLV_OK)
        status = probe_open(&p, &r, CHECK_BATCH, 0.02, error);
    if (status == CLV_OK)
        status = probe_all(&r, &p, t, error);
    t->judged += p.judged;
    t->unclear += p.unclear;
    probe_close(&p);
    rig_close(&r);
    return status;
}

/* A sparse gate once more with so few experts that each sample goes to all of them, where it builds
 * for so few. */
static clv_status probe_all_chosen(const check *c, tally *t, clv_error *error)
{
    const clv_route_desc *route = &c->train->route;
    clv_build_input input = c->input;
    clv_graph *graph = NULL;
    clv_error refusal = CLV_ERROR_INIT;
    if (!route->sparse || route->max_per_sample < 2 || route->max_per_sample == input.experts)
        return CLV_OK;
    input.experts = route->max_per_sample;
    if (check_build(c, &input, CLV_MODE_TRAIN, &graph, &refusal) != CLV_OK)
        return CLV_OK; /* its right: check_shapes knows */
    const clv_status status = probe_graph(c, graph, t, error);
    clvi_graph_destroy(graph);
    return status;
}

void check_gradients(check *c)
{
    clv_error error = CLV_ERROR_INIT;
    tally t = {.parameters = 0};
    clv_status status = probe_graph(c, c->train, &t, &error);
    if (status == CLV_OK)
        status = probe_all_chosen(c, &t, &error);
    if (!check_works(c, status, &error))
        return;
    if (t.wrong.count > 0)
        check_bad(c, "%d of %d parameters have a wrong gradient: %s", t.wrong.count, t.parameters,
                  t.wrong.text);
    else if (t.parameters == 0)
        check_note(c, "no parameters");
    else if (2 * t.unclear > t.judged + t.unclear)
        check_note(c,
                   "%d of %d directions of %d parameters cannot be judged: too many kinks or "
                   "too small",
                   t.unclear, t.judged + t.unclear, t.parameters);
    else if (t.unclear > 0)
        check_ok(c,
                 "%d parameters agree with central differences along %d directions; %d more "
                 "cannot be judged",
                 t.parameters, t.judged, t.unclear);
    else
        check_ok(c, "%d parameters agree with central differences along %d directions",
                 t.parameters, t.judged);
}
