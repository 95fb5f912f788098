/* See fusion.h. */
#include "mixture/fusion.h"

#include "base/process.h"
#include "base/text.h"

#include <stdio.h>

/* ---- Terms ---- */

static const clvi_term_spec specs[] = {
    {"ce", CLVI_TERM_CE, NULL, NULL},
    {"cooperative", CLVI_TERM_EXPERTS, "cooperative", NULL},
    {"competitive", CLVI_TERM_EXPERTS, "competitive", NULL},
    {"competitive_ce", CLVI_TERM_EXPERTS, "competitive_ce", NULL},
    {"jacobs_mse", CLVI_TERM_EXPERTS, "jacobs_mse", NULL},
    {"jacobs_ce", CLVI_TERM_EXPERTS, "jacobs_ce", NULL},
    {"mixture_nll", CLVI_TERM_EXPERTS, "jacobs_ce", NULL},
    {"expert_ce", CLVI_TERM_EXPERTS, "expert_ce", NULL},
    {"importance", CLVI_TERM_BALANCE, "variation", "route"},
    {"load", CLVI_TERM_BALANCE, "variation", "load_prob"},
    {"switch", CLVI_TERM_BALANCE, "switch", "gate_logits"},
    {"z_loss", CLVI_TERM_BALANCE, "z_loss", "gate_logits"},
    {"entropy", CLVI_TERM_BALANCE, "entropy", "gate_logits"},
    {"kl_uniform", CLVI_TERM_BALANCE, "kl_uniform", "gate_logits"},
};
enum { SPECS = sizeof specs / sizeof *specs };

bool clvi_fusion_learns(const clvi_fusion *f, const char *term)
{
    for (size_t i = 0; i < f->term_count; i++)
        if (strcmp(f->terms[i].spec->name, term) == 0)
            return true;
    return false;
}

