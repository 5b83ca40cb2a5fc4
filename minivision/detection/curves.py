"""From a list of right and wrong answers to precision, recall, and one number."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Curve", "area_under", "at_recalls", "eleven_points", "envelope"]

ELEVEN = np.arange(11) * 0.1


@dataclass
class Curve:
    """precision and recall (D,) after each detection, best score (D,) first; `objects`: how many there were to find."""

    precision: np.ndarray
    recall: np.ndarray
    score: np.ndarray
    objects: int

    @staticmethod
    def of(right, score, objects):
        """From right (D,): whether each detection is."""
        found = np.cumsum(right)
        return Curve(found / np.arange(1, len(right) + 1), found / objects, score, objects)


def envelope(precision):
    """The best precision at this recall or any higher one: the curve (D,) or (…,D) without its teeth."""
    return np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]


def at_recalls(recall, precision, wanted):
    """The envelope at the recalls `wanted`: at the first point that reaches each, 0 beyond the last."""
    at = np.searchsorted(recall, wanted, side="left")
    return np.append(envelope(precision), 0.0)[np.minimum(at, len(recall))]


def eleven_points(curve):
    """VOC 2007's AP: the mean of the envelope at recalls 0, 0.1, … 1.

    The recalls are multiples of the float 0.1, as in the authors' code, so three times 0.1 lies
    a hair above 3/10: three of ten objects found do not reach it.
    """
    return float(at_recalls(curve.recall, curve.precision, ELEVEN).mean())


def area_under(curve):
    """AP of VOC 2010 and later: Σ (step in recall) · (envelope at its end)."""
    return float((np.diff(curve.recall, prepend=0.0) * envelope(curve.precision)).sum())
