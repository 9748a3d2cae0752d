#!/usr/bin/env bash
# tests/run.sh tells what is skipped: a small ctest project of tests that pass, fail and skip in every way.
# bash check_skips.sh SOURCE SCRATCH
set -u
run=$(realpath "$1")/tests/run.sh
rm -rf "$2"
mkdir -p "$2" && cd "$2" || exit 1
bad=0

# project NAME < TESTS: a folder of tests, one a line: name, exit code, what it prints
project() {
    mkdir "$1"
    {
        echo 'cmake_minimum_required(VERSION 3.25)'
        echo 'project(skips NONE)'
        echo 'enable_testing()'
        while read -r name code said; do
            printf '%b\n' "$said" >"$1/$name.txt"
            echo "add_test(NAME $name COMMAND sh -c \"cat \${CMAKE_SOURCE_DIR}/$name.txt; exit $code\")"
            echo "set_tests_properties($name PROPERTIES SKIP_RETURN_CODE 77)"
        done
    } >"$1/CMakeLists.txt"
    cmake -G Ninja -S "$1" -B "$1" >"$1.log" || { cat "$1.log"; exit 1; }
}

# expect CODE NAME < LIST: what run.sh exits with, and prints between the last test and ctest's summary
expect() {
    local want=$1 code
    cat >"$2.want"
    "$run" "$2" >"$2.out" 2>&1
    code=$?
    sed -n '/^==/,/% tests passed/p' "$2.out" >"$2.got"
    [ $code -eq "$want" ] || { echo "$2: exit code $code, $want was expected"; bad=1; }
    grep -q '% tests passed' "$2.got" || { echo "$2: no summary of ctest behind the list"; bad=1; }
    grep -v '% tests passed' "$2.got" | diff "$2.want" - || { echo "$2: < was expected, > was told"; bad=1; }
}

project some <<'END'
pass        0   all is well
tmpfs       0   skipped: a full disk, because no tmpfs can be mounted here\nand on it goes
conv.cuda   77  skipped: cuda: no device
matmul.cuda 77  talk\nskipped: cuda: no device
silent      77
case        0   [  SKIPPED ] test_avx2\n[  SKIPPED ] 1 test(s), listed below:
quoted      0   not skipped: this
fails       1   it is broken
END
expect 8 some <<'END'
== skipped
a full disk, because no tmpfs can be mounted here
    a part of tmpfs
cuda: no device
    conv.cuda, matmul.cuda
no reason given
    silent, a part of case

END

project none <<'END'
pass 0 all is well
END
expect 0 none <<'END'
== nothing was skipped

END
exit $bad
