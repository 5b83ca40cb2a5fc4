"""Checkpoints (检查点): all that a training run needs to go on as if it had never stopped.

    RUN/checkpoint-0007/model.safetensors       parameters and buffers
                        optimiser.safetensors   velocities, averages, the count of steps
                        state.json              epoch, step, random generators, best result so far

A checkpoint is written into a hidden folder, forced to the disk and then renamed, so one that has its name is complete,
whatever was killed when. The two newest are kept.
"""

import json
import os
import re
import shutil
import warnings
from pathlib import Path

from minivision.kernels.cpu.threads import thread_count
from minivision.weights import load as load_weights
from minivision.weights import read_safetensors, write_safetensors
from minivision.weights.files import write_atomically

PATTERN = re.compile(r"checkpoint-(\d+)")
REQUIRED = {"epoch", "step", "best", "history", "lr", "rng", "generators", "threads"}


def save(run, model, optimiser, state):
    """Write RUN/checkpoint-<state["epoch"]>; `state` is what JSON can hold. Returns its folder."""
    run = Path(run)
    final = run / f"checkpoint-{state['epoch']:04d}"
    hidden = run / f".{final.name}.partial"
    for leftover in [*run.glob(".checkpoint-*.partial"), final]:
        shutil.rmtree(leftover, ignore_errors=True)
    hidden.mkdir(parents=True)
    write_safetensors(model.state(), hidden / "model.safetensors")
    write_safetensors(optimiser.state(), hidden / "optimiser.safetensors")
    generators = {path: rng.bit_generator.state for path, rng in model.named_generators()}
    write_json(hidden / "state.json", state | {"generators": generators})
    sync(hidden)
    os.replace(hidden, final)
    sync(run)
    for old in all_of(run)[:-2]:
        doomed = run / f".{old.name}.partial"
        os.replace(old, doomed)                     # first it loses its name, then its files
        shutil.rmtree(doomed)
    return final


def load(folder, model, optimiser=None):
    """Set model (and optimiser) to a checkpoint and return its state; ValueError names what does not fit."""
    folder = Path(folder)
    state = read_json(folder / "state.json")
    missing = REQUIRED - set(state) if isinstance(state, dict) else REQUIRED
    if missing:
        raise ValueError(f"{folder / 'state.json'}: not the state of a run: {', '.join(sorted(missing))} missing")
    if state["threads"] != thread_count():
        warnings.warn(f"{folder} was made with {state['threads']} threads, this process has {thread_count()}: the run "
                      "goes on, but perhaps not to the same last bits", stacklevel=2)
    try:
        model.load_state(read_safetensors(folder / "model.safetensors"))
        if optimiser is not None:
            optimiser.load_state(read_safetensors(folder / "optimiser.safetensors"))
        for path, rng in model.named_generators():
            rng.bit_generator.state = state["generators"][path]
    except (ValueError, KeyError) as error:
        raise ValueError(f"{folder}: {error}") from None
    return state


def all_of(run):
    """The complete checkpoints of a run, oldest first."""
    found = [(int(m[1]), d) for d in Path(run).glob("checkpoint-*") if (m := PATTERN.fullmatch(d.name)) and d.is_dir()]
    return [d for _, d in sorted(found)]


def latest(run):
    """The newest complete checkpoint of a run, or None."""
    return next(reversed(all_of(run)), None)


def weights_file(directory, best=False):
    """The file of a run's newest weights, or of its best ones."""
    if best:
        return Path(directory) / "best.safetensors"
    if newest := latest(directory):
        return newest / "model.safetensors"
    raise FileNotFoundError(f"{directory}: no checkpoint here")


def load_newest(directory, model, best=False):
    """Set the model to the newest checkpoint of a run, or to its best weights."""
    path = weights_file(directory, best)
    if best:
        load_weights(model, path)
    else:
        load(path.parent, model)


def write_json(path, value):
    write_atomically(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def read_json(path):
    """The content of a JSON file; FileNotFoundError or ValueError name it."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from None


def sync(folder):
    """Force a folder's list of names to the disk, where the system has such a thing."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
