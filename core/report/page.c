/* See page.h. */
#include "report/page.h"

#include "report/page_style.h"

void clvi_page_begin(clvi_page *page, const char *title, const char *again)
{
    *page = (clvi_page){.title = title, .again = again};
}

void clvi_page_fini(clvi_page *page)
{
    clvi_text_fini(&page->body);
    clvi_text_fini(&page->contents);
    for (size_t i = 0; i < page->plot_count; i++) {
        clvi_plot_fini(page->plots[i]);
        clvi_free(page->plots[i]);
    }
    clvi_free(page->plots);
    clvi_free(page->places);
    clvi_plot_fini(&page->spare);
    *page = (clvi_page){0};
}

/* ---- Sections ---- */

void clvi_page_section(clvi_page *page, const char *title)
{
    if (page->sections++ > 0)
        clvi_text_append(&page->body, "</section>\n");
    clvi_text_printf(&page->body, "<section id=\"s%zu\">\n<h2>", page->sections);
    clvi_report_escape(&page->body, title);
    clvi_text_append(&page->body, "</h2>\n");
    clvi_text_printf(&page->contents, "<a href=\"#s%zu\">", page->sections);
    clvi_report_escape(&page->contents, title);
    clvi_text_append(&page->contents, "</a>\n");
}

void clvi_page_heading(clvi_page *page, const char *title)
{
    clvi_text_append(&page->body, "<h3>");
    clvi_report_escape(&page->body, title);
    clvi_text_append(&page->body, "</h3>\n");
}

void clvi_page_note(clvi_page *page, const char *text)
{
    if (!text || !*text)
        return;
    clvi_text_append(&page->body, "<p class=\"note\">");
    clvi_report_escape(&page->body, text);
    clvi_text_append(&page->body, "</p>\n");
}

void clvi_page_table(clvi_page *page, const clvi_report_table *table)
{
    if (table->count > 0 && table->title)
        clvi_page_heading(page, table->title);
    clvi_report_html(table, &page->body);
    if (table->count > 0)
        clvi_page_note(page, table->note);
}

static void begin_details(clvi_page *page, const char *summary)
{
    clvi_text_append(&page->body, "<details><summary>");
    clvi_report_escape(&page->body, summary);
    clvi_text_append(&page->body, "</summary>\n");
}

void clvi_page_details(clvi_page *page, const char *summary, const clvi_report_table *table)
{
    page->failed = page->failed || table->failed;
    if (table->count == 0)
        return;
    begin_details(page, summary);
    clvi_page_table(page, table);
    clvi_text_append(&page->body, "</details>\n");
}

void clvi_page_command(clvi_page *page, const char *command)
{
    if (!command)
        return;
    clvi_text_append(&page->body, "<pre class=\"command\"><code>");
    clvi_report_escape(&page->body, command);
    clvi_text_append(&page->body, "</code></pre>\n");
}

void clvi_page_listing(clvi_page *page, const char *summary, const char *text)
{
    begin_details(page, summary);
    clvi_text_append(&page->body, "<pre>");
    clvi_report_escape(&page->body, text);
    clvi_text_append(&page->body, "</pre>\n</details>\n");
}

void clvi_page_image(clvi_page *page, const clvi_page_picture *picture, const char *alt)
{
    clvi_text *out = &page->body;
    clvi_text_append(out, picture->tiny ? "<img class=\"tiny\"" : "<img");
    if (picture->height > 0)
        clvi_text_printf(out, " width=\"%d\" height=\"%d\"", picture->width, picture->height);
    clvi_text_append(out, " alt=\"");
    clvi_report_escape(out, alt);
    clvi_text_append(out, "\" src=\"data:image/png;base64,");
    clvi_text_append_base64(out, picture->png, picture->length);
    clvi_text_append(out, "\"/>");
}

/* ---- Plots ---- */

void clvi_page_plots_begin(clvi_page *page, bool pairs)
{
    clvi_text_append(&page->body, pairs ? "<div class=\"plots pairs\">" : "<div class=\"plots\">");
}

void clvi_page_plots_end(clvi_page *page)
{
    clvi_text_append(&page->body, "</div>\n");
}

