/* conclave embed: the OpenCL C of a plugin's own operations as a header with an array per file. */
#include "../embedding.h"
#include "command.h"

#include <stdio.h>

/* FILE.cl.h beside FILE.cl, where -o does not say. */
static clv_status choose_out(const cli_args *args, clvi_text *out, clv_error *error)
{
    const char *given = cli_option_value(args, "output");
    if (given == NULL && cli_count(args) > 1)
        CLV_FAIL(error, CLV_E_USAGE, "which header shall hold %zu files? give -o FILE.h",
                 cli_count(args));
    clvi_text_printf(out, "%s%s", given != NULL ? given : cli_at(args, 0),
                     given != NULL ? "" : ".h");
    if (out->failed)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: a name");
    return CLV_OK;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    clvi_text out = {0};
    const char *include = cli_option_value(args, "include");
    if (cli_count(args) == 0)
        CLV_FAIL(error, CLV_E_USAGE, "embed wants a file: conclave embed FILE.cl");
    const char **files = clvi_calloc(cli_count(args), sizeof(*files));
    if (files == NULL)
        CLV_FAIL(error, CLV_E_MEMORY, "out of memory: the files' names");
    for (size_t i = 0; i < cli_count(args); i++)
        files[i] = cli_at(args, i);
    clv_status status = choose_out(args, &out, error);
    embedding job = {.depfile = cli_option_value(args, "depfile"),
                     .folder = include != NULL ? include : cli_kernel_dir(),
                     .array = true,
                     .out = status == CLV_OK ? clvi_text_get(&out) : NULL,
                     .count = (int)cli_count(args),
                     .files = files};
    if (status == CLV_OK && !embedding_write(&job))
        status = clvi_fail(error, CLV_E_IO, CLV_HERE, "%s", job.message);
    clvi_text_fini(&out);
    clvi_free(files);
    return status;
}

static const cli_option options[] = {
    {"output", "FILE.h", "the header; FILE.cl.h if not given", 'o', false},
    {"include", "FOLDER", "where included files are that are not beside their file; Conclave's own",
     0, false},
    {"depfile", "FILE.d", "also write a rule for make and ninja that names every file read", 0,
     false},
};

const cli_command cmd_embed = {
    .name = "embed",
    .summary = "Turn a plugin's OpenCL C into a header",
    .usage = "FILE.cl... [options]",
    .details =
        "Writes a header with an array for each file, static const unsigned char scale_cl[] for\n"
        "scale.cl, which ends in a NUL: the text of a clv_source. Included files are put in, once\n"
        "per program: those beside their file, else Conclave's philox.clh and vector.clh.",
    .example = "conclave embed scale.cl\n"
               "conclave embed a.cl b.cl -o kernels.h",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
