/* conclave inspect: the tensors of a file of weights. */
#include "command.h"
#include "weights/weights.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static void shape_text(const clvi_file_tensor *tensor, char *out, size_t bytes)
{
    size_t used = (size_t)snprintf(out, bytes, "[");
    for (int i = 0; i < tensor->rank && used < bytes; i++)
        used += (size_t)snprintf(out + used, bytes - used, "%s%" PRId64, i > 0 ? ", " : "",
                                 tensor->dims[i]);
    if (used < bytes)
        snprintf(out + used, bytes - used, "]");
}

/* Names come from strangers: nothing of them may reach the terminal as a command. */
static void print_text(const clvi_weights *file)
{
    char name[512], shape[256];
    int64_t numbers = 0;
    int wide = 0;
    const size_t count = clvi_weights_count(file);
    for (size_t i = 0; i < count; i++) {
        const int length =
            (int)strlen(clvi_printable(clvi_weights_at(file, i)->name, name, sizeof name));
        wide = length > wide ? length : wide;
    }
    for (size_t i = 0; i < count; i++) {
        const clvi_file_tensor *tensor = clvi_weights_at(file, i);
        shape_text(tensor, shape, sizeof shape);
        printf("%-*s  %-4s  %s\n", wide, clvi_printable(tensor->name, name, sizeof name),
               clvi_file_dtype_name(tensor->dtype), shape);
        numbers += tensor->elements;
    }
    const char *place = clvi_weights_place(file);
    printf("%s file, %zu tensors, %" PRId64 " numbers", clvi_weights_format(file), count, numbers);
    if (*place != '\0')
        printf(", in %s", clvi_printable(place, name, sizeof name));
    putchar('\n');
}

static json_t *tensor_json(const clvi_file_tensor *tensor)
{
    json_t *shape = json_array();
    for (int i = 0; i < tensor->rank; i++)
        json_array_append_new(shape, json_integer(tensor->dims[i]));
    return json_pack("{s:s, s:s, s:o}", "name", tensor->name, "dtype",
                     clvi_file_dtype_name(tensor->dtype), "shape", shape);
}

static bool is_utf8(const char *text)
{
    size_t left = strlen(text), bytes = 1;
    for (; left > 0 && bytes > 0; left -= bytes, text += bytes)
        bytes = clvi_utf8_sequence(text, left);
    return left == 0;
}

/* {"path", "format", "place", "tensors": [{"name", "dtype", "shape"}]} */
static clv_status print_json(const clvi_weights *file, clv_error *error)
{
    json_t *tensors = json_array();
    char *text = NULL;
    bool good = tensors != NULL;
    for (size_t i = 0; i < clvi_weights_count(file) && good; i++)
        good = json_array_append_new(tensors, tensor_json(clvi_weights_at(file, i))) == 0;
    json_t *whole =
        json_pack("{s:s, s:s, s:s, s:o}", "path", clvi_weights_path(file), "format",
                  clvi_weights_format(file), "place", clvi_weights_place(file), "tensors", tensors);
    if (good && whole != NULL)
        text = json_dumps(whole, JSON_INDENT(2));
    json_decref(whole);
    if (text == NULL && !is_utf8(clvi_weights_path(file)))
        CLV_FAIL(error, CLV_E_DATA, "%s: its path is no UTF-8, which JSON cannot carry",
                 clvi_weights_path(file));
    if (text == NULL)
        CLV_FAIL(error, CLV_E_DATA, "%s: a name in it is no UTF-8, which JSON cannot carry",
                 clvi_weights_path(file));
    puts(text);
    free(text);
    return CLV_OK;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    if (cli_count(args) != 1)
        CLV_FAIL(error, CLV_E_USAGE, "inspect takes one file, %zu are given", cli_count(args));
    clvi_weights *file;
    CLV_TRY(clvi_weights_open(cli_at(args, 0), &file, error));
    clv_status status = CLV_OK;
    if (cli_flag(args, "json"))
        status = print_json(file, error);
    else
        print_text(file);
    clvi_weights_close(file);
    return status;
}

static const cli_option options[] = {
    {"json", NULL, "one JSON object instead of text", 0, false},
};

const cli_command cmd_inspect = {
    .name = "inspect",
    .summary = "List the tensors of a file of weights",
    .usage = "FILE.pth|FILE.h5|FILE.safetensors [options]",
    .example = "conclave inspect runs/last/best.safetensors",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
