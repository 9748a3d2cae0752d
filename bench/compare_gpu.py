#!/usr/bin/env python3
"""Join what bench/gpu.sh measured, ours and PyTorch's, into tables of Markdown on stdout: compare_gpu.py OUT

    OUT/bench.tsv        our rows, as bench.h has them
    OUT/reference.jsonl  R_a, R_b, R_c, R_c16 of bench/reference/device/common.py
    OUT/protocol.json    what bench/protocol.sh took

and OUT/compare.json with every row of the tables. Times are medians in microseconds; a ratio is PyTorch's time over
ours. floor: the larger of FLOPs of the definition over the datasheet's rate of the type and bytes that must move over
its bandwidth. "pass" and "world-class" say whether the row meets the column; a blank one has nothing to be met, and
"?" was not measured.
"""
import json
import os
import sys

TFLOPS = {"f32": 66.9, "fp32": 66.9, "tf32": 494.7, "fp16": 989.4}  # H200, dense, by the datasheet
TBS = 4.8
STYLES = ("R_a", "R_b", "R_c", "R_c16")


def read_ours(path):
    """(op, shape, dtype) -> median_us, min_us, flop, bytes, share, error; of repeated rows the last."""
    found, head = {}, None
    for line in open(path) if os.path.exists(path) else ():
        cells = line.rstrip("\n").split("\t")
        if cells[0] == "op":
            head = cells
        elif head and len(cells) == len(head):
            row = dict(zip(head, cells))
            try:
                us = float(row["min_us"])
                found[row["op"], row["shape"], "fp32" if row["dtype"] == "f32" else row["dtype"]] = {
                    "median_us": float(row["median_us"]), "min_us": us,
                    "flop": float(row["GFLOP/s"]) * us * 1e3, "bytes": float(row["GB/s"]) * us * 1e3,
                    "gbs": float(row["GB/s"]), "share": float(row["share_of_roof"]),
                    "error": float(row["worst_error"])}
            except (KeyError, ValueError):
                continue
    return found


def read_theirs(path):
    """(op, shape) -> style -> row"""
    found = {}
    if os.path.exists(path):
        for line in open(path):
            try:
                row = json.loads(line)
            except ValueError:
                continue  # a line that a kill cut off
            found.setdefault((row["op"], row["shape"]), {})[row["style"]] = row
    return found


def floor_us(row, dtype):
    return max(row["flop"] / TFLOPS[dtype] * 1e-6, row["bytes"] / TBS * 1e-6)


class Table:
    def __init__(self, ours, theirs):
        self.ours, self.theirs, self.rows = ours, theirs, []

    def add(self, group, name, mine, refs=None, dtype="tf32", ok=None, world=None, what="", says=""):
        """ok, world: functions of (median_us, ratios by style) -> bool, or None where a figure lacks."""
        refs = refs or {}
        times = {s: refs[s]["median_us"] for s in STYLES if "median_us" in refs.get(s, {})}
        row = {"group": group, "name": name, "dtype": dtype, "times_us": times, "what": what, "says": says,
               "errors": {s: refs[s]["error"] for s in STYLES if "error" in refs.get(s, {})},
               "notes": {s: refs[s]["note"] for s in STYLES if refs.get(s, {}).get("note")}}
        if mine:
            ratio = {s: t / mine["median_us"] for s, t in times.items()}
            floor = floor_us(mine, dtype)
            row.update(ours_us=mine["median_us"], error=mine["error"], ratio=ratio, floor_us=floor or None,
                       to_floor=mine["median_us"] / floor if floor else None)
            for key, rule in (("pass", ok), ("world", world)):
                if rule:
                    try:
                        row[key] = bool(rule(mine["median_us"], ratio))
                    except (KeyError, TypeError):  # a time that it needs is not there
                        row[key] = None
        else:
            row.update({key: None for key, rule in (("pass", ok), ("world", world)) if rule})
        self.rows.append(row)

    def markdown(self):
        out = ["| row | type | ours µs | R_a | R_b | R_c | R_c BF16 | R_a / R_b / R_c over ours | floor µs "
               "| ours / floor | to be met | pass | world-class | |", "|---" * 14 + "|"]
        verdict = lambda row, key: {True: "yes", False: "**no**", None: "?"}[row[key]] if key in row else ""
        number = lambda v: "" if v is None else "%.0f" % v if v >= 1000 else "%.1f" % v if v >= 10 else "%.2f" % v
        for row in self.rows:
            time = lambda s: number(row["times_us"].get(s)) or ("failed" if s in row["errors"] else "")
            ratios = " / ".join(number(row.get("ratio", {}).get(s)) or "-" for s in STYLES[:3])
            says = "; ".join([row["says"]] * bool(row["says"]) + ["%s: %s" % n for n in sorted(row["notes"].items())])
            out.append("| %s %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |" % (
                row["group"], row["name"], row["dtype"], number(row.get("ours_us")) or "?", *map(time, STYLES),
                ratios if row["times_us"] else "", number(row.get("floor_us")), number(row.get("to_floor")),
                row["what"], verdict(row, "pass"), verdict(row, "world"), says))
        return out


