#!/usr/bin/env bash
# Wrong inputs, from the command line: the documented exit code, the place, and the way out.
# bash test_errors.sh PATH_OF_DMQ SCRATCH; SHOW=1 prints all answers.
here=$(dirname "$(realpath "$0")")
. "$here/lib.sh"
. "$here/npz.sh"
make_models
make_config

# what all use: uniform weights, one thread
dmqr() {
    local verb=$1
    shift
    "$dmq" "$verb" --threads 1 -q --progress none -c tiny.yaml --set reweight=off "$@"
}

# overwrite SIZE bytes of FILE from OFFSET with 0xff: as floats these are NaN
damage() {
    head -c "$3" /dev/zero | tr '\0' '\377' | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

ok dmqr run -o base || finish

# ------------------------------------------------------------------ the command line: 64
refuses 64 'which verb' 'hint: dmq --help' -- "$dmq"
refuses 64 'no verb "quantise"' 'did you mean "dmq quantize"' -- "$dmq" quantise
refuses 64 'no verb "frobnicate"' 'hint: dmq --help' -- "$dmq" frobnicate
refuses 64 '--thraeds: there is no such option' 'did you mean "--threads"' -- "$dmq" run --thraeds 2
refuses 64 '-x: there is no such option' 'hint: dmq run --help' -- "$dmq" run -x
refuses 64 '-c needs FILE' 'hint: ' -- "$dmq" run -c
refuses 64 '--progress sometimes: must be one of auto' -- "$dmq" run --progress sometimes
refuses 64 '--device tpu: must be one of auto' -- dmqr run -o x --device tpu
refuses 69 'device.precision = tf32 is for cuda' 'hint: leave device.precision out' -- dmqr run -o x --device cpu --set device.precision=tf32
refuses 64 '--threads -3: must be a whole number, 0\.\.' -- "$dmq" run --threads -3
refuses 64 '--threads 1000000: must be a whole number, 0\.\.' -- "$dmq" run --threads 1000000
refuses 64 '--overwrite has no effect here' 'hint: dmq status --help' -- "$dmq" status base --overwrite
refuses 64 '--shard 4/3: must be I/N' 'for example 1/4' -- dmqr sample --shard 4/3
refuses 64 '--shard x: must be I/N' -- dmqr sample --shard x
refuses 64 '--task -1: must be a whole number' -- "$dmq" sweep -c tiny.yaml --task -1
refuses 64 '--set foo: must be KEY=VALUE' 'hint: for example' -- dmqr run --set foo
refuses 64 '"tiny.yaml" is not understood here' 'hint: -c FILE' -- "$dmq" run tiny.yaml
refuses 64 '--json has no effect here' 'hint: ' -- "$dmq" config show --json -c tiny.yaml
refuses 64 'which file' 'hint: ' -- "$dmq" inspect
refuses 64 'of which folder' 'hint: ' -- "$dmq" verify
refuses 64 'needs --input FILE' 'hint: ' -- "$dmq" forward --model data:unet.h5
refuses 64 'dmq sweep needs -c FILE' -- "$dmq" sweep

# ------------------------------------------------------------------ keys and values: 78
refuses 78 'recon.itres: there is no such key' 'at --set recon.itres=3' 'did you mean "recon.iters"' \
    -- dmqr run --set recon.itres=3
refuses 78 'seed = abc: must be a whole number' 'at --seed' -- dmqr run --seed abc
refuses 78 'quant.act.bits = 9: must be 2..8 or off' 'at --set quant.act.bits=9' 'hint: .*act: off' \
    -- dmqr run --set quant.act.bits=9
refuses 78 'sampler.kind = dddim: must be one of' 'did you mean "ddim"' -- dmqr run --set sampler.kind=dddim
refuses 78 'recon: is a group of keys' 'hint: ' -- dmqr run --set recon=3
printf 'extends: [tiny.yaml]\nquant:\n  weight:\n    bits: 12\n' >bad.yaml
refuses 78 'quant.weight.bits = 12: must be 2..8' 'at bad.yaml:4:11' 'hint: ' -- "$dmq" run -c bad.yaml -o x
printf 'extends: [tiny.yaml]\nrecon:\n  iters: soon\n' >bad.yaml
refuses 78 'recon.iters = soon: must be a whole number' 'at bad.yaml:3:10' -- "$dmq" run -c bad.yaml -o x
printf 'extends: [tiny.yaml]\nrecon:\n  iters: 3\n  iters: 4\n' >bad.yaml
refuses 78 'recon.iters: is given twice, first in line 3' 'at bad.yaml:4:3' 'hint: keep one' \
    -- "$dmq" run -c bad.yaml -o x
printf 'recon: [3\n' >bad.yaml
refuses 78 'did not find expected' 'at bad.yaml:2:1' 'hint: .*YAML' -- "$dmq" run -c bad.yaml -o x
printf 'schema: dmq/9\n' >bad.yaml
refuses 78 'schema = dmq/9' 'at bad.yaml:1:9' 'hint: this dmq reads' -- "$dmq" run -c bad.yaml -o x
printf 'extends: [circle2.yaml]\n' >circle.yaml
printf 'extends: [circle.yaml]\n' >circle2.yaml
refuses 78 'extends: .*circle.yaml leads back to itself' 'at .*circle2.yaml:1:10' 'hint: ' \
    -- "$dmq" run -c circle.yaml -o x
printf 'extends: [nothere.yaml]\n' >bad.yaml
refuses 66 'nothere.yaml: no such file' 'at bad.yaml:1:10' 'hint: ' -- "$dmq" run -c bad.yaml -o x
refuses 66 'nothere.yaml: no such file' 'hint: dmq config list' -- "$dmq" run -c nothere.yaml -o x
refuses 66 'data: is a folder, a file was expected' 'hint: ' -- "$dmq" run -c data -o x
printf 'schema: dmq/1\n' >bad.yaml
refuses 78 'model.checkpoint = "": the run needs a checkpoint' 'hint: ' -- "$dmq" run -c bad.yaml -o x

# what keys say together, and what the network says to them
refuses 78 'reweight.groups = 20: must not exceed the' 'at --set reweight.groups=20' 'at tiny.yaml:5' \
    -- dmqr run -o x --set reweight=surrogate --set reweight.groups=20
refuses 78 'calibrate.validation = 0: must be above 0' 'at --set calibrate.validation=0' \
    -- dmqr run -o x --set reweight=surrogate --set calibrate.validation=0
refuses 78 'recon.beta = \[2, 20\]: must fall' 'at --set recon.beta' -- dmqr run -o x --set 'recon.beta=[2,20]'
refuses 78 'rule "upp.\*: w8" matches none of the' 'at --set quant.rules' 'hint: nearest: ' \
    -- dmqr run -o x --set "quant.rules=['upp.*: w8']"
refuses 78 'expected "PATTERN: ACTION"' 'at --set quant.rules' 'hint: for example' \
    -- dmqr run -o x --set "quant.rules=['mid.*']"
refuses 78 'quantizes none of the' 'at --set quant.rules' 'hint: ' -- dmqr run -o x --set "quant.rules=['*: fp']"
refuses 78 'quant.weight.bits = off: nothing is left to quantize' 'at --set quant.weight=off' 'hint: ' \
    -- dmqr run -o x --set quant.weight=off
refuses 78 'sampler.steps = 2000: must not exceed' 'at --set' -- dmqr run -o x --set sampler.steps=2000
refuses 78 'sampler: steps = 9: .*t = 1000 would appear' 'at --set sampler.steps=9' 'hint: another number' \
    -- dmqr run -o x --set sampler.repository=ldm --set sampler.steps=9
refuses 78 'sampler: eta = 0.5 with kind plms' 'hint: ' \
    -- dmqr run -o x --set sampler.kind=plms --set sampler.clip_x0=false --set sampler.eta=0.5
refuses 65 'guidance = 3: the network knows no classes' 'at --set sampler.guidance=3' 'hint: ' \
    -- dmqr run -o x --set sampler.guidance=3
refuses 78 'schedule.T = 500: .*was trained with 1000' 'at --set' -- dmqr run -o x --set schedule.T=500
refuses 78 'evaluate.reference = shapes32: its images are' 'at --set' \
    -- dmqr run -o x --set evaluate.reference=shapes32
refuses 78 'data set "cifar11": not known' 'at --set' 'hint: the data sets are' \
    -- dmqr run -o x --set evaluate.reference=cifar11
refuses 69 'cuda' 'hint: ' -- dmqr run -o x --device cuda
[ -e x ] && fail "a refused run left the folder x"

# ------------------------------------------------------------------ the checkpoint: 66, 65
refuses 66 'there is no checkpoint .*nothere.h5' 'at --model' 'hint: ' -- dmqr run -o x --model data:nothere.h5
refuses 65 'has sha256 .*, model.sha256 says 0123' 'at --set model.sha256' 'hint: ' \
    -- dmqr run -o x --set model.sha256=0123
head -c 10000 data/unet.h5 >data/bad.h5
refuses 65 'bad.h5: is damaged or cut short' 'at --model' 'hint: ' -- dmqr run -o x --model data:bad.h5
: >data/bad.h5
refuses 65 'bad.h5: is empty' 'at --model' 'hint: ' -- dmqr run -o x --model data:bad.h5
cp data/unet.h5 data/bad.h5
damage data/bad.h5 4 4
refuses 65 'bad.h5: does not begin as an HDF5 file' 'at --model' 'hint: ' -- dmqr run -o x --model data:bad.h5
cp data/unet.h5 data/bad.h5
damage data/bad.h5 600 8
refuses 65 'bad.h5: ' 'at --model' 'hint: ' -- dmqr run -o x --model data:bad.h5
cp data/unet.h5 data/bad.h5
damage data/bad.h5 $(($(stat -c %s data/bad.h5) / 2)) 400
refuses 65 'bad.h5: .*(NaN or infinite|damaged)' 'at --model' -- dmqr run -o x --model data:bad.h5
refuses 65 'network of kind features, a diffusion model was expected' 'at --model' 'hint: ' \
    -- dmqr run -o x --model data:features.h5
refuses 65 'calib.h5: is a dmq-calib file, a dmq-model file was expected' 'hint: ' \
    -- dmqr run -o x --model base/calib.h5
refuses 65 'another network than model' 'hint: ' -- dmqr run -o x --set model.ch=64
refuses 66 'evaluate.features = "data:nothere.h5": there is no such file' 'at --set' 'hint: ' \
    -- dmqr run -o x --set evaluate.features=data:nothere.h5
refuses 65 'unet.h5 is no feature network' 'at --set' 'hint: ' \
    -- dmqr run -o x --set evaluate.features=data:unet.h5
[ -e x ] && fail "a refused run left the folder x"

# ------------------------------------------------------------------ files of a run: 65
# from FILE on, the stage NEXT has to be made again from a damaged file
for pair in calib:quant quant:images-q images-fp:metrics images-q:metrics; do
    file=${pair%:*}.h5
    next=$(ls base/${pair#*:}.*)
    rm -rf w
    cp -r base w
    rm w/"$(basename "$next")"
    damage w/"$file" $(($(stat -c %s w/"$file") * 2 / 3)) 4
    refuses 65 "w/$file is not the file that .* left" 'hint: remove it' -- dmqr run -o w
    rm w/"$file"
    ok dmqr run -o w
    same base/quant.h5 w/quant.h5
    same base/metrics.json w/metrics.json
done

# a file of another size is made again without a question, and later ones stay
rm -rf w
cp -r base w
head -c 5000 base/calib.h5 >w/calib.h5
ok dmqr run -o w
same base/calib.h5 w/calib.h5

# another model's quant.h5 in place of ours
cp data/unet.h5 data/other.h5
ok "$dmq" train -q --progress none -c train-unet.yaml --set seed=9 -o data/other.h5 --overwrite
ok dmqr run -o other --model data:other.h5
rm -rf w
cp -r base w
cp other/quant.h5 w/quant.h5
rm w/metrics.json w/images-q.h5
refuses 65 'w/quant.h5 is not the file that quantize left|has to be' 'hint: ' -- dmqr run -o w
# ... and the folder with another model
refuses 73 'made with another configuration' 'it was: model ' 'hint: --overwrite' \
    -- dmqr run -o base --model data:other.h5
# ... and for another sampler: tables of base are of no use to it
refuses 73 'made with another configuration' 'it was: sampler.steps: 6' 'now is: sampler.steps: 5' \
    'hint: --overwrite' -- dmqr sample -o base --set sampler.steps=5

head -c 500 base/run.json >w/run.json
refuses 65 'w/run.json:.*not valid JSON' 'hint: ' -- dmqr run -o w
echo '[]' >w/run.json
refuses 73 'w/run.json is not a manifest of dmq' 'hint: ' -- dmqr run -o w
refuses 66 'there is no folder nothere' 'hint: ' -- "$dmq" status nothere
refuses 66 'data holds no run' 'hint: ' -- "$dmq" verify data
head -c 1000 /dev/urandom >garbage.h5
refuses 65 'garbage.h5: does not begin as an HDF5 file' 'hint: ' -- "$dmq" inspect garbage.h5
refuses 65 'tiny.yaml: dmq knows' -- "$dmq" inspect tiny.yaml
refuses 66 'there is no file nothere.h5' 'hint: ' -- "$dmq" inspect nothere.h5

# ------------------------------------------------------------------ shards
rm -rf w
cp -r base w
rm w/images-q.h5
ok dmqr sample -o w --shard 1/3
refuses 66 'w: 2 of 4 pieces are missing, the first is that of image 8' 'hint: run the shards' \
    -- dmqr sample -o w --merge

# ------------------------------------------------------------------ output: 73, 66
cp base/config.yaml before.yaml
refuses 73 'base/images-fp.h5 was made with another configuration' 'it was: sample.count: 32' \
    'now is: sample.count: 16' 'hint: --overwrite' -- dmqr run -o base --set sample.count=16
same before.yaml base/config.yaml
cp -r base w2
ok dmqr run -o w2 --set sample.count=16 --overwrite
grep -q '"images": 16' w2/metrics.json || fail "--overwrite did not make the images again"
refuses 66 'nothere holds no run to go on with' 'hint: --resume auto' -- dmqr run -o nothere --resume must
refuses 73 'unet.h5 is there already' 'hint: --overwrite' -- "$dmq" train -c train-unet.yaml -o data/unet.h5
refuses 73 'tiny.yaml: is a file, a folder was to be made' 'hint: ' -- dmqr run -o tiny.yaml
refuses 74 '/proc/nothere/x|/proc/nothere: cannot be written' 'hint: ' -- dmqr run -o /proc/nothere/x

# two in one folder
"$dmq" run -q --progress none -c tiny.yaml -o busy --set recon.iters=100000000 2>busy.txt &
busy=$!
for _ in $(seq 100); do
    [ -e busy/calib.h5 ] && break
    sleep 0.2
done
refuses 73 "busy: another dmq works in this folder \(process $busy\)" 'hint: ' \
    -- "$dmq" run -q -c tiny.yaml -o busy
kill -TERM $busy
wait $busy
[ $? -eq 75 ] || fail "TERM did not end the run with 75"

# ------------------------------------------------------------------ disk: 74
if mkdir full && mount -t tmpfs -o size=100k none full 2>/dev/null; then
    refuses 74 'disk full' 'hint: make room' -- dmqr run -o full/x
    ls full/x | grep -q '\.tmp$' && fail "a full disk left temporary files"
    umount full
else
    echo "skipped: a full disk, because no tmpfs can be mounted here"
fi
refuses 74 'larger than this system allows' 'hint: see ulimit' \
    -- bash -c "ulimit -f 30; '$dmq' run -q --progress none -c tiny.yaml -o limit"

# ------------------------------------------------------------------ sweeps
cat >sweep.yaml <<'EOF'
schema: dmq/1
extends: [tiny.yaml]
sweep:
  seeds: [1, 2]
  arms: ["A: reweight=off", "B: reweight=off recon.itres=3"]
EOF
refuses 78 'sweep.arms = \[\]: there is no arm' -- "$dmq" sweep -c tiny.yaml
refuses 78 'this is a sweep of 2 arms: dmq sweep runs it' 'at sweep.yaml:5:9' -- "$dmq" run -c sweep.yaml
refuses 78 'recon.itres: there is no such key' 'at sweep.yaml:5:9' 'did you mean' \
    -- "$dmq" sweep -c sweep.yaml --list
sed -i 's/itres/iters/' sweep.yaml
refuses 64 '--task 4: there are 4 tasks, 0 to 3' -- "$dmq" sweep -c sweep.yaml --task 4
sed 's/"B: /"A: /' sweep.yaml >bad.yaml
refuses 78 'two arms would share the folder a-s1' 'at bad.yaml:5:9' -- "$dmq" sweep -c bad.yaml --list
sed 's/"B: /"B: nothere.yaml /' sweep.yaml >bad.yaml
refuses 66 'nothere.yaml: no such file' 'at bad.yaml:5:9' -- "$dmq" sweep -c bad.yaml --list
sed "s/recon.iters=3/quant.policy=rules/" sweep.yaml >bad.yaml
refuses 78 'quant.policy = rules: needs quant.rules' 'in arm "B"' -- "$dmq" sweep -c bad.yaml -o s

# ------------------------------------------------------------------ dmq forward: 65
image=$((2 * 3 * 16 * 16 * 4))
head -c $image /dev/zero | npy x.npy '<f4' '2, 3, 16, 16'
head -c $image /dev/zero | tr '\0' '\377' | npy nan.npy '<f4' '2, 3, 16, 16'
head -c $image /dev/zero | npy flat.npy '<f4' '2, 3, 256'
: | npy none.npy '<f4' '0, 3, 16, 16'
: | npy t0.npy '<i8' '0,'
printf '\x01\0\0\0\0\0\0\0\x07\x03\0\0\0\0\0\0' | npy t.npy '<i8' '2,'
printf '\x01\0\0\0\0\0\0\0\x07\x7f\0\0\0\0\0\0' | npy late.npy '<i8' '2,'
printf '\x01\0\0\0\0\0\0\0' | npy t1.npy '<i8' '1,'
# a member has the name that it is read by
put() {
    rm -rf parts
    mkdir parts
    cp "$2" parts/x.npy
    [ -n "$3" ] && cp "$3" parts/t.npy
    (cd parts && npz "../$1" *.npy)
}
# out of the way of the members' names: npz wants them as they are
mkdir in
mv ./*.npy in
forward() {
    "$dmq" forward -q --threads 1 --model data:unet.h5 --input "$1" -o eps.h5 "${@:2}"
}
put good.npz in/x.npy in/t.npy
ok forward good.npz
refuses 73 'eps.h5 is there already' 'hint: --overwrite' -- forward good.npz
rm eps.h5
put bad.npz in/x.npy ''
refuses 65 'bad.npz: has no array "t"' 'hint: --input is' -- forward bad.npz
put bad.npz in/flat.npy in/t.npy
refuses 65 'bad.npz: x must be \(N, 3, 16, 16\)' -- forward bad.npz
put bad.npz in/x.npy in/t1.npy
refuses 65 'bad.npz: x holds 2 samples, t 1: must be' -- forward bad.npz
put bad.npz in/none.npy in/t0.npy
refuses 65 'bad.npz: x holds 0 samples: must be' -- forward bad.npz
put bad.npz in/x.npy in/late.npy
refuses 65 'bad.npz: t of sample 1 is 32519: must be 0..999' -- forward bad.npz
put bad.npz in/nan.npy in/t.npy
refuses 65 'x of sample 0 is not finite' -- forward bad.npz
head -c 3000 good.npz >bad.npz
refuses 65 'bad.npz: ' -- forward bad.npz
refuses 65 'calib.h5: x must be \(N, 3, 16, 16\)' -- forward base/calib.h5
refuses 66 'nothere.npz: no such file' -- forward nothere.npz
refuses 74 'nodir/eps.h5: cannot be written \(No such file' -- forward good.npz -o nodir/eps.h5

finish
