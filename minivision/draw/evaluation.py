"""Evaluation in pictures: precision–recall curves, what each protocol makes of one curve, why AP is not 1."""

from itertools import zip_longest

import numpy as np

from minivision.detection import errors
from minivision.detection.coco import RECALLS
from minivision.detection.curves import ELEVEN, area_under, at_recalls, envelope
from minivision.draw.boxes import rectangles, show_image
from minivision.draw.pictures import BLUE, GREEN, INK, ORANGE, RED, Picture
from minivision.draw.plots import tidy

__all__ = ["breakdown", "counting", "mistakes", "precision_recall"]


def precision_recall(result, classes=None, *, most=12, on=None):
    """The curves of a `Result` at IoU 0.5, one a class with its AP there; with many classes the `most` that have most objects."""
    chosen = sorted(result.curves, key=lambda k: -result.curves[k].objects)[:most]
    beside = len(chosen) > 8                                        # so many lines of legend would cover the curves
    figure = on or Picture(8.6 if beside else 6.4, 4.4)
    ax = figure.subplots()
    for n, label in enumerate(sorted(chosen)):
        curve = result.curves[label]
        recall = np.append(np.zeros(min(1, len(curve.recall))), curve.recall)       # begins at 0, if it begins at all
        precision = np.append(curve.precision[:1], curve.precision)
        name = classes[label] if classes else f"class {label}"
        ax.plot(recall, precision, color=f"C{n % 10}", linewidth=1.4, linestyle="-" if n < 10 else "--",
                label=f"{name}: AP {result.per_class[label]:.3f}, {curve.objects} objects")
    ax.set_xlim(0, 1.01)
    ax.set_ylim(0, 1.03)
    rest = f"; {len(result.curves) - len(chosen)} more classes" if len(result.curves) > len(chosen) else ""
    whole = f"AP {result.ap:.3f}, at IoU 0.5 {result.ap50:.3f}" if result.stats else f"mean AP {result.ap:.3f}"
    tidy(ax, "recall", "precision", f"{result.protocol}: {whole}{rest}")
    if chosen:
        place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if beside else {"loc": "lower left"}
        ax.legend(frameon=False, fontsize=7, **place)
    return figure


def mistakes(dataset, detections, result, *, number=10, columns=5, width=2.6):
    """The worst mistakes of a detector on a `DetectionSet`, one picture each: objects that nothing found, largest first, and wrong
    detections (`errors.Breakdown`), surest first, in turn. Green: right answers; red: the mistake; white: all objects."""
    wrong = [(detections[i].scores[d], i, d, errors.KINDS[kind]) for i, kinds in enumerate(result.kinds)
             for d, kind in enumerate(kinds) if errors.KINDS[kind] in errors.ABOUT]
    missed = [(dataset.targets[i].area[g], i, g, "missed") for i, lost in enumerate(result.missed) for g in np.flatnonzero(lost)]
    by_weight = lambda found: sorted(found, key=lambda m: (-m[0], m[1], m[2]))
    wrong, missed = by_weight(wrong), by_weight(missed)
    taken = [m for pair in zip_longest(wrong, missed) for m in pair if m is not None][:number]
    figure = Picture(columns * width, max(1, -(-len(taken) // columns)) * width)
    axes = figure.subplots(max(1, -(-len(taken) // columns)), columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, (_, i, item, kind) in zip(axes, taken):
        target, answers = dataset.targets[i], detections[i]
        right = [k for k, what in enumerate(result.kinds[i]) if errors.KINDS[what] == "right" and answers.scores[k] >= 0.3]
        box = target.boxes[item] if kind == "missed" else answers.boxes[item]
        name = dataset.classes[(target if kind == "missed" else answers).labels[item]]
        said = f"{kind}: {name}" + ("" if kind == "missed" else f" {answers.scores[item]:.2f}")
        show_image(ax, dataset.image(i), said)
        rectangles(ax, target.boxes, "white", 0.7)
        rectangles(ax, answers.boxes[right], GREEN, 0.9)
        rectangles(ax, [box], RED, 2, "--" if kind == "missed" else "-")
        around(ax, box, dataset.sizes[i])
    return figure


def around(ax, box, size):
    """Show the neighbourhood of a box, three times its size, but not beyond the image (H,W)."""
    (H, W), (x1, y1, x2, y2) = size, box
    half = max(1.5 * max(x2 - x1, y2 - y1), 24)
    x, y = (np.clip((a + b) / 2, min(half, side / 2), max(side - half, side / 2)) for a, b, side in ((x1, x2, W), (y1, y2, H)))
    ax.set_xlim(max(0, x - half), min(W, x + half))
    ax.set_ylim(min(H, y + half), max(0, y - half))


def counting(curve, *, on=None):
    """One `Curve`, its envelope, and where the three protocols read it: 11 recalls, every step, 101 recalls."""
    figure = on or Picture(10, 3.2)
    axes = figure.subplots(1, 3, sharey=True)
    best = envelope(curve.precision)
    steps = np.append(np.zeros(min(1, len(best))), curve.recall), np.append(best, best[-1:])
    readings = (("VOC 2007: 11 recalls", ELEVEN), ("VOC 2010: the area", None), ("COCO: 101 recalls", RECALLS))
    for ax, (title, recalls) in zip(axes, readings):
        ax.plot(curve.recall, curve.precision, "o-", color=BLUE, markersize=4, linewidth=1, label="after each detection")
        ax.step(*steps, where="post", color=INK, linewidth=1.2, label="envelope")
        if recalls is None:
            ax.fill_between(*steps, step="post", color=ORANGE, alpha=0.35)
            value = area_under(curve)
        else:
            at = at_recalls(curve.recall, curve.precision, recalls)
            ax.plot(recalls, at, "|" if len(recalls) > 20 else "s", color=ORANGE, markersize=7 if len(recalls) > 20 else 4)
            value = float(at.mean())
        tidy(ax, "recall", "precision" if ax is axes[0] else "", f"{title}\nAP = {value:.4f}")
        ax.set_xlim(-0.02, 1.04)
        ax.set_ylim(0, 1.05)
    axes[0].legend(frameon=False, fontsize=7, loc="lower left")
    return figure


def breakdown(result, *, on=None):
    """An `errors.Breakdown`: how many mistakes of each kind there are, and what AP at IoU 0.5 would gain without them."""
    figure = on or Picture(9.5, 3)
    left, right = figure.subplots(1, 2)
    kinds = [*errors.KINDS[:-1], "missed"]
    colours = [GREEN, *[RED] * (len(kinds) - 2), ORANGE]
    left.bar_label(left.barh(kinds, [result.counts[k] for k in kinds], color=colours), fontsize=8, padding=2)
    ignored = f" ({result.counts['ignored']} more are ignored)" if result.counts["ignored"] else ""
    tidy(left, "detections (missed: objects)", "", f"what each detection is{ignored}")
    names = list(errors.ABOUT)
    right.bar_label(right.barh(names, [result.gain[k] for k in names], color=BLUE), fmt="{:.3f}", fontsize=8, padding=2)
    tidy(right, "gain in AP50 without them", "", "what each kind costs")
    for ax in (left, right):
        ax.invert_yaxis()
        ax.margins(x=0.15)
    return figure
