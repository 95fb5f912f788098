/* core/config: reader, schema, values, overrides, dump; and that no input, however damaged, crashes
 * it. */
#define _POSIX_C_SOURCE 200809L
#include "base/philox.h"
#include "base/process.h"
#include "config/config.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static const char minimal[] = "[mixture]\nexperts = a\n[expert.a]\nplugin = cnn\n";

/* Loads `text` as a.ini; on failure the faults are in *report (which the caller frees). */
static clv_status load_bytes(const char *text, size_t bytes, clvi_config **out, clv_error *error,
                             clvi_text *report)
{
    const clvi_config_source source = {
        .name = "a.ini", .text = text, .text_bytes = bytes, .report = report};
    return clvi_config_load(&source, out, error);
}

static clvi_config *load_good(const char *text)
{
    clvi_config *config = NULL;
    clv_error error = CLV_ERROR_INIT;
    if (load_bytes(text, strlen(text), &config, &error, NULL) != CLV_OK)
        fail_msg("%s", error.message);
    return config;
}

/* The report must be exactly `expected`. */
static void check_faults(const char *text, const char *expected)
{
    clvi_config *config = NULL;
    clv_error error = CLV_ERROR_INIT;
    clvi_text report = {0};
    assert_int_equal(load_bytes(text, strlen(text), &config, &error, &report), CLV_E_CONFIG);
    assert_null(config);
    assert_string_equal(clvi_text_get(&report), expected);
    assert_true(strncmp(error.message, expected, strcspn(expected, "\n")) == 0);
    clvi_text_fini(&report);
}

static clvi_config *load_overridden(const char *text, const char *const *overrides, size_t count)
{
    const clvi_config_source source = {.name = "a.ini",
                                       .text = text,
                                       .text_bytes = strlen(text),
                                       .overrides = overrides,
                                       .override_count = count};
    clvi_config *config = NULL;
    clv_error error = CLV_ERROR_INIT;
    if (clvi_config_load(&source, &config, &error) != CLV_OK)
        fail_msg("%s", error.message);
    return config;
}

static void check_override_fault(const char *text, const char *override, const char *expected)
{
    const clvi_config_source source = {.name = "a.ini",
                                       .text = text,
                                       .text_bytes = strlen(text),
                                       .overrides = &override,
                                       .override_count = 1};
    clvi_config *config = NULL;
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_config_load(&source, &config, &error), CLV_E_CONFIG);
    assert_string_equal(error.message, expected);
}

static void test_defaults(void **state)
{
    (void)state;
    clvi_config *c = load_good(minimal);
    assert_string_equal(clvi_config_path(c), "a.ini");
    assert_string_equal(clvi_config_name(c), "a");
    assert_int_equal(clvi_config_int(c, "train", "epochs"), 10);
    assert_true(fabs(clvi_config_real(c, "optimizer", "lr") - 0.001) < 1e-15);
    assert_true(clvi_config_bool(c, "data", "dedup"));
    assert_string_equal(clvi_config_text(c, "schedule", "kind"), "constant");
    assert_string_equal(clvi_config_text(c, "run", "output"), "runs");
    size_t count = 0;
    const double *betas = clvi_config_reals(c, "optimizer", "betas", &count);
    assert_int_equal(count, 2);
    assert_true(fabs(betas[1] - 0.999) < 1e-15);
    int height = 0, width = 0;
    clvi_config_size(c, "data", "image_size", &height, &width);
    assert_int_equal(height, 32);
    assert_int_equal(width, 32);
    assert_false(clvi_config_given(c, "train", "epochs"));
    assert_string_equal(clvi_config_origin(c, "train", "epochs"), "default");
    assert_true(clvi_config_given(c, "mixture", "experts"));
    assert_string_equal(clvi_config_origin(c, "mixture", "experts"), "a.ini:2");
    clvi_config_destroy(c);
    clvi_config_destroy(NULL);
}