static clv_status unknown_term(const clvi_config *config, const char *word, clv_error *error)
{
    const char *names[SPECS];
    clvi_text list = {0};
    for (int i = 0; i < SPECS; i++) {
        names[i] = specs[i].name;
        clvi_text_printf(&list, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = clvi_nearest(word, names, SPECS);
    const clv_status status =
        near != NULL
            ? clvi_config_fail(config, "loss", "terms", error,
                               "'%s' is no known loss; did you mean %s?", word, near)
            : clvi_config_fail(config, "loss", "terms", error,
                               "'%s' is no known loss; there are %s", word, clvi_text_get(&list));
    clvi_text_fini(&list);
    return status;
}

/* "ce" or "ce:0.5", without blanks around it. */
static clv_status read_term(const clvi_config *config, char *word, clvi_fusion *f, clv_error *error)
{
    clvi_term term = {NULL, 1};
    char *colon = strchr(word, ':');
    if (colon)
        *colon = '\0';
    for (int i = 0; i < SPECS && term.spec == NULL; i++)
        if (clvi_name_equal(word, specs[i].name))
            term.spec = &specs[i];
    if (term.spec == NULL)
        return unknown_term(config, word, error);
    if (colon && (!clvi_parse_real(colon + 1, &term.weight) || !(term.weight > 0)))
        return clvi_config_fail(config, "loss", "terms", error,
                                "'%s' is no weight; give a number above 0, such as %s:1", colon + 1,
                                term.spec->name);
    if (clvi_fusion_learns(f, term.spec->name))
        return clvi_config_fail(config, "loss", "terms", error, "%s stands there twice",
                                term.spec->name);
    if (f->term_count == CLVI_MAX_TERMS)
        return clvi_config_fail(config, "loss", "terms", error, "there are more than %d",
                                CLVI_MAX_TERMS);
    f->terms[f->term_count++] = term;
    f->experts_learn |= term.spec->kind == CLVI_TERM_EXPERTS;
    return CLV_OK;
}

static clv_status read_terms(const clvi_config *config, clvi_fusion *f, clv_error *error)
{
    for (const char *at = clvi_config_text(config, "loss", "terms");;) {
        char word[64] = "";
        size_t length = strcspn(at, ",");
        const char *next = at[length] != '\0' ? at + length + 1 : NULL;
        for (; length > 0 && *at == ' '; length--)
            at++;
        while (length > 0 && at[length - 1] == ' ')
            length--;
        memcpy(word, at, length < sizeof word ? length : sizeof word - 1);
        CLV_TRY(read_term(config, word, f, error));
        if (next == NULL)
            return CLV_OK;
        at = next;
    }
}

/* ---- Which loss goes with which fusion ---- */

bool clvi_fusion_has_layer(const clvi_fusion *f)
{
    return f->experts > 1 && (f->feature || f->combine == CLVI_CONCAT);
}

bool clvi_fusion_experts_answer(const clvi_fusion *f)
{
    return !clvi_fusion_has_layer(f) || f->experts_learn;
}

/* Product counts as weighted logits, which it is. */
static bool weighs(const clvi_fusion *f)
{
    return !f->feature &&
           (f->combine == CLVI_WEIGHTED || f->combine == CLVI_MEAN || f->combine == CLVI_PRODUCT);
}

static bool weighs_probabilities(const clvi_fusion *f)
{
    return weighs(f) && f->combine != CLVI_PRODUCT && f->probabilities;
}

/* "mixture.fusion = feature", "mixture.combine = max, mixture.scores = logits": for messages. */
static const char *describe(const clvi_config *config, const clvi_fusion *f, char *out, size_t size)
{
    if (f->experts == 1)
        snprintf(out, size, "one expert");
    else if (f->feature)
        snprintf(out, size, "mixture.fusion = feature");
    else
        snprintf(out, size, "mixture.combine = %s, mixture.scores = %s",
                 clvi_config_text(config, "mixture", "combine"),
                 f->probabilities ? "probabilities" : "logits");
    return out;
}

static bool is_squared(const clvi_term_spec *spec)
{
    return strcmp(spec->name, "cooperative") == 0 || strcmp(spec->name, "competitive") == 0 ||
           strcmp(spec->name, "jacobs_mse") == 0;
}

/* Jacobs' posterior and the likelihood: allowed beside ce where a layer fuses. */
static bool is_posterior(const clvi_term_spec *spec)
{
    return strncmp(spec->name, "jacobs_", 7) == 0 || strcmp(spec->name, "mixture_nll") == 0;
}

/* Whether this term alone can teach the fusion. */
static bool teaches(const clvi_fusion *f, const clvi_term_spec *spec)
{
    if (spec->kind == CLVI_TERM_CE)
        return true;
    if (spec->kind == CLVI_TERM_BALANCE || strcmp(spec->name, "expert_ce") == 0 ||
        f->experts == 1 || clvi_fusion_has_layer(f) || !weighs(f))
        return false;
    if (weighs_probabilities(f))
        return !is_squared(spec) || !f->target_logits;
    return is_squared(spec) && f->target_logits;
}

/* Whether it may stand beside one that does. */
static bool allowed(const clvi_fusion *f, const clvi_term_spec *spec)
{
    if (spec->kind == CLVI_TERM_CE)
        return true;
    if (f->experts == 1)
        return false;
    if (spec->kind == CLVI_TERM_BALANCE || strcmp(spec->name, "expert_ce") == 0)
        return true;
    if (clvi_fusion_has_layer(f))
        return is_posterior(spec);
    return weighs(f);
}

static const char *wanted(const clvi_fusion *f)
{
    if (f->experts == 1)
        return "ce";
    if (weighs_probabilities(f))
        return "one of ce, mixture_nll, jacobs_ce, competitive_ce, or, with loss.target_space = "
               "probabilities, jacobs_mse, competitive, cooperative";
    if (!clvi_fusion_has_layer(f) && weighs(f))
        return "ce, or, with loss.target_space = logits, jacobs_mse, competitive, cooperative";
    return "ce";
}

static clv_status check_terms(const clvi_config *config, const clvi_fusion *f, clv_error *error)
{
    char fusion[96];
    bool taught = false;
    describe(config, f, fusion, sizeof fusion);
    for (size_t i = 0; i < f->term_count; i++) {
        const clvi_term_spec *spec = f->terms[i].spec;
        taught |= teaches(f, spec);
        if (!allowed(f, spec))
            return clvi_config_fail(config, "loss", "terms", error, "%s does not go with %s",
                                    spec->name, fusion);
    }
    if (!taught)
        return clvi_config_fail(config, "loss", "terms", error,
                                "'%s' cannot teach %s; needed is %s",
                                clvi_config_text(config, "loss", "terms"), fusion, wanted(f));
    if (weighs_probabilities(f) && clvi_fusion_learns(f, "ce") &&
        clvi_fusion_learns(f, "mixture_nll"))
        return clvi_config_fail(config, "loss", "terms", error,
                                "ce and mixture_nll are the same with %s; name one", fusion);
    return CLV_OK;
}

static const double usual_beta = 0.5; /* the default, which a dump writes */

/* Keys that belong to terms that are not there mean nothing. */
static clv_status check_keys(const clvi_config *config, const clvi_fusion *f, clv_error *error)
{
    static const char *const squared[] = {"target_space", "distance"};
    bool any = false;
    for (size_t i = 0; i < f->term_count; i++)
        any |= is_squared(f->terms[i].spec);
    if (f->beta != usual_beta && !clvi_fusion_learns(f, "jacobs_ce"))
        return clvi_config_fail(config, "loss", "beta", error,
                                "jacobs_ce is none of loss.terms (%s)",
                                clvi_config_text(config, "loss", "terms"));
    for (int i = 0; i < 2 && !any; i++)
        if (clvi_config_given(config, "loss", squared[i]) &&
            (i == 0 ? f->target_logits : f->distance_mean))
            return clvi_config_fail(config, "loss", squared[i], error,
                                    "none of loss.terms (%s) is a squared distance",
                                    clvi_config_text(config, "loss", "terms"));
    return CLV_OK;
}

clv_status clvi_fusion_read(const clvi_config *config, clvi_fusion *out, clv_error *error)
{
    clvi_fusion f = {.experts = clvi_config_expert_count(config)};
    static const char *const rules[] = {"concat", "weighted", "mean", "product", "product_rule",
                                        "max",    "median",   "min",  "vote"};
    const char *rule = clvi_config_text(config, "mixture", "combine");
    f.gated = f.experts > 1 && clvi_config_text(config, "gate", "plugin")[0] != '\0';
    f.feature =
        f.experts > 1 && strcmp(clvi_config_text(config, "mixture", "fusion"), "feature") == 0;
    while (strcmp(rules[f.combine], rule) != 0)
        f.combine++;
    f.probabilities = strcmp(clvi_config_text(config, "mixture", "scores"), "probabilities") == 0;
    f.dropout = f.experts > 1 ? clvi_config_real(config, "mixture", "dropout") : 0;
    f.beta = clvi_config_real(config, "loss", "beta");
    f.smoothing = clvi_config_real(config, "loss", "label_smoothing");
    f.target_logits = strcmp(clvi_config_text(config, "loss", "target_space"), "logits") == 0;
    f.distance_mean = strcmp(clvi_config_text(config, "loss", "distance"), "mean") == 0;
    if (f.feature && f.combine != CLVI_WEIGHTED) /* the default, which a dump writes */
        return clvi_config_fail(config, "mixture", "combine", error,
                                "mixture.fusion = feature combines features by a layer; leave "
                                "combine out or write fusion = score");
    if (f.dropout > 0 && !clvi_fusion_has_layer(&f))
        return clvi_config_fail(config, "mixture", "dropout", error,
                                "mixture.combine = %s has no layer to drop inputs of; it is for "
                                "fusion = feature and combine = concat",
                                rule);
    CLV_TRY(read_terms(config, &f, error));
    f.experts_learn &= clvi_config_scope(config)[0] == '\0'; /* of others it has no meaning */
    *out = f;
    return CLV_OK;
}

/* ---- With the networks known ---- */

static clv_status check_balance(const clvi_config *config, const clvi_fusion_facts *facts,
                                const clvi_fusion *f, clv_error *error)
{
    for (size_t i = 0; i < f->term_count; i++) {
        const clvi_term_spec *spec = f->terms[i].spec;
        if (spec->kind != CLVI_TERM_BALANCE)
            continue;
        const char *plugin = clvi_config_text(config, "gate", "plugin");
        if (!f->gated)
            return clvi_config_fail(config, "loss", "terms", error,
                                    "%s balances a gate, and there is no gate.plugin", spec->name);
        if (!facts->gate_trainable)
            return clvi_config_fail(config, "loss", "terms", error,
                                    "%s cannot teach gate.plugin = %s, which has nothing trainable",
                                    spec->name, plugin);
        if (strcmp(spec->reads, "load_prob") == 0 && !facts->load_prob)
            return clvi_config_fail(
                config, "loss", "terms", error,
                "load needs probabilities of being chosen, which gate.plugin = "
                "%s does not give with these options: it has to draw noise, and "
                "to choose by it alone (no balance_bias) fewer than all experts",
                plugin);
        if (strcmp(spec->reads, "gate_logits") == 0 && !facts->gate_logits)
            return clvi_config_fail(config, "loss", "terms", error,
                                    "%s reads gate_logits, which gate.plugin = %s does not offer",
                                    spec->name, plugin);
    }
    return CLV_OK;
}

/* Where the weights of a sample need not sum to 1, Σ G p is no probability. */
static clv_status check_route(const clvi_config *config, const clvi_fusion_facts *facts,
                              const clvi_fusion *f, clv_error *error)
{
    if (!f->gated || facts->sums_to_one || !weighs_probabilities(f))
        return CLV_OK;
    return clvi_config_fail(
        config, "mixture", "scores", error,
        "the weights of gate.plugin = %s need not sum to 1, so that weighted "
        "probabilities are none; write mixture.scores = logits and loss.terms = "
        "ce",
        clvi_config_text(config, "gate", "plugin"));
}

/* A gate that trains, of which the prediction tells nothing: it gives one expert per sample the
 * weight 1, or the rule does not weigh. Only terms that balance may reach it. */
static clv_status check_reach(const clvi_config *config, const clvi_fusion_facts *facts,
                              const clvi_fusion *f, clv_error *error)
{
    const bool single = facts->sparse && facts->all_or_nothing && facts->max_per_sample == 1;
    const bool deaf = !f->feature && (f->combine == CLVI_PRODUCT_RULE || f->combine == CLVI_MAX);
    const char *gate = clvi_config_text(config, "gate", "plugin"),
               *rule = clvi_config_text(config, "mixture", "combine");
    if (!facts->gate_trainable || (!single && !deaf))
        return CLV_OK;
    for (size_t i = 0; i < f->term_count; i++) {
        if (f->terms[i].spec->kind != CLVI_TERM_BALANCE ||
            (single && strcmp(f->terms[i].spec->reads, "route") == 0))
            continue;
        if (deaf)
            clvi_log(CLVI_LOG_WARN,
                     "%s: the gate learns balance, not the task: mixture.combine = %s does not "
                     "weigh the experts",
                     clvi_config_origin(config, "gate", "plugin"), rule);
        else
            clvi_log(CLVI_LOG_WARN,
                     "%s: the gate learns balance, not the task: with one expert per "
                     "sample and weights that sum to 1, all weights are 1",
                     clvi_config_origin(config, "gate", "plugin"));
        return CLV_OK;
    }
    if (deaf)
        return clvi_config_fail(config, "mixture", "combine", error,
                                "%s does not weigh the experts, so that nothing in loss.terms "
                                "teaches gate.plugin = %s; write combine = weighted, or "
                                "gate.plugin = average",
                                rule, gate);
    return clvi_config_fail(config, "gate", "plugin", error,
                            "%s gives one expert per sample the weight 1, so that nothing in "
                            "loss.terms teaches it; write normalise = before, or a larger k",
                            gate);
}

/* A mixture that is an expert learns from what the one around it sends back. */
static void drop_task_terms(const clvi_config *config, clvi_fusion *f)
{
    clvi_text dropped = {0};
    size_t kept = 0;
    for (size_t i = 0; i < f->term_count; i++) {
        if (f->terms[i].spec->kind == CLVI_TERM_BALANCE)
            f->terms[kept++] = f->terms[i];
        else
            clvi_text_printf(&dropped, "%s%s", dropped.length > 0 ? ", " : "",
                             f->terms[i].spec->name);
    }
    f->term_count = kept;
    if (dropped.length > 0 && clvi_config_given(config, "loss", "terms"))
        clvi_log(CLVI_LOG_INFO,
                 "%s: [%s] terms: %s has no meaning here: as an expert the mixture learns what the "
                 "one around it does",
                 clvi_config_origin(config, "loss", "terms"), clvi_config_section(config, "loss"),
                 clvi_text_get(&dropped));
    clvi_text_fini(&dropped);
}

clv_status clvi_fusion_check(const clvi_config *config, const clvi_fusion_facts *facts,
                             clvi_fusion *f, clv_error *error)
{
    if (f->experts > 1 && !f->feature && f->combine == CLVI_WEIGHTED && !f->gated)
        return clvi_config_fail(config, "mixture", "combine", error,
                                "weighted needs a gate; write [gate] and plugin = average, or "
                                "mixture.combine = mean");
    if (f->gated && !f->feature && f->combine == CLVI_MEAN && facts->gate_variables)
        return clvi_config_fail(config, "mixture", "combine", error,
                                "mean weighs all experts alike, and gate.plugin = %s would learn "
                                "other weights; write combine = weighted or gate.plugin = average",
                                clvi_config_text(config, "gate", "plugin"));
    if (!facts->train || !facts->trainable) {
        if (facts->train && clvi_config_given(config, "loss", "terms"))
            clvi_log(CLVI_LOG_INFO, "nothing is trainable: loss.terms has no meaning here");
        f->term_count = 0;
        return CLV_OK;
    }
    if (f->experts > 1 && !f->feature && f->combine >= CLVI_MEDIAN)
        return clvi_config_fail(config, "mixture", "combine", error,
                                "%s has no gradient: it is for experts that were trained "
                                "separately (trainable = none)",
                                clvi_config_text(config, "mixture", "combine"));
    if (clvi_config_scope(config)[0] != '\0') {
        drop_task_terms(config, f);
    } else {
        CLV_TRY(check_terms(config, f, error));
        CLV_TRY(check_keys(config, f, error));
    }
    CLV_TRY(check_balance(config, facts, f, error));
    CLV_TRY(check_route(config, facts, f, error));
    return check_reach(config, facts, f, error);
}
