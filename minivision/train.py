"""One training loop (训练循环) for all models: a model gives `loss(images, targets)`, this does the rest.

    for every epoch, for every batch:   losses → backward → clip → schedule → step
    after every epoch:                  validate → log → checkpoint
"""

import json
import math
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from minivision import checkpoint, weights
from minivision.nn import watch
from minivision.optim import clip_gradients, constant
from minivision.tensor import no_grad
from minivision.weights.files import write_atomically


class DivergedError(ValueError):
    """The loss is NaN or infinite."""


def fit(model, optimiser, train, validation, *, epochs, directory, rng, schedule=None, clip=None, resume=False,
        progress=True):
    """Train a model and return its history, a list of {"epoch", "loss", <validation metrics>} per epoch.

    model        has loss(images, targets) → {name: Tensor}, evaluate(batches) → {metric: number}, main_metric
    train        `data.Batches`, shuffled by `rng`; validation: `data.Batches`, or None
    directory    of this run: log.jsonl, loss.png, checkpoints, best.safetensors, model.safetensors
    rng          a numpy Generator; with the same one, the same model and the same data come the same bytes
    schedule     step → factor for optimiser.lr;  clip: the largest norm of all gradients together
    resume       go on from the newest checkpoint in `directory`, bit for bit as if never stopped (if there is none, start)

    ValueError if the directory holds a run and `resume` is not asked. DivergedError, naming step, batch and layer, at the
    first loss that is not finite; the checkpoints before it are kept.
    """
    directory, schedule, lr = Path(directory), schedule or constant(), optimiser.lr
    newest = checkpoint.latest(directory)
    if newest and not resume:
        raise ValueError(f"{directory} holds a training run already; resume it, or choose another directory")
    directory.mkdir(parents=True, exist_ok=True)
    state = {"epoch": 0, "step": 0, "best": None, "history": []}
    if newest:
        state = checkpoint.load(newest, model, optimiser)
        rng.bit_generator.state = state["rng"]
    log = Log(directory / "log.jsonl", keep_to=state["step"])
    epoch, step, best, history = state["epoch"], state["step"], state["best"], state["history"]
    if epoch == 0 and not newest:
        checkpoint.save(directory, model, optimiser, state | {"rng": rng.bit_generator.state})
    drawn = time.monotonic()
    while epoch < epochs:
        model.train()
        total = count = 0
        started = time.monotonic()
        bar = tqdm(train.epoch(rng), total=len(train), desc=f"epoch {epoch + 1}/{epochs}", unit="batch",
                   disable=not progress, leave=True)
        for batch, (images, targets) in enumerate(bar):
            losses = model.loss(images, targets)
            loss = sum(losses[name] for name in list(losses)[1:]) + losses[next(iter(losses))]
            value = loss.item()
            if not math.isfinite(value):
                raise DivergedError(describe_divergence(model, images, targets, losses, epoch + 1, step, batch))
            optimiser.zero_grad()
            loss.backward()
            if clip:
                clip_gradients(optimiser.parameters, clip)
            optimiser.lr = lr * schedule(step)
            optimiser.step()
            step += 1
            total, count = total + value * len(images), count + len(images)
            parts = {name: x.item() for name, x in losses.items()} if len(losses) > 1 else {}
            log.write({"step": step, "epoch": epoch + 1, "loss": value, **parts, "lr": optimiser.lr})
            speed = count / max(1e-9, time.monotonic() - started)
            bar.set_postfix_str(f"loss {total / count:.4f}, {speed:.0f} images/s", refresh=False)
        epoch += 1
        entry = {"epoch": epoch, "loss": total / count}
        if validation is not None:
            entry |= {f"validation_{name}": x for name, x in model.evaluate(validation).items()}
            if progress:
                tqdm.write("          " + ", ".join(f"{k} {v:.4f}" for k, v in entry.items() if k != "epoch"))
        history.append(entry)
        log.write({"step": step, **entry, "images_per_second": speed})
        log.flush()
        score = entry.get(f"validation_{model.main_metric}")
        improved = score is not None and (best is None or score > best["score"])
        if improved:                    # before the checkpoint: a kill in between repeats the epoch and writes the same
            best = {"epoch": epoch, "score": score}
            write_model(model, directory / "best.safetensors", best)
        checkpoint.save(directory, model, optimiser, {"epoch": epoch, "step": step, "best": best, "history": history,
                                                      "rng": rng.bit_generator.state})
        if time.monotonic() - drawn > 20 and epoch < epochs:
            draw_loss(log.path, directory / "loss.png")
            drawn = time.monotonic()
    optimiser.lr = lr
    log.close()
    write_model(model, directory / "model.safetensors", {"epoch": epoch})
    draw_loss(directory / "log.jsonl", directory / "loss.png")
    return history


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
            entries.append(json.loads(line))
        except ValueError:
            if number < len(lines):
                raise ValueError(f"{path}: line {number} is not JSON: {line[:60]!r}") from None
    return entries


def describe_divergence(model, images, targets, losses, epoch, step, batch):
    """Where a loss that is not finite first came from: the images, a parameter, a layer, or the loss itself."""
    values = ", ".join(f"{name} = {x.item()}" for name, x in losses.items())
    where = f"step {step + 1} (epoch {epoch}, batch {batch + 1}): the loss is not finite ({values})"
    bad = np.flatnonzero(~np.isfinite(np.asarray(images)).all(axis=(1, 2, 3)))
    if bad.size:
        return f"{where}; image {bad[0]} of the batch holds NaN or infinity already"
    for path, p in model.named_parameters():
        if not np.isfinite(p.data).all():
            return (f"{where}; parameter {path} holds NaN or infinity since an earlier step: "
                    "try a smaller learning rate or clip the gradients")
    names, first = {id(m): path for path, m in model.named_modules()}, []

    def look(module, y):
        if not first and hasattr(y, "data") and not np.isfinite(y.data).all():
            first.append(f"layer {names.get(id(module)) or type(module).__name__} ({type(module).__name__})")

    with no_grad(), watch(look), np.errstate(all="ignore"):
        model.loss(images, targets)
    return f"{where}; it first appeared in the output of {first[0]}" if first else f"{where}; it arose in the loss itself"
