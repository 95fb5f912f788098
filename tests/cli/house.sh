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

# Runs a command with the names of the tracked files that exist, at least one.
# with PATTERN… -- COMMAND…
with() {
    patterns=
    while [ "$1" != -- ]; do
        patterns="$patterns $1"
        shift
    done
    shift
    set -f
    # shellcheck disable=SC2016,SC2086 # the inner shell has variables of its own; patterns are words
    git ls-files -z -- $patterns | xargs -0 sh -c '
        for file; do [ -f "$file" ] && printf "%s\0" "$file"; done' sh | xargs -0 -r "$@"
    set +f
}

formatted() {
    with '*.c' '*.h' '*.cl' '*.clh' -- "$format" --style=file --dry-run 2>&1 |
        sed -n "s/: warning: code should be clang-formatted.*/: run $format -i on it/p"
}

small() {
    with '*' -- wc -c | awk '$2 != "total" && $1 > 1000000 { print $2 ": " $1 " bytes, more than 1 MB" }'
}

environment() {
    with 'core/*.c' 'plugins/*.c' -- awk '
        FILENAME != "core/base/process.c" && /(^|[^A-Za-z0-9_])getenv([^A-Za-z0-9_]|$)/ { print FILENAME ":" FNR }'
}

# use, export, report → train → mixture → plugin, weights, data → graph → ops → runtime → config → base
includes() {
    # shellcheck disable=SC2016 # of awk
    with 'core/*.c' 'core/*.h' 'plugins/*.c' -- awk '
        BEGIN {
            count = split("base config runtime ops graph data mixture train report", order, " ")
            for (i = 1; i <= count; i++)
                rank[order[i]] = i
            rank["plugin"] = rank["weights"] = rank["data"]
            rank["use"] = rank["export"] = rank["report"]
        }
        FNR == 1 {
            split(FILENAME, parts, "/")
            own = parts[1] == "core" ? parts[2] : ""
        }
        /^[ \t]*#[ \t]*include[ \t]*"/ {
            split($0, quoted, "\"")
            target = quoted[2]
            folder = index(target, "/") ? substr(target, 1, index(target, "/") - 1) : own
            if (parts[1] == "plugins" ||
                (folder != own && folder in rank && own in rank && rank[folder] >= rank[own]))
                print FILENAME ":" FNR ": must not include " target
        }'
}

# The compiler turns it into an intrinsic that Oclgrind does not know.
restricted() {
    with 'kernels/*.cl' 'kernels/*.clh' -- awk '
        FNR == 1 { head = 0 }
        /^static/ { head = 1 }
        head && /restrict/ { print FILENAME ":" FNR ": restrict" }
        /[{;]/ { head = 0 }'
}

# The headers of ABI 1.0, and the plugins that were written for it, stay as they were cut: the sums of
# all files, and the sum of the sums.
abi_1_0=c741a5e8e81e4f5ed2526e494963eb3e96267aaf2f7cfc41af7aa320a1811646
kept() {
    (
        cd tests/abi/v1.0
        [ "$(sha256sum <SHA256SUMS)" = "$abi_1_0  -" ] || echo "tests/abi/v1.0/SHA256SUMS was changed"
        sha256sum --quiet --check SHA256SUMS
        git ls-files | grep -v '^SHA256SUMS$' | LC_ALL=C sort >"$list"
        awk '{ print $2 }' SHA256SUMS | cmp - "$list"
    )
}

# A plugin that asks for an operation is loaded by hosts that have it: the ABI's minor number goes up
# with each, and tests/abi/operations says to what.
operations() {
    abi=$(awk '$2 == "CLV_ABI_MAJOR" { major = $3 } $2 == "CLV_ABI_MINOR" { minor = $3 }
        END { print major "." minor }' core/include/conclave/plugin.h)
    awk -v abi="$abi" '
        NR == FNR { since[$2] = $1; next }
        !($1 in since) { print "core/ops/ops.list: tests/abi/operations does not say since when there is " $1 }
        { now[$1] = 1; split(since[$1], a, "."); split(abi, b, ".") }
        a[1] > b[1] || (a[1] == b[1] && a[2] + 0 > b[2] + 0) { print $1 " is of ABI " since[$1] ", which is " abi " yet" }
        END { for (name in since) if (!(name in now)) print name " of ABI " since[name] " is gone" }' \
        tests/abi/operations core/ops/ops.list
}

# Formats differ between versions: this one is in Debian 12.
format=clang-format-14
list=$(mktemp)
trap 'rm -f "$list"' EXIT
echo 1..7
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
rule "nothing of ABI 1.0 was changed" kept
rule "each operation is of an ABI, and none is gone" operations
exit $status
