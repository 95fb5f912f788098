/* Devanagari fonts as outlines; see fonts.h. Fontconfig finds them, HarfBuzz (through Pango) shapes
 * the conjuncts, cairo gives the curves. Nothing is drawn here. */
#include "fonts.h"

#include <fontconfig/fontconfig.h>
#include <hb.h>
#include <math.h>
#include <pango/pangocairo.h>
#include <pango/pangofc-font.h>
#include <pango/pangofc-fontmap.h>
#include <stdlib.h>

/* The sign that joins two consonants. Seen on its own it means that the font has no conjunct. */
#define VIRAMA 0x94D
/* Size at which outlines are taken, in units that have no meaning afterwards. */
#define OUTLINE_SIZE 256
/* Longest piece of a straight line, as a part of the character's longer side. */
#define LINE_PIECE 0.125

/* Families kept for the test split: chosen for being unlike each other and unlike the rest. */
static const char *const held_out_families[] = {"Annapurna SIL", "Kalimati", "Sahadeva",
                                                "Noto Serif Devanagari"};

/* What characters are taken with. */
typedef struct tracer {
    cairo_t *cairo; /* on a recording surface: only its current path is used */
    PangoLayout *layout;
    clvi_text *notes;
} tracer;

static clv_status outline_add(clvi_demo_outline *outline, char verb, size_t count,
                              const double *points, clv_error *error)
{
    CLV_TRY(clvi_grow((void **)&outline->verbs, &outline->verb_capacity, outline->verb_count + 1, 1,
                      error));
    CLV_TRY(clvi_grow((void **)&outline->points, &outline->point_capacity,
                      outline->point_count + count, 2 * sizeof(float), error));
    outline->verbs[outline->verb_count++] = verb;
    for (size_t i = 0; i < count; i++) {
        float *to = outline->points + 2 * outline->point_count++;
        to[0] = (float)points[2 * i];
        to[1] = (float)points[2 * i + 1];
    }
    return CLV_OK;
}

/* A line from `from` to `to` in pieces no longer than LINE_PIECE. */
static clv_status outline_add_line(clvi_demo_outline *outline, const double from[2],
                                   const double to[2], clv_error *error)
{
    const double length = hypot(to[0] - from[0], to[1] - from[1]);
    const int pieces = 1 + (int)(length / LINE_PIECE);
    for (int i = 1; i <= pieces; i++) {
        const double t = (double)i / pieces;
        const double at[2] = {from[0] + t * (to[0] - from[0]), from[1] + t * (to[1] - from[1])};
        CLV_TRY(outline_add(outline, 'L', 1, at, error));
    }
    return CLV_OK;
}

/* The path in the outline's own units: centred, longer side 1. box: x0, y0, x1, y1. */
static clv_status outline_from_path(clvi_demo_outline *outline, const cairo_path_t *path,
                                    const double box[4], clv_error *error)
{
    const double scale = 1.0 / fmax(box[2] - box[0], box[3] - box[1]);
    const double middle[2] = {0.5 * (box[0] + box[2]), 0.5 * (box[1] + box[3])};
    double last[2] = {0, 0}, start[2] = {0, 0};
    for (int i = 0; i < path->num_data; i += path->data[i].header.length) {
        const cairo_path_data_t *data = path->data + i;
        const int count = data->header.length - 1;
        double points[3][2] = {{0}};
        for (int j = 0; j < count && j < 3; j++) {
            points[j][0] = (data[j + 1].point.x - middle[0]) * scale;
            points[j][1] = (data[j + 1].point.y - middle[1]) * scale;
        }
        switch (data->header.type) {
        case CAIRO_PATH_MOVE_TO:
            CLV_TRY(outline_add(outline, 'M', 1, points[0], error));
            memcpy(start, points[0], sizeof(start));
            break;
        case CAIRO_PATH_LINE_TO:
            CLV_TRY(outline_add_line(outline, last, points[0], error));
            break;
        case CAIRO_PATH_CURVE_TO:
            CLV_TRY(outline_add(outline, 'C', 3, points[0], error));
            break;
        case CAIRO_PATH_CLOSE_PATH:
            CLV_TRY(outline_add_line(outline, last, start, error));
            CLV_TRY(outline_add(outline, 'Z', 0, points[0], error));
            break;
        }
        memcpy(last, count > 0 ? points[count - 1] : start, sizeof(last));
    }
    return CLV_OK;
}

static void outline_fini(clvi_demo_outline *outline)
{
    clvi_free(outline->verbs);
    clvi_free(outline->points);
}

