"""Accuracy against the number of labels: SqueezeNet with its ImageNet body frozen, fine-tuned, and from scratch (chapter 10).

    python -m benchmarks.transfer WEIGHTS --cifar DIR --bccd DIR [--seeds 3] [--out FOLDER]

WEIGHTS: SqueezeNet 1.1's Caffe weights as safetensors. CIFAR: a folder in CIFAR-10's binary format; BCCD: the VOC folder, whose
cells are cut out. Every image is brought to 64×64, for "frozen, larger" to 160×160. SqueezeNet has no batch norm and is hard to
train from scratch, so ResNet-9 (at 32×32) stands for the networks that are not. "colours" looks at no shape at all: a linear
classifier on the image shrunk to 4×4 pixels, which says how much of a task needs no network. Every finished figure goes to
FOLDER/transfer.json at once, so that the command goes on where it was stopped; the picture is FOLDER/transfer.png.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from minivision import checkpoint, data, draw, models, ops, optim, transfer, weights
from minivision.tensor import Tensor

SIDE, LABELS = 64, {"cifar": (10, 30, 100, 300), "bccd": (10, 30, 100)}
SMALLER, LARGER = 32, 160
RATES = {"fine-tuned": 0.002, "from scratch": 0.0007, "ResNet-9, scratch": 0.003}
EPOCHS = {"cifar": {"fine-tuned": {10: 15, 30: 10, 100: 6, 300: 4}, "from scratch": {10: 40, 30: 30, 100: 16, 300: 8},
                    "ResNet-9, scratch": {10: 60, 30: 50, 100: 20, 300: 12}},
          "bccd": {"fine-tuned": {10: 20, 30: 15, 100: 8}, "from scratch": {10: 60, 30: 50, 100: 24},
                   "ResNet-9, scratch": {10: 60, 30: 50, 100: 20}}}


def pretrained(path):
    model = models.squeezenet1_1()
    weights.load(model, path, "squeezenet1_1_caffe")
    return model


def prepared(images, side=SIDE):
    look = data.Preparation(exact=(side, side), mean=(104 / 255, 117 / 255, 123 / 255), deviation=(1 / 255,) * 3, reverse=True)
    return np.stack([look(image) for image in images])


def some(labels, each, rng):
    """Indices of `each` images of every class (or all there are)."""
    return np.concatenate([rng.permutation(np.flatnonzero(labels == k))[:each] for k in np.unique(labels)])


def colours(images):
    """(N,48): images shrunk to 4×4 pixels."""
    return np.stack([data.resize(image, (4, 4)).ravel() for image in images]).astype(np.float32)


def recall(scores, labels):
    """The mean over the classes of the share that is recognised: with equally many of each, accuracy."""
    return float(np.mean([(scores[labels == k].argmax(axis=1) == k).mean() for k in np.unique(labels)]))


def linear(features, labels, classes):
    """A linear classifier on features, standardised by those that it learns from: AdamW, 300 steps on all of them."""
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    features = (features - mean) / deviation
    w = Tensor(np.zeros((classes, features.shape[1]), np.float32), requires_grad=True)
    b = Tensor(np.zeros(classes, np.float32), requires_grad=True)
    optimiser = optim.AdamW([w, b], 0.003, weight_decay=1.0)
    for _ in range(300):
        optimiser.zero_grad()
        ops.softmax_cross_entropy(ops.linear(Tensor(features), w, b), labels).backward()
        optimiser.step()
    return lambda x: (x - mean) / deviation @ w.data.T + b.data


def trained(model, parameters, images, labels, lr, epochs, rng, augment, side):
    """AdamW, batches of 32, a cosine; uint8 images augmented before they are scaled to side×side."""
    optimiser, steps = optim.AdamW(parameters, lr, weight_decay=0.01), -(-len(labels) // 32) * epochs
    schedule, step = optim.cosine(steps, max(1, steps // 20)), 0
    model.train()
    for _ in range(epochs):
        order = rng.permutation(len(labels))
        for at in range(0, len(order), 32):
            rows, x = order[at:at + 32], images[order[at:at + 32]]
            for f in augment:
                x = f(x, rng)
            optimiser.zero_grad()
            optimiser.lr = lr * schedule(step)
            model.loss(prepared(x, side), labels[rows])["cross_entropy"].backward()
            optim.clip_gradients(optimiser.parameters, 5.0)
            optimiser.step()
            step += 1
    return lambda x: np.concatenate([model.probabilities(prepared(x[i:i + 100], side)) for i in range(0, len(x), 100)])


def figures(name, learn, test, path, seed, augment, found, save):
    """Add the figure of one seed to found[name][way][labels], for every way and number of labels that lacks it."""
    K, body = len(learn.classes), pretrained(path)
    body_at = lambda side: lambda images: np.concatenate([transfer.features_of(body, prepared(images[i:i + 100], side))
                                                          for i in range(0, len(images), 100)])
    features = {"colours": colours, "frozen": body_at(SIDE), "frozen, larger": body_at(LARGER)}
    seen = {}
    for each in LABELS[name]:
        for way in (*features, *RATES):
            rng = np.random.default_rng([seed, each])           # all ways get the same images
            rows = some(learn.labels, each, rng)
            images, labels = learn.images[rows], learn.labels[rows]
            done = found.setdefault(name, {}).setdefault(way, {}).setdefault(str(each), [])
            if len(done) > seed:
                continue
            started = time.perf_counter()
            if way in features:
                if way not in seen:
                    seen[way] = features[way](test.images)
                scores = linear(features[way](images), labels, K)(seen[way])
            else:
                small = way == "ResNet-9, scratch"
                fresh = models.resnet9 if small else models.squeezenet1_1
                model = pretrained(path) if way == "fine-tuned" else fresh(rng=np.random.default_rng(seed))
                transfer.new_head(model, K, rng=seed)
                parameters = transfer.groups(model, factor=0.1) if way == "fine-tuned" else model.parameters()
                answer = trained(model, parameters, images, labels, RATES[way], EPOCHS[name][way][each], rng, augment,
                                 SMALLER if small else SIDE)
                scores = answer(test.images)
            done.append(recall(scores, test.labels))
            save()
            took = time.perf_counter() - started
            print(f"{name} {each:3d} a class, seed {seed}, {way:12}: {done[-1]:.3f} ({took:.0f} s)", flush=True)


def picture(found):
    titles = {"cifar": "CIFAR-10, 10 classes", "bccd": "blood cells, 3 classes"}
    figure = draw.Picture(10.5, 3.4)
    paints = {"from scratch": draw.ORANGE, "frozen": draw.GREEN, "frozen, larger": "#7b4ba0", "fine-tuned": draw.BLUE,
              "ResNet-9, scratch": "#c0392b", "colours": "grey"}
    for ax, name in zip(figure.subplots(1, len(found), squeeze=False)[0], found):
        for way, colour in paints.items():
            points = {int(n): v for n, v in found[name][way].items() if v}
            xs, mean = list(points), [np.mean(v) for v in points.values()]
            ax.plot(xs, mean, "o-", color=colour, label=way, markersize=4)
            ax.fill_between(xs, [min(v) for v in points.values()], [max(v) for v in points.values()], color=colour, alpha=0.2)
        ax.set_xscale("log")
        ax.set_xticks(xs, xs)
        ax.minorticks_off()
        draw.tidy(ax, "labelled images of each class", "mean recall", titles[name])
    ax.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer", description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--cifar", type=Path, required=True)
    parser.add_argument("--bccd", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/transfer"))
    args = parser.parse_args()
    path = args.out / "transfer.json"
    found = checkpoint.read_json(path) if path.is_file() else {}
    save = lambda: checkpoint.write_json(path, found)
    cells = [data.crops(data.load_detection(args.bccd, split, mend=True), 64) for split in ("trainval", "test")]
    flips = [data.random_flip, data.random_crop]
    for seed in range(args.seeds):
        figures("cifar", *data.load(args.cifar), args.weights, seed, flips, found, save)
        figures("bccd", *cells, args.weights, seed, [*flips, data.random_rotate], found, save)
    picture(found).savefig(args.out / "transfer.png")
    for name, ways in found.items():
        for way, points in ways.items():
            spread = (f"{n}: {np.mean(v):.3f} ({min(v):.3f} … {max(v):.3f})" for n, v in points.items())
            print(f"{name} {way:12}", *spread, sep="  ")


if __name__ == "__main__":
    main()
