#!/bin/sh
# Builds with the address sanitizer: a leak is found, and nothing else. The sanitizers of GCC up to 13
# and LLVM up to 16 take a thread's block of variables, where it lies 16 bytes behind the beginning of
# a page, for one of an old C library and read its address and length from the bytes before it: their
# leak check then ends with "Tracer caught signal 11". LSAN_OPTIONS=intercept_tls_get_addr=0 (set in
# tests/meson.build for all tests) leaves such blocks to be found as what malloc gave. Arguments: the
# program, its module.
set -eu
program=$1
module=$2
number=0
status=0
# expect TEXT STATUS WANTED REFUSED ARGUMENT…: exit status 0 or another one, a line that is wanted in
# the output, and one that may not be there.
expect() {
    text=$1
    good=$2
    wanted=$3
    refused=$4
    shift 4
    number=$((number + 1))
    code=0
    said=$("$program" "$@" 2>&1) || code=$?
    fault=
    [ "$good" = "$((code == 0))" ] || fault="exit status $code;"
    case $said in *"$wanted"*) ;; *) fault="$fault no \"$wanted\";" ;; esac
    case $said in *"$refused"*) fault="$fault \"$refused\"" ;; esac
    if [ -z "$fault" ]; then
        echo "ok $number - $text"
    else
        echo "not ok $number - $text: $fault"
        printf '%s\n' "$said" | sed 's/^/# /'
        status=1
    fi
}

echo 1..4
expect 'no leak' 1 '' Sanitizer - clean
expect 'a leak' 0 '12345 byte(s) in 1 object(s)' Tracer - leak
expect 'no leak, with threads' 1 '' Tracer "$module" clean
expect 'a leak, with threads' 0 '12345 byte(s) in 1 object(s)' Tracer "$module" leak
exit $status
