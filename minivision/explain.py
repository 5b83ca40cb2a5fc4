"""Tools of the chapters: show the library's own source, check an exercise at once.

    show(conv2d)                    the source of an op, layer or function, as it stands in the library
    band("accuracy", 0.97, 0.95)    a measured figure, and the band in which the text promises it
    Exercise("1", …).check(answer)  tries an answer on every case and shows the first one that is wrong
"""

import inspect
import os
from copy import deepcopy
from textwrap import dedent

import numpy as np

from minivision.summary import summary

QUICK = os.environ.get("MINIVISION_QUICK") == "1"       # chapters: smaller experiments, for a look or for CI


class Source:
    """Source text that a notebook shows with colours."""

    def __init__(self, text):
        self.text = text

    def _repr_html_(self):
        try:
            from pygments import highlight
            from pygments.formatters import HtmlFormatter
            from pygments.lexers import PythonLexer
        except ImportError:
            return None             # the notebook shows the plain text
        frame = "border-left: 3px solid #1f6fb4; padding: 0.3em 0.8em; overflow-x: auto; background: #f6f8fa"
        style = HtmlFormatter(noclasses=True, cssstyles=frame, prestyles="font-family: monospace; margin: 0; font-size: 90%")
        return highlight(self.text, PythonLexer(), style)

    def __repr__(self):
        return self.text


def show(f):
    """The source of an op, kernel, class or function, read from the library: prose and code cannot drift apart."""
    f = getattr(f, "specification", f)
    f = getattr(f, "__wrapped__", f)
    try:
        return Source(dedent(inspect.getsource(f)).rstrip())
    except (TypeError, OSError):
        raise ValueError(f"there is no Python source to show for {f!r}") from None


class Exercise:
    """A task with cases: pairs of (arguments, expected answer).

        exercise = Exercise("1", [((28, 5), 24), ((28, 5, 2), 12)])
        exercise.check(output_size)

    `check` says which case fails, what was answered and what was expected. While the function raises
    NotImplementedError it only says that the exercise is open, so that a chapter runs from top to bottom.
    """

    def __init__(self, name, cases, *, tolerance=1e-9, hint=""):
        self.name, self.cases, self.tolerance, self.hint = name, cases, tolerance, hint

    def check(self, answer):
        """True if all cases are right, False otherwise; prints the verdict."""
        for number, (arguments, expected) in enumerate(self.cases, 1):
            try:
                given = answer(*deepcopy(arguments))        # an answer that writes into its arguments spoils no case
            except NotImplementedError:
                print(f"exercise {self.name}: open. Replace the NotImplementedError and run this cell again.")
                return False
            except Exception as error:
                return self.wrong(number, arguments, f"raised {type(error).__name__}: {error}", expected)
            if not same(given, expected, self.tolerance):
                return self.wrong(number, arguments, brief(given), expected)
        print(f"exercise {self.name}: right ({len(self.cases)} case{'s' * (len(self.cases) > 1)}).")
        return True

    def wrong(self, number, arguments, given, expected):
        print(f"exercise {self.name}: case {number} of {len(self.cases)} is not right yet.\n"
              f"  arguments  {', '.join(brief(a) for a in arguments)}\n"
              f"  answer     {given}\n  expected   {brief(expected)}" + (f"\n  hint       {self.hint}" if self.hint else ""))
        return False


def work_of(model, H, W):
    """Multiply–adds of a model for one image (3,H,W): the sum of its `summary`."""
    return sum(row.work for row in summary(model, (3, H, W)))


def band(name, value, low=-np.inf, high=np.inf):
    """Print a measured figure and the band it must lie in; ValueError if it does not (so a chapter cannot claim it)."""
    limits = f"≥ {low:g}" if high == np.inf else f"≤ {high:g}" if low == -np.inf else f"{low:g} … {high:g}"
    print(f"{name}: {value:.4g}  (expected {limits})")
    if not low <= value <= high:
        raise ValueError(f"{name} is {value:.6g}; the chapter promises {limits}")


def same(given, expected, tolerance):
    if isinstance(expected, (tuple, list)) and isinstance(given, (tuple, list)):
        return len(given) == len(expected) and all(same(g, e, tolerance) for g, e in zip(given, expected))
    if isinstance(expected, (str, bool, type(None))):
        return type(given) is type(expected) and given == expected
    try:
        given, expected = np.asarray(given, float), np.asarray(expected, float)
    except (TypeError, ValueError):
        return False
    return given.shape == expected.shape and bool(np.allclose(given, expected, rtol=tolerance, atol=tolerance))


def brief(value):
    if isinstance(value, np.ndarray) and value.size > 12:
        return f"array of shape {value.shape}"
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=4, separator=", ").replace("\n", "")
    return f"{value:.6g}" if isinstance(value, float) else repr(value)
