"""Styles, clock and output that the references of a device share. One JSON object a line:

    {"op": "iteration", "shape": "128@32/act8", "style": "R_b", "dtype": "tf32", "reps": 20, "median_us": ..,
     "min_us": .., "note": ".."}                                or "error" in place of the times

    R_a    as released: NCHW, eager, separate fake-quantization operations, what is cached lies on the host
    R_b    a good user: everything on the device, channels last, TF32, fused Adam, cuDNN chooses by timing
    R_c    an expert: R_b under torch.compile, whole steps as CUDA graphs
    R_c16  the same with operands in BF16 by autocast

On a CPU (--device cpu) they are run to see that they compute what they should; times then mean nothing.
"""
import argparse
import contextlib
import json
import os
import statistics
import sys
import time

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

STYLES = ("R_a", "R_b", "R_c", "R_c16")


def parser(description):
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--device", default="cuda")
    p.add_argument("--styles", default=",".join(STYLES))
    p.add_argument("--only", metavar="TEXT", default="", help="only what is named so")
    p.add_argument("--repeats", type=int, default=20)
    p.add_argument("--ms", type=float, default=100, help="measure for as long at least")
    p.add_argument("--mode", default="default", help="of torch.compile: default, max-autotune-no-cudagraphs")
    p.add_argument("--seconds", type=float, default=1e9, help="begin nothing after as long")
    p.add_argument("--small", action="store_true", help="sizes that a CPU does at once")
    return p


def start(args):
    args.styles = args.styles.split(",")
    args.end = time.monotonic() + args.seconds
    torch.manual_seed(1)
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        print("skipped: PyTorch sees no device", file=sys.stderr)
        raise SystemExit(77)


def begin(description, check):
    """The arguments of a reference, all set up; with --check its styles are compared, and it ends."""
    p = parser(description)
    p.add_argument("--check", action="store_true")
    args = p.parse_args()
    start(args)
    if args.check:
        check(args)
        raise SystemExit(0)
    return args


def settle(style):
    """Global switches of a style. The defaults are those of the released scripts: TF32 in convolutions alone.

    The older switches: torch.compile of 2.9 to 2.11 refuses where fp32_precision was set (pytorch issue 166387).
    """
    good = style != "R_a"
    torch.backends.cudnn.benchmark = good
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cuda.matmul.allow_tf32 = good


def layout(style, value):
    return value if style == "R_a" else value.to(memory_format=torch.channels_last)


def dtype(style):
    return "bf16" if style == "R_c16" else "tf32"


def compiled(args, style, function, **more):
    return torch.compile(function, mode=args.mode, **more) if style.startswith("R_c") else function


def autocast(args, style):
    if style != "R_c16":
        return contextlib.nullcontext()
    return torch.autocast(args.device.split(":")[0], torch.bfloat16)


def graphed(args, style, step):
    """The step as one recording, where the style has that and the device can; what it reads stays in place."""
    if not style.startswith("R_c") or not args.device.startswith("cuda"):
        return step
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def check_device(args, make):
    """One step of R_a and R_b without arithmetic: what is still on the CPU where all should be elsewhere is an error
    here as it would be on a device. make(args, style): a step."""
    elsewhere = argparse.Namespace(**dict(vars(args), device="meta"))
    for style in STYLES[:2]:
        make(elsewhere, style)()


def sample_us(args, step, calls):
    """Microseconds of one of `calls` steps, begun and ended with an idle device."""
    if not args.device.startswith("cuda"):
        begin = time.perf_counter()
        for _ in range(calls):
            step()
        return 1e6 * (time.perf_counter() - begin) / calls
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    for _ in range(calls):
        step()
    end.record()
    torch.cuda.synchronize()
    return 1e3 * begin.elapsed_time(end) / calls


def measure(args, step):
    for _ in range(3):
        first = sample_us(args, step, 1)
    calls = max(1, min(50, int(5000 / max(first, 1))))  # 5 ms between two waits
    times, begin = [], time.monotonic()
    while len(times) < 1000 and (len(times) < args.repeats or time.monotonic() - begin < 1e-3 * args.ms):
        if len(times) >= 3 and time.monotonic() - begin > 20:
            break
        times.append(sample_us(args, step, calls))
    return {"reps": len(times), "median_us": round(statistics.median(times), 2), "min_us": round(min(times), 2)}


def report(args, op, shape, style, make, note="", scale=1.0, **more):
    """Measure the step that make() gives; a failure is a line, too. scale: of the times, told in the note."""
    if args.only not in f"{op}/{shape}" or style not in args.styles:
        return None
    line = {"op": op, "shape": shape, "style": style, "dtype": dtype(style), "torch": torch.__version__}
    if time.monotonic() > args.end:
        print(json.dumps(dict(line, error="no time was left")), flush=True)
        return None
    settle(style)
    try:
        line.update(measure(args, make()))
        for key in ("median_us", "min_us"):
            line[key] = round(line[key] * scale, 2)
        line.update(more, note=note)
    except Exception as reason:  # one row less is no reason to lose the others
        line["error"] = f"{type(reason).__name__}: {reason}".replace("\n", " ")[:300]
    print(json.dumps(line), flush=True)
    torch._dynamo.reset()
    if args.device.startswith("cuda"):
        torch.cuda.empty_cache()
    return line
