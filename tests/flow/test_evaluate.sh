#!/usr/bin/env bash
# Scores of images: of a run, of files, packs and folders, and of features that are ready; in shards, after a stop.
# bash test_evaluate.sh PATH_OF_DMQ SCRATCH
here=$(dirname "$(realpath "$0")")
. "$here/lib.sh"
. "$here/npz.sh"
make_models
make_config

# what all use: the small feature network, nothing but the numbers
score() {
    "$dmq" evaluate --threads 2 -q --progress none --set evaluate.features=data:features.h5 "$@"
}

# value NAME FILE: of the first metric of that name in a metrics.json
value() {
    grep -A4 "\"$1\": {" "$2" | sed -n 's/.*"value": \([^,]*\),*/\1/p' | head -1
}
id() {
    grep -A4 "\"$1\": {" "$2" | sed -n 's/.*"id": "\(.*\)",/\1/p' | head -1
}

# equal WHAT GOT WANT
equal() {
    checks=$((checks + 1))
    [ -n "$2" ] && [ "$2" = "$3" ] || fail "$1: \"$2\", not \"$3\""
}

metrics='[fd,is,precision,recall,density,coverage,kid]'
all=(--set evaluate.metrics=$metrics --set evaluate.kid_subsets=4 --set evaluate.kid_size=16)
ok "$dmq" run --threads 2 -q --progress none -c tiny.yaml --set reweight=off -o run "${all[@]}" \
    --set evaluate.metrics='[fd,is,precision,recall,density,coverage,kid,psnr,ssim]' || finish
find run/ckpt -name 'features-*' | grep . && fail "features are left in run/ckpt"

# ------------------------------------------------------------------ the numbers of a run, once more of its images
# the second half of metrics.json is the quantized side
sed -n '/"quantized": {/,$p' run/metrics.json >q.json
ok score --images run/images-q.h5 --set evaluate.reference_count=64 "${all[@]}" -o q
for m in fd is precision recall density coverage kid; do
    equal "$m of the run's images" "$(value $m q/metrics.json)" "$(value $m q.json)"
    equal "id of $m" "$(id $m q/metrics.json)" "$(id $m q.json)"
done
equal 'id of ssim' "$(id ssim q.json)" ssim32/uint8-round
equal 'id of psnr' "$(id psnr q.json)" psnr32/uint8-round
net=$(sha256sum data/features.h5 | head -c 12)
equal 'id of fd' "$(id fd q.json)" "fd32/$net/shapes16-heldout-64/uint8-round"
equal 'id of is' "$(id is q.json)" "is32/$net/1-split"
equal 'id of recall' "$(id recall q.json)" "recall32/features-$net/k3/shapes16-heldout-64-64/uint8-round"
equal 'id of kid' "$(id kid q.json)" "kid32/features-$net/4x16/shapes16-heldout-64-64/uint8-round"
ok score --images shapes16 --set evaluate.reference_count=1000 --set evaluate.metrics=[precision] --set evaluate.reference_rows=100
grep -q "precision1k/features-$net/k3/shapes16-heldout-1000-100/uint8-given" out.txt || fail "id of 1000: $(cat out.txt)"
ok score --images run/images-q.h5 --set evaluate.reference_count=64 --set evaluate.splits=4 --set evaluate.metrics=[is]
grep -q "is32/$net/4-splits-shuffled" out.txt || fail "id of splits: $(cat out.txt)"
ok score --images run/images-q.h5 --set evaluate.reference_count=64 --set evaluate.splits=4 \
    --set evaluate.metrics=[is] --set evaluate.is_order=consecutive
grep -q "is32/$net/4-splits-consecutive" out.txt || fail "id of splits: $(cat out.txt)"

# ------------------------------------------------------------------ one reference, as statistics and as images
ok score --make-reference images-fp --images run/images-fp.h5 -o fp.h5
ok score --images run/images-q.h5 --reference run/images-fp.h5 "${all[@]}" -o on-the-fly
ok score --images run/images-q.h5 --reference fp.h5 "${all[@]}" -o from-file
same on-the-fly/metrics.json from-file/metrics.json
ok score --images run/images-fp.h5 --reference fp.h5 --set evaluate.metrics=[precision,recall,fd] -o self
equal 'precision of the reference itself' "$(value precision self/metrics.json)" 1.0
ok score --make-reference x --images shapes16 --set evaluate.reference_count=64 -o procedural.h5
ok score --images run/images-q.h5 --reference procedural.h5 "${all[@]}" -o named
same q/metrics.json named/metrics.json

# ------------------------------------------------------------------ a folder, whose images are cropped and shrunk
mkdir -p folder/below
cp run/grid.png folder/a.png
cp run/grid-fp.png folder/below/b.png
small=(--set evaluate.prepare=ldm --set evaluate.prepare_size=16)
refuses 78 'evaluate.reference = ./folder: its images are .* those to be scored 16 x 16 x 3' 'hint: evaluate.prepare' \
    -- score --images run/images-q.h5 --reference ./folder
