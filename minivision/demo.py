"""The first thing a newcomer sees: a hand-written CNN learns handwritten digits in under a minute; then three detectors, written by
hand as well, learn to find shapes."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from minivision import data, draw
from minivision.checkpoint import load_newest
from minivision.data.detection_batches import DetectionBatches
from minivision.detection_run import load
from minivision.experiment import prepare, train
from minivision.settings import Settings, read_settings
from minivision.train import read_log

NAMES = ("disc", "square", "star")
DETECTORS = {"YOLO": Settings.recommended("yolo", priors=6, epochs=15, augment="flip"),
             "SSD": Settings.recommended("ssd", epochs=15, augment="flip"),
             "Faster R-CNN": Settings.recommended("faster-rcnn", epochs=12, augment="flip")}
SETTINGS = Settings(model="small-cnn", data="digits", epochs=30, batch_size=32, lr=0.02, augment="crop", seed=0)


def demo(directory="runs/demo", *, progress=True):
    """Train SmallCNN (C5) on the shipped digits and the three detectors on scenes, print how well they do, draw what they learned.
    Returns {"digits": accuracy, "YOLO", "SSD", "Faster R-CNN": AP at IoU 0.5}.

    The run in `directory`, if it is an earlier demo, is replaced.
    """
    directory = Path(directory)
    if (directory / "settings.json").exists():
        if read_settings(directory) != SETTINGS:
            raise ValueError(f"{directory} holds another training run; choose another directory")
        shutil.rmtree(directory)
    return {"digits": digits(directory, progress), **detectors(directory, progress)}


def digits(directory, progress):
    """Train the small CNN, and draw demo.png and confusion.png; returns the test accuracy."""
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
    return accuracy


def detectors(directory, progress, settings=DETECTORS, number=400):
    """Make scenes, train each detector on them for a minute or so, print a table and draw detectors.png; returns {name: AP50}."""
    print("\nThree detectors, written by hand as well, learn to find discs, squares and stars in pictures of 96×96.\n")
    folder = directory / "scenes"
    for split, count, seed in (("train", number, 1), ("test", 60, 2)):
        data.write_coco(data.scenes(count, (96, 96), seed, classes=NAMES, most=3, writers=split), folder, split)
    rows, answers, test = [], [], data.load_detection(folder, "test")
    for name, own in settings.items():
        run, started = directory / name.lower().replace(" ", "-"), time.perf_counter()
        history = train(replace(own, data=str(folder)), run, progress=progress)
        seconds = time.perf_counter() - started
        model = load(run)[0]
        rows.append((name, history[-1]["validation_ap50"], history[-1]["validation_ap"], model.size(), seconds))
        answers += model.detect(DetectionBatches(test, 6).prepare(np.arange(6), None)[0])
    print(f"\n{'':14s}  AP50    AP  parameters  training")
    for name, ap50, ap, size, seconds in rows:
        print(f"{name:14s} {ap50:5.3f} {ap:5.3f}  {size / 1e6:8.1f} M  {seconds:6.0f} s")
    titles = [row[0] if k == 0 else " " for row in rows for k in range(6)]
    images, truths = [test.image(k) for k in range(6)] * len(rows), test.targets[:6] * len(rows)
    draw.gallery(images, answers, NAMES, truths=truths, titles=titles, least=0.3, columns=6).savefig(directory / "detectors.png")
    print(f"on 60 scenes they have not seen; pictures: {directory}/detectors.png, and every epoch in {directory}/ssd/pictures …")
    print("next: `make test` checks every layer's gradient; `make lab` opens the chapters")
    return {name: ap50 for name, ap50, *_ in rows}


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
