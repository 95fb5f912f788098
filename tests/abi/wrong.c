/* A plugin with one thing wrong. The build compiles it once per case of meson.build, with
 * CASE_<NAME> defined and CASE as its name; expert_<case>.so or gate_<case>.so. */
#include <conclave/ops.h>

#ifndef MAGIC
#define MAGIC CLV_PLUGIN_MAGIC
#endif
#ifndef MAJOR
#define MAJOR CLV_ABI_MAJOR
#endif
#ifndef MINOR
#define MINOR CLV_ABI_MINOR
#endif
#ifndef SIZE
#define SIZE sizeof(clv_plugin)
#endif
#ifndef KIND
#define KIND CLV_KIND_EXPERT
#endif
#ifndef NAME
#define NAME CASE
#endif
#ifndef VERSION
#define VERSION "1.0"
#endif
#ifndef SUMMARY
#define SUMMARY "For the tests"
#endif
#define TWO_LINES "one\ntwo"
#ifndef BUILD
#define BUILD build
#endif
#ifndef OPTIONS
#define OPTIONS specs
#endif
#ifndef OPTION_COUNT
#define OPTION_COUNT 2
#endif
#ifndef OPTION_STRIDE
#define OPTION_STRIDE sizeof(clv_option_spec)
#endif
/* Of the second option. */
#ifndef OPTION_SIZE
#define OPTION_SIZE sizeof(clv_option_spec)
#endif
#ifndef OPTION_TYPE
#define OPTION_TYPE CLV_OPTION_INT
#endif
#ifndef OPTION_KEY
#define OPTION_KEY "second"
#endif
#ifndef OPTION_DEFAULT
#define OPTION_DEFAULT "3"
#endif
#ifndef OPTION_MIN
#define OPTION_MIN 1
#endif
#ifndef OPTION_TEXT
#define OPTION_TEXT "help"
#endif

static const clv_option_spec specs[] = {
    {sizeof(clv_option_spec), CLV_OPTION_BOOL, "first", "yes", 0, 0, NULL, "help"},
    {OPTION_SIZE, OPTION_TYPE, OPTION_KEY, OPTION_DEFAULT, OPTION_MIN, 9, NULL, OPTION_TEXT},
};

#ifdef CASE_UNDEFINED_SYMBOL
int clv_no_such_function(void);
#endif

static clv_status build(const clv_host *host, clv_graph *graph, const clv_options *options,
                        const clv_build_input *in, clv_error *error)
{
    clv_builder b = clv_builder_begin(host, graph, error);
    (void)options;
#ifdef CASE_UNDEFINED_SYMBOL
    if (clv_no_such_function())
        return CLV_OK;
#endif
#ifdef CASE_BUILD_FAILS
    CLV_BUILDER_FAIL(&b, CLV_E_CONFIG, "it is %s", "raining");
    return clv_builder_end(&b);
#endif
#ifdef CASE_BUILD_SILENT
    return CLV_E_DATA;
#endif
#ifdef CASE_BUILD_STRANGE
    return (clv_status)12345;
#endif
#ifdef CASE_BUILD_IGNORES
    clv_tensor none = CLV_NO_TENSOR;
    host->push_scope(graph, "not a name", error);
    host->shape(graph, none, NULL, error);
#endif
    const clv_tensor x =
        clv_image(&b, in->image_height, in->image_width, in->image_channels, NULL, NULL);
#ifdef CASE_TWO_INPUTS
    clv_image(&b, in->image_height, in->image_width, in->image_channels, NULL, NULL);
#endif
#ifdef CASE_SCOPE_OPEN
    clv_scope(&b, "features");
#endif
#ifdef CASE_WRONG_ROLE
    clv_output(&b, "logit", x);
#endif
    const int32_t units = KIND == CLV_KIND_GATE ? in->experts : in->classes;
#ifdef CASE_WRONG_UNITS
    clv_output(&b, "logits", clv_fill(&b, "fill", x, units + 1, 0));
#elif defined CASE_WRONG_FEATURES
    clv_output(&b, "logits", clv_fill(&b, "fill", x, units, 0));
    clv_output(&b, "features", x);
#elif !defined CASE_NO_LOGITS
    clv_output(&b, KIND == CLV_KIND_GATE ? "route" : "logits", clv_fill(&b, "fill", x, units, 0));
#endif
#if defined CASE_ROUTE_TOO_MANY || defined CASE_EXPERT_ROUTES
    const clv_route_desc route = {.struct_size = sizeof(route), .max_per_sample = 9};
    clv_route(&b, &route);
#endif
    return clv_builder_end(&b);
}

#ifndef FAMILY
#define FAMILY "timm"
#endif
#ifndef LAYERS
#define LAYERS 1
#endif
#ifndef OURS
#define OURS "a"
#endif
static const clv_layer_name layers[] = {CLV_LAYER_NAME("b", OURS)};
static const clv_weight_names weight_names[] = {
    {sizeof(clv_weight_names), LAYERS, FAMILY, NULL, NULL, layers, sizeof(*layers), 0}};
#ifndef NAMES
#define NAMES weight_names
#endif
#ifndef NAMES_COUNT
#define NAMES_COUNT 1
#endif
#ifndef NAMES_STRIDE
#define NAMES_STRIDE (sizeof(clv_weight_names))
#endif

static const clv_plugin plugin = {MAGIC,   SIZE,    MAJOR,       MINOR,        KIND,          NAME,
                                  VERSION, SUMMARY, OPTIONS,     OPTION_COUNT, OPTION_STRIDE, BUILD,
                                  NULL,    NAMES,   NAMES_COUNT, NAMES_STRIDE};

#ifdef CASE_NO_SYMBOL
CLV_EXPORT const clv_plugin *clv_plugin_v2(void);
const clv_plugin *clv_plugin_v2(void)
{
    return &plugin;
}
#elif defined CASE_NULL_TABLE
const clv_plugin *clv_plugin_v1(void)
{
    return plugin.magic == 0 ? &plugin : NULL;
}
#else
const clv_plugin *clv_plugin_v1(void)
{
    return &plugin;
}
#endif