ok score --images run/images-q.h5 --reference ./folder --set evaluate.prepare=ldm -o shrunk
ok score --make-reference folder --images ./folder "${small[@]}" -o folder.h5
ok score --images run/images-q.h5 --reference folder.h5 -o shrunk-before
same shrunk/metrics.json shrunk-before/metrics.json
ok score --make-reference folder --images ./folder --set evaluate.prepare=adm --set evaluate.prepare_size=16 -o adm.h5
ok score --images run/images-q.h5 --reference adm.h5 -o shrunk-adm
cmp -s shrunk/metrics.json shrunk-adm/metrics.json && fail "LDM's and ADM's loaders make the same of a folder"
refuses 78 'evaluate.prepare = ldm: to which size' \
    -- score --make-reference folder --images ./folder --set evaluate.prepare=ldm -o x.h5

# ------------------------------------------------------------------ packs: 4 images of flat colours, and their labels
for level in 10 90 170 250; do
    head -c 768 /dev/zero | tr '\0' "\\$(printf %o $level)"
done | npy arr_0.npy '|u1' '4, 16, 16, 3'
printf '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0' | npy arr_1.npy '<i8' '4,'
npz plain.npz arr_0.npy
npz labelled.npz arr_0.npy arr_1.npy
ok score --images plain.npz --reference fp.h5 -o plain
equal 'id of a pack' "$(id fd plain/metrics.json | sed 's/.*\///')" uint8-given
is=(--set evaluate.metrics=[is] --set evaluate.splits=2)
ok score --images labelled.npz "${is[@]}"
ok score --images plain.npz "${is[@]}" --set evaluate.is_order=consecutive
refuses 78 'the images come class by class' 'hint: evaluate.is_order=shuffled' \
    -- score --images labelled.npz "${is[@]}" --set evaluate.is_order=consecutive

# ------------------------------------------------------------------ an npz of ADM's kind: statistics, and images for rows
one() { # as <f8
    printf '\0\0\0\0\0\0\360\77'
}
zeros() { # N numbers
    head -c $(($1 * 8)) /dev/zero
}
zeros 16 | npy mu.npy '<f8' '16,'
for i in $(seq 0 15); do
    zeros "$i"
    one
    zeros $((15 - i))
done | npy sigma.npy '<f8' '16, 16'
npz VIRTUAL_set.npz arr_0.npy mu.npy sigma.npy
npz stats.npz mu.npy sigma.npy
adm=$(sha256sum VIRTUAL_set.npz | head -c 12)
both=(--images run/images-q.h5 --reference VIRTUAL_set.npz --set evaluate.metrics=[fd,recall])
ok score "${both[@]}"
grep -q "^fd .* fd32/$net/VIRTUAL_set-$adm-unstated/uint8-round" out.txt || fail "unstated: $(cat out.txt)"
grep -q 'warning .reference-unstated.: VIRTUAL_set.npz does not tell' err.txt || fail "no warning: $(cat err.txt)"
ok score "${both[@]}" --set evaluate.reference_features="features-$net"
grep -q "^recall .* recall32/features-$net/k3/VIRTUAL_set-$adm-4/uint8-round" out.txt || fail "stated: $(cat out.txt)"
[ -s err.txt ] && fail "a stated network is warned of: $(cat err.txt)"
refuses 65 'holds features of inception-2015-12-05/tf1-resize, the images are scored with features-' 'hint: name that network' \
    -- score "${both[@]}" --set evaluate.reference_features=inception-2015-12-05/tf1-resize
refuses 65 'reference stats has features of 0 single images' 'hint: dmq evaluate --make-reference' \
    -- score --images run/images-q.h5 --reference stats.npz --set evaluate.metrics=[recall]

# ------------------------------------------------------------------ features that are ready
printf '\0\0\200\77\0\0\0\100\0\0\100\100\0\0\200\100\0\0\240\100\0\0\300\100' | npy pool.npy '<f4' '3, 2' # 1 .. 6
printf '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0' | npy logits.npy '<f4' '3, 2'
npz ready.npz pool.npy logits.npy
ok score --ready-features ready.npz --set evaluate.metrics=[is]
grep -Eq '^is +1 +is3/unstated/1-split/' out.txt || fail "equal logits have a score of 1: $(cat out.txt)"
refuses 65 'features of the images have 2 numbers' -- score --ready-features ready.npz --reference fp.h5 \
    --set evaluate.reference_features="features-$net"
refuses 65 "fp.h5 holds features of features-$net, the images are scored with unstated" 'hint: ' \
    -- score --ready-features ready.npz --reference fp.h5