static void test_values(void **state)
{
    (void)state;
    clvi_config *c = load_good("\xEF\xBB\xBF# a comment\r\n"
                               "; another\r\n"
                               "[mixture]\r\n"
                               "  experts = a ,b-2\r\n"
                               "[expert.a]\r\n"
                               "plugin=cnn\r\n"
                               "widths = 32, \\\r\n"
                               "    64,\\\r\n"
                               "\t96\r\n"
                               "url = a:b;c=d\r\n"
                               "[expert.b-2]\r\n"
                               "plugin = cnn\r\n"
                               "[gate]\r\n"
                               "plugin = average\r\n"
                               "[optimizer]\r\n"
                               "betas = .5,0.75\r\n"
                               "[schedule]\r\n"
                               "kind = Cosine\r\n"
                               "[data]\r\n"
                               "image_size = 24 x 48\r\n"
                               "dedup = OFF\r\n"
                               "path = /a b/\xE0\xA4\x95");
    assert_int_equal(clvi_config_expert_count(c), 2);
    assert_string_equal(clvi_config_expert_name(c, 1), "b-2");
    assert_string_equal(clvi_config_expert_section(c, 1), "expert.b-2");
    size_t count = 0;
    const clvi_raw_option *options = clvi_config_options(c, "expert.a", &count);
    assert_int_equal(count, 2);
    assert_string_equal(options[0].key, "widths");
    assert_string_equal(options[0].value, "32, 64, 96");
    assert_string_equal(options[0].origin, "a.ini:7");
    assert_string_equal(options[1].value, "a:b;c=d");
    assert_string_equal(options[1].origin, "a.ini:10");
    clvi_config_options(c, "gate", &count);
    assert_int_equal(count, 0);
    assert_string_equal(clvi_config_text(c, "schedule", "kind"), "cosine");
    assert_false(clvi_config_bool(c, "data", "dedup"));
    int height = 0, width = 0;
    clvi_config_size(c, "data", "image_size", &height, &width);
    assert_int_equal(height, 24);
    assert_int_equal(width, 48);
    assert_string_equal(clvi_config_text(c, "data", "path"), "/a b/\xE0\xA4\x95");
    assert_string_equal(clvi_config_text(c, "expert.b-2", "plugin"), "cnn");
    assert_int_equal(clvi_config_expert_count(c), 2);
    assert_string_equal(clvi_config_expert_name(c, 0), "a");
    clvi_config_destroy(c);
}

/* inih's own buffer ends at 200 bytes. */
static void test_long_values(void **state)
{
    (void)state;
    for (size_t length = 150; length < 5000; length = length * 5 / 4 + 1) {
        clvi_text text = {0};
        clvi_text_printf(&text, "%s[data]\npath = /", minimal);
        for (size_t i = 1; i < length; i++)
            clvi_text_append_n(&text, i % 50 == 0 ? "/" : "x", 1);
        clvi_text_append(&text, "\n[train]\nepochs = 3\n");
        clvi_config *c = load_good(clvi_text_get(&text));
        assert_int_equal(strlen(clvi_config_text(c, "data", "path")), length);
        assert_int_equal(clvi_config_int(c, "train", "epochs"), 3);
        clvi_config_destroy(c);
        clvi_text_fini(&text);
    }
}

static void test_faults_of_values(void **state)
{
    (void)state;
    check_faults("[train]\nepochs = ten\n",
                 "a.ini:2: [train] epochs = \"ten\": expected integer, 1 to 100000\n");
    check_faults("[train]\nepochs = 0\n",
                 "a.ini:2: [train] epochs = \"0\": expected integer, 1 to 100000\n");
    check_faults("[train]\nepochs = 5 # five\n",
                 "a.ini:2: [train] epochs = \"5 # five\": expected integer, 1 to 100000; a comment "
                 "needs a line of its own\n");
    check_faults("[optimizer]\nlr = 1e-3x\n",
                 "a.ini:2: [optimizer] lr = \"1e-3x\": expected number, 1e-12 to 1000\n");
    check_faults("[optimizer]\nclip_norm = -1\n",
                 "a.ini:2: [optimizer] clip_norm = \"-1\": expected number, at least 0\n");
    check_faults("[optimizer]\nbetas = 0.9\n",
                 "a.ini:2: [optimizer] betas has 1 values; expected 2\n");
    check_faults("[optimizer]\nbetas = 0.9, x\n",
                 "a.ini:2: [optimizer] betas = \"0.9, x\": expected numbers separated by ',', 0 to "
                 "0.9999999\n");
    check_faults("[schedule]\nkind = cosin\n",
                 "a.ini:2: [schedule] kind = \"cosin\": expected "
                 "constant | cosine | step | plateau; did you mean cosine?\n");
    check_faults(
        "[schedule]\nkind = poly\n",
        "a.ini:2: [schedule] kind = \"poly\": expected constant | cosine | step | plateau\n");
    check_faults("[data]\nimage_size = 32x\n", "a.ini:2: [data] image_size = \"32x\": expected "
                                               "pixels, or HEIGHTxWIDTH, 8 to 4096\n");
    check_faults("[data]\ndedup = maybe\n",
                 "a.ini:2: [data] dedup = \"maybe\": expected yes | no\n");
    check_faults("[mixture]\nexperts = a, ,b\n",
                 "a.ini:2: [mixture] experts = \"a, ,b\": expected names separated by ','\n");
    check_faults("[run]\nname = a/b\n", "a.ini:2: [run] name is the name of a folder: no '/', no "
                                        "'.' at its beginning\n");
}

