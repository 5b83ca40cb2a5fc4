"""One training loop (训练循环) for all models: a model gives `loss(images, targets)`, this does the rest.

    for every epoch, for every batch:   losses → backward → clip → schedule → step
    after every epoch:                  validate → log → checkpoint
"""

import json
import math
import time
from functools import reduce
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minivision import checkpoint, weights
from minivision.arithmetic import add
from minivision.backend import array_module, as_rng, to_device
from minivision.kernels.cpu.threads import thread_count
from minivision.nn import watch
from minivision.optim import clip_gradients, constant
from minivision.tensor import no_grad
from minivision.weights.files import write_atomically


class DivergedError(ValueError):
    """The loss is NaN or infinite."""


def fit(model, optimiser, train, validation, *, epochs, directory, rng, schedule=None, clip=None, resume=False,
        progress=True, every=1, picture=None):
    """Train a model and return its history, a list of {"epoch", "loss", <validation metrics>} per epoch.

    model        has loss(images, targets) → {name: Tensor}, evaluate(batches) → {metric: number}, main_metric
    train        `data.Batches`, shuffled by `rng`; validation: `data.Batches`, or None
    directory    of this run: log.jsonl, loss.png, checkpoints, best.safetensors, model.safetensors
    rng          a numpy Generator; with the same one, the same model and the same data come the same bytes
    schedule     step → factor for optimiser.lr;  clip: the largest norm of all gradients together
    every        epochs between two validations; the last epoch always has one
    picture      None, or a function of (model) → figure, drawn after each validation into pictures/epoch-0007.png
    resume       go on from the newest checkpoint in `directory`, bit for bit as if never stopped (if there is none, start)

    ValueError if the directory holds a run and `resume` is not asked. DivergedError, naming step, batch and layer, at the
    first loss that is not finite; the checkpoints before it are kept.
    """
    directory, schedule, rng, lr = Path(directory), schedule or constant(), as_rng(rng), optimiser.lr
    newest = checkpoint.latest(directory)
    if newest and not resume:
        raise ValueError(f"{directory} holds a training run already; resume it, or choose another directory")
    directory.mkdir(parents=True, exist_ok=True)
    for leftover in directory.glob(".*.partial"):           # of a run that was killed while writing
        if leftover.is_file():
            leftover.unlink()
    state = {"epoch": 0, "step": 0, "best": None, "history": []}
    if newest:
        state = checkpoint.load(newest, model, optimiser)
        lr, rng.bit_generator.state = state["lr"], state["rng"]
    else:
        save(directory, model, optimiser, state, lr, rng)
    log = Log(directory / "log.jsonl", keep_to=state["step"])
    drawn = time.monotonic()
    try:
        while state["epoch"] < epochs:
            entry, steps, speed = one_epoch(model, optimiser, train, rng, state, epochs, lr, schedule, clip, log, progress)
            state = state | {"epoch": state["epoch"] + 1, "step": state["step"] + steps}
            looked = state["epoch"] % every == 0 or state["epoch"] == epochs
            if validation is not None and looked:
                entry |= {f"validation_{name}": x for name, x in model.evaluate(validation).items()}
            if progress:
                tqdm.write("          " + ", ".join(f"{k} {v:.4f}" for k, v in entry.items() if k != "epoch"))
            state["history"] = [*state["history"], entry]
            log.write({"step": state["step"], **entry, "images_per_second": speed})
            log.flush()
            if picture is not None and looked:
                (directory / "pictures").mkdir(exist_ok=True)
                picture(model).savefig(directory / "pictures" / f"epoch-{state['epoch']:04d}.png")
            score = entry.get(f"validation_{model.main_metric}")
            if score is not None and (state["best"] is None or score > state["best"]["score"]):
                # Before the checkpoint: a kill in between repeats the epoch and writes the same.
                state["best"] = {"epoch": state["epoch"], "score": score}
                write_model(model, directory / "best.safetensors", state["best"])
            save(directory, model, optimiser, state, lr, rng)
            if time.monotonic() - drawn > 20 and state["epoch"] < epochs:
                draw_loss(log.path, directory / "loss.png")
                drawn = time.monotonic()
    finally:
        log.close()
        optimiser.lr = lr                                   # the schedule's factor is not the user's learning rate
    write_model(model, directory / "model.safetensors", {"epoch": state["epoch"]})
    draw_loss(directory / "log.jsonl", directory / "loss.png")
    return state["history"]


