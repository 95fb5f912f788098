#!/bin/sh
# totals.sh STATUS LOG…: counts the single tests of meson's testlog.json files; STATUS is how `meson
# test` ended, the worst of several. Names what failed or was
# skipped; the last line is the totals:
#
#   N passed, N failed[, N skipped]
#
# Exit status 0 when at least one passed and none failed. CONCLAVE_REQUIRE_DEVICE=1: skipped tests
# count as failed. A log that is missing is a failed test. Programs list their tests as TAP.
set -eu
ended=$1
shift
missing=0
for log in "$@"; do
    if [ ! -s "$log" ]; then
        echo "failed: there is no $log"
        missing=$((missing + 1))
    fi
done

# One JSON object per line and program: name, stdout, result, in this order.
cat "$@" 2>/dev/null | awk -v missing="$missing" -v ended="$ended" \
    -v strict="${CONCLAVE_REQUIRE_DEVICE:-0}" '
function after(text, key) {
    return index(text, key) ? substr(text, index(text, key) + length(key)) : ""
}
function before(text, key) {
    return index(text, key) ? substr(text, 1, index(text, key) - 1) : text
}
{
    name = before(after($0, "\"name\": \""), "\"")
    output = before(after($0, "\"stdout\": \""), "\", \"result\": \"")
    result = before(after($0, "\"result\": \""), "\"")
    ok = bad = skip = planned = 0
    count = split(output, lines, /\\n/)
    for (i = 1; i <= count; i++) {
        if (lines[i] ~ /^1\.\.[0-9]+$/)
            planned += substr(lines[i], 4)
        else if (lines[i] ~ /^(not )?ok [0-9]+ .*# *SKIP/)
            skip++
        else if (lines[i] ~ /^ok [0-9]+/)
            ok++
        else if (lines[i] ~ /^not ok [0-9]+/)
            bad++
    }
    good_end = result == "OK" || result == "SKIP" || result == "EXPECTEDFAIL"
    if (result == "EXPECTEDFAIL") {         # a program that must fail is one test
        ok = 1
        bad = skip = planned = 0
    }
    if (planned > ok + bad + skip)          # it ended before its plan did
        bad = planned - ok - skip
    if (good_end && ok + bad + skip == 0) { # a program that lists no tests is one
        ok = result == "OK"
        skip = result == "SKIP"
    }
    if (!good_end && bad == 0)
        bad = 1
    if (bad)
        print "failed: " name
    else if (skip)
        print "skipped: " skip " of " name
    passed += ok
    failed += bad
    skipped += skip
}
END {
    failed += missing
    if (ended != 0 && !failed) {
        print "meson test failed with status " ended
        failed = 1
    }
    if (passed + failed == 0)
        print "no test ran"
    if (skipped && strict == "1")
        print "skipped tests are not allowed here (CONCLAVE_REQUIRE_DEVICE=1)"
    printf "%d passed, %d failed%s\n", passed, failed, skipped ? ", " skipped " skipped" : ""
    exit failed || !passed || (skipped && strict == "1")
}'