static void test_faults_of_names(void **state)
{
    (void)state;
    check_faults("[train]\nepoch = 3\n",
                 "a.ini:2: [train] \"epoch\": unknown key; did you mean epochs?\n");
    check_faults("[train]\nlr = 3\n",
                 "a.ini:2: [train] \"lr\": unknown key; lr stands in [optimizer]\n");
    check_faults("[train]\nnonsense_key = 3\n", "a.ini:2: [train] \"nonsense_key\": unknown key\n");
    /* An unknown section is one fault, whatever stands in it. */
    check_faults("[trian]\nepochs = 3\nbatch = 4\n",
                 "a.ini:1: section \"trian\" is unknown; did you mean [train]?\n");
    check_faults("[expert]\nplugin = cnn\n",
                 "a.ini:1: section \"expert\" is unknown; did you mean [expert.NAME]?\n");
    check_faults("[train.x]\nepochs = 3\n",
                 "a.ini:1: section \"train.x\" is unknown; did you mean [train]?\n");
    check_faults("[expert.a b]\nplugin = cnn\n",
                 "a.ini:1: [expert.a b]: a name has letters, digits, '_' and '-' only\n");
    check_faults("[train]\nepochs = 3\n\n[train]\nepochs = 4\n",
                 "a.ini:5: [train] epochs is given twice; the first is at a.ini:2\n");
    check_faults("[expert.a]\ndepth = 3\ndepth = 4\n",
                 "a.ini:3: [expert.a] depth is given twice; the first is at a.ini:2\n");
}

static void test_faults_of_lines(void **state)
{
    (void)state;
    check_faults("epochs = 3\n", "a.ini:1: an entry before the first [section]\n");
    check_faults("[train]\nepochs\n", "a.ini:2: expected [section] or key = value\n");
    check_faults("[train]\nepochs: 3\n",
                 "a.ini:2: expected key = value; ':' does not stand for '=' here\n");
    check_faults("[train]\n= 3\n", "a.ini:2: the key before '=' is missing\n");
    check_faults("[train]\nepochs = 3 ; three\n",
                 "a.ini:2: a ';' after a blank would end the value; comments need a line of their "
                 "own\n");
    check_faults("[data]\npath =;x\n",
                 "a.ini:2: [data] path: a ';' after a blank begins a comment\n");
    check_faults("[train\nepochs = 3\n", "a.ini:1: a section's ']' is missing\n");
    check_faults("[train] epochs = 3\n", "a.ini:1: nothing may follow the ']' of a section; "
                                         "comments need a line of their own\n");
    check_faults("[]\nx = 3\n", "a.ini:1: a section needs a name\n");
    char section[160];
    snprintf(section, sizeof(section), "[expert.%0121d]\nx = 3\n", 1);
    check_faults(section, "a.ini:1: the section's name is longer than 127 bytes\n");
    check_faults("[train]\naaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee = 3\n",
                 "a.ini:2: the key is longer than 49 bytes\n");
    check_faults("[train]\n\nepochs = \\\n",
                 "a.ini:3: a '\\' continues the last line into nothing\n");
    check_faults("[train]\n\xFF\n", "a.ini:2: the text is not UTF-8\n");
    check_faults("[train]\nepochs\x01 = 3\n",
                 "a.ini:2: a control character; this is no text file\n");

    clvi_config *c = NULL;
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(load_bytes("[run]\n\0", 7, &c, &error, NULL), CLV_E_CONFIG);
    assert_string_equal(error.message, "a.ini:2: a control character; this is no text file");
    /* The line of a fault behind joined lines. */
    check_faults("[expert.a]\nwidths = 1, \\\n 2, \\\n 3\nplugin = cnn\n[train]\nepochs = x\n",
                 "a.ini:7: [train] epochs = \"x\": expected integer, 1 to 100000\n");
}

