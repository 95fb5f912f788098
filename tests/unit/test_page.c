/* core/report: what is put into pages, piece by piece. */
#include "image_files.h"

#include "base/files.h"
#include "report/heat_map.h"
#include "report/page.h"
#include "report/sheet.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void is(clvi_text *text, const char *wanted)
{
    assert_false(text->failed);
    assert_string_equal(clvi_text_get(text), wanted);
    clvi_text_fini(text);
}

static void contains(const clvi_text *text, const char *part)
{
    if (!strstr(clvi_text_get(text), part))
        fail_msg("\"%s\" is not in \"%s\"", part, clvi_text_get(text));
}

static void lacks(const clvi_text *text, const char *part)
{
    if (strstr(clvi_text_get(text), part))
        fail_msg("\"%s\" is in \"%s\"", part, clvi_text_get(text));
}

static void test_escape(void **state)
{
    (void)state;
    clvi_text text = {0};
    clvi_report_escape(&text, "<a href=\"x\">&amp; 'ä' 語");
    is(&text, "&lt;a href=&quot;x&quot;&gt;&amp;amp; 'ä' 語");
    /* No page may have these: a bell, half a character, a surrogate, DEL. */
    clvi_report_escape(&text, "a\ab\xC3 c\xED\xA0\x80\x7F\n");
    is(&text, "a\xEF\xBF\xBD"
              "b\xEF\xBF\xBD c\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\n");
}

static void test_script(void **state)
{
    (void)state;
    clvi_plot plot = {.title = "Loss", .unit = "epoch", .whole_x = true};
    clvi_text script = {0};
    clvi_plot_script(&plot, &script);
    is(&script, ""); /* nothing to draw */
    clvi_plot_series(&plot, CLVI_PLOT_LINE, 0, "a'`id` <b>");
    clvi_plot_point(&plot, 1, 0.5);
    clvi_plot_point(&plot, 2, 0.25);
    clvi_plot_point(&plot, 3, NAN);
    clvi_plot_point(&plot, 4, 0.125);
    clvi_plot_series(&plot, CLVI_PLOT_DOTS, 8, NULL);
    clvi_plot_point(&plot, 4, 0.125);
    assert_int_equal(plot.points, 4);
    clvi_plot_script(&plot, &script);
    contains(&script, "$d1 << E\n1 0.5\n2 0.25\n\n4 0.125\nE\n$d2 << E\n4 0.125\nE\n");
    contains(&script, "plot $d1 using 1:2 with linespoints lt 1 dt 1 ");
    contains(&script, "lc rgb '#0a0001', $d2 using 1:2 with points "); /* the first colour, */
    contains(&script, "lc rgb '#0a0002'\n");                           /* the second one again */
    contains(&script, "set xrange [1:4]\nset xtics ('1' 1, '2' 2, '3' 3, '4' 4)\n");
    contains(&script, "set yrange [0.1:0.5]\nset ytics ('0.1' 0.1, '0.2' 0.2, ");
    contains(&script, "set xlabel 'epoch'");
    lacks(&script, "`");
    lacks(&script, "logscale");
    clvi_text_fini(&script);
    assert_string_equal(clvi_text_get(&plot.legend),
                        "<li><i class=\"s1 d0\"></i>a'`id` &lt;b&gt;</li>");
    clvi_plot_fini(&plot);
}

static void test_axes(void **state)
{
    (void)state;
    clvi_text script = {0};
    clvi_plot plot = {.title = "g", .log_y = true};
    clvi_plot_series(&plot, CLVI_PLOT_LINE, 7, NULL); /* the first colour, dashed */
    clvi_plot_point(&plot, 0, 1e-6);
    clvi_plot_point(&plot, 1, 0.02);
    clvi_plot_script(&plot, &script);
    contains(&script, "set logscale y\n");
    contains(&script, "set ytics ('1e-06' 1e-06, '1e-05' 1e-05, '0.0001' 0.0001, ");
    contains(&script, " dt (12,6) ");
    contains(&script, "lc rgb '#0a0001'\n");
    clvi_text_fini(&script);
    clvi_plot_point(&plot, 2, 0); /* has no logarithm */
    clvi_plot_script(&plot, &script);
    lacks(&script, "logscale");
    clvi_text_fini(&script);
    clvi_plot_fini(&plot);
    /* A single point has room around it. */
    clvi_plot_series(&plot, CLVI_PLOT_LINE, 0, NULL);
    clvi_plot_point(&plot, 1, 5);
    plot.whole_x = true;
    clvi_plot_script(&plot, &script);
    contains(&script, "set xrange [0:2]\nset xtics ('0' 0, '1' 1, '2' 2)\n");
    contains(&script, "set yrange [4.5:5.5]\n");
    clvi_text_fini(&script);
    clvi_plot_fini(&plot);
}

