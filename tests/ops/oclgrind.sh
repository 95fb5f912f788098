#!/bin/sh
# oclgrind.sh OCLGRIND PROGRAM ARGUMENT…: runs a test program on Oclgrind, which must find neither a
# data race nor an access outside of a buffer. Its check for uninitialised values is of no use here:
# 21.10 takes padding that is never read for such.
set -eu
oclgrind=$1
shift
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
"$oclgrind" --data-races --max-errors 20 --log "$log" "$@" || status=$?
if [ -s "$log" ]; then
    sed 's/^/# /' "$log"
    status=1
fi
exit $status
