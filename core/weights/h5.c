/* See h5.h. */
#include "weights/h5.h"

#include "base/child.h"
#include "base/process.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <unistd.h>

enum { SENTENCE_BYTES = 256 };

static const char program_name[] = "conclave-h5";

bool clvi_h5_looks_like(const unsigned char *begin, size_t bytes)
{
    static const unsigned char magic[] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    return bytes >= sizeof magic && memcmp(begin, magic, sizeof magic) == 0;
}

/* The program lies beside the one that runs. False: it is not there. */
static bool find_program(char out[PATH_MAX])
{
    const char *given = clvi_env_get(CLVI_ENV_H5);
    if (given) {
        (void)snprintf(out, PATH_MAX, "%s", given);
        return clvi_is_file(out);
    }
    const ssize_t length = readlink("/proc/self/exe", out, PATH_MAX - 1);
    if (length <= 0)
        return false;
    out[length] = '\0';
    char *slash = strrchr(out, '/');
    const size_t room = slash ? (size_t)(PATH_MAX - (slash + 1 - out)) : 0;
    if (room < sizeof program_name)
        return false;
    memcpy(slash + 1, program_name, sizeof program_name);
    return clvi_is_file(out);
}

static void take_line(void *user, const char *line)
{
    char *sentence = user;
    if (strncmp(line, "error ", 6) == 0)
        (void)clvi_printable(line + 6, sentence, SENTENCE_BYTES);
}

static clv_status judge(const char *path, const clvi_child_end *end, const char *sentence,
                        clv_error *error)
{
    if (end->silent)
        CLV_FAIL(error, CLV_E_FORMAT, "%s: reading it came to no end; it is damaged, or made to",
                 path);
    if (end->signal == SIGKILL || end->signal == SIGXCPU)
        CLV_FAIL(error, CLV_E_FORMAT, "%s: reading it took too long or too much memory", path);
    if (end->signal != 0)
        CLV_FAIL(error, CLV_E_FORMAT,
                 "%s: the HDF5 library crashed over it (signal %d): it is damaged", path,
                 end->signal);
    if (end->status != 0)
        CLV_FAIL(error, CLV_E_FORMAT, "%s: %s", path,
                 *sentence ? sentence : "conclave-h5 ended without a word");
    return CLV_OK;
}

/* Runs the program from `input` to `output`. */
static clv_status convert(const char *path, int input, int output, clv_error *error)
{
    enum { SILENCE_SECONDS = 120 };
    static const char *const none[] = {NULL};
    char program[PATH_MAX], sentence[SENTENCE_BYTES] = "";
    if (!find_program(program))
        CLV_FAIL(error, CLV_E_IO,
                 "%s: .h5 files need the program conclave-h5, which is not beside this one: "
                 "Conclave was built without HDF5; install it and build again",
                 path);
    const clvi_child_desc desc = {.program = program,
                                  .arguments = none,
                                  .input = input,
                                  .output = output,
                                  .silence_seconds = SILENCE_SECONDS,
                                  .line = take_line,
                                  .user = sentence};
    clvi_child_end end;
    CLV_TRY(clvi_child_run(&desc, &end, error));
    return judge(path, &end, sentence, error);
}

clv_status clvi_h5_open(const char *path, clvi_safetensors **out, clv_error *error)
{
    int input;
    uint64_t bytes;
    CLV_TRY(clvi_file_open(path, &input, &bytes, error));
    FILE *room = tmpfile();
    clv_status status;
    int output = -1;
    if (!room)
        status = clvi_fail_errno(error, errno, CLV_HERE, "no temporary file to read %s with", path);
    else
        status = convert(path, input, fileno(room), error);
    close(input);
    if (status == CLV_OK && (output = dup(fileno(room))) < 0)
        status = clvi_fail_errno(error, errno, CLV_HERE, "no temporary file to read %s with", path);
    if (room)
        fclose(room);
    return status == CLV_OK ? clvi_safetensors_adopt(output, path, out, error) : status;
}
