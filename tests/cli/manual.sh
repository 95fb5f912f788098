#!/bin/sh
# The man pages: no complaint of groff's, a page of every command, an entry of each of its options.
# Arguments: the command, the folder of the pages that the build made. Prints a TAP line per page.
set -eu
command=$1
pages=$2
if ! command -v groff >/dev/null; then
    echo "groff is not installed: nothing to look at"
    exit 77
fi
number=0
status=0
say() {
    number=$((number + 1))
    if [ -z "$2" ]; then
        echo "ok $number - $1"
    else
        echo "not ok $number - $1: $2"
        status=1
    fi
}

for page in $("$command" manual); do
    fault=
    [ -s "$pages/$page" ] || fault='the build did not make it'
    "$command" manual "$page" >"$pages/.page"
    cmp -s "$pages/.page" "$pages/$page" || fault='not what the build made'
    warnings=$(groff -man -ww -z "$pages/.page" 2>&1) || fault=groff
    groff -man -Tascii -P-cbuo "$pages/.page" >"$pages/.text"
    for section in NAME DESCRIPTION 'SEE ALSO'; do
        grep -q "^$section" "$pages/.text" || fault="$fault no $section"
    done
    say "$page" "$fault$warnings"
done

"$command" --help | sed -n 's/^  \([a-z-]*\)  .*/\1/p' | grep -v '^conclave$' >"$pages/.commands"
[ "$(wc -l <"$pages/.commands")" -gt 10 ] || say 'commands of --help' 'too few'
while IFS= read -r name; do
    fault=
    "$command" manual "conclave-$name.1" >"$pages/.page"
    groff -man -Tascii -P-cbuo "$pages/.page" >"$pages/.text"
    for option in $("$command" "$name" --help | sed -n 's/^  \(-., \)\{0,1\}\(--[a-z0-9-]*\).*/\2/p'); do
        grep -q -- "^ *\(-., \)\{0,1\}$option" "$pages/.text" || fault="$fault $option"
    done
    say "options of $name" "$fault"
done <"$pages/.commands"
rm -f "$pages/.page" "$pages/.text" "$pages/.commands"
echo "1..$number"
exit $status
