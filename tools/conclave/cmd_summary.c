/* conclave summary: the layers of a configuration or of a trained run, what they cost and what
 * memory they need. */
#include "config_args.h"
#include "session.h"
#include "show.h"

#include "data/dataset.h"
#include "graph/maps.h"
#include "train/run_dir.h"
#include "train/train.h"

enum { DEFAULT_CLASSES = 46, DEFAULT_CHANNELS = 3 };

static const cli_option options[] = {
    {"stages", NULL, "a row for each size of feature maps instead of each layer", 0, false},
    {"classes", "N", "classes to tell apart where there are no images; 46 if not given", 0, false},
    {"checkpoint", "best|last", "of a run: best or last; best if not given", 0, false},
    CLI_CONFIG_OPTIONS,
    CLI_PLUGIN_OPTION,
};

/* One call of the command. */
typedef struct job {
    const cli_args *args;
    cli_session session;
    clvi_config *config; /* of a configuration; NULL for a run */
    char *run;           /* of a run */
    clvi_model *model;
    clvi_mixture *mixture; /* of one image, for the facts about it */
    clvi_mixture_desc desc;
} job;

static const clvi_config *config_of(const job *j)
{
    return j->model != NULL ? clvi_model_config(j->model) : j->config;
}

/* ---- What is meant ---- */

static clv_status open_run(job *j, clv_error *error)
{
    CLV_TRY(cli_open_unchanged(j->args, "data", &j->run, &j->model, error));
    const char *batch = cli_option_value(j->args, "batch");
    if (batch != NULL)
        CLV_TRY(clvi_config_set(clvi_model_config(j->model), "train", "batch", batch, error));
    j->desc.classes = (int)clvi_model_class_count(j->model);
    clvi_model_image(j->model, &j->desc.height, &j->desc.width, &j->desc.channels);
    return CLV_OK;
}

/* Classes and channels as the images have them. */
static clv_status look_at_data(job *j, clv_error *error)
{
    const clvi_data_options data = clvi_train_data_options(j->config);
    clvi_dataset *images = NULL;
    CLV_TRY(clvi_dataset_open(&data, &images, error));
    j->desc.classes = (int)clvi_dataset_class_count(images);
    j->desc.channels = clvi_dataset_channels(images);
    clvi_dataset_close(images);
    return CLV_OK;
}

static clv_status open_config(job *j, clv_error *error)
{
    CLV_TRY(cli_load_config(j->args, 0, &j->config, error));
    const clvi_data_options data = clvi_train_data_options(j->config);
    j->desc.height = data.height;
    j->desc.width = data.width;
    j->desc.channels = data.channels > 0 ? data.channels : DEFAULT_CHANNELS;
    j->desc.classes = DEFAULT_CLASSES;
    bool given;
    CLV_TRY(clvi_train_has_images(j->config, false, &given, error));
    if (given)
        CLV_TRY(look_at_data(j, error));
    int64_t classes = j->desc.classes;
    CLV_TRY(cli_option_int(j->args, "classes", 2, 1000000, &classes, error));
    j->desc.classes = (int)classes;
    return CLV_OK;
}

/* ---- The layers ---- */

/* Sums over what was printed. */
typedef struct totals {
    int64_t parameters, trainable, macs;
    int64_t last; /* trainable in the end */
} totals;

static const cli_column layer_columns[] = {
    {"layer", false, true},      {"operation", false, false},    {"output", false, false},
    {"parameters", true, false}, {"multiply-adds", true, false}, {"trainable", false, false},
};
enum { LAYER_COLUMNS = sizeof(layer_columns) / sizeof(layer_columns[0]) };

/* Parameters of a node, and how many of them are trainable. */
static void count_parameters(const job *j, const clvi_mixture_part *part, const clvi_node *node,
                             totals *sum)
{
    const clvi_store *store = clvi_mixture_store(j->mixture);
    const clv_graph *graph = part->graph;
    for (int32_t i = 0; i < node->input_count; i++) {
        if (node->inputs[i] == CLV_NO_TENSOR)
            continue;
        const clvi_tensor *tensor = &graph->tensors[node->inputs[i]];
        if (tensor->kind != CLVI_TENSOR_VARIABLE || graph->variables[tensor->variable].is_state)
            continue;
        char name[512];
        snprintf(name, sizeof name, "%s.%s", part->section, tensor->name);
        const int64_t segment = clvi_store_find(store, name);
        const int64_t elements = graph->variables[tensor->variable].elements;
        sum->parameters += elements;
        if (segment >= 0 && clvi_mixture_trains(j->mixture, (size_t)segment, 0))
            sum->trainable += elements;
        if (segment >= 0 && clvi_store_segment(store, (size_t)segment)->trainable)
            sum->last += elements;
    }
}

