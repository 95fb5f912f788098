/* conclave explain: what the experts of a trained run look at in pictures, as a page. */
#include "explain_files.h"
#include "session.h"
#include "show.h"

#include "base/files.h"
#include "mixture/picture.h"
#include "report/explain_page.h"
#include "report/overlay.h"
#include "train/run_dir.h"
#include "train/train.h"

#include <math.h>
#include <stdio.h>

/* TOP: classes of an answer. LEAST_SIDE: of a picture as it is shown, in pixels. */
enum { TOP = 5, LEAST_SIDE = 224, STRIP_GAP = 4, COARSE = 2 };
/* Of a sheet of feature maps: channels of a size, pixels of a tile. */
enum { SHEET_COLUMNS = 8, SHEET_TILE = 56, MOST_COLUMNS = 64, MOST_TILE = 512 };

static const cli_option options[] = {
    {"output", "FOLDER", "where the page and its pictures go; made if it is not there", 'o', false},
    {"class", "NAME", "explain this class; the one with the most probability if not given", 0,
     false},
    {"feature-maps", NULL, "also draw the feature maps of every size", 0, false},
    {"columns", "N", "feature maps of each size; 8 if not given", 0, false},
    {"tile", "PIXELS", "side of a feature map as it is drawn; 56 if not given", 0, false},
    {"json", NULL, "one JSON object per picture and line", 0, false},
    {"checkpoint", "best|last", "best (epoch on validation) or last; best if not given", 0, false},
    {"runs", "FOLDER", "folder of the runs, where RUN is a name; runs if not given", 0, false},
    CLI_DEVICE_OPTION,
    CLI_PLUGIN_OPTION,
};

/* What is drawn and said of an expert in one picture. */
typedef struct drawn {
    clvi_image overlay;
    uint8_t *overlay_png, *maps_png;
    clvi_chance chances[TOP + 1];
    char weight[64];
    clvi_text note, maps_note;
} drawn;

/* One call of the command. */
typedef struct job {
    const cli_args *args;
    cli_session session;
    char *run;
    clvi_model *model;
    cli_pictures pictures;
    const char *folder;
    int64_t label; /* -1: the most probable */
    bool maps, json;
    int64_t columns, tile;
    clvi_explainer *explainer;
    clvi_image_form form; /* as in training, margins included */
    clvi_picture seen;    /* of it */
    int scale;            /* of what is shown */
    uint8_t *pixels;      /* of the form */
    float *logits;        /* [classes] */
    double *chances;      /* [classes] */
    double temperature;
    drawn *drawn; /* [networks] */
    clvi_explained_card *cards;
    clvi_page page;
    clvi_text again; /* the command */
    cli_explain_files files;
    size_t good, bad;
} job;

/* ---- What is meant ---- */

