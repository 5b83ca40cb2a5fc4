"""Augmentation that changes labels too, freezing, new heads, learning rates by group: transfer learning and fine-tuning (C1, C6, C7, C8,
C9, C10, C11)."""

import numpy as np
import pytest

from minivision import data, models, nn, ops, optim, transfer, weights
from minivision.data import augment
from minivision.data.crops import window
from minivision.experiment import evaluate, resume, train
from minivision.settings import Settings
from minivision.tensor import Tensor, vjp
from tests.small_transfer import first_task, second_task


def pictures(N=6, C=3, H=20, W=24, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (N, C, H, W), dtype=np.uint8)


# ---- augmentation

@pytest.mark.parametrize("f", [data.random_rotate, data.random_zoom, data.random_colour, data.cutout, data.random_flip, data.random_crop])
def test_augmentations_are_repeatable_and_leave_their_input_alone(f):
    for C in (1, 3):
        images = pictures(C=C)
        before = images.copy()
        a, b, other = f(images, 3), f(images, np.random.default_rng(3)), f(images, 4)
        assert a.dtype == np.uint8
        assert a.shape == images.shape
        assert np.array_equal(a, b)
        assert not np.array_equal(a, other)
        assert np.array_equal(images, before)
        assert f(images[:0], 0).shape == (0, *images.shape[1:])


def test_a_rotation_by_hand():
    """A quarter turn anticlockwise is NumPy's rot90; no turn changes nothing."""
    image = pictures(1, H=9, W=9)[0]
    np.testing.assert_array_equal(augment.turned(image, 90), np.rot90(image, axes=(1, 2)))
    np.testing.assert_array_equal(data.random_rotate(image[None], 0, degrees=0), image[None])


def test_rotation_stays_within_its_degrees_and_goes_both_ways():
    """A bright row through the middle, turned by at most 10°: at the edge it moves by at most tan 10° of half the width."""
    images = np.zeros((60, 1, 41, 41), np.uint8)
    images[:, :, 20] = 255
    at = data.random_rotate(images, 0, degrees=10)[:, 0, :, 38].argmax(axis=1) - 20
    assert np.abs(at).max() <= np.ceil(18 * np.tan(np.radians(10)))
    assert at.min() < -1
    assert at.max() > 1


def test_cutout_covers_what_it_says():
    """With a middle inside, exactly size² pixels take the mean colour; the rest is as it was."""
    images = pictures(50, H=16, W=16)
    out = data.cutout(images, 0, size=6)
    for image, covered in zip(images, out):
        changed = (covered == image.mean(axis=(1, 2)).astype(np.uint8)[:, None, None]).all(axis=0)
        assert 9 <= changed.sum() <= 36
        np.testing.assert_array_equal(covered[:, ~changed], image[:, ~changed])
    assert max((a != b).any(axis=0).sum() for a, b in zip(images, out)) >= 30


def test_zoom_keeps_at_least_its_share():
    """A ramp from left to right, zoomed: slopes between 1 and what half the area and a ratio of 4/3 allow."""
    ramp = np.broadcast_to(np.arange(0, 240, 4, dtype=np.uint8), (40, 1, 60, 60))
    out = data.random_zoom(ramp, 0, least=0.5)[:, 0, 30].astype(int)
    width = (out[:, -1] - out[:, 0]) / 4 + 1
    assert width.min() >= 60 * np.sqrt(0.5 * 3 / 4) - 3
    assert width.max() <= 61
    assert width.min() < 50