static void test_rules(void **state)
{
    (void)state;
    check_faults("", "a.ini: [mixture] experts names no expert; write experts = NAME and a section "
                     "[expert.NAME]\n");
    check_faults("[mixture]\nexperts = a\n",
                 "a.ini:2: [mixture] experts names a, but there is no section [expert.a]\n");
    check_faults("[mixture]\nexperts = a\n[expert.a]\ndepth = 3\n",
                 "a.ini:3: [expert.a] needs a plugin, such as plugin = cnn\n");
    check_faults("[mixture]\nexperts = a, a\n[expert.a]\nplugin = cnn\n[gate]\nplugin = average\n",
                 "a.ini:2: [mixture] experts names a twice\n");
    check_faults("[mixture]\nexperts = first\n[expert.first]\nplugin = cnn\n[expert.frist]\n",
                 "a.ini:5: [expert.frist] is not named in [mixture] experts; did you mean "
                 "[expert.first]?\n");
    check_faults("[mixture]\nexperts = a\n[expert.a]\nplugin = cnn\n[gate]\n",
                 "a.ini:5: [gate] has no meaning with one expert; leave the section out\n");
    check_faults("[mixture]\nexperts = a, b\n[expert.a]\nplugin = cnn\n[expert.b]\nplugin = cnn\n",
                 "a.ini:2: several experts need a gate; write [gate] and plugin = average\n");
    check_faults("[mixture]\nexperts = a\n[expert.a]\nplugin = cnn\ninit = b\nweights = c\n",
                 "a.ini:5: [expert.a] init = b stands beside weights = c (a.ini:6); leave one of "
                 "them out\n");
}

static void test_all_faults_at_once(void **state)
{
    (void)state;
    check_faults("[train]\nepoch = 3\nbatch = 0\n[data]\npth = x\n",
                 "a.ini:2: [train] \"epoch\": unknown key; did you mean epochs?\n"
                 "a.ini:3: [train] batch = \"0\": expected integer, 1 to 1000000\n"
                 "a.ini:5: [data] \"pth\": unknown key; did you mean path?\n");
    clvi_text text = {0}, report = {0};
    clvi_text_append(&text, "[train]\n");
    for (int i = 0; i < 30; i++)
        clvi_text_printf(&text, "wrong_%d = 3\n", i);
    clvi_config *c = NULL;
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(load_bytes(text.data, text.length, &c, &error, &report), CLV_E_CONFIG);
    size_t lines = 0;
    for (const char *at = report.data; *at != '\0'; at++)
        lines += *at == '\n';
    assert_int_equal(lines, 21);
    assert_non_null(strstr(report.data, "\nand 10 more\n"));
    assert_string_equal(error.message, "a.ini:2: [train] \"wrong_0\": unknown key (and 29 more)");
    clvi_text_fini(&text);
    clvi_text_fini(&report);
}

