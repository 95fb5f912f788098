/* conclave export: a trained run as one file, for those who use it. */
#include "export/export.h"
#include "show.h"
#include "train/run_dir.h"

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
    {"force", NULL, "replace FILE where it is there, unless it is a run's", 0, false},
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

/* ---- Targets ---- */

/* The folder that a file is in, or is to be in, with '/' at its end. */
static void append_folder(clvi_text *to, const char *path)
{
    const size_t length = (size_t)(clvi_path_name(path) - path);
    clvi_text_append_n(to, length > 0 ? path : "./", length > 0 ? length : 2);
}

/* Whether a file that is there lies in the folder of a run, or in one within it. */
static clv_status find_run(const char *path, bool *out, clv_error *error)
{
    clvi_text folder = {0};
    clvi_file_id own, below = {0};
    bool found = false, root = false;
    append_folder(&folder, path);
    while (!found && !root && !folder.failed && clvi_file_identify(folder.data, &own)) {
        found = clvi_has_file(folder.data, CLVI_RUN_CONFIG) &&
                (clvi_has_file(folder.data, CLVI_RUN_LAST) ||
                 clvi_has_file(folder.data, CLVI_RUN_BEST));
        root = own.device == below.device && own.inode == below.inode;
        below = own;
        clvi_text_append(&folder, "../");
    }
    const bool failed = folder.failed;
    clvi_text_fini(&folder);
    if (failed)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", path);
    *out = found;
    return CLV_OK;
}

/* Whether two names, of files that are there or not, are of one file. */
static clv_status find_same(const char *a, const char *b, bool *out, clv_error *error)
{
    clvi_text folders[2] = {{0}, {0}};
    append_folder(&folders[0], a);
    append_folder(&folders[1], b);
    const bool failed = folders[0].failed || folders[1].failed;
    const bool same = strcmp(a, b) == 0 || clvi_same_file(a, b) ||
                      (!failed && strcmp(clvi_path_name(a), clvi_path_name(b)) == 0 &&
                       clvi_same_file(folders[0].data, folders[1].data));
    clvi_text_fini(&folders[0]);
    clvi_text_fini(&folders[1]);
    if (failed)
        CLV_FAIL(error, CLV_E_MEMORY, "%s: out of memory", a);
    *out = same;
    return CLV_OK;
}

/* Nothing that is there is replaced unasked, and with --force only a file, never one of a run. */
static clv_status check_target(const export_job *job, const char *path, clv_error *error)
{
    struct stat there;
    bool in_run = false;
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
    if (clvi_same_file(clvi_model_path(job->model), path))
        CLV_FAIL(error, CLV_E_USAGE, "%s is what is exported; take another name", path);
    CLV_TRY(find_run(path, &in_run, error));
    if (in_run)
        CLV_FAIL(error, CLV_E_USAGE, "%s lies in the folder of a run; take another name", path);
    return CLV_OK;
}

/* ---- The call ---- */

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
            bool same = false;
            if (other != NULL)
                CLV_TRY(find_same(other, path, &same, error));
            if (same)
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
