#!/bin/sh
# Installs the Debian and Ubuntu packages that Conclave is built from and runs with, where they are
# missing, as root or through sudo. Quick when nothing is missing. On other systems: checks that
# everything is there, else prints the package names.
#
#   tools/setup.sh [--tests]     --tests: also what the tests need
set -eu

build='gcc libc6-dev meson ninja-build pkg-config ocl-icd-opencl-dev opencl-c-headers libclblast-dev
    libinih-dev libturbojpeg0-dev libpng-dev libarchive-dev libjansson-dev libmd-dev libhdf5-dev libcairo2-dev
    libprotobuf-c-dev protobuf-c-compiler
    libpango1.0-dev pocl-opencl-icd gnuplot-nox'
# Taken where the release has them: the demo's characters come from whichever of these are there.
optional='fonts-lohit-deva fonts-noto-core fonts-deva-extra fonts-nakula fonts-sahadeva fonts-gargi
    fonts-samyak-deva fonts-sarai fonts-sil-annapurna fonts-aksharyogini2'
fedora='gcc meson ninja-build pkgconf-pkg-config ocl-icd-devel opencl-headers clblast-devel
    inih-devel turbojpeg-devel libpng-devel libarchive-devel jansson-devel libmd-devel hdf5-devel cairo-devel
    protobuf-c-devel protobuf-c-compiler
    pango-devel pocl gnuplot lohit-devanagari-fonts google-noto-sans-devanagari-fonts
    google-noto-serif-devanagari-fonts samyak-devanagari-fonts sil-annapurna-fonts'
arch='gcc meson ninja pkgconf ocl-icd opencl-headers clblast libinih libjpeg-turbo libpng libarchive
    jansson libmd hdf5 protobuf-c cairo pango pocl gnuplot noto-fonts ttf-indic-otf'
modules='OpenCL clblast inih libturbojpeg libpng libarchive jansson libmd pangocairo pangoft2'

say() {
    echo "setup: $*"
}

stop() {
    echo "setup: $*" >&2
    exit 1
}

case "$*" in
'') ;;
--tests)
    build="$build libcmocka-dev g++ git clang shellcheck groff-base mesa-opencl-icd oclgrind"
    optional="$optional clang-format-14 libclang-rt-14-dev"
    fedora="$fedora libcmocka-devel gcc-c++ clang-tools-extra clang ShellCheck groff-base mesa-libOpenCL git"
    arch="$arch cmocka clang shellcheck groff opencl-rusticl-mesa git"
    modules="$modules cmocka"
    ;;
--help | -h)
    sed -n '2,6s/^#[ ]\{0,1\}//p' "$0"
    exit 0
    ;;
*)
    echo "usage: tools/setup.sh [--tests]" >&2
    exit 2
    ;;
esac

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    # shellcheck disable=SC2086 # a list of words
    if command -v meson >/dev/null && command -v ninja >/dev/null &&
        pkg-config --exists $modules 2>/dev/null; then
        say "everything needed is installed"
        exit 0
    fi
    # shellcheck disable=SC2086
    {
        echo "Fedora:  sudo dnf install" $fedora
        echo "Arch:    sudo pacman -S --needed" $arch
    } >&2
    stop "this system has no apt-get; please install the packages above (or your system's" \
        "equivalents), then run this again"
fi

# Those of the named packages that are not installed.
missing_of() {
    for package in "$@"; do
        case "$installed" in
        *" $package "*) ;;
        *) printf ' %s' "$package" ;;
        esac
    done
}

# shellcheck disable=SC2086
installed=" $(dpkg-query -W -f '${Package}=${db:Status-Status} ' $build $optional 2>/dev/null || :)"
installed=$(printf '%s' "$installed" | sed 's/=installed / /g')
# shellcheck disable=SC2086
missing=$(missing_of $build)
# shellcheck disable=SC2086
wanted=$(missing_of $optional)
if [ -z "$missing$wanted" ]; then
    say "everything needed is installed"
    exit 0
fi

# Of the optional packages, those that this release has.
known_of() {
    for package in "$@"; do
        if apt-cache show --no-all-versions "$package" >/dev/null 2>&1; then
            printf ' %s' "$package"
        fi
    done
}

lists_present=no
for list in /var/lib/apt/lists/*_Packages*; do
    [ -e "$list" ] && lists_present=yes
    break
done
if [ -z "$missing" ] && [ "$lists_present" = yes ]; then
    # shellcheck disable=SC2086
    wanted=$(known_of $wanted)
    if [ -z "$wanted" ]; then
        say "everything needed is installed"
        exit 0
    fi
fi

sudo=
if [ "$(id -u)" -ne 0 ]; then
    if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        sudo=sudo
    else
        stop "packages are missing and neither root nor sudo is at hand; run this as root:" \
            "apt-get install --no-install-recommends$missing$wanted"
    fi
fi

# apt-get, asking nothing and waiting for another apt or dpkg to finish.
apt() {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 \
        -o Acquire::Retries=3 "$@" </dev/null
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Runs a step quietly; its output is shown when it fails.
quietly() {
    if ! "$@" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        return 1
    fi
}

if [ -n "$missing" ] || [ "$lists_present" = no ]; then
    say "reading the package lists"
    quietly apt update || stop "apt-get update failed (above); is the network there?"
    # shellcheck disable=SC2086
    wanted=$(known_of $wanted)
fi
say "installing$missing$wanted"
# shellcheck disable=SC2086
quietly apt install -y --no-install-recommends $missing $wanted ||
    stop "apt-get install failed (above); is the network there?"
say "done"
