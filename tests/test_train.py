"""The training loop: same seed same bytes, resume bit for bit, survive kills, name what diverged."""

import json
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from minivision import checkpoint, data, models, optim, train
from minivision.experiment import evaluate, resume
from minivision.experiment import train as start
from minivision.settings import Settings

SETTINGS = Settings(data="digits", epochs=3, batch_size=128, augment="crop", optimiser="adam", lr=0.002, seed=5)


class Stopped(Exception):
    pass


def stop_after(monkeypatch, epochs):
    """Let the run die right after its checkpoint of that epoch."""
    real = checkpoint.save

    def save(run, model, optimiser, state):
        real(run, model, optimiser, state)
        if state["epoch"] == epochs:
            raise Stopped
    monkeypatch.setattr(checkpoint, "save", save)


def weights_of(run):
    return (run / "model.safetensors").read_bytes()


def log_of(run):
    return [{k: v for k, v in e.items() if k != "images_per_second"} for e in train.read_log(run / "log.jsonl")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    history = start(SETTINGS, run, progress=False)
    return run, history


def test_what_a_run_leaves_behind(whole):
    run, history = whole
    assert {p.name for p in run.iterdir()} == {"settings.json", "classifier.json", "log.jsonl", "loss.png", "best.safetensors",
                                               "model.safetensors", "checkpoint-0002", "checkpoint-0003"}
    assert [h["epoch"] for h in history] == [1, 2, 3]
    assert history[-1]["loss"] < history[0]["loss"] < 2.4
    assert history[-1]["validation_accuracy"] > 0.8
    steps = [e for e in log_of(run) if "lr" in e]
    assert [e["step"] for e in steps] == list(range(1, 37))
    assert steps[0]["loss"] == pytest.approx(np.log(10), rel=0.05)
    assert evaluate(run)["accuracy"] == history[-1]["validation_accuracy"]
    assert evaluate(run, best=True)["accuracy"] == max(h["validation_accuracy"] for h in history)


def test_same_seed_same_bytes_and_another_seed_others(whole, tmp_path):
    start(SETTINGS, tmp_path / "again", progress=False)
    assert weights_of(tmp_path / "again") == weights_of(whole[0])
    assert log_of(tmp_path / "again") == log_of(whole[0])
    start(Settings(**{**vars(SETTINGS), "seed": 6}), tmp_path / "other", progress=False)
    assert weights_of(tmp_path / "other") != weights_of(whole[0])


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_a_stopped_run_goes_on_bit_for_bit(whole, tmp_path, monkeypatch, epochs):
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(patch, epochs)
        start(SETTINGS, tmp_path / "run", progress=False)
    with open(tmp_path / "run" / "log.jsonl", "a") as log:
        log.write('{"step": 999, "lost": true}\n{"step": 10')         # written after the checkpoint, then cut off
    resume(tmp_path / "run", progress=False)
    assert weights_of(tmp_path / "run") == weights_of(whole[0])
    assert log_of(tmp_path / "run") == log_of(whole[0])
    assert resume(tmp_path / "run", progress=False)[-1]["epoch"] == 3       # a finished run stays as it is
    assert weights_of(tmp_path / "run") == weights_of(whole[0])


def test_dropout_and_batch_norm_resume_bit_for_bit_too(tmp_path, monkeypatch):
    from minivision import nn

    class Net(models.Classifier):
        def __init__(self, rng):
            self.layers = nn.Sequential(nn.Conv2d(1, 4, 3, rng=rng), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
                                        nn.Dropout(0.5, rng=rng), nn.Linear(144, 10, rng=rng))

        def forward(self, x):
            return self.layers(x)

    digits, _ = data.load("digits")

    def run(directory, **options):
        model = Net(np.random.default_rng(1))
        optimiser = optim.SGD(model.parameters(), 0.05, momentum=0.9)
        batches = data.Batches(digits.subset(slice(300)), 50, mean=[0.3], deviation=[0.4])
        train.fit(model, optimiser, batches, None, epochs=4, directory=directory, rng=np.random.default_rng(2),
                  schedule=optim.cosine(24), clip=1.0, progress=False, **options)
        return weights_of(directory)

    first = run(tmp_path / "a")
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(patch, 2)
        run(tmp_path / "b")
    assert run(tmp_path / "b", resume=True) == first
    with pytest.raises(ValueError, match="holds a training run already"):
        run(tmp_path / "b")


def test_the_same_objects_can_be_trained_on_after_a_stop(tmp_path):
    """Ctrl-C in a notebook, then `fit(..., resume=True)` with the same model and optimiser: the learning rate of the
    moment of the stop must not become the base of the schedule."""
    digits, _ = data.load("digits")

    def run(directory, stop_at=None):
        seen = []

        def plug(images, rng):
            seen.append(1)
            if len(seen) == stop_at:
                raise KeyboardInterrupt
            return images

        model = models.LinearClassifier()
        optimiser = optim.SGD(model.parameters(), 0.1, momentum=0.9)
        batches = data.Batches(digits.subset(slice(300)), 50, mean=[0.3], deviation=[0.4], augment=[plug], ahead=0)
        fit = lambda **options: train.fit(model, optimiser, batches, None, epochs=4, directory=directory, rng=3,
                                          schedule=optim.cosine(24), progress=False, **options)
        if stop_at:
            with pytest.raises(KeyboardInterrupt):
                fit()
            assert optimiser.lr == 0.1
            fit(resume=True)
        else:
            fit()
        return weights_of(directory)

    assert run(tmp_path / "stopped", stop_at=16) == run(tmp_path / "whole")


@pytest.mark.slow
def test_kill_9_at_twenty_random_moments(tmp_path):
    """A real process, killed twenty times while it trains, writes checkpoints or draws, and resumed each time: the same
    final weights and the same log as a run that was left alone."""
    command = [sys.executable, "-m", "minivision", "train", "--quiet"]
    options = ["--data", "digits", "--epochs", "300", "--batch-size", "256", "--augment", "crop", "--seed", "3"]
    quietly = {"stdout": subprocess.DEVNULL}
    began = time.monotonic()
    subprocess.run([*command, *options, "--out", str(tmp_path / "whole")], check=True, **quietly)
    seconds = time.monotonic() - began
    run, rng = tmp_path / "run", random.Random(0)
    for kill in range(20):
        log = run / "log.jsonl"
        before = log.stat().st_mtime_ns if log.exists() else 0
        process = subprocess.Popen([*command, "--resume", str(run)] if kill else [*command, *options, "--out", str(run)], **quietly)
        while process.poll() is None and (not log.exists() or log.stat().st_mtime_ns == before):
            time.sleep(0.01)                                # not before it has begun to train
        time.sleep(rng.uniform(0, seconds / 25))            # twenty of these are less than the whole run
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    subprocess.run([*command, "--resume", str(run)], check=True, **quietly)
    assert weights_of(run) == weights_of(tmp_path / "whole")
    assert log_of(run) == log_of(tmp_path / "whole")
    assert [p.name for p in run.iterdir() if p.name.startswith(".")] == []


def small_fit(tmp_path, model, images, lr=0.01, steps=None):
    labels = np.arange(len(images)) % 10
    batches = data.Batches(data.LabelledImages(images, labels, "0123456789"), 8, mean=[0], deviation=[1], ahead=0)
    train.fit(model, optim.SGD(model.parameters(), lr), batches, None, epochs=5, directory=tmp_path,
              rng=np.random.default_rng(0), progress=False)


def test_a_loss_that_is_not_finite_names_step_batch_and_layer(tmp_path, rng):
    images = rng.integers(0, 256, (32, 1, 8, 8)).astype(np.uint8)
    model = models.SmallCNN(10, 1, 8)
    whole = model.conv2.forward
    model.conv2.forward = lambda x: whole(x) * np.float32(np.nan)
    with pytest.raises(train.DivergedError, match=r"step 1 \(epoch 1, batch 1\): the loss is not finite \(cross_entropy = nan\); "
                                                  r"it first appeared in the output of layer conv2 \(ConvPoolReLU\)"):
        small_fit(tmp_path / "layer", model, images)
    model = models.SmallCNN(10, 1, 8)
    with pytest.raises(train.DivergedError, match=r"parameter conv1.weight holds NaN or infinity.*smaller learning rate"), np.errstate(all="ignore"):
        small_fit(tmp_path / "parameter", model, images, lr=1e39)
    assert checkpoint.latest(tmp_path / "parameter").name == "checkpoint-0000"      # what was good is kept


def test_a_gradient_that_is_not_finite_is_told_before_it_is_clipped(tmp_path, rng):
    from minivision import op

    @op
    def poison(x):
        return x * 1, lambda dy: (dy * np.nan,)

    model = models.LinearClassifier(10, 1, 8)
    whole = model.fc.forward
    model.fc.forward = lambda x: poison(whole(x))
    batches = data.Batches(data.load("digits")[0].subset(slice(16)), 8, mean=[0.3], deviation=[0.4])
    with pytest.raises(train.DivergedError, match=r"step 1 \(epoch 1, batch 1\): the gradients' norm is nan; first in parameter fc.weight"):
        train.fit(model, optim.SGD(model.parameters(), 0.1), batches, None, epochs=1, directory=tmp_path, rng=0, clip=1.0, progress=False)


def test_nan_in_the_images_names_the_image(tmp_path, rng):
    model = models.LinearClassifier(10, 1, 8)
    images = rng.standard_normal((4, 1, 8, 8)).astype(np.float32)
    images[2, 0, 3, 3] = np.nan
    losses = model.loss(images, np.zeros(4, int))
    text = train.describe_divergence(model, images, np.zeros(4, int), losses, "step 1")
    assert "image 2 of the batch holds NaN or infinity already" in text


def test_a_damaged_checkpoint_names_its_file(whole, tmp_path):
    import shutil
    run = tmp_path / "run"
    shutil.copytree(whole[0], run)
    newest = checkpoint.latest(run)
    (newest / "model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"checkpoint-0003.*model.safetensors.*empty"):
        evaluate(run)
    (newest / "state.json").write_text("{}")
    with pytest.raises(ValueError, match=r"state.json: not the state of a run: best, epoch, .* missing"):
        evaluate(run)
    (newest / "state.json").write_text("{")
    with pytest.raises(ValueError, match=r"state.json: not JSON"):
        evaluate(run)
    (run / "settings.json").write_text(json.dumps({"modell": 1}))
    with pytest.raises(ValueError, match="settings.json: not the settings of a run: modell"):
        evaluate(run)


@pytest.mark.parametrize("options, words", [
    ({"model": "huge"}, "model is 'huge'; there are small-cnn"), ({"augment": "flip,warp"}, "augment has 'warp'"),
    ({"epochs": 0}, "epochs is 0"), ({"optimiser": "sdg"}, "there are sgd"), ({"seed": -1}, "seed is -1"),
    ({"epochs": "3"}, "epochs is '3'; expected int"), ({"smoothing": 1.5}, "0 ≤ smoothing < 1"), ({"lr": float("nan")}, "lr is nan"),
    ({"epochs": 2.5}, "expected int"), ({"clip": float("inf")}, "clip is inf"),
])
def test_settings_are_checked(options, words):
    with pytest.raises(ValueError, match=words):
        Settings(**options)
