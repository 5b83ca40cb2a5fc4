"""The three detectors trained from nothing, as long as their README rows say: tables, curves over minutes, pictures of mistakes.

    python -m benchmarks.detectors scenes --out runs/scenes             # makes 2000 scenes, scores the shipped test scenes
    python -m benchmarks.detectors bccd --data FOLDER --out runs/bccd   # blood cells: learns from train + val, scores test

Each is `minivision train` with the settings that are printed, then `minivision evaluate`. A run that is there
already goes on, or is only scored again.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

from minivision import data, draw
from minivision.checkpoint import latest
from minivision.detection_run import evaluate_run
from minivision.experiment import resume, train
from minivision.settings import Settings
from minivision.train import read_log

MODELS = {"YOLO": "yolo", "SSD": "ssd", "Faster R-CNN": "faster-rcnn"}
PLANS = {"scenes": {"augment": "flip", "every": 3},
         "bccd": {"augment": "flip,turn,crop,expand", "split": "trainval", "mend": True, "every": 4}}
EPOCHS = {"scenes": {"yolo": 18, "ssd": 18, "faster-rcnn": 9}, "bccd": {"yolo": 48, "ssd": 48, "faster-rcnn": 32}}
# To compare with: other networks in PyTorch, trained on the same images by other code on two cores of the same kind; a small SSD
# (0.9 M parameters, 1.1 GFLOP an image of 240×320, strides 8 and 16) and a small Faster R-CNN. Minutes of training, AP50.
PEERS = {"SSD in PyTorch": ([1, 3, 5, 20], [0.60, 0.895, 0.900, 0.916]), "Faster R-CNN in PyTorch": ([3, 7.5], [0.587, 0.902])}


def scenes_of(folder):
    """Training scenes by the shipped writers, more crowded than the test's, and the shipped test scenes as validation set."""
    if not (folder / "annotations" / "test.json").exists():           # the last that is written
        data.write_coco(data.scenes(2000, (128, 128), 1, most=12, progress=True), folder, "train")
        data.write_coco(data.load_detection("scenes", "test"), folder, "test")
    return folder


def curve(directory, images):
    """(minutes of training, AP50) at each validation of a run on so many images."""
    seconds, found = 0.0, []
    for entry in read_log(Path(directory) / "log.jsonl"):
        if "images_per_second" in entry:
            seconds += images / entry["images_per_second"]
            if "validation_ap50" in entry:
                found.append((seconds / 60, entry["validation_ap50"]))
    return tuple(zip(*found))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=PLANS)
    parser.add_argument("--data", default="bccd", help="BCCD, if it is not among the data sets")
    parser.add_argument("--out", help="default: runs/scenes or runs/bccd")
    parser.add_argument("--only", choices=MODELS.values())
    args = parser.parse_args()
    out = Path(args.out or f"runs/{args.task}")
    where = str(scenes_of(out / "data") if args.task == "scenes" else args.data)
    images = len(data.load_detection(where, "train" if args.task == "scenes" else "trainval", mend=True))
    curves, rows = {}, []
    for name, model in MODELS.items():
        if args.only not in (None, model):
            continue
        run, settings = out / model, Settings.recommended(model, data=where, epochs=EPOCHS[args.task][model], **PLANS[args.task])
        print(name, asdict(settings), flush=True)
        if latest(run):
            resume(run)
        else:
            train(settings, run)
        results = evaluate_run(run, out=run / "evaluation")
        curves[name] = curve(run, images)
        coco, voc07, voc10 = (results[key] for key in ("coco", "voc07", "voc10"))
        figures = [f"{x:.3f}" for x in (voc10.ap, voc07.ap, coco.ap50, coco.ap)] + [f"{curves[name][0][-1]:.1f}"]
        rows.append([name, *figures, ", ".join(f"{results['classes'][k]} {ap:.3f}" for k, ap in voc10.per_class.items())])
    if args.task == "bccd":
        curves |= PEERS
    draw.curves(curves, "minutes of training on two cores", "AP50 on the test images").savefig(out / "curves.png")
    head = ["", "AP50 (VOC 2010)", "AP50 (VOC 2007)", "AP50 (COCO)", "AP (COCO)", "minutes", "AP50 of each class"]
    for row in (head, ["--"] * len(head), *rows):
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
