#!/usr/bin/env bash
# Every shipped file is what data/MANIFEST says; beside them may lie what data/SOURCES tells to import.
set -u
cd "${1:-.}/data" || exit 1
bad=0 n=0
while IFS=$'\t' read -r name bytes sha _; do
    case $name in '#'*) continue ;; esac
    n=$((n + 1))
    [ -f "$name" ] || { echo "missing: $name"; bad=1; continue; }
    [ "$(stat -c %s "$name")" = "$bytes" ] || { echo "$name: other size than $bytes"; bad=1; }
    [ "$(sha256sum "$name" | cut -d' ' -f1)" = "$sha" ] || { echo "$name: other sha256"; bad=1; }
done < MANIFEST
for f in *.h5 *.png; do
    grep -q "^$f	" MANIFEST || grep -qF -- "-o @/$f" SOURCES || { echo "not in MANIFEST: $f"; bad=1; }
done
[ $bad = 0 ] && [ $n -gt 0 ] && echo "manifest: $n files as told" || bad=1
exit $bad
