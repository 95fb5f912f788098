#!/bin/sh
# shellcheck disable=SC2317 # the checks are called through check()
# Checks of kernels and scripts by other programs than the build's, over the tracked files. Prints a
# TAP line per check, offending places below it. Argument: the repository's root.
set -eu
cd "$1"
if ! git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    echo "not a git checkout: nothing to look at"
    exit 77
fi

number=0
status=0
# check TEXT PROGRAM COMMAND…: good when COMMAND prints nothing; skipped without PROGRAM.
check() {
    text=$1
    program=$2
    shift 2
    number=$((number + 1))
    if ! command -v "$program" >/dev/null; then
        echo "ok $number # SKIP $program is not installed"
    elif found=$("$@" 2>&1) && [ -z "$found" ]; then
        echo "ok $number - $text"
    else
        echo "not ok $number - $text"
        printf '%s\n' "$found" | sed 's/^/# /'
        status=1
    fi
}

# The version of OpenCL C that the runtime compiles a kernel file as: atomics are of 3.0.
version() {
    case $1 in
    kernels/chain.cl) echo CL3.0 ;;
    *) echo CL1.2 ;;
    esac
}

# Each kernel file alone, with the widest and the narrowest vectors.
kernels() {
    git ls-files 'kernels/*.cl' 'tests/**/*.cl' | while IFS= read -r file; do
        for vector in 16 4; do
            clang -x cl "-cl-std=$(version "$file")" -Xclang -finclude-default-header -fsyntax-only \
                -Wall -Werror -Wno-unused-function -Ikernels "-DCLV_V=$vector" "$file" || echo "$file"
        done
    done
}

# A kernel without a size of its work-group makes PoCL compile again for each one. Counted behind the
# preprocessor: macros may give it.
sizes() {
    git ls-files 'kernels/*.cl' | while IFS= read -r file; do
        clang -x cl "-cl-std=$(version "$file")" -E -P -Ikernels -DCLV_V=16 "$file" | awk -v file="$file" '
        { kernels += gsub(/__kernel/, ""); sizes += gsub(/reqd_work_group_size/, "") }
        END {
            if (kernels == 0 || kernels != sizes)
                print file ": " kernels " kernels, " sizes " reqd_work_group_size"
        }'
    done
}

scripts() {
    # shellcheck disable=SC2046 # names without blanks
    shellcheck $(git ls-files '*.sh' '*.bash') .ci/run
}

echo 1..3
check "kernels are OpenCL C 1.2, chains 3.0" clang kernels
check "kernels have a size of their work-groups" clang sizes
check "scripts pass shellcheck" shellcheck scripts
exit $status
