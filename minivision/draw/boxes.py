"""Boxes over images: objects and detections, anchors, matches coloured by IoU, suppression in frames."""

from math import ceil

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.patches import Rectangle

from minivision.detection.boxes import iou
from minivision.detection.matching import IGNORED
from minivision.draw.pictures import GREEN, INK, ORANGE, RED, Picture, as_picture

__all__ = ["anchors", "boxes", "gallery", "matches", "suppression"]

# Ten colours that are told apart on photographs, for classes in turn.
COLOURS = ("#ffd92f", "#4cc9f0", "#f72585", "#7ae582", "#ff9f1c", "#b388eb", "#f4f1de", "#e63946", "#90be6d", "#48bfe3")


def frame(image, width, on=None, title=None):
    """(figure, axes) with an image (C,H,W), pixel (p, q) filling the square from (q, p) to (q+1, p+1)."""
    H, W = image.shape[-2:]
    figure = on or Picture(width, width * H / W + (0.3 if title else 0))
    ax = figure.subplots()
    show_image(ax, image, title)
    return figure, ax


def show_image(ax, image, title=None):
    H, W = image.shape[-2:]
    ax.imshow(as_picture(image), cmap="gray", extent=(0, W, H, 0), interpolation="nearest")
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize=9)


def rectangles(ax, rows, colours, width=1.5, style="-", alpha=1.0, fill=False):
    """One rectangle a row x1 y1 x2 y2; colours: one for all, or one each."""
    for k, (x1, y1, x2, y2) in enumerate(np.asarray(rows, float)):
        colour = colours if isinstance(colours, str) else colours[k]
        ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, edgecolor=colour, facecolor=colour if fill else "none",
                               linewidth=width, linestyle=style, alpha=alpha))


def label(ax, x, y, text, colour):
    """Text in a small flag on top of a box's left corner, inside the picture where the box touches the top."""
    top = y < 0.06 * abs(ax.get_ylim()[0] - ax.get_ylim()[1])
    ax.text(x, y, text, fontsize=7, color=INK, va="top" if top else "bottom", ha="left", clip_on=True,
            bbox={"facecolor": colour, "edgecolor": "none", "alpha": 0.85, "pad": 1})


def answer_boxes(ax, answer, classes=None, least=0.0, colour=None):
    """The boxes of a `Target` (difficult ones dashed, crowds dotted) or of `Detections` with a score ≥ least."""
    scores = getattr(answer, "scores", None)
    for k, (x1, y1, x2, y2) in enumerate(answer.boxes):
        if scores is not None and scores[k] < least:
            continue
        name = classes[answer.labels[k]] if classes else str(answer.labels[k])
        own = colour or COLOURS[int(answer.labels[k]) % len(COLOURS)]
        style = "-" if scores is not None else ":" if answer.crowd[k] else "--" if answer.difficult[k] else "-"
        rectangles(ax, [(x1, y1, x2, y2)], own, style=style)
        label(ax, x1, y1, name if scores is None else f"{name} {scores[k]:.2f}", own)


def boxes(image, answer, classes=None, *, truth=None, least=0.0, width=5, title=None, on=None):
    """An image (3,H,W) with the boxes of a `Target` or of `Detections` (score ≥ least); truth: a `Target` in thin white
    under them."""
    figure, ax = frame(image, width, on, title)
    if truth is not None:
        rectangles(ax, truth.boxes, "white", 0.8)
    answer_boxes(ax, answer, classes, least)
    return figure


def gallery(images, answers, classes=None, *, truths=None, titles=None, least=0.0, columns=4, width=2.4, on=None):
    """Images of any sizes with their boxes, in rows; truths: `Target`s, in thin white under them."""
    if not len(images):
        return on or Picture(columns * width, 0.3)
    columns = min(columns, len(images))
    rows = ceil(len(images) / columns)
    tallest = max(image.shape[1] / image.shape[2] for image in images)
    figure = on or Picture(columns * width, rows * (width * tallest + (0.25 if titles else 0.05)))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for i, (ax, image, answer) in enumerate(zip(axes, images, answers)):
        show_image(ax, image, titles[i] if titles else None)
        if truths is not None:
            rectangles(ax, truths[i].boxes, "white", 0.8)
        answer_boxes(ax, answer, classes, least)
    return figure