def iterations(table, ours, theirs):
    for size in ("128@32", "256@16", "384@32", "960@8"):
        shape = size + "/act8"
        mine = ours.get(("iteration", shape, "tf32"))
        table.add("G1", "iteration " + shape, mine, theirs.get(("iteration", shape)),
                  ok=lambda us, r: r["R_b"] >= 8 and r["R_a"] >= 20 and r["R_c"] >= 1.5,
                  world=lambda us, r, size=size: r["R_b"] >= 12 and r["R_a"] >= 50 and r["R_c"] >= 3
                  and (size != "128@32" or us <= 280),
                  what="20, 8, 1.5; 50, 12, 3" + ("; 280 µs" if size == "128@32" else ""))
    for shape, dtype in (("128@32/weights", "tf32"), ("128@32/act8", "fp32"), ("128@32/weights", "fp32")):
        mine = ours.get(("iteration", shape, dtype))
        if mine:
            refs = theirs.get(("iteration", shape)) if dtype == "tf32" else None
            table.add("G1", "iteration " + shape, mine, refs, dtype)


def metas(table, ours, theirs):
    limits = {"r1": (6, 4.5), "r2": (3, 2.5), "r3": (6, 4.5), "off": (None, None)}
    for size in ("128@32", "256@16"):
        unit = ours.get(("meta_unit", size + "/weights", "tf32"))
        for form, (most, best) in limits.items():
            routes = [(ours[key]["median_us"], key[1].rsplit("/", 1)[1]) for key in ours
                      if key[0] == "meta" and key[1].startswith("%s/%s/" % (size, form)) and key[2] == "tf32"]
            mine = ours.get(("meta", "%s/%s/%s" % (size, form, min(routes)[1]), "tf32")) if routes else None
            times = mine["median_us"] / unit["median_us"] if mine and unit else None
            rule = lambda limit, factor: None if limit is None else (
                lambda us, r, times=times: times is not None and times <= limit and r["R_a"] >= factor)
            table.add("G3", "meta %s/%s" % (size, form), mine, theirs.get(("meta", "%s/%s" % (size, form))),
                      ok=rule(most, 10), world=rule(best, 25),
                      what="" if most is None else "%g, %g plain; R_a 10, 25" % (most, best),
                      says="" if times is None else "%s: %.2f plain iterations" % (min(routes)[1], times))


