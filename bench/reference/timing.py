"""Clock, options and output that the reference benches share: one tab-separated line a measurement."""
import argparse
import statistics
import time

import torch


def parser(description):
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--repeats", type=int, default=20, help="timed runs, after --warmup others")
    p.add_argument("--warmup", type=int, default=5)
    p.add_argument("--channels-last", action="store_true", help="NHWC tensors inside PyTorch; default NCHW")
    return p


def start(args):
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    layout = "channels_last" if args.channels_last else "contiguous"
    print(f"# torch {torch.__version__}, {args.threads} threads, {layout}, {args.repeats} repeats", flush=True)
    print("name\tbest_ms\tmedian_ms", flush=True)


def layout(args, value):
    """A tensor or a module in the layout that was asked for."""
    return value.to(memory_format=torch.channels_last) if args.channels_last else value


def report(args, name, step):
    for _ in range(args.warmup):
        step()
    times = []
    for _ in range(args.repeats):
        begin = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - begin))
    print(f"{name}\t{min(times):.3f}\t{statistics.median(times):.3f}", flush=True)
