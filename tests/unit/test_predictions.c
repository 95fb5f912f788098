/* core/train/predictions: from logits to predictions.csv and back, and damaged files. */
#define _XOPEN_SOURCE 700
#include "train/predictions.h"

#include "image_files.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char home[] = "/tmp/predictions-XXXXXX";

static int begin(void **state)
{
    (void)state;
    return mkdtemp(home) != NULL && chdir(home) == 0 && mkdir("pictures", 0755) == 0 ? 0 : -1;
}

static void write_file(const char *text)
{
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_file_write("p.csv", text, strlen(text), &error), CLV_OK);
}

static clvi_dataset *make_data(void)
{
    static const char *const names[] = {"train/a/0.png", "train/b/0.png",  "train/a/1.png",
                                        "train/b/1.png", "test/a/x,y.png", "test/b/z.png"};
    for (int i = 0; i < 6; i++) {
        uint8_t pixels[64];
        memset(pixels, 40 * i + 1, sizeof pixels);
        const png_form form = {.width = 8, .height = 8, .bits = 8};
        blob png = png_make(&form, pixels);
        file_put("pictures", names[i], png.bytes, png.length);
        blob_free(&png);
    }
    const clvi_data_options options = {.path = "pictures", .height = 8, .width = 8};
    clvi_dataset *data = NULL;
    clv_error error = CLV_ERROR_INIT;
    if (clvi_dataset_open(&options, &data, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return data;
}

static void test_round_trip(void **state)
{
    (void)state;
    clv_error error = CLV_ERROR_INIT;
    clvi_dataset *data = make_data();
    static const float logits[] = {1, 3, NAN, 0};
    static const int32_t labels[] = {0, 1};
    static const uint32_t indices[] = {0, 1};
    const clvi_batch batch = {.count = 2, .labels = labels, .indices = indices};
    clvi_predictions made = {0}, back = {0};
    assert_int_equal(clvi_predictions_add(&made, data, CLVI_TEST, &batch, logits, &error), CLV_OK);
    assert_int_equal(made.count, 2);
    /* -2 - ln(1 + e^-2) */
    assert_true(fabs(made.items[0].log_probability + 2.126928011042972) < 1e-12);

    assert_true(isnan(made.items[0].confidence));
    clvi_predictions_calibrate(&made, 0, logits, 2, 2);
    /* 1/(1 + e^-1) */
    assert_true(fabs(made.items[0].confidence - 0.7310585786300049) < 1e-12);
    made.items[0].gate_entropy = 0.25;

    clvi_text text = {0};
    clvi_predictions_append(&made, CLVI_VAL, &text);
    clvi_predictions_append(&made, CLVI_TEST, &text);
    write_file(clvi_text_get(&text));
    clvi_text_fini(&text);
    assert_int_equal(clvi_predictions_read("p.csv", CLVI_TEST, &back, &error), CLV_OK);
    assert_int_equal(back.count, 2);
    assert_string_equal(back.items[0].image, "test/a/x,y.png");
    assert_int_equal(back.items[0].label, 0);
    assert_int_equal(back.items[0].predicted, 1);
    assert_true(fabs(back.items[0].log_probability + 2.126928) < 1e-6);
    assert_string_equal(back.items[1].image, "test/b/z.png");
    assert_int_equal(back.items[1].predicted, -1);
    assert_true(isnan(back.items[1].log_probability));
    assert_true(fabs(back.items[0].confidence - 0.7310586) < 1e-9);
    assert_true(back.items[0].gate_entropy == 0.25);
    assert_true(isnan(back.items[1].confidence) && isnan(back.items[1].gate_entropy));
    clvi_predictions_fini(&back);
    assert_int_equal(clvi_predictions_read("p.csv", CLVI_TRAIN, &back, &error), CLV_OK);
    assert_int_equal(back.count, 0);
    clvi_predictions_fini(&back);
    clvi_predictions_fini(&made);
    clvi_dataset_close(data);
}

/* Runs of older builds. */
static void test_old(void **state)
{
    (void)state;
    clv_error error = CLV_ERROR_INIT;
    clvi_predictions back = {0};
    write_file("split,image,label,predicted,log_probability\nval,a,1,2,-0.5\n");
    assert_int_equal(clvi_predictions_read("p.csv", CLVI_VAL, &back, &error), CLV_OK);
    assert_int_equal(back.count, 1);
    assert_true(back.items[0].log_probability == -0.5);
    assert_true(isnan(back.items[0].confidence) && isnan(back.items[0].gate_entropy));
    clvi_predictions_fini(&back);
}

static void test_damaged(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "split,image\n",
        "split,image,label,predicted,log_probability\ntest,a,1,2\n",
        "split,image,label,predicted,log_probability\ntest,a,1,2,3,4\n",
        "split,image,label,predicted,log_probability\ntest,a,-1,2,-3\n",
        "split,image,label,predicted,log_probability\ntest,a,1,-2,-3\n",
        "split,image,label,predicted,log_probability\ntest,a,1,2,many\n",
        "split,image,label,predicted,log_probability\ntest,a,1,99999999999,-1\n",
        "split,image,label,predicted,log_probability,confidence,gate_entropy\ntest,a,1,2,-1\n",
        "split,image,label,predicted,log_probability,confidence,gate_entropy\ntest,a,1,2,-1,x,\n",
        "split,image,label,predicted,log_probability,confidence,gate_entropy\ntest,a,1,2,-1,1,y\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        clvi_predictions got = {.count = 7};
        clv_error error = CLV_ERROR_INIT;
        write_file(bad[i]);
        assert_int_equal(clvi_predictions_read("p.csv", CLVI_TEST, &got, &error), CLV_E_FORMAT);
        assert_non_null(strstr(error.message, "p.csv"));
        assert_int_equal(got.count, 7);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_old),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, begin, NULL);
}
