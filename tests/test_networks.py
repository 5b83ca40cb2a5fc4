"""The published networks: their sizes, their maps, that they learn, and what a summary says of them."""

import numpy as np
import pytest

from minivision import models, nn, ops, optim
from minivision.gradcheck import layer_as_function
from minivision.models.darknet import Darknet
from minivision.models.densenet import DenseBlock, Transition
from minivision.models.googlenet import Inception
from minivision.models.mobilenet_v2 import InvertedResidual
from minivision.models.resnet import Bottleneck
from minivision.models.se_resnet import SEBasicBlock, SEBottleneck, SqueezeExcite
from minivision.models.squeezenet import Fire
from minivision.models.ultraface import RFB
from minivision.summary import summary, table
from minivision.tensor import Tensor, no_grad, vjp
from minivision.transfer import new_head

# Parameters with 1000 classes. torchvision's, where it has the network; SE-ResNets: counted from the paper's table 1; ResNet-9 by hand:
# 9·(3·24 + 24·48 + 2·48² + 48·96 + 96·192 + 2·192²) in the filters, two a channel in the norms (2·840), 193·1000 in the last layer.
SIZES = {"alexnet": 61_100_840, "vgg11": 132_863_336, "vgg16": 138_357_544, "resnet18": 11_689_512, "resnet34": 21_797_672,
         "resnet50": 25_557_032, "densenet121": 7_978_856, "squeezenet1_1": 1_235_496, "mobilenet_v2": 3_504_872,
         "se_resnet18": 11_778_592, "se_resnet50": 28_088_024, "resnet9": 1_118_080}


def image(N, H, W, seed=0):
    return np.random.default_rng(seed).standard_normal((N, 3, H, W), dtype=np.float32)


def unsettled(model, seed=0):
    """The model with batch norms that have seen something."""
    rng = np.random.default_rng(seed)
    for _, m in model.named_modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean[:] = rng.normal(0, 0.2, m.running_mean.shape)
            m.running_var[:] = rng.uniform(0.5, 1.5, m.running_var.shape)
            m.weight.data[:] = rng.uniform(0.5, 1.5, m.weight.shape)
            m.bias.data[:] = rng.normal(0, 0.1, m.bias.shape)
    return model


@pytest.mark.parametrize("name", SIZES)
def test_sizes_and_maps_for_images_that_are_not_square(name):
    model = vars(models)[name](1000).eval()
    assert model.size() == SIZES[name]
    H, W = 96, 129
    with no_grad():
        assert model(Tensor(image(2, H, W))).shape == (2, 1000)
        maps = model.features(Tensor(image(1, H, W)))
    assert tuple(m.shape[1] for m in maps) == model.channels
    for m, stride in zip(maps, model.strides):
        for side, length in zip(m.shape[2:], (H, W)):
            assert abs(side - length / stride) <= 1.5


def test_googlenet_with_the_papers_filters_and_with_torchvisions():
    """The published weights have a 3×3 where the paper has its 5×5."""
    assert models.googlenet(largest=3).size() == 6_624_904
    paper = models.googlenet()
    assert paper.inception3a.branch3[1].conv.weight.shape == (32, 16, 5, 5)
    assert paper.eval()(Tensor(image(1, 64, 80))).shape == (1, 1000)


@pytest.mark.parametrize("make, inputs", [
    (lambda rng: Fire(6, 2, 3, rng=rng), 6),
    (lambda rng: InvertedResidual(4, 4, 1, 2, rng=rng), 4),
    (lambda rng: InvertedResidual(4, 6, 2, 2, rng=rng), 4),
    (lambda rng: DenseBlock(2, 4, 3, rng=rng), 4),
    (lambda rng: Transition(4, rng=rng), 4),
    (lambda rng: Inception(4, (2, 2, 3, 2, 2, 2), 5, rng=rng), 4),
    (lambda rng: SEBasicBlock(16, 16, 1, rng=rng), 16),
    (lambda rng: SEBottleneck(8, 4, 2, rng=rng), 8),
    (lambda rng: Bottleneck(8, 4, 2, rng=rng), 8),
    (lambda rng: RFB(16, rng=rng), 16),
], ids=["fire", "inverted residual", "inverted residual, stride 2", "dense block", "transition", "inception", "SE basic", "SE bottleneck",
        "bottleneck", "RFB"])