/* Why the layout's text is not drawn by `file` alone and properly, or NULL. */
static const char *fault_of_layout(PangoLayout *layout, const char *file)
{
    if (pango_layout_get_unknown_glyphs_count(layout) > 0)
        return "lacks a glyph";
    PangoLayoutIter *iter = pango_layout_get_iter(layout);
    const char *fault = NULL;
    do {
        const PangoLayoutRun *run = pango_layout_iter_get_run_readonly(iter);
        if (!run)
            continue;
        PangoFont *font = run->item->analysis.font;
        FcChar8 *used = NULL;
        if (!PANGO_IS_FC_FONT(font) ||
            FcPatternGetString(pango_fc_font_get_pattern(PANGO_FC_FONT(font)), FC_FILE, 0, &used) !=
                FcResultMatch ||
            strcmp((const char *)used, file) != 0)
            fault = "is replaced by another font";
        hb_codepoint_t virama = 0;
        hb_font_get_nominal_glyph(pango_font_get_hb_font(font), VIRAMA, &virama);
        for (int i = 0; i < run->glyphs->num_glyphs; i++) {
            if (virama && run->glyphs->glyphs[i].glyph == virama)
                fault = "has no conjunct";
        }
    } while (!fault && pango_layout_iter_next_run(iter));
    pango_layout_iter_free(iter);
    return fault;
}

/* Takes the outline of `text` in `font`. *usable: whether the font can draw it; if not, a note. */
static clv_status trace(const tracer *with, const clvi_demo_font *font, const char *text,
                        clvi_demo_outline *outline, bool *usable, clv_error *error)
{
    pango_layout_set_text(with->layout, text, -1);
    const char *fault = fault_of_layout(with->layout, font->file);
    double box[4] = {0};
    if (!fault) {
        cairo_new_path(with->cairo);
        pango_cairo_layout_path(with->cairo, with->layout);
        cairo_path_extents(with->cairo, &box[0], &box[1], &box[2], &box[3]);
        if (!(box[2] - box[0] > 1.0 && box[3] - box[1] > 1.0))
            fault = "has an empty glyph";
    }
    *usable = fault == NULL;
    if (fault) {
        clvi_text_printf(with->notes, "%s %s %s for %s\n", font->family, font->style, fault, text);
        return CLV_OK;
    }
    cairo_path_t *path = cairo_copy_path(with->cairo);
    clv_status status;
    if (path->status != CAIRO_STATUS_SUCCESS)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "%s: cannot take the outline of %s: %s",
                           font->file, text, cairo_status_to_string(path->status));
    else
        status = outline_from_path(outline, path, box, error);
    cairo_path_destroy(path);
    return status;
}

static void font_fini(clvi_demo_font *font, size_t text_count)
{
    for (size_t i = 0; font->outlines && i < text_count; i++)
        outline_fini(&font->outlines[i]);
    clvi_free(font->outlines);
    clvi_free(font->family);
    clvi_free(font->style);
    clvi_free(font->file);
}

void clvi_demo_fonts_fini(clvi_demo_fonts *fonts)
{
    for (size_t i = 0; i < fonts->count; i++)
        font_fini(&fonts->items[i], fonts->text_count);
    clvi_free(fonts->items);
    memset(fonts, 0, sizeof(*fonts));
}

static char *pattern_text(const FcPattern *pattern, const char *object)
{
    FcChar8 *text = NULL;
    if (FcPatternGetString(pattern, object, 0, &text) != FcResultMatch)
        return clvi_strdup("");
    return clvi_strdup((const char *)text);
}

/* Traces all texts in the font of `pattern` and, when it can draw them all, appends it. */
static clv_status add_font(clvi_demo_fonts *fonts, const tracer *with, FcPattern *pattern,
                           const char *const *texts, clv_error *error)
{
    clvi_demo_font font = {0};
    font.family = pattern_text(pattern, FC_FAMILY);
    font.style = pattern_text(pattern, FC_STYLE);
    font.file = pattern_text(pattern, FC_FILE);
    font.outlines = clvi_calloc(fonts->text_count, sizeof(*font.outlines));
    int weight = FC_WEIGHT_REGULAR;
    FcPatternGetInteger(pattern, FC_WEIGHT, 0, &weight);
    font.bold = weight >= FC_WEIGHT_DEMIBOLD;

    clv_status status = CLV_OK;
    if (!font.family || !font.style || !font.file || !font.outlines)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "out of memory while reading fonts");
    PangoFontDescription *description = pango_fc_font_description_from_pattern(pattern, FALSE);
    pango_font_description_set_absolute_size(description, OUTLINE_SIZE * PANGO_SCALE);
    pango_layout_set_font_description(with->layout, description);
    pango_font_description_free(description);
    bool usable = true;
    for (size_t i = 0; status == CLV_OK && usable && i < fonts->text_count; i++)
        status = trace(with, &font, texts[i], &font.outlines[i], &usable, error);
    if (status == CLV_OK && usable)
        status = clvi_grow((void **)&fonts->items, &fonts->capacity, fonts->count + 1,
                           sizeof(*fonts->items), error);
    if (status == CLV_OK && usable)
        fonts->items[fonts->count++] = font;
    else
        font_fini(&font, fonts->text_count);
    return status;
}