def test_zoom_keeps_its_promise_on_images_that_are_not_square():
    """A ramp along each axis tells the part that was cut: its area and its ratio, in every image."""
    for H, W in ((48, 160), (64, 64)):
        ramp = np.stack([np.broadcast_to(np.linspace(0, 255, H)[:, None], (H, W)), np.broadcast_to(np.linspace(0, 255, W), (H, W))])
        out = data.random_zoom(np.broadcast_to(ramp.astype(np.uint8), (60, 2, H, W)), 0, least=0.6).astype(float)
        tall, wide = ((out[:, 0, -1, 0] - out[:, 0, 0, 0]) / 255, (out[:, 1, 0, -1] - out[:, 1, 0, 0]) / 255)
        whole = (tall > 0.97) & (wide > 0.97)
        ratio = wide * W / (tall * H)
        assert (tall * wide >= 0.6 - 0.06).all()
        assert ((ratio > 0.70) & (ratio < 1.42) | whole).all()
    with pytest.raises(ValueError, match="least is 2"):
        data.random_zoom(pictures(), 0, least=2)


def test_mixup_by_hand():
    """x = λ·x_i + (1−λ)·x_j and labels alike: the share of an image that holds only its label tells λ."""
    labels = np.array([0, 1, 2, 3])
    images = np.broadcast_to(labels.astype(np.float32)[:, None, None, None], (4, 3, 2, 2)).copy()
    mixed, shares = data.mixup(images, labels, 4, np.random.default_rng(5))
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(mixed[:, 0, 0, 0], shares @ np.arange(4), atol=1e-6)
    assert mixed.dtype == np.float32
    with pytest.raises(ValueError, match="alpha is 0"):
        data.mixup(images, labels, 4, 0, alpha=0)
    with pytest.raises(ValueError, match="label -1 of image 2"):
        data.mixup(images, np.array([0, 1, -1, 3]), 4, 0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_with_shares_equals_pytorch(smoothing, rng):
    torch = pytest.importorskip("torch")
    scores, shares = rng.standard_normal((5, 4)), rng.random((5, 4))
    shares /= shares.sum(axis=1, keepdims=True)
    theirs = torch.tensor(scores, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(theirs, torch.tensor(shares), label_smoothing=smoothing)
    loss.backward()
    y, backward = vjp(ops.softmax_cross_entropy, scores, shares, smoothing=smoothing)
    assert y == pytest.approx(loss.item(), rel=1e-9)
    np.testing.assert_allclose(backward(1.0)[0], theirs.grad.numpy(), atol=1e-10)


@pytest.mark.parametrize("shares, words", [
    (np.full((2, 3), 0.5), "each row with the sum 1"), (np.array([[1.5, -0.5, 0]] * 2), "each ≥ 0"), (np.ones((2, 4)) / 4, r"expected \(2,3\)")])
def test_shares_that_are_none_are_refused(shares, words):
    with pytest.raises(ValueError, match=words):
        ops.softmax_cross_entropy(np.zeros((2, 3)), shares)


def test_batches_mix_in_training_and_not_in_evaluation():
    images = data.LabelledImages(pictures(8), np.arange(8) % 4, "abcd")
    mix = lambda x, t, rng: data.mixup(x, t, 4, rng, alpha=1.0)
    batches = data.Batches(images, 4, mean=[0.5] * 3, deviation=[0.2] * 3, mix=mix)
    assert [t.shape for _, t in batches.epoch(0)] == [(4, 4)] * 2
    assert [t.shape for _, t in batches] == [(4,)] * 2
    for (a, s), (b, t) in zip(batches.epoch(1), batches.epoch(1)):
        assert np.array_equal(a, b)
        assert np.array_equal(s, t)


# ---- freezing and new heads

NETWORKS = ["resnet18", "resnet9", "resnet20", "se_resnet18", "squeezenet1_1", "mobilenet_v2", "densenet121", "googlenet", "alexnet", "vgg11"]


def test_a_new_head_takes_the_relu6_behind_it_away(rng):
    """As a layer, and where it was folded into the old head."""
    x = Tensor(rng.standard_normal((4, 3, 5, 5)).astype(np.float32))
    whole = nn.Sequential(nn.Conv2d(3, 6, 1, rng=0), nn.ReLU6(), nn.GlobalAvgPool2d())
    for model in (whole, nn.fold(whole, lambda m: m(x))):
        transfer.new_head(model, 2, rng=0)
        y = model(x).data
        assert y.shape == (4, 2)
        assert y.min() < 0


@pytest.mark.parametrize("name", NETWORKS)
def test_a_new_head_for_every_network(name):
    """Scores of the new classes, all near 0; the body as it was."""
    model = vars(models)[name]().eval()
    body = {k: x for k, x in model.state().items() if not k.startswith(transfer.last_layer(model)[0])}
    head = transfer.new_head(model, 7, rng=0)
    y = model.eval()(Tensor(np.random.default_rng(0).standard_normal((2, 3, 64, 64), dtype=np.float32)))
    assert y.shape == (2, 7)
    assert transfer.last_layer(model)[1] is head
    after = model.state()
    assert all(np.array_equal(x, after[k]) for k, x in body.items())


def test_nothing_is_recorded_below_a_frozen_body():
    """The scores' only parents are the head's own parameters: no map of the body is kept for a backward pass."""
    model = models.resnet18(10)
    head = transfer.freeze_body(model)
    model.train()
    y = model(Tensor(np.zeros((2, 3, 32, 32), np.float32)))
    assert y.parents == (None, head.weight, head.bias)
    assert [m.training for m in (model.bn1, model.layer1[0].bn1, head)] == [False, False, True]


def test_frozen_means_still():
    """A step of training moves the head alone: no parameter of the body, no running average."""
    model = models.resnet20(10)
    head = transfer.freeze_body(model)
    before, path = model.state(), transfer.last_layer(model)[0]
    step(model.train(), optim.SGD(model.parameters(), 0.1))
    moved = {k for k, x in model.state().items() if not np.array_equal(x, before[k])}
    assert moved == {f"{path}.weight", f"{path}.bias"}
    assert head.weight.grad is not None


def test_frozen_weights_with_averages_that_follow():
    model = models.resnet20(10)
    transfer.freeze_body(model, statistics=False)
    before = model.state()
    step(model.train(), optim.SGD(model.parameters(), 0.1))
    moved = {k.rpartition(".")[2] for k, x in model.state().items() if not np.array_equal(x, before[k]) and not k.startswith("linear")}
    assert moved == {"running_mean", "running_var"}


def test_unfreezing_stage_by_stage():
    """From the top down: what is unfrozen learns from then on, and the modes follow."""
    model = models.resnet20(10)
    transfer.freeze_body(model)
    model.layer3.unfreeze()
    model.train()
    assert (model.layer3[0].bn1.training, model.layer2[0].bn1.training) == (True, False)
    before = model.state()
    step(model, optim.SGD(model.parameters(), 0.1))
    moved = {k.split(".")[0] for k, x in model.state().items() if not np.array_equal(x, before[k])}
    assert moved == {"layer3", "linear"}
    model.unfreeze().eval()
    assert all(p.requires_grad for p in model.parameters())
    assert not model.bn1.training
    assert model.train().bn1.training


def step(model, optimiser):
    optimiser.zero_grad()
    model.loss(np.random.default_rng(0).standard_normal((4, 3, 16, 16), dtype=np.float32), np.arange(4))["cross_entropy"].backward()
    optimiser.step()


def test_frozen_dropout_drops_nothing():
    net = nn.Sequential(nn.Dropout(0.5, rng=0), nn.Flatten()).freeze().train()
    x = Tensor(np.ones((2, 50), np.float32))
    assert np.array_equal(net(x).data, x.data)


# ---- learning rates by group

def test_groups_are_cut_where_asked_and_slow_down():
    model = models.resnet18(10)
    parts = transfer.groups(model, ("layer2", "layer4"), factor=0.5)
    assert [factor for _, factor in parts] == [0.125, 0.25, 0.5, 1]
    names = {id(p): path for path, p in model.named_parameters()}
    assert [names[id(part[0])] for part, _ in parts] == ["conv1.weight", "layer2.0.conv1.weight", "layer4.0.conv1.weight", "fc.weight"]
    assert sum(len(part) for part, _ in parts) == len(model.parameters())
    with pytest.raises(ValueError, match="no parameter begins with 'layer9'"):
        transfer.groups(model, ("layer9",))
    with pytest.raises(ValueError, match="'layer1' comes before"):
        transfer.groups(model, ("layer2", "layer1"))


@pytest.mark.parametrize("make", [
    lambda p, lr: optim.SGD(p, lr), lambda p, lr: optim.SGD(p, lr, momentum=0.9, weight_decay=0.1),
    lambda p, lr: optim.SGD(p, lr, momentum=0.9, nesterov=True), lambda p, lr: optim.Adam(p, lr), lambda p, lr: optim.AdamW(p, lr, weight_decay=0.1)])
def test_a_group_moves_as_an_optimiser_of_its_own_would(make, rng):
    start = [rng.standard_normal((3, 2)), rng.standard_normal(4), rng.standard_normal(2)]
    a, b = ([Tensor(x.copy(), requires_grad=True) for x in start] for _ in range(2))
    together, apart = make([(a[:2], 0.1), (a[2:], 1.0)], 0.05), [make(b[:2], 0.005), make(b[2:], 0.05)]
    for _ in range(4):
        for p, q in zip(a, b):
            p.grad = q.grad = rng.standard_normal(p.shape)
        for optimiser in (together, *apart):
            optimiser.step()
    for p, q in zip(a, b):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-12)
    state = together.state()
    make([(a[:2], 0.1), (a[2:], 1.0)], 0.05).load_state(state)


def test_groups_at_the_door():
    p = Tensor(np.zeros(2), requires_grad=True)
    with pytest.raises(ValueError, match="in the optimiser twice"):
        optim.SGD([([p], 0.1), ([p], 1.0)], 0.1)
    with pytest.raises(ValueError, match="factor of a group is 0"):
        optim.SGD([([p], 0)], 0.1)
    with pytest.raises(ValueError, match="a list among the parameters; expected Tensors, or pairs"):
        optim.SGD([([p], 0.1), [p]], 0.1)


# ---- the whole of it

def test_what_was_learned_in_one_task_helps_in_another(tmp_path):
    """C7–C11 as they should be (E44): a network learns the ten digits, is saved, loaded, and given a new head for odd or even, of which
    it sees one example of each digit (measured over five seeds: .93 with a frozen body and fine-tuned, .78 ± .03 from scratch)."""
    first_task(tmp_path / "digits.safetensors")
    scratch, frozen, tuned = np.mean([second_task(tmp_path / "digits.safetensors", labels=1, seed=seed) for seed in range(3)], axis=0)
    assert 0.6 <= scratch <= 0.86
    assert frozen >= 0.89
    assert tuned >= 0.89


@pytest.mark.parametrize("model, head", [("resnet20", "linear"), ("googlenet", "fc")])
def test_a_run_begins_with_weights_and_a_frozen_body(model, head, photos, tmp_path):
    """`minivision train --weights FILE --freeze`: the run resumes and evaluates as any other, and its body is the file's. (A GoogLeNet
    of ours has the paper's 5×5 filters, which the published weights have not.)"""
    start = vars(models)[model](5)
    weights.save(start, tmp_path / "start.safetensors")
    settings = Settings(model=model, data=str(photos), size=32, epochs=2, batch_size=4, weights=str(tmp_path / "start.safetensors"), freeze=True)
    train(settings, tmp_path / "run", progress=False)
    (tmp_path / "start.safetensors").unlink()               # from here on the run has all that it needs
    resume(tmp_path / "run", progress=False)
    found = weights.read(tmp_path / "run" / "model.safetensors")
    assert len(found[f"{head}.weight"]) == 2
    for name, x in start.state().items():
        if not name.startswith(f"{head}."):
            np.testing.assert_array_equal(found[name], x)
    assert evaluate(tmp_path / "run")["images"] == 12


@pytest.mark.parametrize("given, words", [
    ({"freeze": True}, "freeze goes with weights"), ({"body": 0.0}, "body is 0.0"), ({"body": 2.0}, "body is 2.0"),
    ({"model": "ssd", "weights": "x"}, "means nothing to ssd"), ({"augment": "flip,blur"}, "augment has 'blur'"),
    ({"weights": "x", "freeze": True, "body": 0.1, "model": "resnet18"}, "whose body learns")])
def test_settings_of_transfer_at_the_door(given, words):
    with pytest.raises(ValueError, match=words):
        Settings(**given)


@pytest.mark.parametrize("layers", [[nn.Linear(4, 2, rng=0)], (nn.Linear(4, 2, rng=0),), {"fc": nn.Linear(4, 2, rng=0)}], ids=["list", "tuple", "dict"])
def test_a_head_in_a_list_a_tuple_or_a_dict_is_found(layers):
    class Held(nn.Module):
        def __init__(self):
            self.parts = layers

    model = Held()
    head = transfer.new_head(model, 3, rng=0)
    assert transfer.last_layer(model)[1] is head
    assert head.weight.shape == (3, 4)
    with pytest.raises(ValueError, match="Linear has no fully-connected layer"):
        transfer.new_head(nn.Linear(4, 2, rng=0), 3, rng=0)


def test_features_are_refused_where_the_last_layer_sees_others():
    with pytest.raises(ValueError, match="VGG has more than a mean"):
        transfer.features_of(models.vgg11(), np.zeros((1, 3, 32, 32), np.float32))


def test_features_are_the_means_of_the_last_maps(rng):
    model, x = models.resnet20(10).eval(), rng.standard_normal((5, 3, 16, 16)).astype(np.float32)
    found = transfer.features_of(model, x, batch_size=2)
    scores = found @ model.linear.weight.data.T + model.linear.bias.data
    np.testing.assert_allclose(scores, model(Tensor(x)).data, rtol=1e-4, atol=1e-5)


# ---- crops

def test_crops_are_square_windows_around_the_objects():
    """The longer side of the box is the side of the window; outside the image its edge repeats."""
    image = np.zeros((3, 20, 30), np.uint8)
    image[:, 4:8, 10:18] = 200                              # 8 wide, 4 high
    image[:, 16:20, 26:30] = 90                             # in the corner
    wide = window(image, np.array([10.0, 4, 18, 8]), 0.0)
    assert wide.shape == (3, 8, 8)
    np.testing.assert_array_equal(wide[0], np.pad(np.full((4, 8), 200), ((2, 2), (0, 0))))
    corner = window(image, np.array([26.0, 16, 30, 20]), 0.25)
    assert corner.shape == (3, 6, 6)
    np.testing.assert_array_equal(corner[0, 1:, 1:], 90)
    np.testing.assert_array_equal(corner[0, 0], 0)


def test_crops_of_scenes_show_what_their_labels_say():
    scenes = data.scenes(6, (64, 64), 0)
    found = data.crops(scenes, 24)
    expected = np.concatenate([t.labels[~(t.difficult | t.crowd)] for t in scenes.targets])
    np.testing.assert_array_equal(found.labels, expected)
    assert found.images.shape == (len(expected), 3, 24, 24)
    assert found.classes == tuple(scenes.classes)


def test_crops_of_nothing_are_refused():
    scenes = data.scenes(2, (64, 64), 0)
    empty = scenes.subset(np.array([0]))
    empty.targets[0] = empty.targets[0].keep(np.zeros(len(empty.targets[0]), bool))
    with pytest.raises(ValueError, match="not one object to cut out"):
        data.crops(empty, 16)
