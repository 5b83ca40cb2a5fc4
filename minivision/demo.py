"""The first thing a newcomer sees: a hand-written CNN learns handwritten digits in under a minute."""

import shutil
import time
from pathlib import Path

import numpy as np

from minivision import draw
from minivision.experiment import Settings, load_newest, prepare, read_settings, train

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
    print(f"pictures: {directory}/predictions.png, filters.png, confusion.png, loss.png")
    print("next: `make test` checks every layer's gradient; `make lab` opens the chapters")
    return accuracy


def pictures(prepared, directory):
    """predictions.png, filters.png, confusion.png"""
    model, test = prepared.model, prepared.test
    p = np.concatenate([model.probabilities(x) for x, _ in test])
    images, labels = test.dataset.take(np.arange(len(test.dataset)))
    wrong = np.flatnonzero(p.argmax(axis=1) != labels)
    shown = np.concatenate([np.arange(40), wrong[:10]])
    draw.predictions(images[shown], p[shown], labels[shown], prepared.classes).savefig(directory / "predictions.png")
    draw.filters(model.conv1.weight.data, title="the 32 filters of the first layer").savefig(directory / "filters.png")
    counts = np.zeros((len(prepared.classes),) * 2, int)
    np.add.at(counts, (labels, p.argmax(axis=1)), 1)
    draw.confusion(counts, prepared.classes).savefig(directory / "confusion.png")
