/* conclave-h5: a file of HDF5, open as standard input, to safetensors on CLVI_CHILD_OUTPUT. The
 * library dies of damaged files, so it lives in this program, which core/weights/h5.c starts with
 * limits; it is not for use by hand. Reports "error SENTENCE" or, for each tensor, "tensor". */
#include "tensors.h"

#include "base/child.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file of weights is not compressed, or little. */
enum { CPU_SECONDS = 300, MEMORY = 1 << 30, SPARE_BYTES = 64 << 20, MOST_GROWTH = 8 };

static clv_status convert(FILE *report, uint64_t most_bytes, clv_error *error)
{
    FILE *output = fdopen(CLVI_CHILD_OUTPUT, "w");
    if (output == NULL)
        CLV_FAIL(error, CLV_E_USAGE, "no file to write to");
    clv_status status = h5_convert("/dev/fd/0", most_bytes, output, report, error);
    if (fclose(output) != 0 && status == CLV_OK)
        status = clvi_fail(error, CLV_E_IO, CLV_HERE, "no room for the weights");
    return status;
}

int main(void)
{
    clv_error error = CLV_ERROR_INIT;
    FILE *report = NULL;
    struct stat facts;
    clvi_child_limits limits = {.cpu_seconds = CPU_SECONDS, .memory = MEMORY};
    clv_status status = CLV_OK;
    if (fstat(STDIN_FILENO, &facts) != 0 || !S_ISREG(facts.st_mode))
        status = clvi_fail(&error, CLV_E_USAGE, CLV_HERE, "standard input is no file");
    else
        limits.file = SPARE_BYTES + MOST_GROWTH * (uint64_t)facts.st_size;
    if (status == CLV_OK)
        status = clvi_child_begin(&limits, &report, &error);
    if (status == CLV_OK)
        status = convert(report, limits.file, &error);
    if (report != NULL && status != CLV_OK)
        fprintf(report, "error %s\n", error.message);
    else if (status != CLV_OK)
        fprintf(stderr, "conclave-h5: %s\n", error.message);
    if (report != NULL)
        fclose(report);
    return status == CLV_OK ? 0 : 1;
}
