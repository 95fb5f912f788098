#!/bin/sh
# From a fresh checkout to a comparison of trained networks: installs what is missing, builds, draws a
# data set of 46 Devanagari characters, trains a small CNN on it, shows what it learnt, and puts two
# smaller networks and a mixture of two beside it. The data lie in build/demo-data, runs and tables in
# runs/. Run again, it does only what is not done yet, and trains the CNN anew.
set -eu
cd "$(dirname "$0")/.."
tools/setup.sh
. tools/stage.sh
started=$(date +%s)
build_all false

conclave=$build/tools/conclave
data=$build/demo-data

# live TEXT COMMAND…: as stage, but COMMAND shows its own progress and errors.
live() {
    stage_text=$1
    shift
    say "$stage_text"
    "$@" </dev/null || {
        echo "== failed: $stage_text; the reason is above" >&2
        exit 1
    }
}

live "drawing the demo data" "$build/tools/conclave-demo-data" --out "$data" --train 300 --test 50

# The training; everything that is special about the demo is said here.
live "training a CNN on it" "$conclave" train cnn-custom-only --data "$data" --epochs 12

say "testing it on characters from fonts that it has not seen"
scores=$("$conclave" eval last --split test --json </dev/null) || {
    echo "== failed: evaluating the run; the reason is above" >&2
    exit 1
}
top1=$(printf '%s' "$scores" | tr '\n' ' ' | sed -n 's/.*"top1" *: *\([0-9.eE+-]*\).*/\1/p')
awk -v top1="$top1" 'BEGIN {
    if (top1 == "")
        exit 1
    printf "test accuracy %.1f %%\n", 100 * top1
}' || {
    echo "== failed: eval printed no top1: $scores" >&2
    exit 1
}

test=$data/test
live "predicting five test pictures" "$conclave" predict last \
    "$test/character_1_ka/0000.jpg" "$test/character_10_yna/0001.jpg" \
    "$test/character_36_gya/0002.jpg" "$test/digit_3/0003.jpg" "$test/digit_8/0004.jpg"

run=$(readlink runs/last) || run=last
live "training two smaller networks and a mixture, and comparing them" "$conclave" compare last demo \
    --data "$data"
say "pages to look at: runs/${run##*/}/report.html and runs/comparison.html"
say "done in $(($(date +%s) - started)) s; the run is in runs/${run##*/}"