static void test_overrides(void **state)
{
    (void)state;
    static const char *const good[] = {"train.epochs=3", " optimizer.lr = 0.5", "expert.a.depth=4",
                                       "train.epochs=5", "data.path=/x y"};
    clvi_config *c = load_overridden(minimal, good, 5);
    assert_int_equal(clvi_config_int(c, "train", "epochs"), 5);
    assert_string_equal(clvi_config_origin(c, "train", "epochs"), "command line");
    assert_true(fabs(clvi_config_real(c, "optimizer", "lr") - 0.5) < 1e-15);
    assert_string_equal(clvi_config_text(c, "data", "path"), "/x y");
    size_t count = 0;
    const clvi_raw_option *options = clvi_config_options(c, "expert.a", &count);
    assert_int_equal(count, 1);
    assert_string_equal(options[0].value, "4");
    assert_string_equal(options[0].origin, "command line");
    clvi_config_destroy(c);

    check_override_fault(minimal, "epochs=3",
                         "command line: \"epochs=3\" has no section; did you mean train.epochs=…?");
    check_override_fault(minimal, "train.epochs",
                         "command line: \"train.epochs\": expected SECTION.KEY=VALUE, such as "
                         "train.epochs=20");
    check_override_fault(minimal, "",
                         "command line: \"\": expected SECTION.KEY=VALUE, such as train.epochs=20");
    check_override_fault(minimal, "train.epoch=3",
                         "command line: [train] \"epoch\": unknown key; did you mean epochs?");
    check_override_fault(minimal, "trian.epochs=3",
                         "command line: section \"trian\" is unknown; did you mean [train]?");
    check_override_fault(minimal, "train.epochs=x",
                         "command line: [train] epochs = \"x\": expected integer, 1 to 100000");
    check_override_fault(minimal, "run.base=b.ini",
                         "command line: run.base can only stand in a file");
    check_override_fault(minimal, "expert.b.plugin=cnn",
                         "command line: [expert.b] is not named in [mixture] experts");
    check_override_fault(minimal, "data.path=a ;b",
                         "command line: [data] path: a ';' after a blank begins a comment");
    check_override_fault(
        minimal, "data.path=a\\",
        "command line: [data] path: a '\\' at the end of a value joins it with the "
        "next line");
    check_override_fault(minimal, "data.path=a\nb",
                         "command line: [data] path: control characters are not allowed");

    /* Taking an expert out of a mixture from the command line needs no other change. */
    static const char two[] = "[mixture]\nexperts = a, b\n[expert.a]\nplugin = cnn\n"
                              "[expert.b]\nplugin = cnn\n[gate]\nplugin = average\n";
    static const char *const fewer[] = {"mixture.experts=b"};
    c = load_overridden(two, fewer, 1);
    assert_int_equal(clvi_config_expert_count(c), 1);
    assert_string_equal(clvi_config_expert_name(c, 0), "b");
    clvi_text dump = {0};
    clvi_config_dump(c, &dump);
    assert_null(strstr(dump.data, "[gate]"));
    assert_null(strstr(dump.data, "[expert.a]"));
    clvi_text_fini(&dump);
    clvi_config_destroy(c);
}

static void test_set_and_fail(void **state)
{
    (void)state;
    clvi_config *c = load_good(minimal);
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_config_set(c, "run", "name", "b", &error), CLV_OK);
    assert_string_equal(clvi_config_name(c), "b");
    assert_int_equal(clvi_config_set(c, "expert.a", "depth", "7", &error), CLV_OK);
    assert_int_equal(clvi_config_set(c, "expert.a", "depth", "8", &error), CLV_OK);
    size_t count = 0;
    assert_string_equal(clvi_config_options(c, "expert.a", &count)->value, "8");
    assert_int_equal(count, 1);
    assert_int_equal(clvi_config_set(c, "train", "epochs", "-1", &error), CLV_E_CONFIG);
    assert_string_equal(error.message,
                        "conclave: [train] epochs = \"-1\": expected integer, 1 to 100000");
    clvi_error_clear(&error);
    assert_int_equal(clvi_config_int(c, "train", "epochs"), 10);
    assert_int_equal(clvi_config_set(c, "mixture", "experts", "b", &error), CLV_E_CONFIG);
    clvi_error_clear(&error);
    assert_int_equal(clvi_config_set(c, "nowhere", "x", "b", &error), CLV_E_CONFIG);
    clvi_error_clear(&error);

    assert_int_equal(clvi_config_fail(c, "mixture", "experts", &error, "%s is tired", "a"),
                     CLV_E_CONFIG);
    assert_string_equal(error.message, "a.ini:2: [mixture] experts: a is tired");
    clvi_error_clear(&error);
    clvi_config_fail(c, "data", "path", &error, "no such folder");
    assert_string_equal(error.message, "a.ini: [data] path (default): no such folder");
    clvi_error_clear(&error);
    clvi_config_fail(c, "expert.a", "depth", &error, "too deep");
    assert_string_equal(error.message, "conclave: [expert.a] depth: too deep");
    clvi_config_destroy(c);
}

static void check_dump(const char *text)
{
    clvi_config *first = load_good(text);
    clvi_text one = {0}, two = {0};
    clvi_config_dump(first, &one);
    clvi_config *second = load_good(one.data);
    clvi_config_dump(second, &two);
    assert_false(one.failed || two.failed);
    assert_string_equal(one.data, two.data);
    assert_string_equal(clvi_config_text(first, "data", "path"),
                        clvi_config_text(second, "data", "path"));
    assert_true(!(
        clvi_config_real(first, "optimizer", "lr") < clvi_config_real(second, "optimizer", "lr") ||
        clvi_config_real(first, "optimizer", "lr") > clvi_config_real(second, "optimizer", "lr")));
    clvi_config_destroy(first);
    clvi_config_destroy(second);
    clvi_text_fini(&one);
    clvi_text_fini(&two);
}

