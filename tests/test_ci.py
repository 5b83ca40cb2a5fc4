"""With CI=true nothing is skipped: the references are installed and the real data is there."""

import importlib.util

import pytest

from tests.conftest import IN_CI, SHARED


@pytest.mark.parametrize("name", ["torch", "pycocotools", "onnx", "onnxruntime", "hypothesis", "nbclient"])
def test_references_are_installed(name):
    assert importlib.util.find_spec(name) or not IN_CI


def test_the_real_data_is_there():
    assert SHARED.is_dir() or not IN_CI
