/* core/report: a run as TensorBoard's events, read back record by record. */
#define _POSIX_C_SOURCE 200809L
#include "image_files.h"

#include "base/files.h"
#include "base/process.h"
#include "report/tensorboard.h"

#include "events.pb-c.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { MOST_EVENTS = 200 };

#define OK(call)                                                                                   \
    do {                                                                                           \
        clv_error error_ = CLV_ERROR_INIT, *error = &error_;                                       \
        if ((call) != CLV_OK)                                                                      \
            fail_msg("%s", error->message);                                                        \
    } while (0)

static const char metrics_1[] = "epoch,step,split,loss,top1,seconds\n"
                                "1,10,train,2.5,0.25,3\n1,10,val,2.25,0.5,1\n";
static const char metrics_2[] = "2,20,train,1.5,0.75,3\n2,20,val,,0.5,1\n";

/* Events of the only file in FOLDER/tensorboard. */
typedef struct reading {
    Events__Event *events[MOST_EVENTS];
    size_t count;
} reading;

static void put(const char *folder, const char *name, const char *text)
{
    file_put(folder, name, text, strlen(text));
}

static void append(const char *folder, const char *name, const char *text)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* CRC-32C bit by bit, masked. */
static uint32_t checksum(const uint8_t *bytes, size_t length)
{
    uint32_t crc = 0xFFFFFFFF;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x82F63B78 : crc >> 1;
    }
    crc ^= 0xFFFFFFFF;
    return (crc >> 15 | crc << 17) + 0xA282EAD8;
}