refuses 65 'holds no array "pool"' 'hint: ready features are' -- score --ready-features plain.npz

# ------------------------------------------------------------------ intervals
ok score --images run/images-q.h5 --set evaluate.reference_count=64 --set evaluate.bootstrap=40 -o interval
equal 'fd with an interval' "$(value fd interval/metrics.json)" "$(value fd q.json)"
for m in fd is; do
    checks=$((checks + 1))
    grep -A8 "\"$m\": {" interval/metrics.json | tr -d ' ,' | awk -F: '
        $1 ~ /low/ { low = $2 } $1 ~ /high/ { high = $2 } $1 ~ /mean/ { mean = $2 } $1 ~ /resamples/ { n = $2 }
        END { exit !(n == 40 && 0 < low && low < mean && mean < high) }' || fail "no interval of $m"
done

# ------------------------------------------------------------------ shards
many=(--images shapes16 --set evaluate.reference_count=1100 --set evaluate.metrics=[fd,precision,kid] --set evaluate.reference_rows=300
    --set evaluate.kid_size=100)
ok score "${many[@]}" -o whole
ok score "${many[@]}" -o parts --shard 2/3
refuses 66 'features of 3 pieces of 256 images are missing, the first is that of image 0' 'hint: run the shards' \
    -- score "${many[@]}" -o parts --merge
ok score "${many[@]}" -o parts --shard 1/3
ok score "${many[@]}" -o parts --shard 3/3
[ -e parts/metrics.json ] && fail "shards wrote metrics.json"
ok score "${many[@]}" -o parts --merge
same whole/metrics.json parts/metrics.json
[ -z "$(ls parts/ckpt)" ] || fail "pieces are left: $(ls parts/ckpt)"
for shard in 1/2 2/2; do
    ok score --make-reference x --images shapes16 --set evaluate.reference_count=600 -o shards.h5 --shard $shard
done
ok score --make-reference x --images shapes16 --set evaluate.reference_count=600 -o shards.h5 --merge
ok score --make-reference x --images shapes16 --set evaluate.reference_count=600 -o alone.h5
same shards.h5 alone.h5
ls | grep part- && fail "pieces of a reference are left"

# of a run
cp -r run sharded
rm sharded/metrics.json
for part in '--shard 1/2' '--shard 2/2' --merge; do
    # shellcheck disable=SC2086
    ok "$dmq" evaluate --threads 1 -q --progress none -c run/config.yaml -o sharded $part
done
same run/metrics.json sharded/metrics.json

# ------------------------------------------------------------------ killed, and stopped in order
big=(--images shapes16 --set evaluate.reference_count=6000 --set evaluate.metrics=[fd])
ok score "${big[@]}" -o undisturbed
pieces() {
    find disturbed/ckpt -name 'features-*.h5' 2>/dev/null | wc -l
}
for signal in KILL TERM; do
    before=$(pieces)
    "$dmq" evaluate --threads 1 --progress none --set evaluate.features=data:features.h5 "${big[@]}" -o disturbed \
        >out.txt 2>err.txt &
    pid=$!
    for _ in $(seq 400); do
        [ "$(pieces)" -gt $((before + 2)) ] && break
        sleep 0.02
    done
    kill -$signal $pid
    wait $pid 2>/dev/null
    code=$?
    equal "exit code after $signal" $code "$([ $signal = TERM ] && echo 75 || echo 137)"
    [ -e disturbed/metrics.json ] && fail "a disturbed evaluation wrote metrics.json"
done
ok score "${big[@]}" -o disturbed
same undisturbed/metrics.json disturbed/metrics.json

# ------------------------------------------------------------------ a sweep makes the reference once
cat >sweep.yaml <<'EOS'
extends: [tiny.yaml]
reweight: off
quant: {weight: {round: nearest}}
sweep:
  arms: ["W4: quant.weight.bits=4", "W8: quant.weight.bits=8"]
  seeds: [1]
EOS
ok "$dmq" sweep --threads 1 -q --progress none -c sweep.yaml -o s
equal 'references in the store' "$(find s -name '*-reference.h5' | wc -l)" 1
equal 'full-precision metrics in the store' "$(find s -name '*-metrics-fp.json' | wc -l)" 1
equal 'fd of the full-precision images' "$(value fd "$(find s -path '*w4*' -name metrics.json)")" \
    "$(value fd "$(find s -path '*w8*' -name metrics.json)")"

# a task of the sweep alone takes both from the store, and says the same
again=$(find s -maxdepth 1 -name '*w8*')
mv "$again/metrics.json" w8.json
ok "$dmq" sweep --threads 1 --progress json -c sweep.yaml -o s --task 1
grep -q '"stage": *"evaluate"' err.txt || fail "no progress of evaluate: $(cat err.txt)"
same w8.json "$again/metrics.json"
grep -qE '"stage": ?"(reference|evaluate-fp)"' err.txt && fail "features of the reference were made again: $(cat err.txt)"

