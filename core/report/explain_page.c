/* See explain_page.h. */
#include "report/explain_page.h"

void clvi_explain_page_begin(clvi_page *page, const char *run)
{
    clvi_text note = {0};
    clvi_text_printf(
        &note,
        "What the experts of %s look at, by Grad-CAM (Selvaraju et al. 2017): where the "
        "last feature map of an expert speaks for the class in bold, from violet for "
        "a little to yellow for most. Each picture is scaled by its own most; "
        "where there is no colour, nothing there speaks for the class, but it may "
        "speak for or against others.",
        run);
    clvi_page_note(page, clvi_text_get(&note));
    page->failed = page->failed || note.failed;
    clvi_text_fini(&note);
}

static void append_chances(const clvi_explained_card *card, clvi_text *out)
{
    clvi_text_append(out, "<ol class=\"chances\">");
    for (size_t i = 0; i < card->chance_count; i++) {
        const clvi_chance *c = &card->chances[i];
        clvi_text_printf(out, "<li%s style=\"--p:%.1f%%\"><span>",
                         c->explained ? " class=\"it\"" : "", 100 * c->probability);
        clvi_report_escape(out, c->name);
        clvi_text_printf(out, "</span> %.1f %%</li>", 100 * c->probability);
    }
    clvi_text_append(out, "</ol>\n");
}

static void append_small(const char *text, clvi_text *out)
{
    if (!text)
        return;
    clvi_text_append(out, "<p class=\"note\">");
    clvi_report_escape(out, text);
    clvi_text_append(out, "</p>\n");
}

static void append_card(const clvi_explained_card *card, clvi_page *page)
{
    clvi_text *out = &page->body;
    clvi_text_append(out, "<figure>");
    if (card->picture.png)
        clvi_page_image(page, &card->picture, card->title);
    clvi_text_append(out, "<figcaption><b>");
    clvi_report_escape(out, card->title);
    clvi_text_append(out, "</b>");
    if (card->weight) {
        clvi_text_append(out, " <small>");
        clvi_report_escape(out, card->weight);
        clvi_text_append(out, "</small>");
    }
    clvi_text_append(out, "\n");
    if (card->chance_count > 0)
        append_chances(card, out);
    append_small(card->note, out);
    if (card->maps.png) {
        clvi_text_append(out, "<details><summary>Feature maps</summary>\n");
        clvi_page_image(page, &card->maps, "feature maps");
        append_small(card->maps_note, out);
        clvi_text_append(out, "</details>\n");
    }
    clvi_text_append(out, "</figcaption></figure>\n");
}

static void append_absent(clvi_page *page, const clvi_explained_card *cards, size_t count)
{
    clvi_text names = {0};
    for (size_t i = 0; i < count; i++)
        if (cards[i].absent)
            clvi_text_printf(&names, "%s%s",
                             names.length > 0 ? ", " : "Not asked by a gate: ", cards[i].title);
    if (names.length > 0)
        clvi_text_append(&names, ".");
    clvi_page_note(page, clvi_text_get(&names));
    page->failed = page->failed || names.failed;
    clvi_text_fini(&names);
}

void clvi_explain_page_add(clvi_page *page, const char *name, const char *note,
                           const clvi_explained_card *cards, size_t count)
{
    clvi_page_section(page, name);
    clvi_page_note(page, note);
    clvi_text_append(&page->body, "<div class=\"cards\">\n");
    for (size_t i = 0; i < count; i++)
        if (!cards[i].absent)
            append_card(&cards[i], page);
    clvi_text_append(&page->body, "</div>\n");
    append_absent(page, cards, count);
}
