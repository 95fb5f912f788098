/* conclave export: a trained run as one file, for those who use it. */
#include "export/export.h"
#include "show.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

static const cli_option options[] = {
    {"bundle", "FILE", "for Conclave: weights, configuration, classes, temperature in one file", 0,
     false},
    {"onnx", "FILE", "for ONNX Runtime and others: from pixels to probabilities", 0, false},
    {"safetensors", "FILE", "for PyTorch: weights of one expert, by torchvision's names and layout",
     0, false},
    {"expert", "NAME", "with --safetensors: which expert of a mixture, a or a/x", 0, false},
    {"force", NULL, "replace FILE where it is there", 0, false},
    CLI_MODEL_OPTIONS,
    CLI_PLUGIN_OPTION,
};

/* The formats, by the option that asks for one and names the file. */
static const struct {
    const char *option;
    export_format *write;
} formats[] = {
    {"bundle", export_bundle},
    {"onnx", export_onnx},
    {"safetensors", export_torch},
};
enum { FORMATS = sizeof formats / sizeof *formats };

/* Nothing that is there is replaced unasked, and with --force only a file, never the run's own. */
static clv_status check_target(const export_job *job, const char *path, clv_error *error)
{
    struct stat there, own;
    if (path[0] == '\0')
        CLV_FAIL(error, CLV_E_USAGE, "to which file? its name is empty");
    if (lstat(path, &there) != 0)
        return errno == ENOENT ? CLV_OK
                               : clvi_fail_errno(error, errno, CLV_HERE, "%s: cannot look", path);
    if (S_ISDIR(there.st_mode))
        CLV_FAIL(error, CLV_E_USAGE, "%s is a folder; name a file", path);
    if (!cli_flag(job->args, "force"))
        CLV_FAIL(error, CLV_E_USAGE, "%s exists; take another name, or replace it with --force",
                 path);
    if (!S_ISREG(there.st_mode))
        CLV_FAIL(error, CLV_E_USAGE, "%s is no regular file; take another name", path);
    if (stat(clvi_model_path(job->model), &own) == 0 && own.st_dev == there.st_dev &&
        own.st_ino == there.st_ino)
        CLV_FAIL(error, CLV_E_USAGE, "%s is what is exported; take another name", path);
    return CLV_OK;
}

static clv_status export_all(export_job *job, clv_error *error)
{
    CLV_TRY(cli_open_model(job->args, 0, &job->run, &job->model, error));
    for (size_t i = 0; i < FORMATS; i++) {
        const char *path = cli_option_value(job->args, formats[i].option);
        if (path == NULL)
            continue;
        CLV_TRY(check_target(job, path, error));
        for (size_t k = 0; k < i; k++) {
            const char *other = cli_option_value(job->args, formats[k].option);
            if (other != NULL && strcmp(other, path) == 0)
                CLV_FAIL(error, CLV_E_USAGE, "--%s and --%s name the same file, %s",
                         formats[k].option, formats[i].option, path);
        }
    }
    for (size_t i = 0; i < FORMATS; i++) {
        const char *path = cli_option_value(job->args, formats[i].option);
        struct stat made;
        char bytes[CLI_NUMBER_BYTES];
        if (path == NULL)
            continue;
        CLV_TRY(formats[i].write(job, path, error));
        if (stat(path, &made) != 0)
            return clvi_fail_errno(error, errno, CLV_HERE, "%s: cannot look", path);
        printf("%s  %s  %s\n", formats[i].option, path,
               cli_show_bytes((uint64_t)made.st_size, bytes));
    }
    return CLV_OK;
}

static clv_status run(const cli_args *args, clv_error *error)
{
    export_job job = {.args = args};
    size_t wanted = 0;
    for (size_t i = 0; i < FORMATS; i++)
        wanted += cli_option_value(args, formats[i].option) != NULL;
    if (wanted == 0)
        CLV_FAIL(error, CLV_E_USAGE,
                 "to which form? give --bundle FILE, --onnx FILE or --safetensors FILE");
    if (cli_option_value(args, "expert") && !cli_option_value(args, "safetensors"))
        CLV_FAIL(error, CLV_E_USAGE,
                 "--expert is for --safetensors; the other formats are of the whole mixture");
    if (cli_count(args) > 1)
        CLV_FAIL(error, CLV_E_USAGE, "export takes one run; \"%s\" is one too many",
                 cli_at(args, 1));
    CLV_TRY(cli_session_open(&job.session, args, error));
    const clv_status status = export_all(&job, error);
    clvi_model_close(job.model);
    cli_session_close(&job.session);
    clvi_free(job.run);
    return status;
}

const cli_command cmd_export = {
    .name = "export",
    .summary = "Write a trained run as one file for those who use it",
    .usage = "RUN --bundle FILE | --onnx FILE | --safetensors FILE [options]",
    .example = "conclave export last --bundle characters.safetensors\n"
               "conclave predict characters.safetensors photo.jpg\n"
               "conclave export last --onnx characters.onnx\n"
               "conclave export last --safetensors weights.safetensors --expert cnn",
    .options = options,
    .option_count = sizeof(options) / sizeof(options[0]),
    .run = run,
};
