#!/bin/sh
# Nothing of an ABI has moved: every line of its layout (layout.c with its own headers) stands in
# that of today's headers, but for sizes, which may have grown. Arguments: the two programs.
set -eu
"$1" | awk -v now="$2" '
    BEGIN {
        while ((now | getline line) > 0) {
            lines[line] = 1
            count = split(line, words, " ")
            if (words[1] == "size")
                size[words[2]] = words[3]
        }
        close(now)
    }
    { total++ }
    $1 == "size" && size[$2] + 0 >= $3 + 0 { next }
    !($0 in lines) { print "# of ABI 1.0 is lost: " $0; bad = 1 }
    END { print bad || total < 200 ? "not ok 1 - layout" : "ok 1 - layout"; print "1..1"; exit bad || total < 200 }'