clvi_plot *clvi_page_plot(clvi_page *page, const char *title, const char *unit)
{
    void *plots = page->plots, *places = page->places;
    clvi_plot *plot = clvi_calloc(1, sizeof *plot);
    const size_t need = page->plot_count + 1;
    bool good =
        plot && clvi_grow(&plots, &page->plot_capacity, need, sizeof *page->plots, NULL) == CLV_OK;
    if (good)
        page->plots = plots;
    good = good &&
           clvi_grow(&places, &page->place_capacity, need, sizeof *page->places, NULL) == CLV_OK;
    if (!good) {
        clvi_free(plot);
        page->failed = true;
        return &page->spare;
    }
    page->places = places;
    page->places[page->plot_count] = page->body.length;
    page->plots[page->plot_count++] = plot;
    plot->title = title;
    plot->unit = unit;
    return plot;
}

static void append_figure(const clvi_plot *plot, const clvi_text *svg, clvi_text *out)
{
    if (svg->length == 0)
        return;
    clvi_text_append(out, "<figure><figcaption>");
    clvi_report_escape(out, plot->title);
    clvi_text_append(out, "</figcaption>\n");
    clvi_text_append(out, clvi_text_get(svg));
    if (plot->legend.length > 0) {
        clvi_text_append(out, "<ul class=\"legend\">");
        clvi_text_append(out, clvi_text_get(&plot->legend));
        clvi_text_append(out, "</ul>\n");
    }
    clvi_text_append(out, "</figure>\n");
    out->failed = out->failed || svg->failed || plot->legend.failed;
}

/* ---- The whole ---- */

static void append_head(const clvi_page *page, bool drawn, clvi_text *out)
{
    clvi_text_append(out,
                     "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
                     "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"/>\n"
                     "<title>");
    clvi_report_escape(out, page->title);
    clvi_text_append(out, "</title>\n<style>\n");
    for (size_t i = 0; i < sizeof page_style / sizeof *page_style; i++)
        clvi_text_append(out, page_style[i]);
    clvi_text_append(out, "</style>\n</head>\n<body>\n<h1>");
    clvi_report_escape(out, page->title);
    clvi_text_append(out, "</h1>\n<nav>\n");
    clvi_text_append(out, clvi_text_get(&page->contents));
    clvi_text_append(out, "</nav>\n");
    if (drawn)
        return;
    clvi_text_append(out, "<p>The curves are left out, because gnuplot was not found; their "
                          "numbers stand in the tables. Install it (on Debian: <code>apt install "
                          "gnuplot-nox</code>), then <code>");
    clvi_report_escape(out, page->again);
    clvi_text_append(out, "</code> draws them.</p>\n");
}

static void assemble(const clvi_page *page, const clvi_text *svgs, bool drawn, clvi_text *out)
{
    const char *body = clvi_text_get(&page->body);
    size_t at = 0;
    append_head(page, drawn, out);
    for (size_t i = 0; i < page->plot_count; i++) {
        clvi_text_append_n(out, body + at, page->places[i] - at);
        at = page->places[i];
        append_figure(page->plots[i], &svgs[i], out);
    }
    clvi_text_append(out, body + at);
    clvi_text_append(out, page->sections > 0 ? "</section>\n<script>\n" : "<script>\n");
    for (size_t i = 0; i < sizeof page_script / sizeof *page_script; i++)
        clvi_text_append(out, page_script[i]);
    clvi_text_append(out, "</script>\n</body>\n</html>\n");
    out->failed = out->failed || page->failed || page->body.failed || page->contents.failed;
}

clv_status clvi_page_finish(clvi_page *page, clvi_text *out, clv_error *error)
{
    bool missing;
    clvi_text *svgs = clvi_calloc(page->plot_count + 1, sizeof *svgs);
    if (!svgs)
        CLV_FAIL(error, CLV_E_MEMORY, "no memory for the page");
    clv_status status = clvi_plots_draw(page->plots, page->plot_count, svgs, &missing, error);
    if (status == CLV_OK)
        assemble(page, svgs, !missing, out);
    for (size_t i = 0; i < page->plot_count; i++)
        clvi_text_fini(&svgs[i]);
    clvi_free(svgs);
    if (status == CLV_OK && out->failed)
        status = clvi_fail(error, CLV_E_MEMORY, CLV_HERE, "no memory for the page");
    return status;
}