def test_the_gradient_of_every_block(make, inputs, rng):
    """Whole blocks in float64, with the statistics of their batch: ⟨u, J·v⟩ = ⟨Jᵀu, v⟩ along random directions of input and all
    parameters, by differences so small that no ReLU bends in between."""
    block, x = make(np.random.default_rng(1)).train(), rng.standard_normal((2, inputs, 6, 5))
    for p in block.parameters():
        p.data = p.data.astype(np.float64) + 0.1 * rng.standard_normal(p.shape)
    f = layer_as_function(block, 1)
    arrays = [x, *(p.data for p in block.parameters())]
    y, backward = f(*arrays)
    u = rng.standard_normal(y.shape)
    gradients = backward(u)
    for _ in range(3):
        v, h = [rng.standard_normal(a.shape) for a in arrays], 1e-6
        moved = lambda s: f(*(a + s * h * d for a, d in zip(arrays, v)))[0]
        slope = float((u * (moved(1) - moved(-1))).sum()) / (2 * h)
        claimed = sum(float((g * d).sum()) for g, d in zip(gradients, v))
        assert abs(slope - claimed) <= 1e-6 * sum(float(np.abs(g * d).sum()) for g, d in zip(gradients, v))


def test_squeeze_and_excite_by_hand(rng):
    """y = σ(W₂·ReLU(W₁·z + b₁) + b₂)·x with z the means of the maps."""
    layer, x = SqueezeExcite(16, 4, rng=0), rng.standard_normal((2, 16, 3, 4))
    w1, b1, w2, b2 = (p.data.astype(np.float64) for p in layer.parameters())
    z = np.einsum("nchw->nc", x) / 12
    s = 1 / (1 + np.exp(-(np.maximum(z @ w1.T + b1, 0) @ w2.T + b2)))
    np.testing.assert_allclose(layer(Tensor(x)).data, s[:, :, None, None] * x, rtol=1e-6)


@pytest.mark.parametrize("name, lr", [("squeezenet1_1", 0.001), ("mobilenet_v2", 0.003), ("densenet121", 0.003), ("googlenet", 0.003),
                                      ("se_resnet18", 0.003)])
def test_they_learn_eight_images_by_heart(name, lr):
    model = vars(models)[name]().train()
    new_head(model, 4, rng=0)
    for _, m in model.named_modules():
        if isinstance(m, nn.Dropout):
            m.rate = 0.0
    x, labels = image(8, 48, 48), np.arange(8) % 4
    optimiser = optim.Adam(model.parameters(), lr)
    for step in range(60):
        optimiser.zero_grad()
        loss = model.loss(x, labels)["cross_entropy"]
        if step == 0:
            assert abs(loss.item() - np.log(4)) < 0.3
        loss.backward()
        optimiser.step()
        if loss.item() < 0.1:
            break
    assert loss.item() < 0.1


def test_wrong_stages_and_layers_are_named():
    with pytest.raises(ValueError, match="no layer is named '7'; there are 0, 1"):
        nn.Stages({"0": nn.ReLU(), "1": nn.ReLU()}, ends=("7",))
    with pytest.raises(ValueError, match="layer a is 'relu', not a Module"):
        nn.Sequential({"a": ops.relu})
    for name in ("layers", "a.b", "training"):
        with pytest.raises(ValueError, match="cannot be named"):
            nn.Sequential({name: nn.ReLU()})


@pytest.mark.parametrize("size, image_size", [(1, (5, 7)), ((2, 3), (5, 7)), (6, (13, 10)), (7, (3, 4)), (4, (4, 4))])
def test_adaptive_pooling_equals_pytorch(size, image_size, rng):
    torch = pytest.importorskip("torch")
    x = rng.standard_normal((2, 3, *image_size))
    leaf = torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.adaptive_avg_pool2d(leaf, size)
    y, backward = vjp(ops.adaptive_avg_pool2d, x, size=size)
    np.testing.assert_allclose(y, expected.detach().numpy(), atol=1e-12)
    dy = rng.standard_normal(y.shape)
    expected.backward(torch.tensor(dy))
    np.testing.assert_allclose(backward(dy)[0], leaf.grad.numpy(), atol=1e-12)


# How many layers of each are left without work: batch norms, and the ReLUs that a convolution takes along.
@pytest.mark.parametrize("name, idle", [("resnet18", 12), ("resnet50", 37), ("mobilenet_v2", 87), ("googlenet", 57), ("densenet121", 59),
                                        ("se_resnet18", 20), ("squeezenet1_1", 1), ("resnet20", 10), ("resnet9", 8), ("vgg11", 0)])
