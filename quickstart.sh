#!/usr/bin/env bash
# From a fresh machine to a table: installs what is missing, builds, and runs the main job on the models
# that ship with dmq. No question is asked.
#
#   ./quickstart.sh           build, then: calibrate, quantize five ways, sample, evaluate, table, report
#   ./quickstart.sh --test    build, then every test that this machine can run
#   ./quickstart.sh --build   build only
set -eu
cd "$(dirname "$0")"

packages="build-essential cmake ninja-build pkg-config libdnnl-dev libopenblas-openmp-dev liblapacke-dev
 libhdf5-dev libyaml-dev libjansson-dev libpng-dev libzip-dev libssl-dev librandom123-dev libcmocka-dev"
build=${DMQ_BUILD:-build}
jobs=$(nproc 2>/dev/null || echo 2)

say() { printf '\n== %s\n' "$*"; }

install_missing() {
    command -v dpkg-query >/dev/null 2>&1 || {
        echo "This is no Debian or Ubuntu: install the libraries of CMakeLists.txt by hand; cmake names what it misses."
        return
    }
    missing=""
    for p in $packages; do
        dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q "ok installed" || missing="$missing $p"
    done
    [ -n "$missing" ] || return 0
    line="apt-get install -y --no-install-recommends$missing"
    if [ "$(id -u)" = 0 ]; then sudo=""
    elif sudo -n true 2>/dev/null; then sudo="sudo"
    else
        echo "These packages are missing, and may not be installed from here. Run this line, then this script again:"
        echo "  sudo $line"
        exit 69
    fi
    say "installing:$missing"
    $sudo apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive $sudo $line >"${TMPDIR:-/tmp}/dmq-install.log" 2>&1 || {
        tail -20 "${TMPDIR:-/tmp}/dmq-install.log"
        exit 69
    }
}

compile() {
    say "building in $build/ (options: ${DMQ_CMAKE:-none})"
    # shellcheck disable=SC2086
    cmake -S . -B "$build" -G Ninja ${DMQ_CMAKE:-} >"$build.log" 2>&1 || { tail -30 "$build.log"; exit 1; }
    ninja -C "$build" -j "$jobs" >>"$build.log" 2>&1 || { grep -E "error|FAILED" "$build.log" | head -30; exit 1; }
    rm -f "$build.log"
}

case "${1:-}" in
    --test)
        install_missing
        compile
        say "tests"
        ctest --test-dir "$build" --output-on-failure -j "$jobs"
        ;;
    --build)
        install_missing
        compile
        ;;
    "")
        install_missing
        compile
        say "the main job: one sweep over five ways to quantize the shipped 16x16 model"
        start=$(date +%s)
        "$build/dmq" sweep -c experiments/quickstart/config.yaml -o runs/quickstart
        "$build/dmq" report runs/quickstart -o runs/quickstart/report.html --overwrite
        say "table"
        "$build/dmq" table runs/quickstart
        say "done in $(($(date +%s) - start)) s; open runs/quickstart/report.html in a browser"
        ;;
    *)
        echo "usage: ./quickstart.sh [--test | --build]" >&2
        exit 64
        ;;
esac
