#!/bin/sh
# shellcheck disable=SC2317 # the rules are called through rule()
# Rules of the house that a compiler does not hold, over the tracked files. Prints a TAP line per
# rule and the offending places below it. Argument: the repository's root.
set -eu
cd "$1"
if ! git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
    echo "not a git checkout: nothing to look at"
    exit 77
fi
if [ -z "$(git ls-files)" ]; then
    echo "no file is tracked yet: nothing to look at"
    exit 77
fi

number=0
status=0
# rule TEXT COMMAND…: kept when COMMAND prints nothing.
rule() {
    text=$1
    shift
    number=$((number + 1))
    if found=$("$@" 2>&1) && [ -z "$found" ]; then
        echo "ok $number - $text"
    else
        echo "not ok $number - $text"
        printf '%s\n' "$found" | sed 's/^/# /'
        status=1
    fi
}

# Tracked files that exist, one per line.
tracked() {
    git ls-files -- "$@" | while IFS= read -r file; do
        if [ -f "$file" ]; then printf '%s\n' "$file"; fi
    done
}

formatted() {
    tracked '*.c' '*.h' '*.cl' '*.clh' | while IFS= read -r file; do
        "$format" --style=file "$file" | cmp -s - "$file" || echo "$file: run $format -i on it"
    done
}

small() {
    tracked | while IFS= read -r file; do
        bytes=$(wc -c <"$file")
        if [ "$bytes" -gt 1000000 ]; then echo "$file: $bytes bytes, more than 1 MB"; fi
    done
}

environment() {
    tracked 'core/*.c' 'plugins/*.c' | grep -vx core/base/process.c | while IFS= read -r file; do
        grep -nHw getenv "$file" || :
    done
}

# report → train → mixture → plugin, weights, data → graph → ops → runtime → config → base
includes() {
    tracked 'core/*.c' 'core/*.h' 'plugins/*.c' | while IFS= read -r file; do
        awk -v file="$file" '
        BEGIN {
            count = split("base config runtime ops graph data mixture train report", order, " ")
            for (i = 1; i <= count; i++)
                rank[order[i]] = i
            rank["plugin"] = rank["weights"] = rank["data"]
            split(file, parts, "/")
            own = parts[1] == "core" ? parts[2] : ""
        }
        /^[ \t]*#[ \t]*include[ \t]*"/ {
            split($0, quoted, "\"")
            target = quoted[2]
            folder = index(target, "/") ? substr(target, 1, index(target, "/") - 1) : own
            if (parts[1] == "plugins" ||
                (folder != own && folder in rank && own in rank && rank[folder] >= rank[own]))
                print file ":" FNR ": must not include " target
        }' "$file"
    done
}

# The compiler turns it into an intrinsic that Oclgrind does not know.
restricted() {
    tracked 'kernels/*.cl' 'kernels/*.clh' | while IFS= read -r file; do
        awk -v file="$file" '
        /^static/ { head = 1 }
        head && /restrict/ { print file ":" FNR ": restrict" }
        /[{;]/ { head = 0 }' "$file"
    done
}

# Formats differ between versions: this one is in Debian 12.
format=clang-format-14
echo 1..5
if command -v $format >/dev/null; then
    rule "C and kernel files are formatted" formatted
else
    number=1
    echo "ok 1 # SKIP $format is not installed"
fi
rule "no file is larger than 1 MB" small
rule "the environment is read in core/base/process.c only" environment
rule "includes point one way" includes
rule "no restrict on functions that are not kernels" restricted
exit $status
