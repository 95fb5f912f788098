#!/bin/sh
# Each public header alone, as C11 and as C++17, without a warning; and no padding in the structs
# that cross between plugins and host: a field that was appended into padding could not be told from
# one that is not there. Arguments: a C compiler, the folder that holds conclave/.
set -eu
cc=$1
include=$2
cxx=${CXX:-c++}
number=0
status=0
# check TEXT COMMAND…
check() {
    number=$((number + 1))
    text=$1
    shift
    if found=$("$@" 2>&1) && [ -z "$found" ]; then
        echo "ok $number - $text"
    else
        echo "not ok $number - $text"
        printf '%s\n' "$found" | sed 's/^/# /'
        status=1
    fi
}

for header in "$include"/conclave/*.h; do
    name=conclave/${header##*/}
    check "$name as C11" "$cc" -std=c11 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wvla \
        -Wstrict-prototypes -I"$include" -fsyntax-only -x c -include "$name" /dev/null
    if command -v "$cxx" >/dev/null; then
        check "$name as C++17" "$cxx" -std=c++17 -Wall -Wextra -Wpedantic -Wconversion \
            -I"$include" -fsyntax-only -x c++ -include "$name" /dev/null
    else
        number=$((number + 1))
        echo "ok $number # SKIP there is no C++ compiler"
    fi
done
for name in conclave/plugin.h conclave/own_op.h; do
    check "$name without padding" "$cc" -std=c11 -Wpadded -I"$include" -fsyntax-only -x c \
        -include "$name" /dev/null
done
echo "1..$number"
exit $status
