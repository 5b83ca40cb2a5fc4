"""Pictures of images, predictions, filters and numbers."""

import io
from math import ceil

import numpy as np
from matplotlib.figure import Figure

INK, BLUE, ORANGE, GREEN, RED = "#222222", "#1f6fb4", "#e07b1a", "#2c8c3c", "#c22f2f"


class Picture(Figure):
    """A Matplotlib figure without windows or global state, which notebooks and files show alike."""

    def __init__(self, width, height):
        super().__init__(figsize=(width, height), dpi=110, layout="constrained")

    def _repr_png_(self):
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


def as_picture(image):
    """(C,H,W) or (H,W), any numbers → what imshow takes: uint8 as it is, floats scaled to their own range."""
    image = np.asarray(image)
    image = image[0] if image.ndim == 3 and image.shape[0] == 1 else image
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        image = (image - low) / (high - low if high > low else 1)
    return image.transpose(1, 2, 0) if image.ndim == 3 else image


def grid(n, columns, side=1.3, extra=0.0, on=None):
    """A picture (or the part `on` of one) with n square axes without ticks, in rows of `columns`."""
    columns = min(n, columns)
    rows = ceil(n / columns)
    figure = on or Picture(columns * side, rows * (side + extra))
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    return figure, axes


def images(batch, titles=None, columns=10, colours=None, title=None, on=None):
    """A batch (N,C,H,W) in rows; titles: one text an image, in `colours`."""
    figure, axes = grid(len(batch), columns, extra=0.25 if titles is not None else 0, on=on)
    for i, image in enumerate(batch):
        axes[i].imshow(as_picture(image), cmap="gray", interpolation="nearest")
        if titles is not None:
            axes[i].set_title(str(titles[i]), fontsize=8, color=colours[i] if colours else INK)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def predictions(batch, probabilities, labels, classes, columns=10, on=None):
    """Images with what the network says and how sure it is: green if right, red (and the truth) if wrong."""
    guess = probabilities.argmax(axis=1)
    sure = probabilities.max(axis=1)
    titles = [f"{classes[g]} {s:.0%}" + ("" if g == t else f"\nis {classes[t]}") for g, s, t in zip(guess, sure, labels)]
    return images(batch, titles, columns, [GREEN if g == t else RED for g, t in zip(guess, labels)], on=on)


def answers(image, found):
    """An image (3,H,W), and beside it the classes that a network takes it for: found [(class, probability)], likeliest first."""
    figure = Picture(8, 3.2)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1))
    left.imshow(as_picture(image))
    left.set_axis_off()
    names, p = zip(*found)
    bars = right.barh(range(len(p)), p, 0.6, color=BLUE)
    right.set_yticks(range(len(p)), names, fontsize=9)
    right.bar_label(bars, [f"{v:.1%}" for v in p], fontsize=8, padding=3)
    right.invert_yaxis()
    right.set_xlim(0, 1.15)
    right.set_xticks([])
    right.spines[["top", "right", "bottom"]].set_visible(False)
    return figure


def filters(w, columns=8, title=None, on=None):
    """The filters (O,C,K,L) of a convolution: RGB if C is 3, else the mean over C. Red is positive, blue negative."""
    figure, axes = grid(len(w), columns, side=0.8, on=on)
    for ax, filter in zip(axes, w):
        if filter.shape[0] == 3:
            ax.imshow(as_picture(filter), interpolation="nearest")
        else:
            mean = filter.mean(axis=0)
            most = float(np.abs(w.mean(axis=1)).max()) or 1
            ax.imshow(mean, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def numbers(matrices, titles=None, digits=0, mark=None, scale=0.45):
    """Small matrices with every number written in its cell. mark: {index of matrix: [(row, column), …]} to frame."""
    matrices = [np.atleast_2d(m) for m in matrices]
    widths = [m.shape[1] for m in matrices]
    figure = Picture(scale * sum(widths) + 0.8 * len(matrices), scale * max(m.shape[0] for m in matrices) + 0.7)
    axes = figure.subplots(1, len(matrices), squeeze=False, width_ratios=widths)[0]
    for i, (ax, m) in enumerate(zip(axes, matrices)):
        most = float(np.abs(m).max()) or 1
        ax.imshow(m, cmap="RdBu_r", vmin=-2 * most, vmax=2 * most)
        for (r, c), value in np.ndenumerate(m):
            ax.text(c, r, f"{value:.{digits}f}", ha="center", va="center", fontsize=8, color=INK)
        for r, c in (mark or {}).get(i, []):
            ax.add_patch(rectangle(c - 0.5, r - 0.5, 1, 1))
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_title(titles[i] if titles else "", fontsize=9)
    return figure


def flow(places, ways, cut=(), *, width=9.5, height=2.2):
    """Boxes joined by arrows. places {name: (x, y)}; ways: pairs of names; those of `cut` are drawn red and dashed."""
    figure = Picture(width, height)
    ax = figure.subplots()
    for name, (x, y) in places.items():
        ax.text(x, y, name, ha="center", va="center", fontsize=9, bbox={"boxstyle": "round,pad=0.5", "facecolor": "white"})
    for start, end in [*ways, *cut]:
        look = {"linestyle": "--", "color": RED} if (start, end) in cut else {"color": INK}
        ax.annotate("", places[end], places[start], arrowprops={"arrowstyle": "->", "shrinkA": 34, "shrinkB": 34, **look})
    xs, ys = zip(*places.values())
    ax.set_xlim(min(xs) - 1, max(xs) + 1)
    ax.set_ylim(min(ys) - 0.5, max(ys) + 0.5)
    ax.set_axis_off()
    return figure


def rectangle(x, y, width, height, colour=ORANGE):
    from matplotlib.patches import Rectangle
    return Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=2)
