/* See heat_map.h. */
#include "report/heat_map.h"

#include <math.h>

/* What can just be told from nothing, and from where on a text must be light; percent of colour. */
enum { LEAST_SHADE = 14, DARK_SHADE = 60 };

static int shade_of(double value, double most)
{
    const double part = most > 0 ? fabs(value) / most : 0;
    return value == 0 ? 0 : (int)(LEAST_SHADE + (100 - LEAST_SHADE) * (part < 1 ? part : 1) + 0.5);
}

static void number_cell(const clvi_heat_map *map, double value, clvi_text *out)
{
    if (!isfinite(value)) {
        clvi_text_append(out, "<td></td>");
        return;
    }
    const double part = map->most > 0 ? fabs(value) / map->most : 0;
    const int shade = (int)(100 * (part < 1 ? part : 1) + 0.5);
    clvi_text_printf(out, "<td class=\"%s%s\" style=\"--v:%d%%\">", value < 0 ? "neg " : "",
                     shade >= DARK_SHADE ? "hi" : "", shade);
    if (map->form == CLVI_HEAT_PERCENT)
        clvi_text_printf(out, "%.1f</td>", 100 * value);
    else
        clvi_text_printf(out, "%s%.2f</td>", value <= -0.005 ? "−" : "", fabs(value));
}

static void small_cell(const clvi_heat_map *map, size_t row, size_t column, clvi_text *out)
{
    const double value = map->values[row * map->columns + column];
    if (!isfinite(value) || value == 0) {
        clvi_text_append(out, "<td></td>");
        return;
    }
    clvi_text_printf(out, "<td class=\"%s\" style=\"--v:%d%%\" title=\"",
                     row == column ? "same" : "neg",
                     shade_of(value, row == column ? 1 : map->most));
    clvi_report_escape(out, map->row_names[row]);
    clvi_text_append(out, " → ");
    clvi_report_escape(out, map->row_names[column]);
    clvi_text_printf(out, ": %.1f %%\"></td>", 100 * value);
}

static void heading(const clvi_heat_map *map, clvi_text *out)
{
    clvi_text_append(out, "<thead><tr><th scope=\"col\">");
    clvi_report_escape(out, map->corner);
    clvi_text_append(out, "</th>");
    for (size_t c = 0; c < map->columns; c++) {
        clvi_text_append(out, "<th scope=\"col\">");
        if (map->form == CLVI_HEAT_SMALL)
            clvi_text_printf(out, "%zu", c + 1);
        else
            clvi_report_escape(out, map->column_names[c]);
        clvi_text_append(out, "</th>");
    }
    clvi_text_append(out, "</tr></thead>\n<tbody>\n");
}

void clvi_heat_map_html(const clvi_heat_map *map, clvi_text *out)
{
    const bool small = map->form == CLVI_HEAT_SMALL;
    clvi_text_printf(out, "<div class=\"scroll%s\"><table class=\"heat%s\">\n",
                     map->rows > CLVI_REPORT_LONG && !small ? " long" : "", small ? " small" : "");
    heading(map, out);
    for (size_t r = 0; r < map->rows; r++) {
        clvi_text_append(out, "<tr><th scope=\"row\">");
        if (small)
            clvi_text_printf(out, "%zu ", r + 1);
        clvi_report_escape(out, map->row_names[r]);
        clvi_text_append(out, "</th>");
        for (size_t c = 0; c < map->columns; c++)
            if (small)
                small_cell(map, r, c, out);
            else
                number_cell(map, map->values[r * map->columns + c], out);
        clvi_text_append(out, "</tr>\n");
    }
    clvi_text_append(out, "</tbody>\n</table></div>\n");
}