static void test_dump_reads_back(void **state)
{
    (void)state;
    check_dump(minimal);
    check_dump("[mixture]\nexperts = b, a\n[expert.a]\nplugin = cnn\nempty =\nwidths = 3,\\\n4\n"
               "[expert.b]\nplugin = cnn\n[gate]\nplugin = average\nk = 2\n"
               "[optimizer]\nlr = 0.30000000000000004\nbetas = 0.1, 0.3333333333333333\n"
               "[data]\nimage_size = 64x32\npath = /a#b: = [c] 'd' \"e\"\n"
               "[run]\nseed = 9007199254740991\n");
    clvi_text text = {0};
    clvi_text_printf(&text, "%s[data]\npath = ", minimal);
    for (int i = 0; i < 3000; i++)
        clvi_text_append(&text, "\xE0\xA4\x95");
    check_dump(text.data);
    clvi_text_fini(&text);

    clvi_config *c = load_good(minimal);
    clvi_text dump = {0};
    clvi_config_dump(c, &dump);
    assert_non_null(strstr(dump.data, "[expert.a]\nplugin = cnn\n"));
    assert_non_null(strstr(dump.data, "betas = 0.9, 0.999\neps = 1e-08\n"));
    clvi_text_fini(&dump);
    clvi_config_destroy(c);
}

static void test_explain(void **state)
{
    (void)state;
    static const char *const overrides[] = {"train.epochs=3", "expert.a.depth=4"};
    clvi_config *c = load_overridden(minimal, overrides, 2);
    clvi_text text = {0};
    clvi_config_explain(c, &text);
    assert_string_equal(text.data, "[mixture]\nexperts = a  (a.ini:2)\n\n[expert.a]\n"
                                   "plugin = cnn  (a.ini:4)\ndepth = 4  (command line)\n\n"
                                   "[train]\nepochs = 3  (command line)\n");
    clvi_text_fini(&text);
    clvi_config_destroy(c);
}

/* The reference is an INI file whose values are the defaults. */
static void test_reference(void **state)
{
    (void)state;
    clvi_text text = {0};
    clvi_config_reference(&text);
    assert_false(text.failed);
    assert_non_null(strstr(text.data, "# passes over the training images\n"
                                      "# (integer, 1 to 100000)\nepochs = 10\n"));
    clvi_text whole = {0};
    /* Without the sections that need more than their defaults. */
    char *source = strstr(text.data, "[data.NAME]"), *mixture = strstr(text.data, "# The experts");
    char *gate = strstr(text.data, "[gate]"), *loss = strstr(text.data, "# What training");
    clvi_text_append_n(&whole, text.data, (size_t)(source - text.data));
    clvi_text_append_n(&whole, mixture, (size_t)(gate - mixture));
    clvi_text_append(&whole, loss);
    char *name = strstr(whole.data, "[expert.NAME]");
    assert_non_null(name);
    memcpy(name, "[expert.a]\n\n\n", 13);
    static const char *const overrides[] = {"mixture.experts=a", "expert.a.plugin=cnn"};
    clvi_config *c = load_overridden(whole.data, overrides, 2), *plain = load_good(minimal);
    clvi_text from_reference = {0}, from_defaults = {0};
    clvi_config_dump(c, &from_reference);
    clvi_config_dump(plain, &from_defaults);
    assert_string_equal(from_reference.data, from_defaults.data);
    clvi_config_destroy(c);
    clvi_config_destroy(plain);
    clvi_text_fini(&from_reference);
    clvi_text_fini(&from_defaults);
    clvi_text_fini(&whole);
    clvi_text_fini(&text);
}

