#!/bin/bash
# The bash completion, called as readline calls it. Arguments: the command, the completion's file.
# Prints a TAP line per case.
set -u
command=$1
case $command in /*) ;; *) command=$PWD/$command ;; esac
# shellcheck source=/dev/null
. "$2"
home=$(mktemp -d) || exit 1
trap 'rm -rf "$home"' EXIT
cd "$home" || exit 1
mkdir -p 'runs/first run' runs/second 'some pictures' elsewhere/third
touch 'runs/first run/config.ini' runs/second/config.ini elsewhere/third/config.ini a.png

number=0
status=0
# complete_to WANTED WORD…: what is offered for the last word, sorted, between '|', begins with,
# contains or is WANTED, a pattern.
complete_to() {
    local wanted=$1 found
    shift
    COMP_WORDS=("$command" "$@")
    COMP_CWORD=$#
    _conclave
    found=$(printf '%s\n' "${COMPREPLY[@]}" | LC_ALL=C sort -u | tr '\n' '|')
    number=$((number + 1))
    # shellcheck disable=SC2053 # a pattern
    if [[ $found == $wanted ]]; then
        echo "ok $number - $*"
    else
        echo "not ok $number - $*: $found, wanted $wanted"
        status=1
    fi
}

echo 1..30
complete_to 'train|' tra
complete_to 'plugins|predict|profile|' help p
complete_to '--checkpoint|' eval last --chec
complete_to 'cnn-custom-only|' train cnn-cu
complete_to '*|demo-small-cnn|*' train ''
complete_to 'schedule.kind=|' train cnn-custom-only schedule.ki
complete_to 'constant|cosine|' train cnn-custom-only schedule.kind = co
complete_to 'no|yes|' train cnn-custom-only data.dedup = ''
complete_to 'schedule.kind=|' train cnn-custom-only --set schedule.ki
complete_to 'last|' eval 'la'
complete_to 'first run|' eval 'fi'
complete_to '*last|*|third|' eval -o elsewhere --split test ''
complete_to 'a.png|' predict second a
complete_to 'some pictures|' predict second so
complete_to 'test|train|' eval second --split t
complete_to 'cpu|' eval second --device cp
complete_to 'cpu|' eval second --device = cp
complete_to '*0:*|' verify second --device cpu --against ''
complete_to 'vgg16|' plugins vg
complete_to 'vgg16|' bench --model vg
complete_to 'auto|clblast|native|' bench --gemm ''
complete_to 'infer|' bench --mode = i
complete_to 'infer|' profile cnn-custom-only --mode i
complete_to 'best|' verify last --checkpoint be
complete_to 'second|' explain -o elsewhere second
complete_to 'third|' explain -o why --runs elsewhere thi
complete_to 'expert|gate|' new-plugin ''
complete_to 'some pictures|' new-plugin expert mine -o so
complete_to 'a.png|' check-plugin ./x.so --golden a.
complete_to '|' nosuchcommand ''
exit $status