/* Fontconfig's patterns of all scalable fonts with every character of the texts; NULL: no memory.
 */
static FcFontSet *list_patterns(const char *const *texts, size_t text_count)
{
    FcCharSet *characters = FcCharSetCreate();
    for (size_t i = 0; i < text_count; i++) {
        for (const char *at = texts[i]; *at; at = g_utf8_next_char(at))
            FcCharSetAddChar(characters, g_utf8_get_char(at));
    }
    FcPattern *wanted = FcPatternCreate();
    FcPatternAddCharSet(wanted, FC_CHARSET, characters);
    FcPatternAddBool(wanted, FC_SCALABLE, FcTrue);
    FcPatternAddBool(wanted, FC_VARIABLE, FcFalse);
    FcObjectSet *objects = FcObjectSetBuild(FC_FAMILY, FC_STYLE, FC_FILE, FC_INDEX, FC_WEIGHT,
                                            FC_SLANT, FC_WIDTH, (char *)NULL);
    FcFontSet *set = FcFontList(NULL, wanted, objects);
    FcObjectSetDestroy(objects);
    FcPatternDestroy(wanted);
    FcCharSetDestroy(characters);
    return set;
}

static int compare_fonts(const void *a, const void *b)
{
    const clvi_demo_font *left = a, *right = b;
    int order = strcmp(left->family, right->family);
    if (order == 0)
        order = strcmp(left->style, right->style);
    return order != 0 ? order : strcmp(left->file, right->file);
}

clv_status clvi_demo_fonts_load(clvi_demo_fonts *fonts, const char *const *texts, size_t text_count,
                                clvi_text *notes, clv_error *error)
{
    memset(fonts, 0, sizeof(*fonts));
    fonts->text_count = text_count;
    FcFontSet *set = list_patterns(texts, text_count);
    if (!set)
        CLV_FAIL(error, CLV_E_MEMORY, "fontconfig cannot list the fonts");

    cairo_surface_t *surface = cairo_recording_surface_create(CAIRO_CONTENT_ALPHA, NULL);
    tracer with = {.cairo = cairo_create(surface), .notes = notes};
    cairo_font_options_t *options = cairo_font_options_create();
    cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
    cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
    cairo_set_font_options(with.cairo, options);
    cairo_font_options_destroy(options);
    PangoFontMap *map = pango_cairo_font_map_new();
    PangoContext *context = pango_font_map_create_context(map);
    pango_cairo_update_context(with.cairo, context);
    with.layout = pango_layout_new(context);
    g_object_unref(context);
    PangoAttrList *attributes = pango_attr_list_new();
    pango_attr_list_insert(attributes, pango_attr_fallback_new(FALSE));
    pango_attr_list_insert(attributes, pango_attr_language_new(pango_language_from_string("ne")));
    pango_layout_set_attributes(with.layout, attributes);
    pango_attr_list_unref(attributes);

    clv_status status = CLV_OK;
    for (int i = 0; status == CLV_OK && i < set->nfont; i++)
        status = add_font(fonts, &with, set->fonts[i], texts, error);
    g_object_unref(with.layout);
    g_object_unref(map);
    cairo_destroy(with.cairo);
    cairo_surface_destroy(surface);
    FcFontSetDestroy(set);
    if (status != CLV_OK)
        clvi_demo_fonts_fini(fonts);
    else if (fonts->count)
        qsort(fonts->items, fonts->count, sizeof(*fonts->items), compare_fonts);
    return status;
}

/* Whether item i begins a new family. */
static bool begins_family(const clvi_demo_fonts *fonts, size_t i)
{
    return i == 0 || strcmp(fonts->items[i - 1].family, fonts->items[i].family) != 0;
}

clv_status clvi_demo_fonts_hold_out(clvi_demo_fonts *fonts, clv_error *error)
{
    size_t families = 0, held_out = 0;
    for (size_t i = 0; i < fonts->count; i++) {
        clvi_demo_font *font = &fonts->items[i];
        font->held_out = false;
        for (size_t j = 0; j < sizeof(held_out_families) / sizeof(held_out_families[0]); j++) {
            if (strcmp(font->family, held_out_families[j]) == 0)
                font->held_out = true;
        }
        if (begins_family(fonts, i)) {
            families++;
            held_out += font->held_out;
        }
    }
    if (families < 2)
        CLV_FAIL(error, CLV_E_DATA,
                 "found %zu font families with all of the Devanagari characters and at least 2 are "
                 "needed (one is kept for the test images); install some, such as Debian's "
                 "fonts-lohit-deva and fonts-noto-core",
                 families);
    if (held_out == 0 || held_out == families) {
        size_t family = 0;
        for (size_t i = 0; i < fonts->count; i++) {
            family += begins_family(fonts, i);
            fonts->items[i].held_out = family % 4 == 2;
        }
    }
    return CLV_OK;
}