static totals cost_of(const job *j, const clvi_mixture_part *part, const clvi_node *node)
{
    totals own = {0};
    count_parameters(j, part, node, &own);
    own.macs = node->op->macs != NULL ? node->op->macs(part->graph, node) : 0;
    return own;
}

static void add_totals(totals *sum, const totals *own)
{
    sum->parameters += own->parameters;
    sum->trainable += own->trainable;
    sum->last += own->last;
    sum->macs += own->macs;
}

static void add_layer(const job *j, const clvi_mixture_part *part, const clvi_node *node,
                      cli_table *table, totals *sum)
{
    const clv_graph *graph = part->graph;
    char number[CLI_NUMBER_BYTES], shape[64];
    const totals own = cost_of(j, part, node);
    cli_table_cell(table, "%s", node->name);
    cli_table_cell(table, "%s", node->op->name);
    cli_table_cell(table, "%s",
                   clvi_shape_text(clvi_out_shape(graph, node, 0), shape, sizeof shape));
    cli_table_cell(table, "%s", own.parameters ? cli_show_count(own.parameters, number) : "");
    cli_table_cell(table, "%s", own.macs ? cli_show_count(own.macs, number) : "");
    cli_table_cell(table, "%s",
                   own.parameters == 0               ? ""
                   : own.trainable == own.parameters ? "yes"
                   : own.trainable < own.last        ? "later"
                   : own.trainable == 0              ? "no"
                                                     : "partly");
    add_totals(sum, &own);
}

static clv_status print_layers(const job *j, const clvi_mixture_part *part, totals *sum,
                               clv_error *error)
{
    char number[CLI_NUMBER_BYTES];
    cli_table table;
    CLV_TRY(cli_table_init(&table, layer_columns, LAYER_COLUMNS, error));
    for (size_t i = 0; i < part->graph->node_count; i++)
        add_layer(j, part, &part->graph->nodes[i], &table, sum);
    cli_table_rule(&table);
    cli_table_cell(&table, "total");
    cli_table_cell(&table, " ");
    cli_table_cell(&table, "for one image");
    cli_table_cell(&table, "%s", cli_show_count(sum->parameters, number));
    cli_table_cell(&table, "%s", cli_show_count(sum->macs, number));
    cli_table_cell(&table, "%s", cli_show_count(sum->trainable, number));
    return cli_table_print(&table, stdout, error);
}

/* ---- The same by sizes of maps ---- */

static const cli_column stage_columns[] = {
    {"maps", false, false}, {"layers", false, true},        {"parameters", true, false},
    {"share", true, false}, {"multiply-adds", true, false}, {"share", true, false},
};
enum { STAGE_COLUMNS = sizeof(stage_columns) / sizeof(stage_columns[0]) };

static void add_cost(cli_table *table, const totals *own, const totals *all)
{
    char number[CLI_NUMBER_BYTES];
    const double parameters = all->parameters > 0 ? (double)all->parameters : 1;
    const double macs = all->macs > 0 ? (double)all->macs : 1;
    cli_table_cell(table, "%s", cli_show_count(own->parameters, number));
    cli_table_cell(table, "%.1f %%", 100 * (double)own->parameters / parameters);
    cli_table_cell(table, "%s", cli_show_count(own->macs, number));
    cli_table_cell(table, "%.1f %%", 100 * (double)own->macs / macs);
}

static void add_stage(const job *j, const clvi_mixture_part *part, const clvi_map_stage *stage,
                      cli_table *table, const totals *all)
{
    const clvi_node *first = &part->graph->nodes[stage->first],
                    *last = &part->graph->nodes[stage->end - 1];
    totals own = {0};
    for (size_t i = stage->first; i < stage->end; i++) {
        const totals one = cost_of(j, part, &part->graph->nodes[i]);
        add_totals(&own, &one);
    }
    if (stage->last != CLV_NO_TENSOR)
        cli_table_cell(table, "%lld×%lld", (long long)stage->height, (long long)stage->width);
    else
        cli_table_cell(table, "none");
    if (first == last)
        cli_table_cell(table, "%s", first->name);
    else
        cli_table_cell(table, "%s … %s", first->name, last->name);
    add_cost(table, &own, all);
}

