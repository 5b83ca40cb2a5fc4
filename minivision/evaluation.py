"""From two COCO files, ground truth and detections, to figures, curves and the reasons for what is missing."""

import math
from pathlib import Path

from minivision import draw
from minivision.data import read_coco, read_coco_results
from minivision.detection import errors, evaluate

__all__ = ["evaluate_files", "report", "results_of", "write_report"]


def evaluate_files(truth, detections, out=None, *, mend=False):
    """{"coco", "voc07", "voc10": Result, "errors": Breakdown, "classes": names} of a results file against a COCO annotation file.

    out    folder for precision_recall.png, errors.png and figures.txt; None draws nothing
    mend   leave out what is wrong in the ground truth, with a warning, instead of stopping
    """
    data = read_coco(truth, mend=mend)
    results = results_of(read_coco_results(detections, data), data.targets, data.classes)
    if out is not None:
        write_report(results, out)
    return results


def results_of(found, targets, classes):
    """The same of one `Detections` and one `Target` an image."""
    results = {protocol: evaluate(found, targets, protocol) for protocol in ("coco", "voc07", "voc10")}
    return results | {"errors": errors.breakdown(found, targets), "classes": classes}


def write_report(results, out):
    """precision_recall.png, errors.png and figures.txt into a folder."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    draw.precision_recall(results["coco"], results["classes"]).savefig(folder / "precision_recall.png")
    draw.breakdown(results["errors"]).savefig(folder / "errors.png")
    (folder / "figures.txt").write_text(report(results), encoding="utf-8")


def gain_of(value):
    return "—" if math.isnan(value) else f"{value:.4f}"


def report(results):
    """The figures of all protocols as text."""
    classes, broken = results["classes"], results["errors"]
    lines = ["COCO", results["coco"].table(classes), ""]
    lines += [f"{name}: mean AP at IoU 0.50 {results[key].ap:.4f}, at 0.75 {results[key].ap75:.4f}"
              for key, name in (("voc07", "VOC 2007, 11 points"), ("voc10", "VOC 2010, area"))]
    lines += ["", "mistakes at IoU 0.50 (gain: AP50 of VOC 2010 without them)"]
    lines += [f"{broken.counts[kind]:8d}  {kind}: {about} (gain {gain_of(broken.gain[kind])})"
              for kind, about in errors.ABOUT.items()]
    worst = sorted(broken.confused.items(), key=lambda item: -item[1])[:5]
    lines += [f"{count:8d}  {classes[said]} reported on {classes[true]}" for (said, true), count in worst]
    return "\n".join(lines) + "\n"
