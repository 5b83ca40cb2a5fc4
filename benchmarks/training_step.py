"""One training step of sample C5 (batch 64, 32²) against PyTorch, in the same run.

    python -m benchmarks.training_step [--rounds 30] [--threads 2]

The two take turns, step by step, so that whatever else the machine does hits both; the best of many rounds is compared,
because noise only ever adds. A step is forward, loss, backward and SGD with momentum, on float32.

The document rectifies before it pools; ours pools first, which gives the same numbers (the largest rectified pixel is the
rectified largest pixel). PyTorch is timed both ways: as the document prints it, and with ours.
"""

import argparse
import os
import platform
import statistics
import time

import numpy as np

from minivision.kernels.cpu.threads import thread_count

SHAPE, CLASSES = (64, 3, 32, 32), 10


def batch():
    rng = np.random.default_rng(0)
    return rng.standard_normal(SHAPE, dtype=np.float32), rng.integers(0, CLASSES, SHAPE[0])


def ours():
    from minivision import models, optim
    model = models.SmallCNN(CLASSES, rng=0)
    optimiser = optim.SGD(model.parameters(), 0.001, momentum=0.9)
    images, labels = batch()

    def step():
        optimiser.zero_grad()
        loss = model.loss(images, labels)["cross_entropy"]
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def pytorch(threads, pool_first):
    import torch
    from torch import nn
    torch.set_num_threads(threads)
    shrink = [nn.MaxPool2d(2), nn.ReLU()] if pool_first else [nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), *shrink, nn.Conv2d(32, 64, 3, padding=1), *shrink,
                          nn.Flatten(), nn.Linear(64 * 8 * 8, 128), nn.ReLU(), nn.Linear(128, CLASSES))
    optimiser = torch.optim.SGD(model.parameters(), 0.001, momentum=0.9)
    images, labels = map(torch.tensor, batch())

    def step():
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=thread_count())
    args = parser.parse_args()
    os.environ["MINIVISION_THREADS"] = str(args.threads)
    thread_count.cache_clear()
    import torch
    name = f"PyTorch {torch.__version__}"
    steps = {"minivision": ours(), name: pytorch(args.threads, False), f"{name}, pool first": pytorch(args.threads, True)}
    times = {name: [] for name in steps}
    for round in range(args.rounds + 5):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if round >= 5:                      # the first rounds load kernels and warm caches
                times[name].append(1000 * (time.perf_counter() - started))
    print(f"sample C5, batch {SHAPE[0]}, {SHAPE[2]}², {args.threads} threads, {platform.processor() or platform.machine()}, "
          f"best and median of {args.rounds}")
    first = times["minivision"]
    for name, values in times.items():
        best, median = min(first) / min(values), statistics.median(first) / statistics.median(values)
        print(f"  {name:<28}{min(values):7.1f} ms {statistics.median(values):7.1f} ms    "
              f"minivision takes {best:.2f} of its best, {median:.2f} of its median")


if __name__ == "__main__":
    main()