static clv_status print_stages(const job *j, const clvi_mixture_part *part, totals *sum,
                               clv_error *error)
{
    clvi_maps maps = {0};
    cli_table table;
    for (size_t i = 0; i < part->graph->node_count; i++) {
        const totals one = cost_of(j, part, &part->graph->nodes[i]);
        add_totals(sum, &one);
    }
    CLV_TRY(clvi_maps_find(part->graph, CLV_NO_TENSOR, &maps, error));
    clv_status status = cli_table_init(&table, stage_columns, STAGE_COLUMNS, error);
    for (size_t i = 0; i < maps.count && status == CLV_OK; i++)
        add_stage(j, part, &maps.stages[i], &table, sum);
    clvi_maps_fini(&maps);
    CLV_TRY(status);
    cli_table_rule(&table);
    cli_table_cell(&table, "total");
    cli_table_cell(&table, "for one image");
    add_cost(&table, sum, sum);
    return cli_table_print(&table, stdout, error);
}

/* The mixture whose gate or head a part is: the whole, or an expert, by the part's section. */
static const clvi_config *mixture_of(const clvi_config *config, const char *section)
{
    const char *dot = strchr(section, '.');
    if (strcmp(clvi_config_scope(config), dot != NULL ? dot + 1 : "") == 0)
        return config;
    for (size_t i = 0; i < clvi_config_expert_count(config); i++) {
        const clvi_config *nested = clvi_config_nested(config, i);
        const clvi_config *found = nested != NULL ? mixture_of(nested, section) : NULL;
        if (found != NULL)
            return found;
    }
    return NULL;
}

static bool is_expert(const clvi_mixture_part *part)
{
    return strncmp(part->section, "expert.", 7) == 0;
}

/* "expert a/x, plugin cnn, 46 classes", "gate, plugin cnn, 2 experts", "head, fusion feature", of a
 * mixture that is an expert "gate of a, …". */
static void print_title(const job *j, const clvi_mixture_part *part)
{
    const clvi_config *config = config_of(j);
    if (is_expert(part)) {
        printf("expert %s, plugin %s, %d classes\n", part->section + 7,
               clvi_config_text(config, part->section, "plugin"), j->desc.classes);
    } else {
        const clvi_config *mixture = mixture_of(config, part->section);
        const char *scope = clvi_config_scope(mixture);
        const bool gate = strncmp(part->section, "gate", 4) == 0;
        printf("%s%s%s, %s %s", gate ? "gate" : "head", *scope ? " of " : "", scope,
               gate ? "plugin" : "fusion",
               gate ? clvi_config_text(mixture, "gate", "plugin")
                    : clvi_config_text(mixture, "mixture", "fusion"));
        if (gate)
            printf(", %zu experts", clvi_config_expert_count(mixture));
        puts("");
    }
    printf(part->preprocessing != NULL ? "input  %s\n\n" : "\n", part->preprocessing);
}

static clv_status print_part(const job *j, size_t index, totals *all, clv_error *error)
{
    const clvi_mixture_part part = clvi_mixture_leaf_at(j->mixture, index);
    char number[CLI_NUMBER_BYTES];
    totals sum = {0};
    print_title(j, &part);
    CLV_TRY(cli_flag(j->args, "stages") ? print_stages(j, &part, &sum, error)
                                        : print_layers(j, &part, &sum, error));
    printf("\ntrainable: %s of ", cli_show_count(sum.trainable, number));
    printf("%s parameters", cli_show_count(sum.parameters, number));
    if (sum.last > sum.trainable && is_expert(&part))
        printf("; from epoch %lld on %s",
               (long long)clvi_config_int(config_of(j), part.section, "unfreeze_at_epoch"),
               cli_show_count(sum.last, number));
    puts("\n");
    all->parameters += sum.parameters;
    all->trainable += sum.trainable;
    all->macs += sum.macs;
    return CLV_OK;
}

