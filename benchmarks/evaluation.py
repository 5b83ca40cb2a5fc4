"""Evaluation of a set as large as COCO's validation (5000 images, 36 000 objects of 80 classes) against pycocotools, in turns.

    python -m benchmarks.evaluation [--rounds 3] [--detections 36000 100000]

Both start from what they have once files are read (lists of boxes here, indexed dictionaries there) and end with the twelve
figures, which must agree to 1e-9.
"""

import argparse
import contextlib
import io
import platform
import time

import numpy as np

IMAGES, OBJECTS, CLASSES = 5000, 36_000, 80


def a_set(detections, seed=0):
    """Targets of few classes an image, some of them crowds, and `detections` answers near them or anywhere."""
    from minivision.detection import Detections, Target
    rng = np.random.default_rng(seed)
    counts, said = (np.bincount(rng.integers(0, IMAGES, n), minlength=IMAGES) for n in (OBJECTS, detections))
    common = rng.zipf(1.5, 10 ** 6) % CLASSES
    targets, found = [], []
    for G, D in zip(counts, said):
        corner, size = rng.uniform(0, 500, (G, 2)), np.exp(rng.uniform(2, 5.5, (G, 2)))
        boxes, labels = np.concatenate([corner, corner + size], axis=1), rng.choice(common[rng.integers(0, 10 ** 6, 3)], G)
        targets.append(Target(boxes, labels, crowd=rng.random(G) < 0.01))
        near = rng.integers(0, max(G, 1), D)
        base = boxes[near] if G else np.tile([[0, 0, 60, 40.0]], (D, 1))
        spread = rng.choice([0.02, 0.1, 0.4], D)[:, None] * np.tile(base[:, 2:] - base[:, :2], 2)
        moved = base + rng.standard_normal((D, 4)) * spread
        moved = np.concatenate([np.minimum(moved[:, :2], moved[:, 2:]), np.maximum(moved[:, :2], moved[:, 2:])], axis=1)
        names = np.where((rng.random(D) < 0.8) & (G > 0), labels[near] if G else 0, rng.integers(0, CLASSES, D))
        found.append(Detections(moved, names, rng.random(D)))
    return found, targets


def for_pycocotools(found, targets):
    """A function that evaluates the same set there, and returns the twelve figures."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    from minivision.detection.boxes import to_corner_size
    notes, rows = [], []
    for i, (d, t) in enumerate(zip(found, targets)):
        for box, label, crowd, area in zip(to_corner_size(t.boxes).tolist(), t.labels.tolist(), t.crowd.tolist(), t.area.tolist()):
            notes.append({"id": len(notes) + 1, "image_id": i, "category_id": label, "bbox": box, "area": area,
                          "iscrowd": int(crowd)})
        rows += [{"image_id": i, "category_id": label, "bbox": box, "score": score}
                 for box, label, score in zip(to_corner_size(d.boxes).tolist(), d.labels.tolist(), d.scores.tolist())]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {"info": {}, "images": [{"id": i} for i in range(len(targets))], "annotations": notes,
                         "categories": [{"id": k, "name": str(k)} for k in range(CLASSES)]}
        truth.createIndex()
        answers = truth.loadRes(rows)

    def run():
        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(truth, answers, "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return evaluation.stats

    return run


def timed(f, *arguments):
    """(seconds, what f returned)."""
    start = time.perf_counter()
    result = f(*arguments)
    return time.perf_counter() - start, result


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--detections", type=int, nargs="+", default=[36_000, 100_000])
    args = parser.parse_args()
    from benchmarks.__main__ import processor
    from minivision.detection import evaluate
    print(f"{processor()}, Python {platform.python_version()}; seconds, best of {args.rounds} turns")
    print(f"| {IMAGES} images, {OBJECTS} objects, {CLASSES} classes | minivision | pycocotools | ratio |\n|--|--|--|--|")
    for number in args.detections:
        found, targets = a_set(number)
        theirs = for_pycocotools(found, targets)
        evaluate(found[:9], targets[:9])                            # compiles
        turns = [(timed(lambda d, t: evaluate(d, t).stats, found, targets), timed(theirs)) for _ in range(args.rounds)]
        (ours, mine), (other, expected) = (min(column, key=lambda turn: turn[0]) for column in zip(*turns))
        if not np.allclose(mine, expected, rtol=0, atol=1e-9):
            raise SystemExit(f"the figures disagree: {mine} and {expected.tolist()}")
        print(f"| {number} detections | {ours:.2f} | {other:.2f} | **{ours / other:.3f}** |", flush=True)


if __name__ == "__main__":
    main()
