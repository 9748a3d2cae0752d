#!/usr/bin/env bash
# A tiny network through every stage, with every method and form; twice for the same bits; what the
# other verbs say about it. bash test_flow.sh PATH_OF_DMQ SCRATCH
. "$(dirname "$(realpath "$0")")/lib.sh"
make_models
make_config

cat >sweep.yaml <<'EOF'
schema: dmq/1
extends: [tiny.yaml]
name: flow
quant: {weight: {bits: 4}, act: {bits: 8}}
recon: {iters: 6}
reweight: {form: off}
sweep:
  seeds: [5]
  arms:
    - "nearest: quant.weight.round=nearest"
    - "nearest W8A32: quant.weight.round=nearest quant.weight.bits=8 quant.act.bits=off"
    - "nearest A8: quant.weight.round=nearest quant.weight=off"
    - "single table: quant.weight.round=nearest quant.act.tables=single quant.act.init=mse"
    - "tfmq: quant.policy=tfmq"
    - "qdiffusion: quant.policy=qdiffusion quant.weight.init=max"
    - "all, reference order: quant.policy=all recon.order=reference"
    - "gac surrogate: reweight=surrogate"
    - "gac original: reweight=original"
    - "gac sequential: reweight=sequential"
    - "gac exact: reweight=surrogate reweight.mode=exact reweight.visits=2"
    - "gac gm off: reweight=surrogate reweight.gm_weight=off"
    - "gac gm literal: reweight=surrogate reweight.gm_weight=literal"
    - "gac gm balanced: reweight=surrogate reweight.gm_weight=balanced"
    - "gac gm capped: reweight=surrogate reweight.gm_weight=capped"
    - "gac cosine: reweight=surrogate reweight.similarity=cosine"
    - "gac normalized: reweight=surrogate reweight.normalize=true"
    - "gac permuted: reweight=surrogate reweight.permute=true"
    - "gac warmup: reweight=surrogate reweight.point=warmup reweight.point_iters=3"
    - "gac matrix-free: reweight=surrogate reweight.jacobian=matrix_free"
    - "gac matrix-free original: reweight=original reweight.jacobian=matrix_free"
    - "gac matrix-free sequential: reweight=sequential reweight.jacobian=matrix_free"
    - "gac exact original: reweight=original reweight.mode=exact reweight.visits=1"
EOF
arms=$(grep -c '    - "' sweep.yaml)

# ------------------------------------------------------------------ the sweep
ok "$dmq" sweep -c sweep.yaml -o s --list
[ "$(wc -l <out.txt)" -eq "$arms" ] || fail "--list shows $(wc -l <out.txt) of $arms tasks"
grep -qP '^7\tgac surrogate\t5\ts/gac-surrogate-s5$' out.txt || fail "--list: $(sed -n 8p out.txt)"
[ -e s ] && fail "--list made the folder"
ok "$dmq" sweep -c sweep.yaml -o s --task 7 -q --progress none
[ "$(ls s | sort | tr '\n' ' ')" = 'gac-surrogate-s5 store sweep.json ' ] || fail "--task 7 made $(ls s)"
ok "$dmq" sweep -c sweep.yaml -o s -q --progress none || finish

