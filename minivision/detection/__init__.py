"""Boxes, and what detectors do with them: anchors, coding, matching, sampling, suppression, evaluation. Arrays in, arrays out;
nothing here is differentiated."""

from minivision.detection import (
    anchors,
    average_precision,
    boxes,
    coder,
    default_boxes,
    errors,
    matching,
    priors,
    sampling,
    suppression,
)
from minivision.detection.answers import Detections, Target
from minivision.detection.average_precision import Result, evaluate

__all__ = ["Detections", "Result", "Target", "anchors", "average_precision", "boxes", "coder", "default_boxes", "errors",
           "evaluate", "matching", "priors", "sampling", "suppression"]
