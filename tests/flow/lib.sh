# What the flow tests share; sourced with the arguments of the test: PATH_OF_DMQ SCRATCH
#
# They make their own networks (a few seconds) and depend on nothing in data/. A test goes on after a
# failure, so that one run shows all; `finish` tells how many there were.

dmq=$(realpath "$1")
rm -rf "$2"
mkdir -p "$2"
scratch=$(realpath "$2")
cd "$scratch" || exit 1
export DMQ_DATA=$scratch/data
failures=0
checks=0

fail() {
    failures=$((failures + 1))
    echo "FAILED: $*" >&2
}

# ok COMMAND...: must exit 0
ok() {
    checks=$((checks + 1))
    "$@" >out.txt 2>err.txt
    local code=$?
    if [ $code -ne 0 ]; then
        fail "exit code $code of: $*"
        sed 's/^/    /' err.txt >&2
    fi
    return $code
}

# refuses CODE PATTERN... -- COMMAND...: must exit CODE and say each pattern (grep -E) on stderr
refuses() {
    local want=$1 patterns=() code wrong=0
    shift
    while [ "$1" != -- ]; do
        patterns+=("$1")
        shift
    done
    shift
    checks=$((checks + 1))
    "$@" >out.txt 2>err.txt
    code=$?
    [ $code -eq "$want" ] || wrong=1
    grep -qE '^dmq: error: ' err.txt || wrong=1
    # a crash or an assert is never an answer, whatever its exit code
    ! grep -qE 'Assertion|Sanitizer|core dumped|Segmentation' err.txt || wrong=1
    for pattern in "${patterns[@]}"; do
        if ! grep -qE -- "$pattern" err.txt; then
            wrong=1
            echo "no line like: $pattern" >>err.txt
        fi
    done
    if [ $wrong -ne 0 ]; then
        fail "exit code $code instead of $want, or another text, from: $*"
        sed 's/^/    /' err.txt >&2
    elif [ -n "${SHOW:-}" ]; then
        echo "--- $* -> $code"
        sed 's/^/    /' err.txt
    fi
}

# same FILE FILE
same() {
    checks=$((checks + 1))
    cmp -s "$1" "$2" || fail "$1 and $2 differ"
}

finish() {
    echo "$checks checks, $failures failed"
    [ $failures -eq 0 ] || exit 1
    cd / && rm -rf "$scratch"
    exit 0
}

# A network for 16x16 images and a feature network, hardly trained: data/unet.h5, data/features.h5
make_models() {
    mkdir -p data
    cat >train-unet.yaml <<'EOF'
schema: dmq/1
name: unet
model: {ch: 8, ch_mult: [1, 2], num_res_blocks: 1, attn_resolutions: [], resolution: 16, norm_groups: 4}
train: {task: diffusion, data: shapes16, iters: 20, batch: 16, warmup: 2, lr: 1.0e-3}
EOF
    cat >train-features.yaml <<'EOF'
schema: dmq/1
name: features
model: {norm_groups: 8}
train: {task: features, data: shapes16, iters: 10, batch: 16, warmup: 2, channels: [8, 16]}
EOF
    ok "$dmq" train -q -c train-unet.yaml -o data/unet.h5 || exit 1
    ok "$dmq" train -q -c train-features.yaml -o data/features.h5 || exit 1
}

# An experiment of about two seconds: tiny.yaml
make_config() {
    cat >tiny.yaml <<'EOF'
schema: dmq/1
name: tiny
model: {checkpoint: "data:unet.h5"}
sampler: {kind: ddim, steps: 6, eta: 0.0, spacing: uniform, clip_x0: true}
calibrate: {per_timestep: 8, interval: 1, validation: 0.25, held_out: 0.25}
quant: {weight: {bits: 4}, act: off}
recon: {iters: 10, batch: 8, lr: 0.02}
reweight: {form: surrogate, groups: 2, batch: 8}
sample: {count: 32, batch: 8, grid: 16}
evaluate: {metrics: [fd, is], features: "data:features.h5", reference: shapes16, reference_count: 64}
EOF
}
