/* See file_tensor.h. */
#include "weights/file_tensor.h"

#include "base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BLOCK_BYTES = 16384 };

static const struct {
    const char *name;
    size_t bytes;
} dtypes[CLVI_FILE_DTYPES] = {
    [CLVI_FILE_F32] = {"F32", 4}, [CLVI_FILE_F16] = {"F16", 2}, [CLVI_FILE_BF16] = {"BF16", 2},
    [CLVI_FILE_F64] = {"F64", 8}, [CLVI_FILE_I32] = {"I32", 4}, [CLVI_FILE_I64] = {"I64", 8},
    [CLVI_FILE_U8] = {"U8", 1},
};

const char *clvi_file_dtype_name(clvi_file_dtype dtype)
{
    return dtypes[dtype].name;
}

size_t clvi_file_dtype_bytes(clvi_file_dtype dtype)
{
    return dtypes[dtype].bytes;
}

/* ---- Elements ---- */

void clvi_file_to_host(void *data, size_t width, size_t count)
{
    const uint16_t probe = 1;
    if (width == 1 || *(const unsigned char *)&probe == 1)
        return;
    unsigned char *bytes = data;
    for (size_t i = 0; i < count; i++, bytes += width) {
        for (size_t low = 0, high = width - 1; low < high; low++, high--) {
            const unsigned char kept = bytes[low];
            bytes[low] = bytes[high];
            bytes[high] = kept;
        }
    }
}

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* IEEE 754 binary16: 1 sign, 5 exponent (bias 15) and 10 fraction bits. */
static float float_of_half(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t exponent = (half >> 10) & 0x1Fu, fraction = half & 0x3FFu;
    if (exponent == 31)
        return float_of_bits(sign | 0x7F800000u | fraction << 13);
    if (exponent > 0)
        return float_of_bits(sign | (exponent + 112) << 23 | fraction << 13);
    const float small = (float)fraction * (1.0f / 16777216.0f); /* fraction · 2^-24 */
    return sign != 0 ? -small : small;
}

void clvi_file_convert(clvi_file_dtype dtype, const void *from, size_t count, float *out)
{
    switch (dtype) {
    case CLVI_FILE_F32:
        memcpy(out, from, count * sizeof(*out));
        break;
    case CLVI_FILE_F16:
        for (size_t i = 0; i < count; i++)
            out[i] = float_of_half(((const uint16_t *)from)[i]);
        break;
    case CLVI_FILE_BF16: /* the upper half of a binary32 */
        for (size_t i = 0; i < count; i++)
            out[i] = float_of_bits((uint32_t)((const uint16_t *)from)[i] << 16);
        break;
    case CLVI_FILE_F64:
        for (size_t i = 0; i < count; i++)
            out[i] = (float)((const double *)from)[i];
        break;
    case CLVI_FILE_I32:
        for (size_t i = 0; i < count; i++)
            out[i] = (float)((const int32_t *)from)[i];
        break;
    case CLVI_FILE_I64:
        for (size_t i = 0; i < count; i++)
            out[i] = (float)((const int64_t *)from)[i];
        break;
    case CLVI_FILE_U8:
        for (size_t i = 0; i < count; i++)
            out[i] = (float)((const uint8_t *)from)[i];
        break;
    case CLVI_FILE_DTYPES:
        CLV_ASSERT(false);
        break;
    }
}

/* ---- Files ---- */

clv_status clvi_file_read_at(int descriptor, const char *path, uint64_t offset, void *out,
                             uint64_t bytes, clv_error *error)
{
    unsigned char *to = out;
    while (bytes > 0) {
        const size_t wanted = bytes < ((size_t)1 << 30) ? (size_t)bytes : (size_t)1 << 30;
        const ssize_t got = pread(descriptor, to, wanted, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return clvi_fail_errno(error, errno, CLV_HERE, "%s: cannot read", path);
        if (got == 0)
            CLV_FAIL(error, CLV_E_IO, "%s: the file became shorter while it was read", path);
        to += got;
        offset += (uint64_t)got;
        bytes -= (uint64_t)got;
    }
    return CLV_OK;
}

clv_status clvi_file_size(int descriptor, const char *path, uint64_t *file_bytes, clv_error *error)
{
    struct stat facts;
    if (fstat(descriptor, &facts) != 0)
        return clvi_fail_errno(error, errno, CLV_HERE, "%s: cannot open", path);
    if (!S_ISREG(facts.st_mode))
        CLV_FAIL(error, CLV_E_IO, "%s: not a file", path);
    *file_bytes = (uint64_t)facts.st_size;
    return CLV_OK;
}

/* O_NONBLOCK: opening a pipe must not wait for its writer before it is refused. */
clv_status clvi_file_open(const char *path, int *descriptor, uint64_t *file_bytes, clv_error *error)
{
    const int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (opened < 0)
        return clvi_fail_open(error, errno, CLV_HERE, path, "cannot open");
    const clv_status status = clvi_file_size(opened, path, file_bytes, error);
    if (status != CLV_OK) {
        close(opened);
        return status;
    }
    *descriptor = opened;
    return CLV_OK;
}

clv_status clvi_file_read_f32(int descriptor, const char *path, clvi_file_dtype dtype,
                              uint64_t offset, int64_t elements, float *out, clv_error *error)
{
    _Alignas(8) unsigned char block[BLOCK_BYTES];
    const size_t width = dtypes[dtype].bytes;
    if (dtype == CLVI_FILE_F32) {
        CLV_TRY(
            clvi_file_read_at(descriptor, path, offset, out, (uint64_t)elements * width, error));
        clvi_file_to_host(out, width, (size_t)elements);
        return CLV_OK;
    }
    const int64_t per_block = (int64_t)(BLOCK_BYTES / width);
    for (int64_t done = 0; done < elements; done += per_block) {
        const int64_t left = elements - done;
        const size_t count = (size_t)(left < per_block ? left : per_block);
        CLV_TRY(clvi_file_read_at(descriptor, path, offset + (uint64_t)done * width, block,
                                  count * width, error));
        clvi_file_to_host(block, width, count);
        clvi_file_convert(dtype, block, count, out + done);
    }
    return CLV_OK;
}
