"""Plots: curves, bars, a roofline, a confusion matrix, a training run."""

import numpy as np

from minivision.draw.pictures import BLUE, GREEN, INK, ORANGE, RED, Picture

__all__ = ["bars", "confusion", "curves", "roofline", "running_mean", "tidy", "training"]


def curves(series, xlabel="step", ylabel="loss", log=False, title=None, level=None):
    """Lines {name: values or (xs, values)}; level: (value, text) of a dotted line across."""
    figure = Picture(6, 3.2)
    ax = figure.subplots()
    for (name, values), colour in zip(series.items(), [BLUE, ORANGE, GREEN, RED, INK, "#7b4ba0", "#8a8a8a"] * 9):
        xs, ys = values if isinstance(values, tuple) else (np.arange(1, len(values) + 1), values)
        ax.plot(xs, ys, label=name, color=colour, linewidth=1.5)
    if level:
        ax.axhline(level[0], color=INK, linestyle=":", linewidth=1)
        ax.annotate(level[1], (0.99, level[0]), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8)
    tidy(ax, xlabel, ylabel, title, log)
    if len(series) > 1:
        ax.legend(frameon=False, fontsize=8)
    return figure


def tidy(ax, xlabel, ylabel, title=None, log=False):
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.spines[["top", "right"]].set_visible(False)
    if log:
        ax.set_yscale("log")
    if title:
        ax.set_title(title, fontsize=10)


def bars(values, ylabel="", title=None, log=False):
    """Bars {name: value}, each with its number; long names lie one below the other."""
    lying = max(map(len, values), default=0) > 14
    figure = Picture(*((7, 0.6 + 0.4 * len(values)) if lying else (max(4, 0.9 * len(values)), 3)))
    ax = figure.subplots()
    drawn = (ax.barh if lying else ax.bar)(list(values), list(values.values()), 0.6, color=BLUE)
    ax.bar_label(drawn, fmt="{:.3g}", fontsize=8, padding=2)
    if lying:
        tidy(ax, ylabel, "", title)
        ax.invert_yaxis()
        ax.margins(x=0.12)
        ax.set_xscale("log" if log else "linear")
    else:
        tidy(ax, "", ylabel, title, log)
    return figure


def roofline(points, product, copy, title=None):
    """What a machine can do at most, and what some programs do (Williams, Waterman and Patterson, CACM 2009).

    points: {name: (operations a byte, {who: operations a second})}; product, copy: the machine's fastest matrix product
    (operations a second) and copy (bytes a second). A program that does i operations on each byte that it must move
    cannot do more than min(product, i·copy) a second.
    """
    figure = Picture(8, 5)
    ax = figure.subplots()
    least, most = min(x for x, _ in points.values()) / 3, max(x for x, _ in points.values()) * 3
    x = np.geomspace(least, max(most, 3 * product / copy), 200)
    ax.plot(x, np.minimum(product, x * copy) / 1e9, "k", lw=1.5)
    ax.axhline(product / 1e9, color="k", lw=0.5, ls=":")
    ax.annotate(f"matrix product {product / 1e9:.0f} GFLOP/s, copy {copy / 1e9:.0f} GB/s", (0.02, 0.95), xycoords="axes fraction")
    for i, (name, (intensity, speeds)) in enumerate(points.items()):
        for (who, speed), marker in zip(speeds.items(), "osD^v"):
            ax.plot(intensity, speed / 1e9, marker, color=f"C{i % 10}", mfc=None if marker == "o" else "white",
                    label=name if marker == "o" else None)
    ax.set_yscale("log")
    tidy(ax, "operations a byte", "GFLOP/s", title)
    ax.set_xscale("log")
    ax.legend(fontsize=8, loc="best", frameon=False)
    return figure


def confusion(matrix, classes, title="rows: truth, columns: answer"):
    """A confusion matrix (K,K): entry (t, p) counts images of class t called p."""
    K = len(classes)
    figure = Picture(1.5 + 0.42 * K, 1.2 + 0.4 * K)
    ax = figure.subplots()
    ax.imshow(np.sqrt(matrix), cmap="Blues")
    for (t, p), n in np.ndenumerate(matrix):
        if n:
            ax.text(p, t, int(n), ha="center", va="center", fontsize=7, color="white" if n > matrix.max() / 3 else INK)
    ax.set_xticks(range(K), classes, rotation=45 if max(map(len, classes)) > 2 else 0)
    ax.set_yticks(range(K), classes)
    ax.set_title(title, fontsize=9)
    return figure


def running_mean(values, n):
    """Mean of the last n values at every place (fewer at the start)."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    at = np.arange(1, len(values) + 1)
    start = np.maximum(0, at - n)
    return (sums[at] - sums[start]) / (at - start)


def training(log, on=None):
    """A run from its log entries: the loss of every step, its running mean, and the validation metrics by epoch."""
    steps = [e for e in log if "lr" in e]
    epochs = [e for e in log if "images_per_second" in e]
    metrics = [k for k in (epochs[0] if epochs else {}) if k.startswith("validation_") and k != "validation_loss"]
    figure = on or Picture(9 if metrics else 6, 3.2)
    axes = figure.subplots(1, 2 if metrics else 1, squeeze=False)[0]
    losses = np.array([e["loss"] for e in steps]) if steps else np.zeros(0)
    axes[0].plot(losses, color=BLUE, alpha=0.25, linewidth=0.8)
    axes[0].plot(running_mean(losses, max(1, len(losses) // 40)), color=BLUE, label="training")
    if epochs and "validation_loss" in epochs[0]:
        axes[0].plot([e["step"] for e in epochs], [e["validation_loss"] for e in epochs], "o-", color=ORANGE,
                     markersize=3, label="validation")
    tidy(axes[0], "step", "loss", log=True)
    axes[0].legend(frameon=False, fontsize=8)
    for name in metrics:
        axes[1].plot([e["epoch"] for e in epochs], [e[name] for e in epochs], "o-", markersize=3, color=ORANGE)
        tidy(axes[1], "epoch", name.replace("validation_", "validation "))
    return figure
