"""Training, inference and single layers against PyTorch, in the same run: `make bench`, or `make bench DEVICE=gpu`.

    python -m benchmarks [--device gpu] [--only WORDS] [--seconds 6] [--threads 2] [--write FOLDER]

The two take turns (timing.py); a ratio below 1 says that minivision is faster. With --write the table goes to FOLDER/cpu.md
(or gpu.md) and a roofline picture beside it. Detectors, NMS, IoU and RoI Align need torchvision; without it those lines are left
out. Evaluation has a peer of its own: python -m benchmarks.evaluation; long runs of the detectors: python -m benchmarks.detectors
"""

import argparse
import importlib.util
import math
import os
import platform
from pathlib import Path

import numpy as np

from benchmarks import ceilings, memory
from benchmarks.timing import take_turns
from benchmarks.workloads import ALL, BOXES, DETECTORS, INFERENCE, TRAINING


def arguments():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORDS", help="workloads whose name contains one of these")
    parser.add_argument("--seconds", type=float, default=6, help="for each workload (default 6)")
    parser.add_argument("--threads", type=int, help="of either library (default: every processor)")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="where the table and the picture go")
    return parser.parse_args()


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def finish(device):
    """Wait until a device has done what it was asked to."""
    if device == "gpu":
        import cupy
        import torch
        torch.cuda.synchronize()
        cupy.cuda.Device().synchronize()


def numbers(result):
    """The arrays in what a program returned, on the CPU; a mask becomes the places where it is true."""
    if isinstance(result, (tuple, list)):
        return [a for part in result for a in numbers(part)]
    if hasattr(result, "detach"):
        result = result.detach().cpu().numpy()
    array = result.get() if hasattr(result, "get") else result
    return [np.flatnonzero(array) if array.dtype == bool else np.sort(array) if array.dtype.kind == "i" else array]


def same_numbers(name, ours, theirs):
    """Two programs that do not compute the same are not compared."""
    for a, b in zip(numbers(ours), numbers(theirs), strict=True):
        error = np.abs(a.astype(float) - b).max() / max(1e-30, np.abs(b).max()) if a.shape == b.shape else np.inf
        if not error < 1e-3:
            raise SystemExit(f"{name}: the two programs disagree by {error:.1e} of the largest entry")


def main():
    args = arguments()
    if args.threads:
        os.environ["MINIVISION_THREADS"] = str(args.threads)
    import torch

    from minivision import zoo
    from minivision.kernels.cpu.threads import thread_count
    torch.set_num_threads(thread_count())
    if args.device == "gpu":
        import cupy
        machine = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    else:
        machine = f"{processor()}, {thread_count()} threads"
    head = f"{machine}; PyTorch {torch.__version__}, Python {platform.python_version()}; milliseconds, best (median) of many turns"
    print(head)
    workloads = [w for w in ALL if not args.only or any(words in w.name for words in args.only)]
    if not importlib.util.find_spec("torchvision"):
        workloads = [w for w in workloads if w not in BOXES + DETECTORS + INFERENCE]
        print("torchvision is not installed: no detectors, no published networks, no NMS, no IoU, no RoI Align")
    if not (zoo.weights_home() / "yolo-fastest-1.1.weights").is_file():
        workloads = [w for w in workloads if "YOLO-Fastest" not in w.name]
        print("no YOLO-Fastest: minivision weights get yolo-fastest")
    lines, ratios, found = [], [], {}
    for w in workloads:
        programs = {"minivision": w.ours(args.device), "PyTorch": w.torch(args.device)}
        if w not in TRAINING + DETECTORS and "inference" not in w.name:             # the networks start from different weights
            same_numbers(w.name, *(f() for f in programs.values()))
        times = take_turns(programs, args.seconds, wait=lambda: finish(args.device))
        ours, theirs = times["minivision"], times["PyTorch"]
        ratios.append(ours.best / theirs.best)
        found[w] = times
        held = ""
        if w in TRAINING and args.device == "cpu":
            held = " / ".join(f"{memory.peak(ALL.index(w), library, thread_count()):.0f}" for library in ("ours", "torch"))
        cells = [w.name, *(f"{1000 * t.best:.1f} ({1000 * t.median:.1f})" for t in (ours, theirs)), f"**{ratios[-1]:.2f}**",
                 f"{ours.median / theirs.median:.2f}", f"{w.flop / ours.best / 1e9:.0f}" if w.flop else "", held]
        lines.append("| " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    print(f"geometric mean of the ratios: {mean:.2f}")
    if args.write:
        titles = ["", "minivision", "PyTorch", "ratio", "of medians", "GFLOP/s", "peak MB, ours / PyTorch"]
        table = ["| " + " | ".join(titles) + " |", "|--" * len(titles) + "|", *lines]
        text = "\n".join([head, "", *table, "", f"Geometric mean of the ratios: {mean:.2f}", ""])
        (args.write / f"{args.device}.md").write_text(text, encoding="utf-8")
        if args.device == "cpu":
            ceilings.picture(found, args.write / "roofline.png", machine)


if __name__ == "__main__":
    main()
