/* core/base/csv: what is written is read back; damaged lines end somewhere. */
#include "base/csv.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_round_trip(void **state)
{
    (void)state;
    static const char *const fields[] = {"",           "plain", "a,b", "say \"no\"",
                                         "two\nlines", "",      "\"",  ","};
    enum { COUNT = sizeof fields / sizeof *fields };
    clvi_text text = {0};
    for (int line = 0; line < 2; line++) {
        for (int i = 0; i < COUNT; i++)
            clvi_csv_append(&text, fields[i]);
        clvi_csv_end_line(&text);
    }
    assert_false(text.failed);
    char *cursor = text.data, *got[COUNT];
    for (int line = 0; line < 2; line++) {
        assert_int_equal(clvi_csv_next(&cursor, got, COUNT), COUNT);
        for (int i = 0; i < COUNT; i++)
            assert_string_equal(got[i], fields[i]);
    }
    assert_int_equal(clvi_csv_next(&cursor, got, COUNT), 0);
    clvi_text_fini(&text);
}

static void test_as_written(void **state)
{
    (void)state;
    clvi_text text = {0};
    clvi_csv_append(&text, "a,b");
    clvi_csv_append_int(&text, -3);
    clvi_csv_append_real(&text, 0.125, 6);
    clvi_csv_append_real(&text, NAN, 6);
    clvi_csv_append(&text, "x");
    clvi_csv_end_line(&text);
    assert_string_equal(clvi_text_get(&text), "\"a,b\",-3,0.125,,x\n");
    clvi_text_fini(&text);
}

static void test_foreign(void **state)
{
    (void)state;
    char text[] = "\r\n a ,,c\r\n\r\n\"open, and\nnever \"\"closed";
    char *cursor = text, *got[3];
    assert_int_equal(clvi_csv_next(&cursor, got, 3), 3);
    assert_string_equal(got[0], " a ");
    assert_string_equal(got[1], "");
    assert_string_equal(got[2], "c");
    assert_int_equal(clvi_csv_next(&cursor, got, 3), 1);
    assert_string_equal(got[0], "open, and\nnever \"closed");
    assert_int_equal(clvi_csv_next(&cursor, got, 3), 0);

    char more[] = "1,2,3,4\n5,\n6,";
    cursor = more;
    assert_int_equal(clvi_csv_next(&cursor, got, 2), 4);
    assert_string_equal(got[1], "2");
    assert_int_equal(clvi_csv_next(&cursor, got, 2), 2);
    assert_string_equal(got[1], "");
    assert_int_equal(clvi_csv_next(&cursor, got, 2), 2);
    assert_string_equal(got[0], "6");
    assert_string_equal(got[1], "");
    assert_int_equal(clvi_csv_next(&cursor, got, 2), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_as_written),
        cmocka_unit_test(test_foreign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
