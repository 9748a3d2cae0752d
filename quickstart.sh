#!/usr/bin/env bash
# From a fresh machine to a table: installs what is missing, builds, and runs the main job on the models
# that ship with dmq. No question is asked.
#
#   ./quickstart.sh           build, then: calibrate, quantize five ways, sample, evaluate, table, report
#   ./quickstart.sh --test    build, then every test that this machine can run; tells what it skipped
#   ./quickstart.sh --build   build only, with tests and benches
#
# DMQ_BUILD names the build folder, DMQ_CMAKE further options of cmake.
set -eu
cd "$(dirname "$0")"

packages="build-essential cmake ninja-build pkg-config libdnnl-dev libopenblas-openmp-dev liblapacke-dev
 libhdf5-dev libyaml-dev libjansson-dev libpng-dev libjpeg-dev libwebp-dev libzip-dev libssl-dev
 librandom123-dev libcmocka-dev"
build=${DMQ_BUILD:-build}
jobs=$(nproc 2>/dev/null || echo 2)

say() { printf '\n== %s\n' "$*"; }

# apt_get SUDO WORD...: asks nothing, keeps configuration files as they are, and waits for another apt that
# works, as one does on a machine that has just started. A shell of su has no sbin, where dpkg's helpers are.
apt_get() {
    local sudo=$1
    shift
    # shellcheck disable=SC2086
    $sudo env DEBIAN_FRONTEND=noninteractive PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" \
        apt-get -q -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@" </dev/null
}

install_missing() {
    local missing="" sudo="" who="" can=yes line log p
    command -v dpkg-query >/dev/null 2>&1 || {
        echo "This is no Debian or Ubuntu: install the libraries of CMakeLists.txt by hand; cmake names what it misses."
        return
    }
    for p in $packages; do
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q "ok installed" || missing="$missing $p"
    done
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        sudo="sudo"
        sudo -n true 2>/dev/null || can=no
        command -v sudo >/dev/null 2>&1 || { sudo="" who=" as root"; }
    fi
    if [ $can = no ]; then
        line="${sudo:+$sudo }apt-get install -y --no-install-recommends$missing"
        echo "These packages are missing, and may not be installed from here. Run this line$who, then this script again:" >&2
        echo "  ${sudo:+$sudo }apt-get update && $line" >&2
        exit 69
    fi
    say "installing:$missing"
    log=$(mktemp)
    # Lists that cannot be renewed may still do: what counts is whether the packages come.
    apt_get "$sudo" update >"$log" 2>&1 || echo "apt-get update failed; trying with the lists that are here"
    # shellcheck disable=SC2086
    apt_get "$sudo" install -y --no-install-recommends $missing >>"$log" 2>&1 || {
        tail -20 "$log" >&2
        echo "The packages could not be installed; all that apt-get said is in $log" >&2
        exit 69
    }
    rm -f "$log"
}

# compile [TARGET]: all without one
compile() {
    say "building in $build/ (options: ${DMQ_CMAKE:-none})"
    # shellcheck disable=SC2086
    cmake -S . -B "$build" -G Ninja ${DMQ_CMAKE:-} >"$build.log" 2>&1 || { tail -30 "$build.log"; exit 1; }
    ninja -C "$build" -j "$jobs" "$@" >>"$build.log" 2>&1 || { grep -E "error|FAILED" "$build.log" | head -30; exit 1; }
    rm -f "$build.log"
}

case "${1:-}" in
    --test)
        install_missing
        compile
        say "tests"
        tests/run.sh "$build" -j "$jobs"
        ;;
    --build)
        install_missing
        compile
        ;;
    "")
        install_missing
        compile dmq
        say "the main job: one sweep over five ways to quantize the shipped 16x16 model"
        start=$(date +%s)
        "$build/dmq" sweep -c experiments/quickstart/config.yaml -o runs/quickstart
        "$build/dmq" report runs/quickstart -o runs/quickstart/report.html --overwrite
        say "done in $(($(date +%s) - start)) s; open runs/quickstart/report.html in a browser"
        ;;
    *)
        echo "usage: ./quickstart.sh [--test | --build]" >&2
        exit 64
        ;;
esac