/* What gnuplot 5.4 writes, cut to one of each kind. */
static const char document[] =
    "<?xml version=\"1.0\"?>\n<svg \n viewBox=\"0 0 360 210\"\n "
    "xmlns=\"http://www.w3.org/2000/svg\">\n<title>Gnuplot</title>\n<defs>\n\t<use "
    "xlink:href='#gpPt5' id='gpPt6' fill='currentColor'/>\n</defs>\n<g fill=\"none\" "
    "stroke=\"currentColor\" stroke-width=\"1.00\">\n\t<path stroke='rgb(  2,   2,   2)' "
    "class=\"gridline\"  d='M54.5,264.0 \nL574.8,264.0  '/>\t<g "
    "transform=\"translate(46.14,267.90)\" stroke=\"none\" fill=\"rgb(1,1,1)\" "
    "font-size=\"12.00\"  text-anchor=\"end\">\n\t\t<text> 0.1</text>\n\t</g>\n</g>\n<g "
    "transform=\"translate(5.00,9.00)\" text-anchor=\"start\">\n\t<text>@1</text>\n</g>\n<g "
    "id=\"gnuplot_plot_1\" ><title>$d1 using 1:2</title>\n<g stroke-width=\"1.80\">\n\t<path "
    "stroke='rgb( 10,   0,   3)' stroke-dasharray='2.5,4.0'  d='M1,2 L3,4  '/>\t<use "
    "xlink:href='#gpPt6' transform='translate(54.53,223.00) scale(1.13)' color='rgb( 11,   0,   "
    "7)'/>\n</g></g></svg>\n";

static void test_svg(void **state)
{
    (void)state;
    clvi_plot plot = {.title = "a & b"};
    clvi_text svg = {0};
    clvi_plot_label(&plot, 0, "first");
    clvi_plot_label(&plot, 1, "<second>");
    clvi_plot_take_svg(document, &plot, &svg);
    is(&svg, "<svg viewBox=\"0 0 360 210\" role=\"img\" aria-label=\"a &amp; b\">\n"
             "<path class=\"grid\" d=\"M54.5,264.0 L574.8,264.0\"/>\n"
             "<text x=\"46.14\" y=\"267.90\" text-anchor=\"end\">0.1</text>\n"
             "<text x=\"5.00\" y=\"9.00\" text-anchor=\"start\">&lt;second&gt;</text>\n"
             "<path class=\"s3\" stroke-width=\"1.80\" stroke-dasharray=\"2.5,4.0\" d=\"M1,2 "
             "L3,4\"/>\n"
             "<circle class=\"s7 pale\" cx=\"54.53\" cy=\"223.00\" r=\"1.13\"/>\n"
             "</svg>\n");
    clvi_plot_take_svg("<svg cut", &plot, &svg);
    is(&svg, "");
    clvi_plot_fini(&plot);
}

/* With the program that the environment names; *missing as clvi_plots_draw says. */
static clv_status draw(const char *program, clvi_text *svgs, bool *missing, clv_error *error)
{
    clvi_plot a = {.title = "a"}, empty = {.title = "b"}, c = {.title = "c", .rows = true};
    clvi_plot *const plots[] = {&a, &empty, &c};
    clvi_plot_series(&a, CLVI_PLOT_LINE, 0, NULL);
    clvi_plot_point(&a, 1, 1);
    clvi_plot_point(&a, 2, 4);
    clvi_plot_label(&c, 0.3, "it's & `id`");
    clvi_plot_series(&c, CLVI_PLOT_DOTS, 4, NULL);
    clvi_plot_point(&c, 1, 0.5);
    if (program)
        setenv("CONCLAVE_GNUPLOT", program, 1);
    const clv_status status = clvi_plots_draw(plots, 3, svgs, missing, error);
    unsetenv("CONCLAVE_GNUPLOT");
    clvi_plot_fini(&a);
    clvi_plot_fini(&c);
    return status;
}

