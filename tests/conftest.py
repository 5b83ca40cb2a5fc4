"""Fixtures, and two rules: GPU tests run where a GPU is, and in CI nothing may be skipped."""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

settings.register_profile("minivision", deadline=None)      # the first call of a kernel compiles it
settings.load_profile("minivision")

ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("MINIVISION_SHARED", ROOT.parent / "shared")) / "data"
IN_CI = os.environ.get("CI") == "true"


def has_gpu():
    if importlib.util.find_spec("cupy") is None:
        return False
    import cupy
    return cupy.is_available()


def pytest_collection_modifyitems(config, items):
    absent = {"gpu": not has_gpu(), "torchvision": importlib.util.find_spec("torchvision") is None}
    out = [item for item in items if any(missing and item.get_closest_marker(name) for name, missing in absent.items())]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]


skipped = []


def pytest_runtest_logreport(report):
    if report.skipped and not hasattr(report, "wasxfail"):
        skipped.append(report.nodeid)


def pytest_sessionfinish(session, exitstatus):
    if IN_CI and skipped and exitstatus == 0:
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter):
    if IN_CI and skipped:
        terminalreporter.section("skipped in CI, where every comparison must run", red=True)
        for name in skipped:
            terminalreporter.line(name)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def shared():
    """The folder of real data, weights and reference outputs; tests that need it are skipped without it."""
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is not there")
    return SHARED


@pytest.fixture
def photos(tmp_path):
    """A folder of two classes that a glance tells apart: train and test, "dark" and "light", six images of 20×24 in one grey each."""
    for split in ("train", "test"):
        for k, name in enumerate(("dark", "light")):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for i in range(6):
                grey = np.full((20, 24, 3), 40 + 150 * k + i, np.uint8)
                Image.fromarray(grey).save(tmp_path / "photos" / split / name / f"{i}.png")
    return tmp_path / "photos"
