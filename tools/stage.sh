# For demo.sh and test.sh, which source it: running the stages of a script quietly, with a log.
# shellcheck shell=sh

# What the script builds in; CONCLAVE_BUILD names another folder.
build=${CONCLAVE_BUILD:-build}
case $0 in
*/demo.sh) log_name=demo.log ;;
*) log_name=test.log ;;
esac

# The folder must exist before the first stage has anything to log.
mkdir -p "$build" || exit 1
log=$build/$log_name
: >"$log" || exit 1

say() {
    printf '== %s\n' "$*"
}

# failed STAGE: says which stage failed, shows the end of its log, and ends the script.
failed() {
    echo "== failed: $1; the end of $log:" >&2
    tail -n 30 "$log" >&2
    exit 1
}

# stage TEXT COMMAND…: says TEXT and runs COMMAND with its output in the log.
stage() {
    stage_text=$1
    shift
    say "$stage_text"
    echo "== $stage_text: $*" >>"$log"
    "$@" >>"$log" 2>&1 </dev/null || failed "$stage_text"
}

# Configures the build folder unless it is, then builds. $1: true or false, whether with the tests.
build_all() {
    if [ ! -f "$build/build.ninja" ]; then
        stage "configuring $build" meson setup "$build" --buildtype=release "-Dtests=$1"
    elif [ "$1" = true ] && [ ! -d "$build/tests" ]; then
        stage "configuring $build for the tests" meson configure "$build" -Dtests=true
    fi
    stage "building" ninja -C "$build"
}