static void test_gnuplot(void **state)
{
    (void)state;
    clvi_text svgs[3] = {{0}, {0}, {0}};
    clv_error error = CLV_ERROR_INIT;
    bool missing = false;
    assert_int_equal(draw("/nowhere/gnuplot", svgs, &missing, &error), CLV_OK);
    assert_true(missing);
    assert_int_equal(svgs[0].length, 0);
    assert_int_equal(draw("/bin/true", svgs, &missing, &error), CLV_E_IO);
    if (!strstr(error.message, "/bin/true has not drawn the plots: "))
        fail_msg("%s", error.message);
    error = (clv_error)CLV_ERROR_INIT;
    if (draw(NULL, svgs, &missing, &error) != CLV_OK)
        fail_msg("%s", error.message);
    if (missing)
        skip();
    contains(&svgs[0], "<path class=\"s1\" ");
    contains(&svgs[0], "<circle class=\"s1\" ");
    contains(&svgs[0], ">1.2</text>");
    assert_int_equal(svgs[1].length, 0);
    contains(&svgs[2], "<circle class=\"s5\" ");
    contains(&svgs[2], ">it's &amp; `id`</text>");
    clvi_text_fini(&svgs[0]);
    clvi_text_fini(&svgs[2]);
}

static void test_heat_map(void **state)
{
    (void)state;
    static const char *const rows[] = {"<a>", "b"}, *const columns[] = {"c", "d"};
    static const double values[] = {0.5, NAN, -0.9, 0};
    clvi_heat_map map = {"x", rows, columns, values, 2, 2, 1, CLVI_HEAT_DECIMAL};
    clvi_text text = {0};
    clvi_heat_map_html(&map, &text);
    contains(&text, "<th scope=\"row\">&lt;a&gt;</th><td class=\"\" style=\"--v:50%\">0.50</td>"
                    "<td></td></tr>");
    contains(&text, "<td class=\"neg hi\" style=\"--v:90%\">−0.90</td>"
                    "<td class=\"\" style=\"--v:0%\">0.00</td>");
    clvi_text_fini(&text);
    map.form = CLVI_HEAT_PERCENT;
    map.most = 0.5;
    clvi_heat_map_html(&map, &text);
    contains(&text, "<td class=\"hi\" style=\"--v:100%\">50.0</td>");
    clvi_text_fini(&text);
    /* Columns are the rows; what is rare can still be seen. */
    static const double confusion[] = {0.9, 0.1, 0.002, 0};
    map = (clvi_heat_map){"x", rows, NULL, confusion, 2, 2, 0.1, CLVI_HEAT_SMALL};
    clvi_heat_map_html(&map, &text);
    contains(&text, "<th scope=\"col\">2</th>");
    contains(&text, "<th scope=\"row\">1 &lt;a&gt;</th><td class=\"same\" style=\"--v:91%\" ");
    contains(&text, "<td class=\"neg\" style=\"--v:100%\" title=\"&lt;a&gt; → b: 10.0 %\"></td>");
    contains(&text, "<td class=\"neg\" style=\"--v:16%\" title=\"b → &lt;a&gt;: 0.2 %\"></td>"
                    "<td></td></tr>");
    clvi_text_fini(&text);
}

static void test_sheet(void **state)
{
    (void)state;
    static const char text[] = "split,class,images\nval,\"a, b\",3\ntest,c,\nval,cut";
    char *folder = folder_make();
    clvi_sheet s = {0};
    clv_error error = CLV_ERROR_INIT;
    file_put(folder, "a.csv", text, sizeof text - 1);
    file_put(folder, "empty.csv", "", 0);
    assert_int_equal(clvi_sheet_read(folder, "a.csv", &s, &error), CLV_OK);
    assert_int_equal(s.rows, 2);
    assert_string_equal(clvi_sheet_text(&s, 0, "class"), "a, b");
    assert_true(clvi_sheet_real(&s, 0, "images") == 3);
    assert_true(isnan(clvi_sheet_real(&s, 1, "images")));
    assert_true(clvi_sheet_is(&s, 1, "split", "test"));
    assert_string_equal(clvi_sheet_text(&s, 0, "no such column"), "");
    assert_string_equal(clvi_sheet_text(&s, 2, "class"), "");
    clvi_sheet_fini(&s);
    static const char *const nothing[] = {"empty.csv", "missing.csv"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(clvi_sheet_read(folder, nothing[i], &s, &error), CLV_OK);
        assert_int_equal(s.rows, 0);
        assert_string_equal(clvi_sheet_text(&s, 0, "class"), "");
        clvi_sheet_fini(&s);
    }
    folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escape),  cmocka_unit_test(test_script),
        cmocka_unit_test(test_axes),    cmocka_unit_test(test_svg),
        cmocka_unit_test(test_gnuplot), cmocka_unit_test(test_heat_map),
        cmocka_unit_test(test_sheet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
