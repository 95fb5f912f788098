#!/bin/sh
# Builds and runs a fuzzer: tests/fuzz/run.sh KIND SECONDS [FOLDER [libFuzzer's options]]
# KIND is a folder of corpus/: image_png, image_jpeg, archive, weights_zip, weights_plain,
# weights_safetensors or weights_bundle. FOLDER gets new inputs; the corpus is read beside it and stays as it is.
# Needs clang with libFuzzer (Debian: clang, libclang-rt-14-dev).
# A finding is written to the working directory.
set -eu
kind=$1
name=${kind%%_*}
seconds=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
found=${3:-$(mktemp -d)}
if [ $# -gt 2 ]; then shift 3; else shift 2; fi
mkdir -p "$found"
program="$found.program"
case $name in
weights)
    sources=
    for source in file_tensor h5 named named_list pickle pth safetensors tensor_writer torch_objects weights zip; do
        sources="$sources $root/core/weights/$source.c"
    done
    sources="$sources $root/core/train/bundle.c"
    mkdir -p "$found.include" # what the build makes
    sed 's/@VERSION@/fuzz/' "$root/core/version.h.in" >"$found.include/version.h"
    libraries='jansson libmd'
    ;;
*)
    sources=$(ls "$root"/core/data/*.c)
    libraries='libturbojpeg libpng libarchive libmd zlib'
    ;;
esac
# shellcheck disable=SC2046,SC2086
clang -std=gnu11 -g -O1 -fno-omit-frame-pointer -DFUZZING -D_DEFAULT_SOURCE \
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined \
    -I"$root/core" -I"$root/core/include" -I"$found.include" "$root/tests/fuzz/fuzz_$name.c" \
    "$root"/core/base/*.c $sources -o "$program" \
    $(pkg-config --cflags --libs $libraries) -lm -lpthread
exec "$program" "$found" "$root/tests/fuzz/corpus/$kind" \
    -max_total_time="$seconds" -max_len=16384 -timeout=20 -rss_limit_mb=2048 "$@"