number() { # FILE METRIC: its value among the quantized model's
    awk -v want="\"$2\": {" '/"quantized"/ {q = 1} q && index($0, want) {f = 1}
        f && /"value"/ {gsub(/[^-+0-9.eE]/, "", $2); print $2; exit}' "$1"
}
for run in s/*-s5; do
    checks=$((checks + 1))
    for file in run.json config.yaml config.origin.json events.jsonl log.txt blocks.json calib.h5 \
        images-fp.h5 quant.h5 images-q.h5 metrics.json grid.png grid-fp.png; do
        [ -e $run/$file ] || fail "$run/$file is not there"
    done
    grep -qiE 'nan|null|inf' $run/metrics.json && fail "$run/metrics.json: $(grep -iE 'nan|null|inf' $run/metrics.json)"
    for metric in fd is mse psnr noise_error; do
        [ -n "$(number $run/metrics.json $metric)" ] || fail "$run/metrics.json has no $metric"
    done
    case $run in *gac*)
        ess=$(number $run/metrics.json ess)
        awk -v e="${ess:-0}" 'BEGIN { exit !(e >= 0.8 && e <= 1.000001) }' || fail "$run: ESS ${ess:-none}"
        grep -q null $run/blocks.json && fail "$run/blocks.json holds what is not a number"
        ;;
    esac
    same s/tfmq-s5/calib.h5 $run/calib.h5
done
# weights do something, and each form something else
for pair in tfmq:gac-surrogate gac-surrogate:gac-original gac-surrogate:gac-sequential \
    gac-surrogate:gac-exact gac-surrogate:gac-permuted gac-surrogate:gac-normalized \
    gac-surrogate:gac-warmup gac-surrogate:gac-cosine; do
    checks=$((checks + 1))
    cmp -s "s/${pair%:*}-s5/blocks.json" "s/${pair#*:}-s5/blocks.json" && fail "$pair: the same blocks"
done

# ------------------------------------------------------------------ twice the same bits
for task in 3 4 7 10 16 20; do
    ok "$dmq" sweep -c sweep.yaml -o s2 --task $task -q --progress none --threads 1
done
for run in s2/*-s5; do
    for file in calib.h5 images-fp.h5 quant.h5 images-q.h5 metrics.json blocks.json grid.png config.yaml; do
        same s/"$(basename $run)"/$file $run/$file
    done
done
# one stage after the other is what run does
for verb in calibrate quantize 'sample --fp' sample evaluate; do
    # shellcheck disable=SC2086
    ok "$dmq" $verb -c s/tfmq-s5/config.yaml -o steps -q --progress none
done
for file in calib.h5 images-fp.h5 quant.h5 images-q.h5; do
    same s/tfmq-s5/$file steps/$file
done

# ------------------------------------------------------------------ samplers that call the network within a step
while read -r name steps settings; do
    # shellcheck disable=SC2086
    ok "$dmq" run -c tiny.yaml -o $name -q --progress none --set quant.weight.round=nearest \
        --set quant.act=8 --set sampler.clip_x0=false ${settings//sampler/--set sampler}
    ok "$dmq" inspect $name/quant.h5
    grep -qE "act_scale +f32 +\[$steps\]" out.txt || fail "$name has tables for: $(grep -m 1 act_scale out.txt)"
    # the configuration that is kept says all that was decided
    ok "$dmq" sample -c $name/config.yaml -o $name-again --fp -q --progress none
    same $name/images-fp.h5 $name-again/images-fp.h5
done <<'EOF'
plms 8 sampler.kind=plms sampler.repository=ldm
dpm-3s 6 sampler.kind=dpm_solver sampler.order=3s
dpm-2m 6 sampler.kind=dpm_solver sampler.spacing=logsnr
EOF

# ------------------------------------------------------------------ what the other verbs say
ok "$dmq" verify s2
[ "$(grep -c '^same ' out.txt)" -eq 30 ] || fail "verify: $(cat out.txt)"
printf '\377' | dd of=s2/tfmq-s5/quant.h5 bs=1 seek=20000 conv=notrunc status=none
refuses 65 'verify: 1 file is not what' 'hint: ' -- "$dmq" verify s2
grep -q '^DIFFERS *s2/tfmq-s5/quant.h5' out.txt || fail "verify: $(cat out.txt)"
ok "$dmq" status s
[ "$(grep -c '5 of 5 stages' out.txt)" -eq "$arms" ] || fail "status: $(cat out.txt)"
for file in calib.h5 quant.h5 images-q.h5 metrics.json run.json ckpt/block-004.h5; do
    ok "$dmq" inspect s/gac-surrogate-s5/$file
    [ -s out.txt ] || fail "inspect $file says nothing"
done
ok "$dmq" inspect data/unet.h5
grep -qE '^conv_in.weight +f32 +\[8,3,3,3\]' out.txt || fail "inspect data/unet.h5: $(grep conv_in out.txt)"
ok "$dmq" inspect --json data/unet.h5
cp out.txt shown.json
ok "$dmq" inspect shown.json
same shown.json out.txt
ok "$dmq" status --json s
[ "$(grep -c '"done": true' out.txt)" -eq $((5 * arms)) ] || fail "status --json: $(cat out.txt)"
ok "$dmq" verify --json s/tfmq-s5
[ "$(grep -c '"verdict": "same"' out.txt)" -eq 5 ] || fail "verify --json: $(cat out.txt)"
ok "$dmq" evaluate --json -c s/tfmq-s5/config.yaml -o s/tfmq-s5 -q
grep -q '"noise_error": {' out.txt || fail "evaluate --json: $(cat out.txt)"
ok "$dmq" config show --origin -c sweep.yaml --set recon.lr=0.5
grep -qE '^recon.lr +0.5 +--set recon.lr=0.5' out.txt || fail "config show: $(grep recon.lr out.txt)"
grep -qE '^recon.iters +6 +sweep.yaml:5:16' out.txt || fail "config show: $(grep recon.iters out.txt)"
grep -qE '^sampler.steps +6 +tiny.yaml:4:30' out.txt || fail "config show: $(grep sampler.steps out.txt)"
ok "$dmq" config show -c sweep.yaml
cp out.txt shown.yaml
ok "$dmq" config show -c shown.yaml
same shown.yaml out.txt
ok "$dmq" config check -c sweep.yaml
ok "$dmq" config check -c sweep.yaml --set sampler.order=3s --set sampler.guided_channels=3
for key in 'sampler.order = 3s' 'sampler.guided_channels = 3'; do
    grep -q "no-effect.: $key has no effect, because sampler" err.txt || fail "config check: no warning about $key"
done
ok "$dmq" table s
[ "$(grep -c gac out.txt)" -ge 10 ] || fail "table: $(cat out.txt)"
grep -q 'size size/weights+scales; BOPs bops/mac-wa$' out.txt || fail "table: costs: $(grep size/ out.txt)"
grep -q '"shared": true' s/tfmq-s5/run.json || fail "s/tfmq-s5 does not say that its calibration set was another's"
refuses 78 'no run says which published table' 'hint: report.table' -- "$dmq" table s --vs paper
cat >paper.yaml <<'EOF'
paper: dmq-paper/1
protocol: {settings: {sampler: {steps: 6}, sample: {count: 50000}}}
methods: {tfmq: TFMQ-DM}
sources: {own: the paper itself}
rows:
  tfmq-w4a8: {method: tfmq, bits: W4A8, fd: 1, tag: R, source: own}
  tfmq-w8a8: {method: tfmq, bits: W8A8, fd: 2, tag: R, source: own}
EOF
ok "$dmq" run -c s/tfmq-s5/config.yaml --set report.table=paper.yaml --set report.method=tfmq -o beside -q \
    --progress none
for format in md csv json tex; do
    ok "$dmq" table --vs paper --format $format beside
    grep -q 'sample.count [0-9]* (published: 50000)' out.txt || fail "--vs paper $format: $(cat out.txt)"
    grep -qF 'TFMQ-DM (published [R] own)' out.txt || fail "--vs paper $format: $(cat out.txt)"
done
ok "$dmq" table s --vs paper --set report.table=paper.yaml --set report.method=tfmq
grep -qF 'TFMQ-DM W4A8 [R] own' out.txt || fail "table --set report.table: $(cat out.txt)"
refuses 64 'only what they are told with' 'hint: report.table' -- "$dmq" table s --set recon.iters=7
ok "$dmq" report --vs paper beside -q
grep -qF 'TFMQ-DM (published [R] own)' beside/report.html || fail "report --vs paper tells no published row"
ok "$dmq" report s
[ -s s/report.html ] || fail "no report"
ok "$dmq" doctor

finish