static void test_specs(void **state)
{
    (void)state;
    const clv_option_spec good = {
        sizeof(good), CLV_OPTION_INT_LIST, "widths", "32, 64", 1, 4096, NULL, "units"};
    clv_error error = CLV_ERROR_INIT;
    assert_int_equal(clvi_value_check_spec(&good, &error), CLV_OK);
    clv_option_spec bad = good;
    bad.default_value = "0";
    assert_int_equal(clvi_value_check_spec(&bad, &error), CLV_E_PLUGIN);
    assert_string_equal(error.message, "option \"widths\": its default \"0\": expected integers "
                                       "separated by ',', 1 to 4096");
    clvi_error_clear(&error);
    bad = good;
    bad.key = "Widths";
    assert_int_equal(clvi_value_check_spec(&bad, NULL), CLV_E_PLUGIN);
    bad.key = NULL;
    assert_int_equal(clvi_value_check_spec(&bad, NULL), CLV_E_PLUGIN);
    bad = good;
    bad.type = CLVI_OPTION_SIZE;
    assert_int_equal(clvi_value_check_spec(&bad, NULL), CLV_E_PLUGIN);
    bad = good;
    bad.default_value = NULL;
    assert_int_equal(clvi_value_check_spec(&bad, NULL), CLV_E_PLUGIN);
    bad = good;
    bad.type = CLV_OPTION_CHOICE;
    assert_int_equal(clvi_value_check_spec(&bad, NULL), CLV_E_PLUGIN);
}

/* ---- Damage ---- */

static int allocations_left;

static void *failing_malloc(size_t bytes)
{
    return allocations_left-- > 0 ? malloc(bytes) : NULL;
}

static void *failing_realloc(void *block, size_t bytes)
{
    return allocations_left-- > 0 ? realloc(block, bytes) : NULL;
}

static void test_allocation_faults(void **state)
{
    (void)state;
    const clvi_allocator faulty = {failing_malloc, failing_realloc, free};
    static const char text[] = "[mixture]\nexperts = a\n[expert.a]\nplugin = cnn\ndepth = 3\n"
                               "[optimizer]\nbetas = 0.5, 0.5\n";
    int failures = 0;
    for (int allowed = 0;; allowed++) {
        clvi_config *c = NULL;
        clv_error error = CLV_ERROR_INIT;
        allocations_left = allowed;
        clvi_set_allocator(&faulty);
        const clv_status status = load_bytes(text, sizeof(text) - 1, &c, &error, NULL);
        clvi_config_destroy(c);
        clvi_set_allocator(NULL);
        if (status == CLV_OK)
            break;
        assert_int_equal(status, CLV_E_MEMORY);
        assert_true(error.message[0] != '\0');
        failures++;
    }
    assert_true(failures >= 10);
}

typedef struct terms {
    char *ranges[1024];
    size_t count, at;
    bool differs;
} terms;

static void keep_range(void *user, const clvi_config_term *term)
{
    terms *t = user;
    assert_true(t->count < sizeof(t->ranges) / sizeof(*t->ranges));
    t->ranges[t->count++] = strdup(term->range != NULL ? term->range : "");
}

static void compare_range(void *user, const clvi_config_term *term)
{
    terms *t = user;
    t->differs |= strcmp(term->range != NULL ? term->range : "", t->ranges[t->at++]) != 0;
}

/* Where memory runs out, no term comes with a part of its range. */
static void test_terms_without_memory(void **state)
{
    (void)state;
    const clvi_allocator faulty = {failing_malloc, failing_realloc, free};
    terms t = {.count = 0};
    clv_status status = clvi_config_terms(keep_range, &t, NULL);
    assert_int_equal(status, CLV_OK);
    assert_true(t.count > 50);
    status = CLV_E_MEMORY;
    int failures = 0;
    for (; status != CLV_OK; failures++) {
        t.at = 0;
        allocations_left = failures;
        clvi_set_allocator(&faulty);
        status = clvi_config_terms(compare_range, &t, NULL);
        clvi_set_allocator(NULL);
        assert_true(status == CLV_OK || status == CLV_E_MEMORY);
        assert_false(t.differs);
    }
    assert_true(failures > 2);
    assert_int_equal(t.at, t.count);
    while (t.count > 0)
        free(t.ranges[--t.count]);
}

/* Either a sentence comes back, or a configuration whose dump reads back. */
static void check_robust(const char *text, size_t bytes)
{
    clvi_config *c = NULL;
    clv_error error = CLV_ERROR_INIT;
    clvi_text report = {0};
    const clv_status status = load_bytes(text, bytes, &c, &error, &report);
    if (status != CLV_OK) {
        assert_int_equal(status, CLV_E_CONFIG);
        assert_true(error.message[0] != '\0');
        assert_true(report.length > 0);
    } else {
        clvi_text dump = {0}, again = {0};
        clvi_config_dump(c, &dump);
        clvi_config_destroy(c);
        c = load_good(dump.data);
        clvi_config_dump(c, &again);
        assert_string_equal(dump.data, again.data);
        clvi_text_fini(&dump);
        clvi_text_fini(&again);
        clvi_config_destroy(c);
    }
    clvi_text_fini(&report);
}