def gradients(table, ours, theirs):
    for size in ("128@32", "256@16"):
        shape = size + "/n32"
        plain = ours.get(("each_batch", shape, "tf32"))
        table.add("G4", "gradient of the batch " + shape, plain, theirs.get(("each_batch", shape)))
        for op in ("each", "each_gram"):
            mine = ours.get((op, shape, "tf32"))
            times = mine["median_us"] / plain["median_us"] if mine and plain else None
            table.add("G4", {"each": "J ", "each_gram": "J and Gram "}[op] + shape, mine, theirs.get((op, shape)),
                      ok=lambda us, r, times=times: times <= 1.5 and r["R_a"] >= 20 and r["R_b"] >= 3,
                      world=lambda us, r, times=times: times <= 1.2,
                      what="1.5, 1.2 of the batch's; 20, 3",
                      says="" if times is None else "%.2f of the batch's" % times)


def forwards(table, ours, theirs):
    for batch in (1, 16, 256):
        shape = "cifar10/b%d" % batch
        for op, name in (("replay", "forward, one recording, "), ("forward", "forward, launched, ")):
            table.add("G5", name + shape, ours.get((op, shape, "tf32")), theirs.get(("forward", shape)),
                      ok=(lambda us, r: r["R_b"] >= 1.5 and r["R_c"] >= 1.0) if op == "replay" else None,
                      world=(lambda us, r: r["R_c"] >= 1.3) if op == "replay" else None,
                      what="R_b 1.5, R_c 1; R_c 1.3" if op == "replay" else "")
        if ("replay", shape, "fp32") in ours:
            table.add("G5", "forward, one recording, " + shape, ours["replay", shape, "fp32"], None, "fp32")
    for batch in (1, 16, 256):
        shape = "cifar10-w4a8/b%d" % batch
        plain = ours.get(("replay", "cifar10/b%d" % batch, "tf32"))
        mine = ours.get(("replay", shape, "tf32"))
        times = mine["median_us"] / plain["median_us"] if mine and plain else None
        table.add("G7", "fake-quantized step " + shape, mine, theirs.get(("forward", shape)),
                  world=(lambda us, r, times=times: times <= 1.15) if times else None, what="1.15 of full precision",
                  says="" if times is None else "%.2f of full precision" % times)


def inception(table, ours, theirs):
    for dtype, best in (("fp32", 12), ("tf32", 5)):
        mine = ours.get(("forward", "inception/b256", dtype))
        seconds = mine["median_us"] * 50000 / 256 * 1e-6 if mine else None
        table.add("G8", "Inception, 256 images", mine, theirs.get(("forward", "inception/b256")), dtype,
                  ok=lambda us, r: r["R_a"] >= 3, world=lambda us, r, s=seconds, best=best: s <= best,
                  what="R_a 3; %d s for 50,000" % best,
                  says="" if seconds is None else "%.1f s for 50,000, %.0f images/s" % (seconds, 50000 / seconds))


def others(table, ours, theirs):
    key = ("ranges", "cifar10")
    table.add("-", "range search, whole network", ours.get((*key, "fp32")), theirs.get(key), "fp32")
    rows = [key for key in ours if key[0] in ("iteration_device", "replay_device")]
    for op, shape, dtype in sorted(rows):
        whole = ours.get((op.replace("_device", ""), shape, dtype))
        if whole:
            alone = ours[op, shape, dtype]["median_us"]
            share = max(0.0, 1 - alone / whole["median_us"])
            table.add("G10", "host share, %s %s" % (op.replace("_device", ""), shape), whole, None, dtype,
                      ok=lambda us, r, share=share: share <= 0.05, world=lambda us, r, share=share: share <= 0.01,
                      what="5 %, 1 %", says="%.1f %%, the device alone %.1f µs" % (100 * share, alone))


def bandwidth(table, ours, theirs):
    for (op, shape, dtype), mine in ours.items():
        if shape.endswith("x32x32x128") and dtype == "fp32" and "->" not in shape:
            table.add("G9", op, mine, theirs.get((op, shape)), "fp32",
                      ok=(lambda us, r, m=mine: m["share"] >= 0.8) if op != "copy" else None,
                      world=(lambda us, r, m=mine: m["share"] >= 0.9) if op != "copy" else None,
                      what="80 %, 90 % of the copy" if op != "copy" else "",
                      says="%.0f GB/s%s" % (mine["gbs"], ", %.0f %%" % (100 * mine["share"]) if op != "copy" else ""))