/* Every network; of several experts also the gate, the head and the sums of all. */
static clv_status print_parts(const job *j, clv_error *error)
{
    const size_t experts = clvi_config_leaf_count(config_of(j));
    const size_t count = experts > 1 ? clvi_mixture_leaf_count(j->mixture) : 1;
    char numbers[3][CLI_NUMBER_BYTES];
    totals all = {0};
    for (size_t i = 0; i < count; i++)
        CLV_TRY(print_part(j, i, &all, error));
    if (experts > 1)
        printf("mixture: %s parameters, %s of them trainable, %s multiply-adds for one image\n\n",
               cli_show_count(all.parameters, numbers[0]),
               cli_show_count(all.trainable, numbers[1]), cli_show_count(all.macs, numbers[2]));
    return CLV_OK;
}

/* ---- Memory ---- */

/* Makes the mixture and, for training, its optimiser; *bytes: what they hold on the device. */
static clv_status measure(const job *j, bool train, int64_t batch, uint64_t *bytes,
                          clv_error *error)
{
    clvi_mixture_desc desc = j->desc;
    clvi_optimizer_desc rule;
    clvi_mixture *mixture = NULL;
    clvi_optimizer *optimizer = NULL;
    desc.train = train;
    desc.keep_features = clvi_config_bool(desc.config, "train", "cache_features");
    desc.max_batch = batch;
    desc.store_kinds = clvi_settings_store_kinds(desc.config);
    CLV_TRY(clvi_settings_optimizer(desc.config, &rule, error));
    clv_status status = clvi_mixture_create(&desc, &mixture, error);
    if (status == CLV_OK && train)
        status = clvi_optimizer_create(clvi_mixture_store(mixture), &rule, &optimizer, error);
    if (status == CLV_OK)
        *bytes = clvi_mixture_bytes(mixture) + (train ? clvi_optimizer_bytes(optimizer) : 0);
    clvi_optimizer_destroy(optimizer);
    clvi_mixture_destroy(mixture);
    return status;
}

/* Device memory that training or inference takes, weights and moments included. */
static clv_status print_memory(const job *j, bool train, int64_t batch, clv_error *error)
{
    clv_error fault = CLV_ERROR_INIT;
    char number[CLI_NUMBER_BYTES];
    uint64_t bytes = 0;
    const clv_status status = measure(j, train, batch, &bytes, &fault);
    if (status != CLV_OK && status != CLV_E_MEMORY)
        return clvi_fail(error, status, CLV_HERE, "%s", fault.message);
    printf("memory on the device, %s batches of %lld: ", train ? "training in" : "inference in",
           (long long)batch);
    if (status == CLV_OK)
        printf("%s (%llu bytes)\n", cli_show_bytes(bytes, number), (unsigned long long)bytes);
    else
        printf("%s\n", fault.message);
    return CLV_OK;
}

static clv_status summarise(job *j, clv_error *error)
{
    const int64_t batch = clvi_config_int(config_of(j), "train", "batch");
    CLV_TRY(cli_session_open_device(&j->session, config_of(j), cli_option_value(j->args, "device"),
                                    error));
    j->desc.config = config_of(j);
    j->desc.plugins = j->session.plugins;
    j->desc.device = j->session.device;
    j->desc.max_batch = 1;
    CLV_TRY(clvi_mixture_create(&j->desc, &j->mixture, error));
    if (j->model != NULL)
        printf("run    %s, epoch %lld\n", j->run, (long long)clvi_model_epoch(j->model));
    CLV_TRY(print_parts(j, error));
    CLV_TRY(print_memory(j, true, batch, error));
    return print_memory(j, false, batch, error);
}

static clv_status run(const cli_args *args, clv_error *error)
{
    job j = {.args = args};
    CLV_TRY(cli_session_open(&j.session, args, error));
    const char *output = cli_option_value(args, "output");
    const bool is_run = cli_count(args) > 0 && cli_means_run(cli_at(args, 0), output);
    clv_status status = is_run ? open_run(&j, error) : open_config(&j, error);
    if (status == CLV_OK)
        status = summarise(&j, error);
    clvi_mixture_destroy(j.mixture);
    clvi_model_close(j.model);
    clvi_config_destroy(j.config);
    cli_session_close(&j.session);
    clvi_free(j.run);
    return status;
}

const cli_command cmd_summary = {
    .name = "summary",
    .summary = "Show the layers of a configuration or run, their cost and memory",
    .usage = "CONFIG|RUN [SECTION.KEY=VALUE]... [--classes N] [--stages] [options]",
    .example = "conclave summary cnn-custom-only --classes 10\nconclave summary last --batch 32\n"
               "conclave summary efficientnet-b0-only --stages --image-size 224 --classes 1000",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