def anchors(image, rows, *, every=None, width=5, title=None, on=None):
    """Anchors (A,4) over an image, each with its centre, one colour a shape; every=n draws each n-th. What sticks out of the image
    is drawn too."""
    figure, ax = frame(image, width, on, title)
    rows = np.asarray(rows)[::every or 1]
    _, shape = np.unique((rows[:, 2:] - rows[:, :2]).round(3), axis=0, return_inverse=True)
    colours = [COLOURS[k % len(COLOURS)] for k in shape.ravel()]
    rectangles(ax, rows, colours, 1.2)
    ax.plot((rows[:, 0] + rows[:, 2]) / 2, (rows[:, 1] + rows[:, 3]) / 2, "+", color="white", markersize=4, markeredgewidth=0.8)
    H, W = image.shape[-2:]
    ax.set_xlim(min(0, rows[:, 0].min(initial=0)), max(W, rows[:, 2].max(initial=W)))
    ax.set_ylim(max(H, rows[:, 3].max(initial=H)), min(0, rows[:, 1].min(initial=0)))
    return figure


def matches(image, target, rows, match, overlap, *, width=6, title=None, on=None):
    """Anchors (A,4) that were matched (match ≥ 0), coloured by their IoU with their object; those that are ignored (−2) dotted
    grey; the objects in white. overlap (A,G) as matching.py reads it."""
    figure, ax = frame(image, width, on or Picture(width, 0.8 * width * image.shape[1] / image.shape[2]), title)
    colour, ignored = colormaps["plasma"], np.flatnonzero(match == IGNORED)
    rectangles(ax, rows[ignored], "#bbbbbb", 0.8, ":")
    matched = np.flatnonzero(match >= 0)
    shared = overlap[matched, match[matched]]
    for a, share in sorted(zip(matched, shared), key=lambda pair: pair[1]):
        rectangles(ax, [rows[a]], [colour(share)], 1.6)
    rectangles(ax, target.boxes, "white", 2.2)
    figure.colorbar(ScalarMappable(cmap=colour), ax=ax, label="IoU with its object", shrink=0.7)
    return figure


def suppression(image, rows, scores, threshold, *, columns=3, width=3):
    """Non-maximum suppression in frames, one a round: the box that is taken green, what it removes red with the IoU, what waits
    orange, what was taken before thin green."""
    rows, scores = np.asarray(rows, float), np.asarray(scores, float)
    shared, waiting, taken, rounds = iou(rows, rows), np.argsort(-scores, kind="stable").tolist(), [], []
    while waiting:
        best, *rest = waiting
        removed = [i for i in rest if shared[best, i] > threshold]
        waiting = [i for i in rest if i not in removed]
        rounds.append((best, removed, waiting, list(taken)))
        taken.append(best)
    if not rounds:
        return frame(image, width, title="no boxes")[0]
    columns = min(columns, len(rounds))
    figure = Picture(columns * width, ceil(len(rounds) / columns) * (width * image.shape[1] / image.shape[2] + 0.3))
    axes = figure.subplots(ceil(len(rounds) / columns), columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for n, (ax, (best, removed, left, before)) in enumerate(zip(axes, rounds), 1):
        show_image(ax, image, f"{n}: {scores[best]:.2f} stays, {len(removed)} go")
        rectangles(ax, rows[before], GREEN, 0.8)
        rectangles(ax, rows[left], ORANGE, 1)
        rectangles(ax, rows[removed], RED, 1.2, "--")
        rectangles(ax, rows[[best]], GREEN, 2.4)
        for i in removed if len(removed) <= 4 else []:             # more would hide the picture
            label(ax, rows[i, 0], rows[i, 1], f"{shared[best, i]:.2f}", "#ffc9c9")
    return figure
