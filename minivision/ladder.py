"""The sanity ladder (健全性阶梯) for detectors: steps to climb before a long training run, each with its own number.

    0  examples    four sums that are known by heart: overlap, suppression, offsets, RoI Align
    1  anchors     is there an anchor near every object, and how many learn each?
    2  chance      before the first step every answer is its bias: the loss must be the one derived on paper
    3  targets     what the network is told to answer, decoded and suppressed as its own answers are, must be the objects
    4  overfit     a few images, over and over: AP at IoU 0.5 must reach 0.99

A mistake in the code shows at the first step that uses it, before it costs a night. Chapter 16 puts in ten.
"""

import math
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from itertools import islice, repeat

import numpy as np
from tqdm import tqdm

from minivision.backend import as_rng
from minivision.detection import boxes, coder, evaluate, suppression
from minivision.models import SSD, YOLO, FasterRCNN, YOLOv1
from minivision.ops import roi_align
from minivision.optim import AdamW, clip_gradients, cosine
from minivision.tensor import Tensor, no_grad

__all__ = ["Step", "anchors", "chance", "climb", "derivative", "examples", "frozen", "learn", "overfit", "targets"]


@dataclass
class Step:
    """One step of the ladder: its name, whether it holds, and the figures in a sentence. value: AP, of steps 3 and 4; counts: of
    step 1, how many anchors learn each object."""

    name: str
    holds: bool
    said: str
    value: float | None = None
    counts: np.ndarray | None = None

    def __str__(self):
        return f"{'ok  ' if self.holds else 'FAIL'} {self.name:8s} {self.said}"


@contextmanager
def frozen(model):
    """Inside `with frozen(model) as plans:` each joint of the model answers as at its first call, plans[name]: targets, matches and
    proposals are constants, and the loss is a function that can be differentiated numerically."""
    plans = {}

    def hold(owner, name):
        decide = getattr(owner, name)

        def again(*arguments):
            if name not in plans:
                plans[name] = decide(*arguments)
            return plans[name]

        return again

    joints = model.joints()
    for owner, name in joints:
        object.__setattr__(owner, name, hold(owner, name))
    try:
        yield plans
    finally:
        for owner, name in joints:
            object.__delattr__(owner, name)


def examples():
    """Step 0. Worked examples: each line is a sum to do in one's head."""
    a, b, apart = [0, 0, 4, 4], [2, 2, 6, 6], [4, 0, 8, 4]
    shared = boxes.iou(np.array([a], float), np.array([b, apart], float))[0]
    kept = suppression.nms(np.array([[0, 0, 10, 10], [0, 0, 10, 9.0], [20, 0, 30, 10]]), np.array([0.5, 0.9, 0.7]), 0.5)
    t = coder.encode(np.array([[2, 0, 10, 4.0]]), np.array([[0, 0, 4, 4.0]]))[0]
    ramp = np.arange(8.0) * np.ones((1, 1, 8, 8))
    middle = roi_align(ramp, boxes=np.array([[2, 2, 6, 6.0]]), image=np.zeros(1, int), size=1).data.item()
    right = {"overlap 2·2 / (16 + 16 − 4), and 0 for boxes that only touch": np.allclose(shared, [1 / 7, 0]),
             "suppression keeps the surest of two, then the other object": kept.tolist() == [1, 2],
             "offsets: a box width to the right, twice as wide": np.allclose(t, [1, 0, math.log(2), 0]),
             "RoI Align of a ramp is its value in the middle": math.isclose(middle, 3.5)}
    wrong = [name for name, holds in right.items() if not holds]
    return Step("examples", not wrong, "; ".join(wrong) or f"{len(right)} worked examples")


