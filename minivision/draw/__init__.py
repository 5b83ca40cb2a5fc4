"""Pictures: of images, filters, numbers, curves, boxes. Every function returns a figure; a notebook shows it as it is, a program
saves it with `.savefig("picture.png")`."""

from minivision.draw.boxes import anchors, boxes, gallery, matches, suppression
from minivision.draw.evaluation import breakdown, counting, mistakes, precision_recall
from minivision.draw.pictures import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    RED,
    Picture,
    answers,
    as_picture,
    filters,
    flow,
    grid,
    images,
    numbers,
    predictions,
    rectangle,
)
from minivision.draw.plots import bars, confusion, curves, roofline, running_mean, tidy, training

__all__ = ["BLUE", "GREEN", "INK", "ORANGE", "Picture", "RED", "anchors", "answers", "as_picture", "bars", "boxes", "breakdown",
           "confusion", "counting", "curves", "filters", "flow", "gallery", "grid", "images", "matches", "mistakes", "numbers",
           "precision_recall", "predictions", "rectangle", "roofline", "running_mean", "suppression", "tidy", "training"]