static clv_status find_class(job *j, clv_error *error)
{
    const char *wanted = cli_option_value(j->args, "class");
    const size_t count = clvi_model_class_count(j->model);
    char shown[128];
    j->label = -1;
    if (wanted == NULL)
        return CLV_OK;
    const char **names = clvi_calloc(count, sizeof *names);
    if (names == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the names of %zu classes", count);
    for (size_t i = 0; i < count; i++) {
        names[i] = clvi_model_class_name(j->model, i);
        if (strcmp(names[i], wanted) == 0)
            j->label = (int64_t)i;
    }
    const char *near = clvi_nearest(wanted, names, count);
    clvi_free(names);
    if (j->label >= 0)
        return CLV_OK;
    clvi_printable(wanted, shown, sizeof shown);
    if (near != NULL)
        CLV_FAIL(error, CLV_E_USAGE, "--class %s: the run has no such class; did you mean '%s'?",
                 shown, near);
    CLV_FAIL(error, CLV_E_USAGE, "--class %s: the run has no such class; its first is '%s'", shown,
             clvi_model_class_name(j->model, 0));
}

static clv_status read_options(job *j, clv_error *error)
{
    j->folder = cli_option_value(j->args, "output");
    j->maps = cli_flag(j->args, "feature-maps");
    j->json = cli_flag(j->args, "json");
    j->columns = SHEET_COLUMNS, j->tile = SHEET_TILE;
    CLV_TRY(cli_option_int(j->args, "columns", 1, MOST_COLUMNS, &j->columns, error));
    CLV_TRY(cli_option_int(j->args, "tile", 4, MOST_TILE, &j->tile, error));
    if (j->folder == NULL)
        CLV_FAIL(error, CLV_E_USAGE, "where to? give -o FOLDER for the page and its pictures");
    return find_class(j, error);
}

/* ---- Files ---- */

/* A PNG for the page; *png is the caller's. */
static clv_status encode(const clvi_image *image, uint8_t **png, clvi_page_picture *out,
                         clv_error *error)
{
    size_t length;
    CLV_TRY(clvi_image_encode_png(image, png, &length, error));
    *out = (clvi_page_picture){
        .png = *png, .length = length, .height = image->height, .width = image->width};
    return CLV_OK;
}

static clv_status write_png(const job *j, const clvi_page_picture *png,
                            const cli_explain_file *file, clv_error *error)
{
    char *path;
    CLV_TRY(cli_explain_files_path(&j->files, file, &path, error));
    const clv_status status = clvi_file_write(path, png->png, png->length, error);
    clvi_free(path);
    return status;
}

/* ---- The picture as it is shown ---- */

/* What networks see, each pixel a block. */
static clv_status enlarge(const job *j, clvi_image *out, clv_error *error)
{
    const int scale = j->scale, channels = j->seen.channels;
    clvi_image image = {
        .height = j->seen.height * scale, .width = j->seen.width * scale, .channels = channels};
    image.pixels = clvi_malloc((size_t)image.height * (size_t)image.width * (size_t)channels);
    if (image.pixels == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a picture");
    for (int y = 0; y < image.height; y++)
        for (int x = 0; x < image.width; x++) {
            const size_t from = (size_t)(y / scale + j->seen.margin_y) * (size_t)j->form.width +
                                (size_t)(x / scale + j->seen.margin_x);
            memcpy(image.pixels + ((size_t)y * (size_t)image.width + (size_t)x) * (size_t)channels,
                   j->pixels + from * (size_t)channels, (size_t)channels);
        }
    *out = image;
    return CLV_OK;
}

/* The same part of the picture in more pixels, where it has them. */
static clv_status refine(const job *j, const clvi_image *whole, clvi_image *out, clv_error *error)
{
    clvi_image_form form = j->form;
    form.height *= j->scale, form.width *= j->scale;
    const size_t row = (size_t)form.width * (size_t)form.channels;
    clvi_image image = {.height = j->seen.height * j->scale,
                        .width = j->seen.width * j->scale,
                        .channels = form.channels};
    const size_t wide = (size_t)image.width * (size_t)image.channels;
    image.pixels = clvi_malloc(row * (size_t)form.height);
    if (image.pixels == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a picture");
    const clv_status status = clvi_image_fit(whole, &form, image.pixels, error);
    if (status != CLV_OK) {
        clvi_free(image.pixels);
        return status;
    }
    const size_t top = (size_t)(j->seen.margin_y * j->scale);
    const size_t left = (size_t)(j->seen.margin_x * j->scale * form.channels);
    for (size_t y = 0; y < (size_t)image.height; y++)
        memmove(image.pixels + y * wide, image.pixels + (y + top) * row + left, wide);
    *out = image;
    return CLV_OK;
}

/* j->pixels, and the picture that is shown of it. Networks see it as in training, where a large
 * JPEG is decoded at a reduced size: more pixels are to be had from another decoding only. */
static clv_status read_picture(job *j, const char *path, clvi_image *out, clv_error *error)
{
    char *bytes = NULL;
    size_t length = 0;
    clvi_image whole = {0};
    CLV_TRY(clvi_file_read(path, CLVI_IMAGE_FILE_LIMIT, &bytes, &length, error));
    clv_status status = clvi_image_load(bytes, length, path, &j->form, j->pixels, error);
    if (status == CLV_OK && j->scale > 1)
        status = clvi_image_decode(bytes, length, path, j->form.channels, &whole, error);
    clvi_free(bytes);
    CLV_TRY(status);
    const bool fine = whole.height > j->form.height && whole.width > j->form.width;
    status = fine ? refine(j, &whole, out, error) : enlarge(j, out, error);
    clvi_image_fini(&whole);
    return status;
}

/* ---- What is said ---- */

/* The first TOP classes by logits, and the one that is explained. Returns how many. */
static size_t take_chances(job *j, const float *logits, double temperature, clvi_chance *out)
{
    const size_t classes = clvi_model_class_count(j->model), label = (size_t)j->label;
    size_t top[TOP + 1], count = classes < TOP ? classes : TOP;
    clvi_softmax_row(logits, (int)classes, temperature, j->chances);
    clvi_top_classes(j->chances, classes, count, top);
    bool there = false;
    for (size_t k = 0; k < count; k++)
        there = there || top[k] == label;
    if (!there)
        top[count++] = label;
    for (size_t k = 0; k < count; k++)
        out[k] = (clvi_chance){clvi_model_class_name(j->model, top[k]), j->chances[top[k]],
                               top[k] == label};
    return count;
}

/* A level's own gate, and with gates around it all of them together. */
static const char *say_weight(const clvi_explained *x, drawn *d)
{
    const bool inside = strchr(x->section, '/') != NULL;
    if (isnan(x->weight))
        return NULL;
    if (inside && !isnan(x->share))
        snprintf(d->weight, sizeof d->weight, "gate %.3f, of all %.3f", x->weight, x->share);
    else
        snprintf(d->weight, sizeof d->weight, "gate %.3f", x->weight);
    return d->weight;
}

static bool is_dark(const clvi_explained *x)
{
    for (int64_t i = 0; i < x->height * x->width; i++)
        if (x->cam[i] > 0)
            return false;
    return true;
}

static void say_note(const job *j, const clvi_explained *x, clvi_text *out)
{
    const char *label = clvi_model_class_name(j->model, (size_t)j->label);
    if (!x->answers)
        clvi_text_printf(
            out,
            "It has no answer of its own: the mixture reads its %s, and nothing taught "
            "%s to be one. The colours are of what speaks for %s in the mixture. ",
            x->features ? "features" : "scores through a layer",
            x->features ? "its own classifier" : "them", label);
    if (x->map == CLV_NO_TENSOR)
        clvi_text_append(out, "It has no feature map of more than one place: nothing to colour.");
    else if (x->cam == NULL)
        clvi_text_append(out, "An operation of its plugin passes no gradient: nothing to colour.");
    else if (is_dark(x))
        clvi_text_printf(out, "Nothing in its last map speaks for %s. ", label);
    if (x->map == CLV_NO_TENSOR)
        return;
    clvi_text_printf(
        out, "Last map: %s, %lld×%lld with %lld channels%s.", x->graph->tensors[x->map].name,
        (long long)x->height, (long long)x->width, (long long)x->channels,
        x->height <= COARSE && x->width <= COARSE ? "; so few places say little about where" : "");
}

/* ---- What is drawn ---- */

/* The last maps of all sizes, one below the other. */
static clv_status draw_maps(const job *j, const clvi_explained *x, drawn *d, clvi_page_picture *out,
                            clv_error *error)
{
    clvi_image sheet = {0};
    clvi_overlay_maps *maps = clvi_calloc(x->stages->count + 1, sizeof *maps);
    size_t count = 0;
    if (maps == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: feature maps");
    for (size_t i = 0; i < x->stages->count; i++) {
        const clvi_map_stage *stage = &x->stages->stages[i];
        if (x->maps[i] == NULL)
            continue;
        const clvi_tensor *tensor = &x->graph->tensors[stage->last];
        maps[count++] =
            (clvi_overlay_maps){x->maps[i], stage->height, stage->width, tensor->shape.dims[3]};
        clvi_text_printf(&d->maps_note, "%s%s (%lld×%lld, %lld channels)",
                         count > 1 ? ", " : "From the top: ", tensor->name,
                         (long long)stage->height, (long long)stage->width,
                         (long long)tensor->shape.dims[3]);
    }
    clvi_text_append(&d->maps_note,
                     ". Of each the channels that vary most, black to white by their "
                     "own least and most.");
    clv_status status =
        clvi_overlay_sheet(maps, count, (int)j->columns, (int)j->tile, &sheet, error);
    clvi_free(maps);
    if (status == CLV_OK)
        status = encode(&sheet, &d->maps_png, out, error);
    if (status == CLV_OK)
        out->tiny = true;
    clvi_image_fini(&sheet);
    return status;
}

static clv_status draw_expert(job *j, size_t index, size_t at, const clvi_image *picture,
                              clv_error *error)
{
    const clvi_explained *x = clvi_explainer_at(j->explainer, index);
    drawn *d = &j->drawn[index];
    clvi_explained_card *card = &j->cards[index + 1];
    const clvi_config *config = clvi_model_config(j->model);
    const char *name = clvi_config_leaf_name(config, index);
    CLV_ASSERT(strcmp(x->section, clvi_config_leaf_section(config, index)) == 0);
    *card = (clvi_explained_card){.title = name, .weight = say_weight(x, d), .chances = d->chances};
    if (x->logits != NULL && clvi_explainer_count(j->explainer) > 1)
        card->chance_count = take_chances(j, x->logits, 1, d->chances);
    card->absent = !x->asked;
    if (card->absent)
        return CLV_OK;
    say_note(j, x, &d->note);
    card->note = clvi_text_get(&d->note);
    CLV_TRY(clvi_overlay_heat(picture, x->cam, x->height, x->width, &d->overlay, error));
    CLV_TRY(encode(&d->overlay, &d->overlay_png, &card->picture, error));
    CLV_TRY(write_png(j, &card->picture, &(cli_explain_file){at, index + 1, false}, error));
    if (x->maps == NULL)
        return CLV_OK;
    CLV_TRY(draw_maps(j, x, d, &card->maps, error));
    CLV_TRY(write_png(j, &card->maps, &(cli_explain_file){at, index + 1, true}, error));
    card->maps_note = clvi_text_get(&d->maps_note);
    return CLV_OK;
}

/* The picture and all overlays in one file. */
static clv_status draw_strip(const job *j, const clvi_image *plain, size_t at, clv_error *error)
{
    const size_t experts = clvi_explainer_count(j->explainer);
    clvi_image *row = clvi_calloc(experts + 1, sizeof *row), strip = {0};
    size_t count = 0;
    if (row == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: pictures");
    row[count++] = *plain;
    for (size_t i = 0; i < experts; i++)
        if (j->drawn[i].overlay.pixels != NULL)
            row[count++] = j->drawn[i].overlay;
    uint8_t *bytes = NULL;
    clvi_page_picture png;
    clv_status status = clvi_overlay_strip(row, count, STRIP_GAP, &strip, error);
    if (status == CLV_OK)
        status = encode(&strip, &bytes, &png, error);
    if (status == CLV_OK)
        status = write_png(j, &png, &(cli_explain_file){.picture = at}, error);
    clvi_free(bytes);
    clvi_image_fini(&strip);
    clvi_free(row);
    return status;
}

/* ---- What is printed ---- */

static void print_text(const job *j, const char *path)
{
    const char *between = "  not asked: ";
    printf("%s\n", path);
    for (size_t i = 0; i <= clvi_explainer_count(j->explainer); i++) {
        const clvi_explained_card *card = &j->cards[i];
        const char *before = "";
        if (card->absent || (card->chance_count == 0 && card->weight == NULL))
            continue;
        printf("  %s:", card->title);
        if (card->weight != NULL) {
            printf(" %s", card->weight);
            before = ";";
        }
        for (size_t k = 0; k < card->chance_count && k < TOP; k++) {
            printf("%s %.1f %% %s", before, 100 * card->chances[k].probability,
                   card->chances[k].name);
            before = ",";
        }
        puts("");
    }
    for (size_t i = 0; i <= clvi_explainer_count(j->explainer); i++)
        if (j->cards[i].absent) {
            printf("%s%s", between, j->cards[i].title);
            between = ", ";
        }
    if (strcmp(between, ", ") == 0)
        puts("");
}

static json_t *chances_json(const clvi_explained_card *card)
{
    json_t *list = json_array();
    for (size_t k = 0; k < card->chance_count; k++)
        json_array_append_new(list,
                              json_pack("{s:s, s:o}", "class", card->chances[k].name, "probability",
                                        clvi_json_real(card->chances[k].probability)));
    return list;
}

static json_t *picture_json(const job *j, const cli_explain_file *file)
{
    char *path;
    if (cli_explain_files_path(&j->files, file, &path, NULL) != CLV_OK)
        return NULL;
    json_t *json = cli_json_text(path);
    clvi_free(path);
    return json;
}

static json_t *expert_json(const job *j, size_t index, size_t at)
{
    const clvi_explained *x = clvi_explainer_at(j->explainer, index);
    const clvi_explained_card *card = &j->cards[index + 1];
    json_t *json =
        json_pack("{s:s, s:b, s:o, s:o, s:b, s:o}", "name", card->title, "asked", x->asked, "gate",
                  clvi_json_real(x->weight), "share", clvi_json_real(x->share), "answers",
                  x->answers, "predictions", chances_json(card));
    if (json == NULL)
        return NULL;
    if (x->map != CLV_NO_TENSOR)
        json_object_set_new(json, "map",
                            json_pack("{s:s, s:I, s:I, s:I}", "name",
                                      x->graph->tensors[x->map].name, "height",
                                      (json_int_t)x->height, "width", (json_int_t)x->width,
                                      "channels", (json_int_t)x->channels));
    if (card->picture.png != NULL)
        json_object_set_new(json, "picture",
                            picture_json(j, &(cli_explain_file){at, index + 1, false}));
    if (card->maps.png != NULL)
        json_object_set_new(json, "maps",
                            picture_json(j, &(cli_explain_file){at, index + 1, true}));
    return json;
}

static clv_status print_json(const job *j, const char *path, size_t at, clv_error *error)
{
    json_t *experts = json_array();
    for (size_t i = 0; i < clvi_explainer_count(j->explainer); i++)
        json_array_append_new(experts, expert_json(j, i, at));
    return cli_show_json(json_pack("{s:o, s:s, s:o, s:o, s:o}", "path", cli_json_text(path),
                                   "class", clvi_model_class_name(j->model, (size_t)j->label),
                                   "predictions", chances_json(&j->cards[0]), "picture",
                                   picture_json(j, &(cli_explain_file){.picture = at}), "experts",
                                   experts),
                         0, error);
}

/* Grey ones in three channels. */
static clv_status plain_colours(const clvi_image *picture, clvi_image *out, clv_error *error)
{
    clvi_image image = *picture;
    const size_t count = (size_t)image.height * (size_t)image.width;
    image.channels = 3;
    image.pixels = clvi_malloc(count * 3);
    if (image.pixels == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a picture");
    for (size_t i = 0; i < count * 3; i++)
        image.pixels[i] = picture->pixels[picture->channels == 3 ? i : i / 3];
    *out = image;
    return CLV_OK;
}

/* Everything about a picture that was inferred and explained: files, a section of the page, lines.
 */
static clv_status show(job *j, size_t index, const clvi_image *picture, clv_error *error)
{
    const size_t experts = clvi_explainer_count(j->explainer);
    const char *path = j->pictures.paths[index], *base = j->files.bases[index];
    char note[64];
    clvi_image plain = {0};
    clvi_page_picture shown = {0};
    uint8_t *png = NULL;
    clvi_chance chances[TOP + 1];
    snprintf(note, sizeof note, "The networks see %d×%d pixels.", j->seen.width, j->seen.height);
    const size_t count = take_chances(j, j->logits, j->temperature, chances);
    CLV_TRY(plain_colours(picture, &plain, error));
    clv_status status = encode(&plain, &png, &shown, error);
    j->cards[0] = (clvi_explained_card){.title = experts > 1 ? "All together" : "The answer",
                                        .note = note,
                                        .chances = chances,
                                        .chance_count = count,
                                        .picture = shown};
    for (size_t i = 0; i < experts && status == CLV_OK; i++)
        status = draw_expert(j, i, index, picture, error);
    if (status == CLV_OK)
        status = draw_strip(j, &plain, index, error);
    if (status == CLV_OK)
        clvi_explain_page_add(&j->page, base, path, j->cards, experts + 1);
    if (status == CLV_OK && j->json)
        status = print_json(j, path, index, error);
    else if (status == CLV_OK)
        print_text(j, path);
    clvi_image_fini(&plain);
    clvi_free(png);
    for (size_t i = 0; i < experts; i++) {
        clvi_image_fini(&j->drawn[i].overlay);
        clvi_free(j->drawn[i].overlay_png);
        clvi_free(j->drawn[i].maps_png);
        clvi_text_fini(&j->drawn[i].note);
        clvi_text_fini(&j->drawn[i].maps_note);
        j->drawn[i] = (drawn){0};
    }
    return status;
}

/* ---- The course ---- */

static clv_status explain_picture(job *j, size_t index, clv_error *error)
{
    clvi_mixture *mixture = clvi_model_mixture(j->model);
    const int classes = (int)clvi_model_class_count(j->model);
    const clvi_mixture_batch batch = {.n = 1, .pixels = j->pixels};
    const int64_t wanted = j->label;
    clvi_image picture = {0};
    clv_error fault = CLV_ERROR_INIT;
    const clv_status read = read_picture(j, j->pictures.paths[index], &picture, &fault);
    if (read == CLV_E_MEMORY)
        CLV_FAIL(error, CLV_E_MEMORY, "%s", fault.message);
    if (read != CLV_OK) {
        fflush(stdout);
        clvi_log(CLVI_LOG_ERROR, "%s", fault.message);
        j->bad++;
        return CLV_OK;
    }
    clv_status status = clvi_mixture_infer(mixture, &batch, error);
    if (status == CLV_OK)
        status = clvi_mixture_logits(mixture, j->logits, error);
    const int best = status == CLV_OK ? clvi_best_class(j->logits, classes) : 0;
    if (best < 0)
        status = clvi_fail(error, CLV_E_NUMERIC, CLV_HERE,
                           "%s: the network gives numbers that are not finite",
                           j->pictures.paths[index]);
    j->label = wanted >= 0 ? wanted : best;
    if (status == CLV_OK)
        status = clvi_explainer_run(j->explainer, (int)j->label, error);
    if (status == CLV_OK)
        status = show(j, index, &picture, error);
    clvi_image_fini(&picture);
    j->label = wanted;
    j->good++;
    return status;
}

static clv_status prepare(job *j, clv_error *error)
{
    clvi_config *config = clvi_model_config(j->model);
    const size_t classes = clvi_model_class_count(j->model);
    const clvi_data_options data = clvi_train_data_options(config);
    int height, width, channels;
    clvi_model_image(j->model, &height, &width, &channels);
    j->form = (clvi_image_form){height, width, channels, data.resample, data.fit};
    j->seen = clvi_picture_of(config, height, width, channels);
    const int side = j->seen.height > j->seen.width ? j->seen.height : j->seen.width;
    j->scale = side < LEAST_SIDE ? (LEAST_SIDE + side - 1) / side : 1;
    const double temperature = clvi_model_temperature(j->model);
    j->temperature = temperature > 0 ? temperature : 1;
    j->pixels = clvi_malloc((size_t)height * (size_t)width * (size_t)channels);
    j->logits = clvi_malloc(classes * sizeof *j->logits);
    j->chances = clvi_malloc(classes * sizeof *j->chances);
    if (!j->pixels || !j->logits || !j->chances)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a picture of %d×%d", width, height);
    CLV_TRY(
        cli_session_open_device(&j->session, config, cli_option_value(j->args, "device"), error));
    const clvi_model_place place = {
        .device = j->session.device, .plugins = j->session.plugins, .max_batch = 1};
    CLV_TRY(clvi_model_load(j->model, &place, error));
    CLV_TRY(clvi_mixture_explainer(clvi_model_mixture(j->model), j->maps, &j->explainer, error));
    const size_t experts = clvi_explainer_count(j->explainer);
    j->drawn = clvi_calloc(experts, sizeof *j->drawn);
    j->cards = clvi_calloc(experts + 1, sizeof *j->cards);
    if (!j->drawn || !j->cards)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: %zu experts", experts);
    return CLV_OK;
}

static void print_page(const job *j, const char *path)
{
    if (!j->json)
        printf("page  %s\n", path);
}

static clv_status write_page(job *j, clv_error *error)
{
    clvi_text html = {0};
    char *path = NULL;
    clvi_page_section(&j->page, "How it was made");
    clvi_page_command(&j->page, clvi_text_get(&j->again));
    clvi_page_note(&j->page,
                   j->temperature != 1
                       ? "Probabilities of the whole are calibrated, by the temperature of the "
                         "run; those of single experts of a mixture are as they come."
                       : "Probabilities are as they come, not calibrated.");
    clv_status status = cli_explain_files_page(&j->files, &path, error);
    if (status == CLV_OK)
        status = clvi_page_finish(&j->page, &html, error);
    if (status == CLV_OK)
        status = clvi_file_write(path, html.data, html.length, error);
    if (status == CLV_OK)
        print_page(j, path);
    clvi_text_fini(&html);
    clvi_free(path);
    return status;
}

static clv_status explain(job *j, clv_error *error)
{
    const char *runs = cli_option_value(j->args, "runs");
    CLV_TRY(cli_open_model_in(j->args, 0, runs, &j->run, &j->model, error));
    CLV_TRY(read_options(j, error));
    CLV_TRY(cli_pictures_list(j->args, 1, &j->pictures, error));
    CLV_TRY(cli_explain_files_name(clvi_model_config(j->model), j->folder, &j->pictures, &j->files,
                                   error));
    CLV_TRY(cli_explain_files_check(&j->files, &j->pictures, j->maps, error));
    CLV_TRY(clvi_make_dirs(j->folder, 0755, error));
    CLV_TRY(prepare(j, error));
    cli_command_line(j->args, &j->again);
    const char *name = clvi_path_name(j->run);
    clvi_page_begin(&j->page, name, clvi_text_get(&j->again));
    clvi_explain_page_begin(&j->page, name);
    for (size_t i = 0; i < j->pictures.count; i++)
        CLV_TRY(explain_picture(j, i, error));
    if (j->good > 0)
        clvi_device_save_programs(j->session.device); /* backward kernels were made for it */
    if (j->good > 0)
        CLV_TRY(write_page(j, error));
    if (j->bad > 0)
        CLV_FAIL(error, CLV_E_DATA, "%zu of %zu pictures could not be read", j->bad,
                 j->pictures.count);
    return CLV_OK;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    job j = {.args = args};
    CLV_TRY(cli_session_open(&j.session, args, error));
    const clv_status status = explain(&j, error);
    clvi_explainer_destroy(j.explainer);
    clvi_model_close(j.model);
    cli_session_close(&j.session);
    cli_pictures_fini(&j.pictures);
    clvi_page_fini(&j.page);
    clvi_text_fini(&j.again);
    cli_explain_files_fini(&j.files);
    clvi_free(j.drawn);
    clvi_free(j.cards);
    clvi_free(j.pixels);
    clvi_free(j.logits);
    clvi_free(j.chances);
    clvi_free(j.run);
    return status;
}

const cli_command cmd_explain = {
    .name = "explain",
    .summary = "Show what each expert of a trained run looks at in pictures (Grad-CAM), as a page",
    .usage = "RUN IMAGE|FOLDER... -o FOLDER [--class NAME] [--feature-maps] [options]",
    .example = "conclave explain last photo.jpg -o why\n"
               "conclave explain last photo.jpg --class tulips --feature-maps -o why",
    .details =
        "FOLDER/explain.html shows for each picture the mixture's answer and, of each expert,\n"
        "its own answer, what its gate gives it, and where its last feature map speaks for the\n"
        "class (Grad-CAM); the pictures lie beside it as PNG files, IMAGE-EXPERT.png, and all in\n"
        "a row, IMAGE.png; the second of one name is IMAGE-2 or EXPERT-2. Files that are there "
        "are\n"
        "replaced, but none of the pictures given.\n"
        "\n"
        "A picture that cannot be read is said on the standard error and passed over; the others\n"
        "are explained, and the exit status is 1.",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