def anchors(model, images, truth, least=0.5):
    """Step 1. How near the nearest anchor of each object is (IoU ≥ 0.5 for the share `least` of them), and how many anchors are
    told to find it: at least one. counts (G,): that number, object by object; difficult ones and crowds are left out."""
    if isinstance(model, YOLOv1):
        return Step("anchors", True, "none: a cell of the grid answers for the object whose centre it holds")
    frame = model.framed(images)
    with frozen(model) as plans, no_grad():
        model.loss(images, truth)
        rows, told = told_boxes(model, frame, plans["assign"])
    overlap = lambda rows, t: boxes.iou(rows, t.boxes.astype(rows.dtype))
    truth = [t.keep(~(t.difficult | t.crowd)) for t in truth]
    best = np.concatenate([overlap(rows, t).max(axis=0) for t in truth if len(t)])
    learn = [np.bincount(overlap(own, t).argmax(axis=1), minlength=len(t)) for own, t in zip(told, truth) if len(t)]
    counts = np.concatenate(learn)
    said = (f"nearest anchor of {len(best)} objects: IoU {best.mean():.2f} on average, ≥ 0.5 for {(best >= 0.5).mean():.0%}; "
            f"{counts.min()} … {counts.max()} of {len(rows)} anchors learn each")
    return Step("anchors", (best >= 0.5).mean() >= least and counts.min() >= 1, said, counts=counts)


def told_boxes(model, frame, plan):
    """(anchors (R,4), for each image the boxes that its matched anchors are told to answer)."""
    if isinstance(model, YOLO):
        t, rows, strides = model(Tensor(frame.x))
        labels, centre, shape, *_ = plan
        t = model.encode(centre, shape).astype(rows.dtype)
        return rows, [model.decode(row, rows, strides)[label >= 0] for row, label in zip(t, labels)]
    if isinstance(model, SSD):
        (_, wanted, positive), rows, deviations = plan, model(Tensor(frame.x))[2], model.deviations
    else:
        (_, positive, wanted), rows, deviations = plan, model.rpn(model.backbone(Tensor(frame.x)))[2], (1, 1, 1, 1)
    return rows, [coder.decode(t, rows, deviations)[p] for t, p in zip(wanted, positive)]


def kind_of(model):
    return next(kind for kind in (SSD, YOLO, YOLOv1, FasterRCNN) if isinstance(model, kind))


def smooth(d, beta=1.0):
    size = np.abs(d)
    return np.where(size < beta, d * d / (2 * beta), size - beta / 2)


def expected(model, plans, images):
    """{name: loss} of a network whose answers are all its biases, derived term by term from what it is told to answer."""
    kind, K, plan = kind_of(model), model.classes, plans["assign"]
    if kind is SSD:             # every class as likely, K of them and background; every offset 0
        labels, wanted, positive = plan
        N = max(1, positive.sum())
        return {"class": (labels >= 0).sum() / N * math.log(K + 1), "box": smooth(wanted[positive]).sum() / N}
    if kind is YOLO:            # σ(0) = ½ wherever the centre is; objectness π; every class as likely
        labels, _, shape, _, weight = plan
        positive, pi = labels >= 0, model.pi
        N, P = max(1, positive.sum()), positive.sum()
        return {"centre": 2 * math.log(2) * P / N, "shape": (shape[positive] ** 2).sum() / N,
                "objectness": (-P * math.log(pi) - (weight[~positive].sum()) * math.log(1 - pi)) / N, "class": P / N * math.log(K)}
    if kind is YOLOv1:          # every number 0: the squares of what is wanted
        wanted, responsible, _, onehot = plan
        R = responsible[..., None]
        sums = {"centre": model.coord * (R * wanted[..., :2] ** 2).sum(), "shape": model.coord * (R * wanted[..., 2:4] ** 2).sum(),
                "object": (responsible * wanted[..., 4] ** 2).sum(), "no_object": 0.0, "class": onehot.sum()}
        return {name: value / len(images) for name, value in sums.items()}
    asked, positive, wanted = plan
    rois, _, labels, head_wanted = plans["choose"]
    return {"rpn_objectness": math.log(2), "rpn_box": smooth(wanted[positive], model.rpn.settings.beta).sum() / max(1, asked.sum()),
            "head_class": math.log(K + 1),
            "head_box": smooth(head_wanted[labels > 0], model.roi_heads.settings.beta).sum() / max(1, len(rois))}


