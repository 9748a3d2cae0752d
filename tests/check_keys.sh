#!/usr/bin/env bash
# Every key that the code asks for is in the schema, and every key of the schema is asked for by somebody.
set -u
cd "${1:-.}" || exit 1
schema=host/base/schema.c
bad=0
asked=$(grep -rhoE '"[a-z_]+(\.[a-zA-Z0-9_]+)+"' host --include='*.c' --exclude=schema.c | tr -d '"' | sort -u)
known=$(grep -oE '^\{ "[a-zA-Z0-9_.]+"' $schema | tr -d '{ "' | sort -u)
for key in $(grep -rhoE 'dmq_config_(bool|int|int64|real|enum|text|ints|reals|texts|refuse|is_set|origin|set)\([^";]*"[a-zA-Z0-9_.]+"' \
             host --include='*.c' --exclude-dir=base | grep -oE '"[^"]+"' | tr -d '"' | sort -u); do
    echo "$known" | grep -qx "$key" || { echo "asked for, but not in the schema: $key"; bad=1; }
done
for key in $known; do
    case $key in schema | name | seed | *.kind | calibrate.microbatch | *granularity | report.paper.*) continue ;; esac
    echo "$asked" | grep -qx "$key" || { echo "in the schema, but nobody asks for it: $key"; bad=1; }
done
[ $bad = 0 ] && echo "keys: the code and the schema agree"
exit $bad
