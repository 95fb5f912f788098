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

static clv_status probe_all(rig *r, probe *p, wrong_list *wrong, int *parameters, clv_error *error)
{
    for (size_t place = 0; place < rig_count(r); place++) {
        probe_answer answer;
        if (!rig_has_grad(r, place))
            continue;
        CLV_TRY(probe_place(p, place, 0, &answer, error));
        if (answer.verdict == PROBE_DIFFERS)
            add_wrong(wrong, rig_name(r, place), &answer);
        ++*parameters;
    }
    return CLV_OK;
}

void check_gradients(check *c)
{
    const rig_desc desc = {.device = c->device,
                           .graph = c->train,
                           .mode = CLV_MODE_TRAIN,
                           .batch = CHECK_BATCH,
                           .only = -1};
    clv_error error = CLV_ERROR_INIT;
    wrong_list wrong = {0};
    int parameters = 0;
    rig r;
    probe p = {.r = NULL};
    clv_status status = rig_open(&r, &desc, &error);
    if (status == CLV_OK)
        status = probe_open(&p, &r, CHECK_BATCH, 0.02, &error);
    if (status == CLV_OK)
        status = probe_all(&r, &p, &wrong, &parameters, &error);
    if (check_works(c, status, &error)) {
        const int directions = p.judged + p.unclear;
        if (wrong.count > 0)
            check_bad(c, "%d of %d parameters have a wrong gradient: %s", wrong.count, parameters,
                      wrong.text);
        else if (parameters == 0)
            check_note(c, "no parameters");
        else if (2 * p.unclear > directions)
            check_note(c,
                       "%d of %d directions of %d parameters cannot be judged: too many kinks or "
                       "too small",
                       p.unclear, directions, parameters);
        else if (p.unclear > 0)
            check_ok(c,
                     "%d parameters agree with central differences along %d directions; %d more "
                     "cannot be judged",
                     parameters, p.judged, p.unclear);
        else
            check_ok(c, "%d parameters agree with central differences along %d directions",
                     parameters, p.judged);
    }
    probe_close(&p);
    rig_close(&r);
}
