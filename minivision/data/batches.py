"""Mini-batches (小批量), shuffled, transformed and fetched ahead by threads."""

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from minivision.backend import as_rng
from minivision.data.transforms import normalise


class Batches:
    """Iterate a data set as (images float32 (B,C,H,W), targets), the last batch being shorter.

        for images, labels in Batches(digits, 64, mean=…, deviation=…).epoch(rng): ...

    dataset     has len() and take(indices) → (uint8 images (B,C,H,W), targets)
    augment     functions (images, rng) → images, in order, on uint8
    mix         None, or a function (float images, labels, rng) → the two, new: `data.mixup` with its classes
    mean, deviation   (C,) each, for `normalise`
    ahead       batches prepared in advance by threads; 0 prepares them in the caller's

    One call of rng draws the order and a seed for every batch, so threads change nothing: same rng, same batches.
    """

    def __init__(self, dataset, batch_size, *, augment=(), mix=None, mean, deviation, ahead=2):
        if batch_size < 1 or len(dataset) == 0:
            raise ValueError(f"batch size {batch_size} of {len(dataset)} images; both must be ≥ 1")
        self.dataset, self.batch_size, self.augment = dataset, int(batch_size), tuple(augment)
        self.mean, self.deviation, self.ahead, self.mix = mean, deviation, ahead, mix

    def __len__(self):
        return -(-len(self.dataset) // self.batch_size)

    def __iter__(self):
        """In order, not augmented: for evaluation."""
        return self.run(np.arange(len(self.dataset)), [None] * len(self))

    def epoch(self, rng):
        """Every image once, shuffled and augmented: for training."""
        rng = as_rng(rng)
        order = rng.permutation(len(self.dataset))
        return self.run(order, rng.integers(0, 2 ** 63, len(self)))

    def stream(self, rng):
        """One `epoch` after another, without end."""
        rng = as_rng(rng)
        while True:
            yield from self.epoch(rng)

    def run(self, order, seeds):
        jobs = [(order[i * self.batch_size:(i + 1) * self.batch_size], seed) for i, seed in enumerate(seeds)]
        if not self.ahead:
            yield from (self.prepare(*job) for job in jobs)
            return
        with ThreadPoolExecutor(min(2, self.ahead), thread_name_prefix="batches") as pool:
            waiting, jobs = deque(), iter(jobs)
            try:
                for job in jobs:
                    waiting.append(pool.submit(self.prepare, *job))
                    if len(waiting) > self.ahead:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:          # the loop was left early: prepare nothing more
                    future.cancel()

    def prepare(self, indices, seed):
        images, targets = self.dataset.take(indices)
        rng = None if seed is None else np.random.default_rng(int(seed))
        for augment in self.augment if rng else ():
            images = augment(images, rng)
        images = normalise(images, self.mean, self.deviation)
        return self.mix(images, targets, rng) if rng and self.mix else (images, targets)