def one_epoch(model, optimiser, train, rng, state, epochs, lr, schedule, clip, log, progress):
    """Every image once: (log entry, steps made, images a second)."""
    model.train()
    epoch, step, total, count = state["epoch"] + 1, state["step"], 0.0, 0
    started = time.monotonic()
    bar = tqdm(train.epoch(rng), total=len(train), desc=f"epoch {epoch}/{epochs}", unit="batch", disable=not progress)
    for batch, (images, targets) in enumerate(bar):
        if len(images) == 0:                                # all of them broken, and left out as asked
            continue
        where = f"step {step + 1} (epoch {epoch}, batch {batch + 1})"
        images, targets = to_device(images, model.device), to_device(targets, model.device)
        losses = model.loss(images, targets)
        loss = reduce(add, losses.values())
        value = loss.item()
        if not math.isfinite(value):
            raise DivergedError(describe_divergence(model, images, targets, losses, where))
        optimiser.zero_grad()
        loss.backward()
        if clip:
            try:
                clip_gradients(optimiser.parameters, clip)
            except ValueError as error:
                raise DivergedError(f"{where}: {error}; first in parameter {first_bad_gradient(model)}") from None
        optimiser.lr = lr * schedule(step)
        optimiser.step()
        step += 1
        total, count = total + value * len(images), count + len(images)
        parts = {name: x.item() for name, x in losses.items()} if len(losses) > 1 else {}
        log.write({"step": step, "epoch": epoch, "loss": value, **parts, "lr": optimiser.lr})
        speed = count / max(1e-9, time.monotonic() - started)
        bar.set_postfix_str(f"loss {total / count:.4f}, {speed:.0f} images/s", refresh=False)
    if count == 0:
        raise ValueError("there is not one image to train on")
    return {"epoch": epoch, "loss": total / count}, step - state["step"], speed


def save(directory, model, optimiser, state, lr, rng):
    threads = thread_count()
    checkpoint.save(directory, model, optimiser, state | {"lr": lr, "rng": rng.bit_generator.state, "threads": threads})


def first_bad_gradient(model):
    gradients = ((path, p.grad) for path, p in model.named_parameters() if p.grad is not None)
    return next((path for path, g in gradients if not array_module(g).isfinite(g).all()), "?")


def write_model(model, path, about):
    weights.save(model, path, {k: str(v) for k, v in about.items()})


def draw_loss(log, path):
    """The loss of every step, its running mean, and the validation metrics, as a picture."""
    from minivision import draw
    draw.training(read_log(log)).savefig(path)


class Log:
    """JSON lines, one a step and one an epoch. What a killed run wrote beyond its last checkpoint is dropped first."""

    def __init__(self, path, keep_to):
        self.path = Path(path)
        kept = [entry for entry in read_log(path) if entry["step"] <= keep_to] if self.path.exists() else []
        write_atomically(self.path, "".join(json.dumps(entry) + "\n" for entry in kept).encode())
        self.file = open(self.path, "a", encoding="utf-8")      # noqa: SIM115 (closed by close())

    def write(self, entry):
        self.file.write(json.dumps(entry) + "\n")

    def flush(self):
        self.file.flush()

    def close(self):
        self.file.close()


def read_log(path):
    """The entries of a log.jsonl. A last line that a kill cut off is left out; any other damage is a ValueError."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    entries = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            entry["step"] + 0
            entries.append(entry)
        except (ValueError, TypeError, KeyError):
            if number < len(lines):
                raise ValueError(f"{path}: line {number} is not an entry of a log: {line[:60]!r}") from None
    return entries


def describe_divergence(model, images, targets, losses, where):
    """Where a loss that is not finite first came from: the images, a parameter, a layer, or the loss itself."""
    values = ", ".join(f"{name} = {x.item()}" for name, x in losses.items())
    where = f"{where}: the loss is not finite ({values})"
    bad = [i for i, image in enumerate(images) if not np.isfinite(to_device(image, "cpu")).all()]
    if bad:
        return f"{where}; image {bad[0]} of the batch holds NaN or infinity already"
    for path, p in model.named_parameters():
        if not array_module(p.data).isfinite(p.data).all():
            return (f"{where}; parameter {path} holds NaN or infinity since an earlier step: "
                    "try a smaller learning rate or clip the gradients")
    names, first = {id(m): path for path, m in model.named_modules()}, []

    def look(module, y):
        if not first and hasattr(y, "data") and not array_module(y.data).isfinite(y.data).all():
            first.append(f"layer {names.get(id(module)) or type(module).__name__} ({type(module).__name__})")

    with no_grad(), watch(look), np.errstate(all="ignore"):
        model.loss(images, targets)
    return f"{where}; it first appeared in the output of {first[0]}" if first else f"{where}; it arose in the loss itself"