# ------------------------------------------------------------------ a column of two metrics
for count in 64 80; do
    ok "$dmq" run --threads 2 -q --progress none -c tiny.yaml --set reweight=off -o ref$count --set name=ref$count \
        --set quant.weight.round=nearest --set evaluate.reference_count=$count
done
refuses 65 'FD .*measured "fd32/.*heldout-64/.*measured "fd32/.*heldout-80/' 'hint: .*--across fd' \
    -- "$dmq" table ref64 ref80
ok "$dmq" table ref64 ref80 --across fd
for count in 64 80; do
    checks=$((checks + 1))
    grep -q "^FD (shapes) of ref$count: fd32/$net/shapes16-heldout-$count/uint8-round (n 32)" out.txt ||
        fail "the id of ref$count is not told: $(cat out.txt)"
done
ok "$dmq" report ref64 ref80 --across fd -o across.html
grep -q "FD (shapes) of ref80: fd32/$net/shapes16-heldout-80" across.html || fail "the page does not tell ids"
refuses 64 'across recal: there is no such measure' 'did you mean "recall"' -- "$dmq" table ref64 --across recal

# ------------------------------------------------------------------ refusals
refuses 66 'evaluate.lpips = .*: there is no such file' 'hint: dmq import' \
    -- "$dmq" run -q -c tiny.yaml --set reweight=off -o x --set evaluate.metrics=[lpips]
refuses 64 '--reference needs --images PATH' 'hint: ' -- score --reference fp.h5
refuses 64 'two sets to score' -- score --images plain.npz --ready-features ready.npz
refuses 64 '--seed is of a run' -- score --images plain.npz --seed 3
refuses 64 '--shard needs -o' -- score --images plain.npz --shard 1/2
refuses 64 '--make-reference needs -o FILE.h5' -- score --make-reference x --images plain.npz
refuses 73 'q/metrics.json is there already' 'hint: --overwrite' -- score --images run/images-q.h5 -o q
refuses 78 'fid is the distance in the features of Inception' 'at --set evaluate.metrics' 'hint: fd' \
    -- score --images plain.npz --set evaluate.metrics=[fid]
refuses 66 'evaluate.features = .*: there is no such file' 'hint: data/fetch.sh inception .*dmq import pt_inception-2015-12-05' \
    'and: evaluate.reference = nothere.npz: there is no such file or folder' \
    -- score --images plain.npz --reference nothere.npz --set evaluate.features=data:inception-2015-12-05.h5
refuses 78 'evaluate.splits = 10: there are 4 images' 'at --set' \
    -- score --images plain.npz --set evaluate.metrics=[is] --set evaluate.splits=10
refuses 78 'evaluate.kid_size = 1000: there are 4 images' -- score --images plain.npz --set evaluate.metrics=[kid]
refuses 78 'evaluate.neighbours = 4: there are 4 images' 'at --set' \
    -- score --images plain.npz --set evaluate.metrics=[recall] --set evaluate.neighbours=4
# a run is refused before anything is sampled
ok "$dmq" train -q -c train-features.yaml --seed 5 -o data/other.h5
early=("$dmq" run -q -c tiny.yaml --set reweight=off -o x --set evaluate.reference=fp.h5)
refuses 78 'evaluate.reference_features = x: fp.h5 itself says' -- "${early[@]}" --set evaluate.reference_features=x
refuses 65 'fp.h5 holds features of' -- "${early[@]}" --set evaluate.features=data:other.h5
refuses 78 'evaluate.kid_size = 64: there are 32 images' -- "${early[@]}" --set evaluate.metrics=[kid] \
    --set evaluate.kid_size=64
refuses 65 'has features of 0 single images' -- "${early[@]}" --set evaluate.metrics=[recall] --set evaluate.reference=stats.npz
[ -e x ] && fail "a refused run left the folder x"
refuses 78 'evaluate.reference = shapes32: its images are 32 x 32 x 3, those to be scored 16 x 16 x 3' \
    'hint: evaluate.prepare' -- score --images plain.npz --reference shapes32
refuses 65 "fp.h5 holds features of features-$net, the images are scored with features-" 'hint: name that network' \
    -- score --images plain.npz --reference fp.h5 --set evaluate.features=data:other.h5
refuses 78 "evaluate.reference_features = x: fp.h5 itself says features-$net" \
    -- score --images plain.npz --reference fp.h5 --set evaluate.reference_features=x
ok score --make-reference bare --images run/images-fp.h5 --set evaluate.reference_rows=0 -o bare.h5
refuses 65 'has features of 0 single images' 'hint: ' \
    -- score --images run/images-q.h5 --reference bare.h5 --set evaluate.metrics=[precision]
finish
