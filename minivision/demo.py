"""The first thing a newcomer sees: a hand-written CNN learns handwritten digits in under a minute."""

import shutil
import time
from pathlib import Path

import numpy as np

from minivision import draw
from minivision.checkpoint import load_newest
from minivision.experiment import prepare, train
from minivision.settings import Settings, read_settings
from minivision.train import read_log

SETTINGS = Settings(model="small-cnn", data="digits", epochs=30, batch_size=32, lr=0.02, augment="crop", seed=0)


def demo(directory="runs/demo", *, progress=True):
    """Train SmallCNN (C5) on the shipped digits, print its test accuracy, draw what it learned; returns the accuracy.

    The run in `directory`, if it is an earlier demo, is replaced.
    """
    directory = Path(directory)
    if (directory / "settings.json").exists():
        if read_settings(directory) != SETTINGS:
            raise ValueError(f"{directory} holds another training run; choose another directory")
        shutil.rmtree(directory)
    print("A small CNN, written by hand in NumPy, learns 1437 handwritten digits of 8×8 pixels.\n")
    started = time.perf_counter()
    history = train(SETTINGS, directory, progress=progress)
    seconds = time.perf_counter() - started
    accuracy = history[-1]["validation_accuracy"]
    prepared = prepare(SETTINGS)
    load_newest(directory, prepared.model)
    pictures(prepared, directory)
    print(f"\ntest accuracy {accuracy:.1%} on 360 digits it has not seen, after {seconds:.0f} s of training")
    print(f"pictures: {directory}/demo.png, confusion.png, loss.png")
    print("next: `make test` checks every layer's gradient; `make lab` opens the chapters")
    return accuracy


def pictures(prepared, directory):
    """demo.png (predictions, the learned filters and the loss curve) and confusion.png"""
    model, test = prepared.model, prepared.test
    p = np.concatenate([model.probabilities(x) for x, _ in test])
    images, labels = test.dataset.take(np.arange(len(test.dataset)))
    wrong = np.flatnonzero(p.argmax(axis=1) != labels)[:8]
    shown = np.concatenate([np.arange(40 - len(wrong)), wrong])
    picture = draw.Picture(12.5, 6)
    left, right = picture.subfigures(1, 2, width_ratios=[6, 5])
    top, bottom = right.subfigures(2, 1, height_ratios=[2, 3])
    draw.predictions(images[shown], p[shown], labels[shown], prepared.classes, columns=8, on=left)
    draw.filters(model.conv1.weight.data, title="the 32 filters of the first layer", on=top)
    draw.training(read_log(directory / "log.jsonl"), on=bottom)
    picture.savefig(directory / "demo.png")
    counts = np.zeros((len(prepared.classes),) * 2, int)
    np.add.at(counts, (labels, p.argmax(axis=1)), 1)
    draw.confusion(counts, prepared.classes).savefig(directory / "confusion.png")
