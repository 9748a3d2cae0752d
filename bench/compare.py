#!/usr/bin/env python3
"""Join what bench/cpu.sh measured into one table: compare.py RAW_DIR RESULT_DIR

Ratios are those of the best repeats of both runs of a side (others share the machine), beside them those of the
medians; PyTorch is the faster one of its two layouts. floor: FLOPs of the definition over the measured FMA peak of
the threads; convolutions by Winograd can pass below it. Exit 1 when a required ratio is missed.
"""
import datetime
import json
import os
import re
import sys

# name without our route -> (required, worth being proud of)
REQUIRED = {
    "iteration/32@32/act8": (2.5, 3.8),
    "iteration/64@16/act8": (2.5, 4.3),
    "iteration/128@32/act8": (2.5, 5.5),
    "meta/32@32/r1": (4.0, 8.0),
    "meta/32@32/r3": (4.0, 8.0),
    "meta/64@16/r1": (4.0, 8.0),
    "meta/64@16/r3": (4.0, 8.0),
    "forward/shapes16/b16": (1.8, 2.6),
    "forward/shapes32/b16": (1.8, 2.6),
    "forward/cifar10/b8": (1.8, 2.6),
    "forward/inception/b48": (1.5, 2.5),
}
LAYOUTS = ("nchw", "nhwc")


def lines(path):
    if not os.path.exists(path):
        return []
    with open(path) as file:
        return [line.rstrip("\n") for line in file]


def read_ours(raw):
    """name -> {best_ms, median_ms, gflop, error}: best of the runs, mean of their medians."""
    found = {}
    for run in ("1", "2"):
        head = None
        for line in lines(os.path.join(raw, "ours." + run)):
            cells = line.split("\t")
            if cells[0] == "op":
                head = cells
                continue
            row = dict(zip(head, cells))
            us = float(row["min_us"])
            entry = found.setdefault(row["op"] + "/" + row["shape"], {"best": [], "median": [], "error": 0.0})
            entry["best"].append(us * 1e-3)
            entry["median"].append(float(row["median_us"]) * 1e-3)
            entry["gflop"] = float(row["GFLOP/s"]) * us * 1e-6
            entry["error"] = max(entry["error"], float(row["worst_error"]))
    return {name: reduced(entry, gflop=entry["gflop"], error=entry["error"]) for name, entry in found.items()}


def read_torch(raw, layout, versions):
    found = {}
    for run in ("1", "2"):
        for line in lines(os.path.join(raw, "torch-%s.%s" % (layout, run))):
            if line.startswith("#"):
                versions.add(line[2:].split(",")[0])
            elif not line.startswith("name"):
                name, best, median = line.split("\t")
                entry = found.setdefault(name, {"best": [], "median": []})
                entry["best"].append(float(best))
                entry["median"].append(float(median))
    return {name: reduced(entry) for name, entry in found.items()}


def reduced(entry, **more):
    return dict(best_ms=min(entry["best"]), median_ms=sum(entry["median"]) / len(entry["median"]), **more)


def read_roof(raw, threads):
    """GFLOP/s of the FMA peak: the best that was seen."""
    peak = 0.0
    for line in lines(os.path.join(raw, "roof")):
        cells = line.split("\t")
        if cells[0] == "fma" and int(cells[1]) == threads:
            peak = max(peak, float(cells[2]))
    return peak


def read_machine(raw):
    machine = {"doctor": []}
    for line in lines(os.path.join(raw, "machine")):
        key, _, value = line.partition(" ")
        if key == "doctor":
            machine["doctor"].append(value)
        else:
            machine[key] = value
    own = sum(60 * int(m) + float(s) for m, s in re.findall(r"(\d+)m([\d.]+)s", machine.pop("own", "")))
    cores = int(machine["cores"])
    for key in ("seconds", "busy_seconds", "threads", "reps", "cores"):
        machine[key] = int(machine[key])
    machine["own_seconds"] = own
    # cores that other processes kept busy, on average over the run
    machine["others_busy_cores"] = round(max(0.0, machine["busy_seconds"] - own) / max(1, machine["seconds"]), 2)
    loads = [line.rsplit(" ", 1) for line in lines(os.path.join(raw, "load"))]
    machine["load"] = {name: float(load) for name, load in loads}
    if not machine.get("machine"):
        machine["machine"] = re.sub(r"[^a-z0-9]+", "-", machine["cpu"].lower()).strip("-") + "-%d-cores" % cores
    return machine