def test_folding_changes_no_answer(name, idle):
    """`nn.fold` against the network as it was; it must have found something to fold, and left the original alone."""
    model, x = unsettled(vars(models)[name](7)).eval(), image(2, 64, 80)
    before = model.state()
    folded = nn.fold(model, lambda m: m(Tensor(x)))
    with no_grad():
        y, same = model(Tensor(x)).data, folded(Tensor(x)).data
    assert np.abs(same - y).max() <= 1e-4 * np.abs(y).max()
    assert sum(isinstance(m, nn.Identity) for _, m in folded.named_modules()) == idle
    assert all(np.array_equal(before[k], v) for k, v in model.state().items())


class Twice(nn.Module):
    """What the convolution gives is read by the norm and by the sum; and a norm behind another kind of layer."""

    def __init__(self):
        self.conv, self.norm, self.pool, self.after = nn.Conv2d(3, 4, 3, rng=0), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.BatchNormReLU(4)

    def forward(self, x):
        y = self.conv(x)
        return self.after(self.pool(y + self.norm(y)))


@pytest.mark.parametrize("hold", [tuple, list], ids=["tuple", "list"])
def test_folding_reaches_layers_in_tuples_and_lists(hold):
    class Held(nn.Module):
        def __init__(self):
            self.layers = hold([nn.Conv2d(3, 4, 3, bias=False, rng=0), nn.BatchNorm2d(4)])

        def forward(self, x):
            return self.layers[1](self.layers[0](x))

    model, x = unsettled(Held()).eval(), image(1, 9, 8)
    folded = nn.fold(model, lambda m: m(Tensor(x)))
    assert isinstance(folded.layers[1], nn.Identity)
    np.testing.assert_allclose(folded(Tensor(x)).data, model(Tensor(x)).data, atol=1e-5)


def test_folding_keeps_a_map_that_is_wanted():
    """What the convolution gives goes out as a map of its own."""
    model, x = unsettled(nn.Stages({"0": nn.Conv2d(3, 4, 3, rng=0), "1": nn.BatchNorm2d(4)}, ends=("0", "1"))).eval(), image(1, 9, 8)
    folded = nn.fold(model, lambda m: m(Tensor(x)))
    for a, b in zip(folded(Tensor(x)), model(Tensor(x)), strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_a_frozen_network_folds_as_any_other():
    model, x = unsettled(models.resnet18(4)).eval().freeze(), image(1, 64, 64)
    folded = nn.fold(model, lambda m: m(Tensor(x)))
    assert sum(isinstance(m, nn.Identity) for _, m in folded.named_modules()) == 12


def test_folding_leaves_alone_what_has_two_readers():
    model, x = unsettled(Twice()).eval(), image(1, 9, 8)
    folded = nn.fold(model, lambda m: m(Tensor(x)))
    assert not any(isinstance(m, nn.Identity) for _, m in folded.named_modules())
    np.testing.assert_array_equal(folded(Tensor(x)).data, model(Tensor(x)).data)


def test_a_summary_by_hand():
    """3→4 channels, 3×3 with a bias on 8×8: 112 parameters, 64·4·27 multiply–adds; then 2×2 pooling, and 64 numbers to 5."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, rng=0), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 5, rng=0))

    class Model(models.Classifier):
        def __init__(self):
            self.net = net

        def forward(self, x):
            return self.net(x)

    rows = summary(Model(), (3, 8, 8))
    assert [(r.path, r.parameters, r.work, r.bytes) for r in rows] == [
        ("net.0", 112, 6912, 1024), ("net.1", 0, 0, 256), ("net.2", 0, 0, 256), ("net.3", 325, 320, 20)]
    assert table(Model(), (3, 8, 8)).splitlines()[-1].startswith("437 parameters (0.0 MB), 7 232 multiply–adds".replace(",", " "))


@pytest.mark.parametrize("name, work", [("resnet18", 1_814_073_344), ("mobilenet_v2", 300_774_272), ("vgg16", 15_470_264_320)])
def test_multiply_adds_of_known_networks(name, work):
    """1.81, 0.30 and 15.47 billion for 224²: torchvision's documentation gives 1.81, 0.3 and 15.47 GFLOPS."""
    assert sum(row.work for row in summary(vars(models)[name](), (3, 224, 224))) == work


def test_a_detector_is_summed_up_by_what_it_detects_with(shared):
    model = Darknet(shared / "weights" / "yolo-fastest" / "yolo-fastest-1.1.cfg")
    rows = summary(model, (3, 320, 320))
    assert sum(row.parameters for row in rows) == model.size()
    assert rows[0].shape == (1, 8, 160, 160)
