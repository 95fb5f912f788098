/* See likeness.h. */
#include "likeness.h"

#include "show.h"

#include "base/process.h"
#include "mixture/usage.h"

static const char *const texts[CLI_LIKENESS_COUNT] = {"confidence", "gate entropy"};
static const char *const keys[CLI_LIKENESS_COUNT] = {"confidence", "gate_entropy"};

void cli_likeness_fini(cli_likeness *l)
{
    for (int i = 0; i < CLI_LIKENESS_COUNT; i++) {
        clvi_likeness_fini(&l->known[i]);
        clvi_likeness_fini(&l->given[i]);
    }
    clvi_free(l->gate);
}

/* ---- Taking ---- */

static clv_status take_known(cli_likeness *l, const clvi_predictions *from, clv_error *error)
{
    for (size_t i = 0; i < from->count; i++) {
        CLV_TRY(clvi_likeness_add(&l->known[CLI_LIKENESS_CONFIDENCE], from->items[i].confidence,
                                  error));
        CLV_TRY(
            clvi_likeness_add(&l->known[CLI_LIKENESS_GATE], from->items[i].gate_entropy, error));
    }
    return CLV_OK;
}

clv_status cli_likeness_begin(cli_likeness *l, clvi_model *model, int64_t max_batch,
                              clv_error *error)
{
    clvi_predictions validation = {0};
    const clvi_mixture *mixture = clvi_model_mixture(model);
    CLV_TRY(clvi_model_validation(model, &validation, error));
    const clv_status status = take_known(l, &validation, error);
    clvi_predictions_fini(&validation);
    CLV_TRY(status);
    l->wanted = l->known[CLI_LIKENESS_CONFIDENCE].count > 0;
    if (!l->wanted || !clvi_mixture_has_gate(mixture))
        return CLV_OK;
    l->gate = clvi_malloc((size_t)max_batch * clvi_mixture_expert_count(mixture) * sizeof *l->gate);
    if (l->gate == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the gate's weights");
    return CLV_OK;
}

clv_status cli_likeness_take(cli_likeness *l, clvi_model *model, const float *logits, size_t n,
                             clv_error *error)
{
    clvi_mixture *mixture = clvi_model_mixture(model);
    const int classes = (int)clvi_model_class_count(model);
    const size_t experts = clvi_mixture_expert_count(mixture);
    if (!l->wanted)
        return CLV_OK;
    if (l->gate != NULL)
        CLV_TRY(clvi_mixture_route(mixture, l->gate, error));
    for (size_t i = 0; i < n; i++) {
        CLV_TRY(clvi_likeness_add(
            &l->given[CLI_LIKENESS_CONFIDENCE],
            clvi_confidence(logits + i * (size_t)classes, classes, clvi_model_temperature(model)),
            error));
        if (l->gate != NULL)
            CLV_TRY(clvi_likeness_add(&l->given[CLI_LIKENESS_GATE],
                                      clvi_usage_entropy(l->gate + i * experts, (int)experts),
                                      error));
    }
    return CLV_OK;
}

/* ---- Telling ---- */

static void warn(const char *what, const clvi_likeness *r)
{
    clvi_log(CLVI_LOG_WARN,
             "these images are unlike what the run was trained on: their %s (mean %.3f, of the "
             "run's validation images %.3f) says that at least %.0f %% of them differ from those, "
             "more than the %.0f %% that chance and a usual test set explain; trust the answers "
             "less, look at the images, or train with such images too",
             what, r->mean, r->known_mean, 100 * r->difference, 100 * r->threshold);
}

void cli_likeness_end(cli_likeness *l)
{
    for (int i = 0; i < CLI_LIKENESS_COUNT; i++) {
        l->compared[i] = clvi_likeness_compare(&l->known[i], &l->given[i], &l->result[i]);
        if (l->compared[i] && l->result[i].unlike)
            warn(texts[i], &l->result[i]);
    }
}

clv_status cli_likeness_print(const cli_likeness *l, clv_error *error)
{
    static const cli_column columns[] = {
        {"beside validation", false, false}, {"mean", true, false},
        {"of validation", true, false},      {"differs for", true, false},
        {"warns above", true, false},        {"verdict", false, false}};
    cli_table table;
    char number[CLI_NUMBER_BYTES];
    if (!l->compared[CLI_LIKENESS_CONFIDENCE])
        return CLV_OK;
    CLV_TRY(cli_table_init(&table, columns, sizeof columns / sizeof *columns, error));
    for (int i = 0; i < CLI_LIKENESS_COUNT; i++) {
        const clvi_likeness *r = &l->result[i];
        if (!l->compared[i])
            continue;
        cli_table_cell(&table, "%s", texts[i]);
        cli_table_cell(&table, "%s", cli_show_figure(r->mean, number));
        cli_table_cell(&table, "%s", cli_show_figure(r->known_mean, number));
        cli_table_cell(&table, "%s", cli_show_percent(r->difference, number));
        if (r->threshold < 1)
            cli_table_cell(&table, "%s", cli_show_percent(r->threshold, number));
        else
            cli_table_cell(&table, "-");
        cli_table_cell(&table, "%s",
                       r->unlike           ? "unlike"
                       : r->threshold >= 1 ? "too few images to tell"
                                           : "like those");
    }
    puts("");
    return cli_table_print(&table, stdout, error);
}

static json_t *one_json(const clvi_likeness *r)
{
    return json_pack("{s:I, s:f, s:I, s:f, s:f, s:f, s:b}", "images", (json_int_t)r->images, "mean",
                     r->mean, "validation_images", (json_int_t)r->known_images, "validation_mean",
                     r->known_mean, "difference", r->difference, "threshold", r->threshold,
                     "unlike", r->unlike);
}

json_t *cli_likeness_json(const cli_likeness *l)
{
    bool unlike = false;
    if (!l->compared[CLI_LIKENESS_CONFIDENCE])
        return json_null();
    json_t *json = json_object();
    for (int i = 0; json != NULL && i < CLI_LIKENESS_COUNT; i++) {
        unlike = unlike || (l->compared[i] && l->result[i].unlike);
        if (json_object_set_new(json, keys[i],
                                l->compared[i] ? one_json(&l->result[i]) : json_null()) != 0) {
            json_decref(json);
            return NULL;
        }
    }
    if (json != NULL && json_object_set_new(json, "unlike", json_boolean(unlike)) != 0) {
        json_decref(json);
        return NULL;
    }
    return json;
}