def join(ours, torch, peak):
    rows = []
    for name, mine in ours.items():
        key = name[: -len("/explicit")] if name.endswith("/explicit") else name
        theirs = {layout: torch[layout][key] for layout in LAYOUTS if key in torch[layout]}
        row = {"name": name, "ours": mine, "torch": theirs}
        row["floor_ms"] = mine["gflop"] / peak * 1e3 if peak else None
        row["to_floor"] = mine["best_ms"] / row["floor_ms"] if row["floor_ms"] else None
        if theirs:
            for what in ("best_ms", "median_ms"):
                row["ratio_" + what[:-3]] = min(t[what] for t in theirs.values()) / mine[what]
        if key in REQUIRED and theirs:
            row["required"], row["proud"] = REQUIRED[key]
            row["met"] = row["ratio_best"] >= row["required"]
        if name.startswith("meta/"):
            unit = ours.get("meta_unit/" + name.split("/")[1] + "/weights")
            row["in_iterations"] = mine["best_ms"] / unit["best_ms"] if unit else None
        rows.append(row)
    return rows


def table(rows, machine, peak):
    out = ["| | ours ms, best (median) | PyTorch NCHW | PyTorch NHWC | ratio (of medians) | required, proud | met "
           "| floor ms | ours / floor | plain iterations | worst error |", "|---" * 11 + "|"]
    time = lambda t: "%.1f (%.1f)" % (t["best_ms"], t["median_ms"]) if t else ""
    for row in rows:
        out.append("| %s | %s | %s | %s | %s | %s | %s | %.1f | %.2f | %s | %s |" % (
            row["name"], time(row["ours"]), time(row["torch"].get("nchw")), time(row["torch"].get("nhwc")),
            "%.2f (%.2f)" % (row["ratio_best"], row["ratio_median"]) if "ratio_best" in row else "",
            "%.1f, %.1f" % (row["required"], row["proud"]) if "met" in row else "",
            ("yes" if row["met"] else "**NO**") if "met" in row else "",
            row["floor_ms"] or 0, row["to_floor"] or 0,
            "%.1f" % row["in_iterations"] if row.get("in_iterations") else "",
            "%.0e" % row["ours"]["error"] if row["ours"]["error"] > 0 else ""))
    out.append("")
    out.append("%s, %d threads, FMA peak %.0f GFLOP/s; %s; load %.1f to %.1f, others kept %.2f of %d cores busy; "
               "commit %s" % (machine["cpu"], machine["threads"], peak, machine["date"],
                              min(machine["load"].values() or [0]), max(machine["load"].values() or [0]),
                              machine["others_busy_cores"], machine["cores"], machine["commit"][:12]))
    return "\n".join(out)


def convolutions(raw):
    """Every layer of the shipped 32x32 network: what ran, GFLOP/s of the definition, share of the FMA peak."""
    out, head = ["| convolution | images a thread, shape | GFLOP/s | share of the peak |", "|---|---|---|---|"], None
    for line in lines(os.path.join(raw, "conv2d")):
        cells = line.split("\t")
        if cells[0] == "op":
            head = cells
            continue
        row = dict(zip(head, cells))
        out.append("| %s | %s | %s | %s |" % (row["op"], row["shape"], row["GFLOP/s"], row["share_of_roof"]))
    return "\n".join(out) if head else ""


def main():
    raw, out = sys.argv[1:3]
    machine, versions = read_machine(raw), set()
    peak = read_roof(raw, machine["threads"])
    torch = {layout: read_torch(raw, layout, versions) for layout in LAYOUTS}
    machine["reference"] = sorted(versions)
    rows = join(read_ours(raw), torch, peak)
    missed = [row["name"] for row in rows if row.get("met") is False]
    text = table(rows, machine, peak)
    print(text)
    if os.path.exists(os.path.join(raw, "conv2d")):
        print("\n" + convolutions(raw))
    for name in missed:
        print("missed: " + name)
    day = machine["date"][:10] or datetime.date.today().isoformat()
    path = os.path.join(out, "%s-%s.json" % (machine["machine"], day))
    record = {"schema": "dmq-bench/1", "machine": machine, "fma_peak_gflops": peak, "rows": rows, "missed": missed,
              "raw": {name: lines(os.path.join(raw, name)) for name in sorted(os.listdir(raw))}}
    with open(path, "w") as file:
        json.dump(record, file, indent=1, sort_keys=True)
        file.write("\n")
    print("written: " + path, file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
