#!/usr/bin/env bash
# A folder includes itself and the folders before it; nobody includes cuda/.
set -u
cd "${1:-.}" || exit 1
order="base kernels backend tensor tape dist io model diffusion train calib quant recon bilevel eval report run cli"
rank() { local n=0 f; for f in $order; do [ "$f" = "$1" ] && { echo $n; return; }; n=$((n + 1)); done; echo -1; }
bad=0
while IFS=: read -r file line text; do
    case "$file" in host/*/*) from=${file#host/}; from=${from%%/*} ;; kernels/*) from=kernels ;; *) continue ;; esac
    to=${text#*\"}; to=${to%\"*}
    case "$to" in */*) to=${to%%/*} ;; *) continue ;; esac
    if [ "$to" = cuda ]; then echo "$file:$line: includes cuda/: the registry knows dmq_backend_cuda()"; bad=1; continue; fi
    r=$(rank "$to")
    [ "$r" -lt 0 ] && continue
    if [ "$r" -gt "$(rank "$from")" ]; then echo "$file:$line: $from must not include $to"; bad=1; fi
done < <(grep -rn --include='*.[ch]' '^#include "' host kernels)
[ $bad = 0 ] && echo "layers: every folder includes only itself and the folders before it"
exit $bad
