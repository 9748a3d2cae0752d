#!/usr/bin/env bash
# Run the tests of a build folder, and tell what was skipped and why. Ends with ctest's own summary and code.
#
#   tests/run.sh BUILD [OPTION_OF_CTEST]...
#
# A test that cannot run here prints the line "skipped: REASON" and exits with 77; one that only leaves out
# a part prints the same line and goes on.
set -u
build=${1:?usage: tests/run.sh BUILD [OPTION_OF_CTEST]...}
shift
summary=$(mktemp)
trap 'rm -f "$summary"' EXIT

# What ctest says, as it comes; from its summary on it is held back.
ctest --test-dir "$build" --output-on-failure "$@" 2>&1 | {
    held=no
    while IFS= read -r line; do
        if [[ $line =~ ^[0-9]+%\ tests\ passed ]]; then held=yes; fi
        if [ $held = yes ]; then printf '%s\n' "$line" >>"$summary"; else printf '%s\n' "$line"; fi
    done
}
code=${PIPESTATUS[0]}

# The summary names the tests that were skipped, the log has what each test said.
[ -s "$summary" ] && awk '
function tell(reason, what) {
    if (!(reason in tests)) reasons[++n] = reason
    tests[reason] = tests[reason] (tests[reason] == "" ? "" : ", ") what
}
function end_of_test() {
    if (name == "" || (!said && !(name in whole) && !cases)) return
    if (!said) told[++said] = "no reason given"
    for (i = 1; i <= said; i++) tell(told[i], name in whole ? name : "a part of " name)
}
NR == FNR && /^[ \t]+[0-9]+ - .*\(Skipped\)/ { whole[$3] = 1 }
NR == FNR { next }
/^[0-9]+\/[0-9]+ Testing: / { end_of_test(); name = $3; said = cases = 0; split("", seen) }
{ sub(/<end of output>$/, "") }
/^\[  SKIPPED \]/ { cases++ }
/^skipped: ./ && !seen[$0]++ { told[++said] = substr($0, 10) }
END {
    end_of_test()
    print n ? "== skipped" : "== nothing was skipped"
    for (i = 1; i <= n; i++) {
        print reasons[i]
        line = "   "
        count = split(tests[reasons[i]], words, " ")
        for (j = 1; j <= count; j++) {
            if (length(line " " words[j]) > 100) { print line; line = "   " }
            line = line " " words[j]
        }
        print line
    }
    print ""
}' "$summary" "$build/Testing/Temporary/LastTest.log"

cat "$summary"
exit "$code"
