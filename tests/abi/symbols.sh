#!/bin/sh
# libconclave.so shows the functions of its public headers, under their versions, and nothing else:
# those of symbols.list, which only grows. Its name for programs is the one they were linked with.
# Arguments: nm, readelf, the library, the list. What a sanitizer or a coverage tool adds does not count.
set -eu
nm=$1
readelf=$2
library=$3
list=$4
status=0
# check TEXT FOUND WANTED
check() {
    number=$((number + 1))
    if [ "$2" = "$3" ]; then
        echo "ok $number - $1"
        return
    fi
    echo "not ok $number - $1"
    printf '%s\n' "$2" | sed 's/^/# found  /'
    printf '%s\n' "$3" | sed 's/^/# wanted /'
    status=1
}
number=0
echo 1..2
check "exported symbols" "$("$nm" -D --defined-only "$library" | awk '$2 != "A" { print $3 }' |
    grep -vE '^(__asan_|__odr_asan|__ubsan_|__gcov_|mangle_path|_init|_fini)' | LC_ALL=C sort)" \
    "$(grep -v '^#' "$list" | LC_ALL=C sort)"
check "soname" "$("$readelf" -d "$library" | sed -n 's/.*soname: \[\(.*\)\]/\1/p')" libconclave.so.1
exit $status