static uint64_t little(const uint8_t *bytes, int count)
{
    uint64_t value = 0;
    for (int i = count; i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}

static void read_events(const char *run, reading *out)
{
    char *folder = clvi_path_join(run, CLVI_RUN_TENSORBOARD), **names, *data;
    size_t count, bytes, at = 0;
    OK(clvi_dir_list(folder, &names, &count, error));
    assert_int_equal(count, 1);
    assert_non_null(strstr(names[0], "tfevents"));
    char *path = clvi_path_join(folder, names[0]);
    OK(clvi_file_read(path, 1 << 24, &data, &bytes, error));
    const uint8_t *file = (const uint8_t *)data;
    for (out->count = 0; at < bytes; out->count++) {
        assert_true(bytes - at >= 16 && out->count < MOST_EVENTS);
        const size_t length = little(file + at, 8);
        assert_true(length <= bytes - at - 16);
        assert_int_equal(little(file + at + 8, 4), checksum(file + at, 8));
        assert_int_equal(little(file + at + 12 + length, 4), checksum(file + at + 12, length));
        out->events[out->count] = events__event__unpack(NULL, length, file + at + 12);
        assert_non_null(out->events[out->count]);
        at += length + 16;
    }
    clvi_free(data);
    clvi_free(path);
    clvi_names_free(names, count);
    clvi_free(folder);
}

static void free_events(reading *r)
{
    for (size_t i = 0; i < r->count; i++)
        events__event__free_unpacked(r->events[i], NULL);
    r->count = 0;
}

/* The events with a value of this tag; *last is the last of them. */
static int find(const reading *r, const char *tag, const Events__Event **last)
{
    int found = 0;
    for (size_t i = 0; i < r->count; i++) {
        const Events__Event *e = r->events[i];
        if (e->what_case != EVENTS__EVENT__WHAT_SUMMARY ||
            strcmp(e->summary->value[0]->tag, tag) != 0)
            continue;
        *last = e;
        found++;
    }
    return found;
}

static void expect_scalar(const reading *r, const char *tag, int times, int64_t step, double value)
{
    const Events__Event *last = NULL;
    assert_int_equal(find(r, tag, &last), times);
    assert_int_equal(last->summary->value[0]->value_case,
                     EVENTS__SUMMARY__VALUE__VALUE_SIMPLE_VALUE);
    assert_int_equal(last->step, step);
    assert_true(fabs(last->summary->value[0]->simple_value - value) < 1e-6);
}

static const Events__Summary__Value *strings_of(const reading *r, const char *tag, size_t count)
{
    const Events__Event *last = NULL;
    assert_int_equal(find(r, tag, &last), 1);
    const Events__Summary__Value *value = last->summary->value[0];
    assert_int_equal(value->value_case, EVENTS__SUMMARY__VALUE__VALUE_TENSOR);
    assert_int_equal(value->tensor->dtype, 7);
    assert_int_equal(value->tensor->tensor_shape->dim[0]->size, count);
    assert_int_equal(value->tensor->n_string_val, count);
    return value;
}

static void test_rows_are_added_once(void **state)
{
    (void)state;
    char *run = folder_make();
    clvi_tensorboard *board = NULL;
    reading r;
    const Events__Event *first = NULL, *last = NULL;
    put(run, "config.ini", "[run]\nname = x\n");
    put(run, "metrics.csv", metrics_1);
    put(run, "signals.csv", "epoch,part,share,entropy\n1,expert.a,0.5,\n1,gate,,0.125\n");
    put(run, "signal_pairs.csv", "epoch,first,second,yule_q\n1,expert.a,expert.b,-0.5\n");
    put(run, "tensorboard/events.out.tfevents.1.x", "from before");
    OK(clvi_tensorboard_create(run, &board, error));
    OK(clvi_tensorboard_update(board, error));
    OK(clvi_tensorboard_update(board, error));
    read_events(run, &r);
    assert_string_equal(r.events[0]->file_version, "brain.Event:2");
    assert_int_equal(r.events[1]->session_log->status, 1);
    expect_scalar(&r, "loss/train", 1, 10, 2.5);
    expect_scalar(&r, "top1/val", 1, 10, 0.5);
    expect_scalar(&r, "expert_share/a", 1, 10, 0.5);
    expect_scalar(&r, "gate/entropy", 1, 10, 0.125);
    expect_scalar(&r, "experts_yule_q/a_b", 1, 10, -0.5);
    assert_int_equal(find(&r, "expert_entropy/a", &last), 0);
    free_events(&r);
    append(run, "metrics.csv", metrics_2);
    OK(clvi_tensorboard_update(board, error));
    clvi_tensorboard_destroy(board);
    read_events(run, &r);
    expect_scalar(&r, "loss/train", 2, 20, 1.5);
    expect_scalar(&r, "loss/val", 1, 10, 2.25); /* the second is empty */
    assert_int_equal(find(&r, "loss/val", &first) + find(&r, "loss/train", &last), 3);
    assert_true(fabs(last->wall_time - first->wall_time - 4) < 1e-6);
    const Events__Summary__Value *text = strings_of(&r, "config", 1);
    assert_string_equal(text->metadata->plugin_data->plugin_name, "text");
    assert_int_equal(text->tensor->string_val[0].len, strlen("    [run]\n    name = x\n"));
    assert_memory_equal(text->tensor->string_val[0].data, "    [run]\n    name = x\n", 23);
    free_events(&r);
    folder_remove(run);
}

/* Two classes: three right images and one of the second class that is taken for the first. */
static void put_end(const char *run)
{
    put(run, "summary.json",
        "{\"epochs\": 2, \"best_epoch\": 2, \"seconds\": 8,\n"
        " \"val\": {\"count\": 4, \"top1\": 0.75, \"nll\": 0.5}}\n");
    put(run, "per_class.csv",
        "split,class,images,predicted,correct,precision,recall,f1\n"
        "val,a,2,3,2,0.667,1,0.8\nval,b,2,1,1,1,0.5,0.667\n");
    put(run, "confusion.csv", "split,class,predicted,images\nval,a,a,2\nval,b,a,1\nval,b,b,1\n");
}

static void test_end_of_a_run(void **state)
{
    (void)state;
    char *run = folder_make();
    clvi_tensorboard *board = NULL;
    clvi_image matrix = {0};
    reading r;
    put(run, "config.ini", "[run]\nname = x\n");
    put(run, "metrics.csv", metrics_1);
    append(run, "metrics.csv", metrics_2);
    put_end(run);
    OK(clvi_tensorboard_create(run, &board, error));
    OK(clvi_tensorboard_finish(board, NULL, error));
    clvi_tensorboard_destroy(board);
    read_events(run, &r);
    expect_scalar(&r, "best_top1/val", 1, 20, 0.75);
    expect_scalar(&r, "best_nll/val", 1, 20, 0.5);
    const Events__Summary__Value *value = strings_of(&r, "confusion/val", 3);
    assert_string_equal(value->metadata->plugin_data->plugin_name, "images");
    const ProtobufCBinaryData *strings = value->tensor->string_val;
    assert_memory_equal(strings[0].data, "512", 3);
    assert_memory_equal(strings[1].data, "512", 3);
    OK(clvi_image_decode(strings[2].data, strings[2].len, "matrix", 3, &matrix, error));
    assert_int_equal(matrix.width, 512);
    const int middle[4] = {128 * 512 + 128, 128 * 512 + 384, 384 * 512 + 128, 384 * 512 + 384};
    const uint8_t *pixels = matrix.pixels;
    assert_int_equal(pixels[middle[0] * 3], 8);                     /* a: all right */
    assert_int_equal(pixels[middle[1] * 3], 255);                   /* a for b: none */
    assert_int_equal(pixels[middle[2] * 3], pixels[middle[3] * 3]); /* b: half and half */
    assert_in_range(pixels[middle[2] * 3], 75, 85);                 /* 255 - 247 √½ = 80.3 */
    clvi_image_fini(&matrix);
    free_events(&r);
    folder_remove(run);
}

static void test_a_run_under_way(void **state)
{
    (void)state;
    char *run = folder_make();
    clvi_tensorboard *board = NULL;
    reading r;
    put(run, "config.ini", "[run]\n");
    OK(clvi_tensorboard_create(run, &board, error));
    OK(clvi_tensorboard_finish(board, NULL, error));
    clvi_tensorboard_destroy(board);
    read_events(run, &r);
    assert_int_equal(r.count, 3); /* version, start, configuration */
    free_events(&r);
    folder_remove(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_are_added_once),
        cmocka_unit_test(test_end_of_a_run),
        cmocka_unit_test(test_a_run_under_way),
    };
    return cmocka_run_group_tests_name("tensorboard", tests, NULL, NULL);
}
