# shellcheck shell=bash
# bash completion for conclave. What may stand next is asked of the command itself.

_conclave() {
    local words=() word line i glued=0
    local separators=$'=:'
    # bash splits words at = and :, which belong to section.key=value and to devices.
    for ((i = 1; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((${#words[@]} > 0)) && { ((glued)) || [[ -n $word && -z ${word//[$separators]/} ]]; }; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
        [[ -n $word && -z ${word//[$separators]/} ]] && glued=1 || glued=0
    done
    local begun=${words[-1]} current=${COMP_WORDS[COMP_CWORD]}
    [[ -n $current && -z ${current//[$separators]/} ]] && current=
    local taken=${begun%"$current"} # what stands before the last separator

    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
        "<files>")
            compopt -o filenames 2>/dev/null
            while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -f -- "$current")
            ;;
        "<folders>")
            compopt -o filenames 2>/dev/null
            while IFS= read -r word; do COMPREPLY+=("$word"); done < <(compgen -d -- "$current")
            ;;
        *)
            COMPREPLY+=("${line#"$taken"}")
            ;;
        esac
    done < <("${COMP_WORDS[0]}" complete -- "${words[@]}" 2>/dev/null)
    # No blank behind "section.key=": its value comes next.
    if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
complete -F _conclave conclave
