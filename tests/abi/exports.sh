#!/bin/sh
# Each plugin exports clv_plugin_v1 and nothing else. Arguments: nm, then the plugins. What a
# sanitizer or a coverage tool adds does not count.
set -eu
nm=$1
shift
number=0
status=0
echo "1..$#"
for plugin; do
    number=$((number + 1))
    exported=$("$nm" -D --defined-only "$plugin" | awk '{ print $3 }' |
        grep -vE '^(__asan_|__odr_asan|__ubsan_|__gcov_|mangle_path$|_init$|_fini$)' | tr '\n' ' ')
    if [ "$exported" = "clv_plugin_v1 " ]; then
        echo "ok $number - ${plugin##*/}"
    else
        echo "not ok $number - ${plugin##*/} exports $exported"
        status=1
    fi
done
exit $status