static void test_random_bytes(void **state)
{
    (void)state;
    const clvi_philox_key key = clvi_philox_stream(1, "random bytes");
    for (uint32_t round = 0; round < 2000; round++) {
        char text[512];
        for (uint32_t i = 0; i < sizeof(text) / 16; i++) {
            uint32_t words[4];
            clvi_philox(key, round, i, 0, 0, words);
            memcpy(text + i * 16, words, 16);
        }
        const size_t bytes = (unsigned char)text[0] * 2u;
        if (round % 2 == 0) /* printable ones get further */
            for (size_t i = 0; i < bytes; i++)
                text[i] = "[]=;:#\\\n\r\t .,ab1x-"[(unsigned char)text[i] % 19];
        check_robust(text, bytes);
    }
}

static void test_mutations(void **state)
{
    (void)state;
    static const char seed_text[] =
        "# comment\n[mixture]\nexperts = a, b\n[expert.a]\nplugin = cnn\nwidths = 1, \\\n 2\n"
        "[expert.b]\ntrainable = none\n[mixture.b]\nexperts = c\n[expert.b/c]\nplugin = cnn\n"
        "[gate]\nplugin = average\n[data]\nimage_size = 32x32\n"
        "path = /a/b\n[optimizer]\nlr = 1e-3\nbetas = 0.9, 0.99\n[train]\nepochs = 3\n[run]\n"
        "name = x\nseed = 3\n";
    static const char bits[] = "[]=;:#\\\n\r\t .,\"a09-+eE\xE0\xFF\x01";
    const clvi_philox_key key = clvi_philox_stream(2, "mutations");
    for (uint32_t round = 0; round < 4000; round++) {
        char text[2 * sizeof(seed_text)];
        size_t bytes = sizeof(seed_text) - 1;
        memcpy(text, seed_text, bytes);
        uint32_t words[4];
        clvi_philox(key, round, 0, 0, 0, words);
        const uint32_t edits = 1 + words[0] % 4;
        for (uint32_t edit = 0; edit < edits && bytes > 0; edit++) {
            clvi_philox(key, round, 1 + edit, 0, 0, words);
            const size_t at = words[0] % bytes, length = words[2] % 12;
            switch (words[1] % 4) {
            case 0: /* change a byte */
                text[at] = bits[words[3] % (sizeof(bits) - 1)];
                break;
            case 1: /* cut the end off */
                bytes = words[3] % 8 == 0 ? at : bytes;
                break;
            case 2: /* take bytes out */
                if (at + length <= bytes) {
                    memmove(text + at, text + at + length, bytes - at - length);
                    bytes -= length;
                }
                break;
            default: /* say bytes twice */
                if (at + length <= bytes && bytes + length <= sizeof(text)) {
                    memmove(text + at + length, text + at, bytes - at);
                    bytes += length;
                }
            }
        }
        check_robust(text, bytes);
    }
}

/* Hostile sizes must not take long either. */
static void test_large_input(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "[train]\nwrong = 1\n", "[expert.a]\nx = 1\n", "=\n", "[gate]\ngate = \\\n", "[expert.",
        "[nowhere]\n"};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        clvi_text text = {0};
        while (text.length < 500000)
            clvi_text_append(&text, lines[i]);
        check_robust(text.data, text.length);
        clvi_text_fini(&text);
    }
    clvi_text text = {0};
    for (int i = 0; i < 20000; i++)
        clvi_text_printf(&text, "[expert.e%d]\nk%d = 1\n", i, i);
    for (int i = 0; i < 20000; i++)
        clvi_text_printf(&text, "[expert.e1]\nk%d = 1\n", i);
    check_robust(text.data, text.length);
    clvi_text_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_faults_of_values),
        cmocka_unit_test(test_faults_of_names),
        cmocka_unit_test(test_faults_of_lines),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_all_faults_at_once),
        cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_set_and_fail),
        cmocka_unit_test(test_dump_reads_back),
        cmocka_unit_test(test_explain),
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_specs),
        cmocka_unit_test(test_allocation_faults),
        cmocka_unit_test(test_terms_without_memory),
        cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_large_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