def protocol(table, path):
    """What bench/protocol.sh took, in seconds: reconstruction of a network, what GAC adds, images."""
    if not os.path.exists(path):
        return
    with open(path) as file:
        runs = json.load(file)["runs"]
    took = lambda run, stage: runs.get(run, {}).get("run", {}).get("stages", {}).get(stage, {}).get("seconds")
    whole = lambda seconds: {"median_us": 1e6 * seconds, "flop": 0, "bytes": 0, "error": -1} if seconds else None
    made_of = runs.get("tfmq-dm-w4a8-s1", {}).get("run", {}).get("stages", {}).get("quantize", {}).get("made_of", "")
    if "model.ch: 128\n" not in made_of or "recon.iters: 20000\n" not in made_of:
        return  # a small one, or not done yet
    plain, gac = took("tfmq-dm-w4a8-s1", "quantize"), took("gac-w4a8-s1", "quantize")
    if plain:
        table.add("G2", "TFMQ-DM of the whole network", whole(plain), ok=lambda us, r: us <= 180e6,
                  world=lambda us, r: us <= 110e6, what="180 s, 110 s", says="%.0f s, tables and all" % plain)
    if plain and gac:
        table.add("G3", "GAC of the whole network", whole(gac), world=lambda us, r: gac <= 1.25 * plain,
                  what="1.25 of TFMQ-DM", says="%.2f of TFMQ-DM" % (gac / plain))
    for run in ("tfmq-dm-w4a8-s1", "gac-w4a8-s1"):
        seconds, images = took(run, "sample"), runs.get(run, {}).get("metrics", {}).get("images")
        if seconds and images:
            all_of_them = seconds * 50000 / images
            table.add("G7", "50,000 fake-quantized images, " + run, whole(all_of_them), ok=lambda us, r: us <= 160e6,
                      world=lambda us, r: us <= 125e6, what="160 s, 125 s",
                      says="%.0f s, %s" % (all_of_them, "measured" if images == 50000 else "from %d images" % images))


def main():
    out = sys.argv[1]
    ours, theirs = read_ours(os.path.join(out, "bench.tsv")), read_theirs(os.path.join(out, "reference.jsonl"))
    table = Table(ours, theirs)
    for part in (iterations, metas, gradients, forwards, inception, others, bandwidth):
        if ours:
            part(table, ours, theirs)
    protocol(table, os.path.join(out, "protocol.json"))
    told = [row for row in table.rows if "pass" in row]
    print()
    print("\n".join(table.markdown()))
    print("\n%d of %d rows with something to be met pass, %d are world-class, %d could not be told." % (
        sum(row["pass"] is True for row in told), len(told), sum(row.get("world") is True for row in table.rows),
        sum(row["pass"] is None for row in told)))
    layers = [(key, row) for key, row in ours.items() if key[0].startswith("conv2d_") or key[0] == "matmul"]
    if layers:
        print("\n| layer | shape | type | µs | TFLOP/s | of the datasheet's |\n|---|---|---|---|---|---|")
        for (op, shape, dtype), row in layers:
            rate = row["flop"] / row["median_us"] * 1e-6
            share = 100 * rate / TFLOPS[dtype]
            print("| %s | %s | %s | %.1f | %.1f | %.0f %% |" % (op, shape, dtype, row["median_us"], rate, share))
    versions = sorted({row["torch"] for by in theirs.values() for row in by.values() if "torch" in row})
    with open(os.path.join(out, "compare.json"), "w") as file:
        json.dump({"schema": "dmq-bench-device/1", "rows": table.rows, "torch": versions}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