def chance(model, images, truth, tolerance=1e-3):
    """Step 2, for a model that has not learned anything yet: each term of its loss against the one derived on paper."""
    with frozen(model) as plans, no_grad():
        losses = {name: loss.item() for name, loss in model.loss(images, truth).items()}
    paper = expected(model, plans, images)
    wrong = [name for name in losses if not abs(losses[name] - paper[name]) <= tolerance * max(abs(paper[name]), 1e-3)]
    return Step("chance", not wrong, ", ".join(f"{name} {losses[name]:.4f} (on paper {paper[name]:.4f})" for name in losses))


def derivative(model, images, truth, rng, distances=(1e-7, 3e-8, 1e-8)):
    """The relative error of the whole loss's gradient along one random direction in the space of all parameters, in float64
    and with targets, matches and proposals frozen:

        ⟨∇loss, d⟩ against (loss(p + εd) − loss(p − εd)) / 2ε

    at the best ε of `distances`: a long step crosses kinks of ReLUs, a short one drowns in rounding. The model itself is not
    changed; its copy gets a little noise first, since a last layer of zeros would stop every gradient below it.
    """
    model, rng, images = deepcopy(model), as_rng(rng), [np.asarray(image, np.float64) for image in images]
    parameters = model.parameters()
    for p in parameters:
        p.data = p.data + 0.02 * rng.standard_normal(p.shape)
    direction = [rng.standard_normal(p.shape) for p in parameters]

    def at(distance):
        start = [p.data for p in parameters]
        for p, d in zip(parameters, direction):
            p.data = p.data + distance * d
        value = sum(loss.item() for loss in model.loss(images, truth).values())
        for p, data in zip(parameters, start):
            p.data = data
        return value

    with frozen(model):
        sum(model.loss(images, truth).values(), start=0).backward()
        slope = sum(float((p.grad * d).sum()) for p, d in zip(parameters, direction) if p.grad is not None)
        return min(abs((at(e) - at(-e)) / (2 * e) - slope) / abs(slope) for e in distances)


def targets(model, images, truth, least=0.99):
    """Step 3. AP of a network that answers exactly what it is told to."""
    with no_grad():
        found = model.told(model.framed(images), truth)
    ap = evaluate(found, truth, "voc10").ap
    return Step("targets", ap >= least, f"AP {ap:.4f} at IoU 0.5 for answers as they are told", ap)


def learn(model, stream, steps, *, lr=0.003, progress=False):
    """The shortest training that works for all three: AdamW, a rise and half a cosine, clipped gradients. Returns [{name: loss}],
    one a step; stops where a loss is not finite. stream: an iterable of at least `steps` batches (images, targets), such as
    `batches.stream(rng)`.

    For looking at; `train.fit` validates, writes checkpoints and resumes.
    """
    optimiser, schedule, history = AdamW(model.parameters(), lr, weight_decay=5e-4), cosine(steps, warm_up=20), []
    model.train()
    with tqdm(islice(stream, steps), total=steps, disable=not progress, unit="step") as bar:
        for step, (images, targets) in enumerate(bar):
            optimiser.zero_grad()
            losses = model.loss(images, targets)
            history.append({name: loss.item() for name, loss in losses.items()})
            if not math.isfinite(total := sum(history[-1].values())):
                break
            sum(losses.values(), start=0).backward()
            clip_gradients(optimiser.parameters, 10.0)
            optimiser.lr = lr * schedule(step)
            optimiser.step()
            bar.set_postfix_str(f"loss {total:.3f}", refresh=False)
    return history


def overfit(model, images, truth, *, steps=150, lr=0.003, least=0.99, progress=False):
    """Step 4. Train on these images alone, all at every step, and find their objects again."""
    history = learn(model, repeat((images, truth)), steps, lr=lr, progress=progress)
    loss = sum(history[-1].values())
    ap = evaluate(model.detect(images), truth, "voc10").ap if math.isfinite(loss) else 0.0
    said = f"AP {ap:.4f} at IoU 0.5 on {len(images)} images after {len(history)} steps, loss {loss:.3f}"
    return Step("overfit", ap >= least, said, ap)


def climb(model, images, truth, *, steps=150, progress=False):
    """Yield the steps of a new model on a few images and their `Target`s; all are made, also after one that fails."""
    yield examples()
    yield anchors(model, images, truth)
    yield chance(model, images, truth)
    yield targets(model, images, truth)
    yield overfit(model, images, truth, steps=steps, progress=progress)
