"""Files of weights that others wrote: PyTorch's two formats read without running them, darknet's, and what is refused."""

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

from minivision import models, nn, weights
from minivision.models.darknet import Darknet
from minivision.weights.pickled import read_pickle
from minivision.weights.torch_file import MAGIC, read_torch

BAD = Path(__file__).parent / "bad_inputs"


# ---- PyTorch

def state(torch):
    """Tensors of every kind that is read: contiguous, transposed, a part of a storage, shared, empty, a single number."""
    torch.manual_seed(0)
    x = torch.randn(4, 5)
    return OrderedDict(a=x, turned=x.t(), part=x[1:3, 2:], same=x, half=torch.randn(3).half(), brain=torch.randn(3, 2).bfloat16(),
                       double=torch.randn(2).double(), count=torch.tensor(7), small=torch.arange(3, dtype=torch.uint8), flag=torch.tensor([True, False]),
                       learned=torch.nn.Parameter(torch.randn(2, 2)), empty=torch.zeros(0, 3))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"epoch": 3, "best": 0.5, "state_dict": s}, lambda s: {"model": s, "note": "x"}],
                         ids=["plain", "checkpoint", "model"])
def test_what_pytorch_writes_is_read(tmp_path, zipped, wrap):
    torch = pytest.importorskip("torch")
    given = state(torch)
    torch.save(wrap(given), tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    found = read_torch(tmp_path / "a.pth")
    assert list(found) == list(given)
    for name, x in given.items():
        wide = x.detach().float() if x.dtype in (torch.float16, torch.bfloat16) else x.detach()
        np.testing.assert_array_equal(found[name], wide.numpy())
        assert found[name].flags.c_contiguous


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_the_state_of_a_pytorch_network_goes_into_ours(tmp_path, zipped):
    """num_batches_tracked and the prefix of several GPUs are left out; what is missing or too much is named."""
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    ours = nn.Sequential(nn.Conv2d(3, 4, 3, rng=0), nn.BatchNorm2d(4))
    torch.save({f"module.{k}": v for k, v in theirs.state_dict().items()}, tmp_path / "a.pt", _use_new_zipfile_serialization=zipped)
    weights.load(ours, tmp_path / "a.pt")
    np.testing.assert_array_equal(ours[0].weight.data, theirs[0].weight.detach().numpy())
    torch.save({k: v for k, v in theirs.state_dict().items() if k != "0.bias"} | {"head.weight": torch.zeros(2)}, tmp_path / "b.pt",
               _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"b.pt: these weights do not fit Sequential: missing: 0.bias; unexpected: head.weight"):
        weights.load(ours, tmp_path / "b.pt")


class Evil:
    """A pickle that would leave a mark if it were run."""

    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("call, arguments, words", [
    (os.system, ("touch {mark}",), "system"), (eval, ("open('{mark}', 'w')",), "eval"), (exec, ("open('{mark}', 'w')",), "exec"),
    (Path.touch, (Path("{mark}"),), "(getattr|pathlib|Path)"), (getattr, (OrderedDict, "update"), "getattr")])
def test_no_code_runs(tmp_path, monkeypatch, zipped, call, arguments, words):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    mark = tmp_path / "mark"
    filled = [a.format(mark=mark) if isinstance(a, str) else Path(str(a).format(mark=mark)) if isinstance(a, Path) else a for a in arguments]
    torch.save({"w": torch.zeros(2), "x": Evil(call, *filled)}, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=f"evil.pth: not a PyTorch file of weights: refused: it names .*{words}"):
        read_torch(tmp_path / "evil.pth")
    assert not mark.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol_are_read_or_refused_and_never_run(protocol):
    """Plain values come back as they are; whatever calls is refused, by whichever instruction."""
    value = {"a": [1, -2, 3.5, None, True], "b": ("x", (), {"y": b"z" if protocol > 2 else "z"}), "long": 1 << 70}
    if protocol >= 1:                               # PyTorch writes 2
        assert read_pickle(io.BytesIO(pickle.dumps(value, protocol)), {}, None) == value
    else:
        with pytest.raises(ValueError, match="refused"):
            read_pickle(io.BytesIO(pickle.dumps(value, protocol)), {}, None)
    with pytest.raises(ValueError, match="refused"):
        read_pickle(io.BytesIO(pickle.dumps(Evil(print, "ran"), protocol)), {}, None)


@pytest.mark.parametrize("data, words", [
    (b"", "cut off"), (b"\x80\x02", "cut off"), (b"hello", "refused|not a pickle|damaged"), (b"\x80\x02u.", "damaged"), (b"\x80\x02h\x05.", "damaged"),
    (b"\x80\x02}(K\x01u.", "damaged"), (b"\x80\x02K\x01K\x02.", "leaves 2 values"), (b"\x80\x02K\x01)R.", "no function"), (b"(lp0\n.", "refused"),
    (b"\x80\x02cos\nsystem\n.", "names os.system"), (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "names os.system"),
    (b"\x80\x02(ios\nsystem\n.", "refused"), (b"\x80\x02K\x01\x81.", "refused"), (b"\x80\x02K\x01Q.", "damaged")])
def test_damaged_and_hostile_pickles(data, words):
    with pytest.raises(ValueError, match=words):
        read_pickle(io.BytesIO(data), {}, None)


def test_a_function_that_came_as_a_number_is_not_called():
    """REDUCE takes only what GLOBAL put there; a look-alike is refused."""
    with pytest.raises(ValueError, match="no function of ours"):
        read_pickle(io.BytesIO(b"\x80\x02X\x05\x00\x00\x00printX\x01\x00\x00\x00x\x85R."), {"builtins print": print}, None)


def test_bad_inputs_torch():
    assert {p.name for p in (BAD / "torch").iterdir()} == {"legacy_code.pth"}
    with pytest.raises(ValueError, match="legacy_code.pth: .*refused: it names __builtin__.print"):
        read_torch(BAD / "torch" / "legacy_code.pth")


def test_other_contents_are_told(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.pth"
    for value, words in (([1, 2], "holds a list"), ({}, "holds a dict"), ({"a": 3}, "'a' is a int"), (torch.zeros(2), "holds a Lazy|not names")):
        for zipped in (True, False):
            torch.save(value, path, _use_new_zipfile_serialization=zipped)
            with pytest.raises(ValueError, match=f"a.pth: .*({words})"):
                read_torch(path)
    torch.save(torch.nn.Linear(2, 3), path)
    with pytest.raises(ValueError, match="torch.nn.modules.linear.Linear"):
        read_torch(path)
    path.write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.raises(ValueError, match="0 data.pkl"):
        read_torch(path)
    with pytest.raises(FileNotFoundError, match="none.pth: no such file"):
        read_torch(tmp_path / "none.pth")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_file_cut_off_anywhere_is_refused(tmp_path, zipped):
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.arange(50.0), "b": torch.zeros(3)}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "a.pth").read_bytes()
    for length in {*range(0, len(whole), 37), len(whole) - 1}:
        (tmp_path / "b.pth").write_bytes(whole[:length])
        with pytest.raises(ValueError, match="b.pth: not a PyTorch file"):
            read_torch(tmp_path / "b.pth")


def rewritten(tmp_path, change):
    """A zip of torch.zeros(2, 3) whose description is pickled anew with other numbers."""
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.zeros(2, 3)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as old, zipfile.ZipFile(tmp_path / "b.pth", "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return tmp_path / "b.pth"


@pytest.mark.parametrize("old, new", [(b"K\x02K\x03\x86", b"K\x63K\x03\x86"), (b"K\x03K\x01\x86", b"K\x63K\x01\x86")], ids=["shape", "strides"])
def test_a_tensor_may_not_reach_beyond_its_storage(tmp_path, old, new):
    path = rewritten(tmp_path, lambda name, data: data.replace(old, new) if name.endswith("data.pkl") else data)
    with pytest.raises(ValueError, match="reaches beyond its 6 numbers"):
        read_torch(path)


def test_a_storage_of_another_size_is_refused(tmp_path):
    path = rewritten(tmp_path, lambda name, data: data[:-4] if name.endswith("/data/0") else data)
    with pytest.raises(ValueError, match="storage 0 of 24 bytes is missing, or of another size"):
        read_torch(path)


def legacy(*pickles, tail=b""):
    """A legacy file of these pickles."""
    torch_head = [pickle.dumps(MAGIC, 2), pickle.dumps(1001, 2), pickle.dumps({"little_endian": True}, 2)]
    given = [p if isinstance(p, bytes) else pickle.dumps(p, 2) for p in pickles]
    return b"".join([*torch_head, *given]) + tail


FLOAT = b"ctorch\nFloatStorage\n"
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(X\x07\x00\x00\x00storage" + FLOAT + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ"


def described(shape, strides=b"K\x01\x85", offset=b"K\x00"):
    """A pickle of {"a": a tensor of six numbers with this shape}."""
    return b"\x80\x02}(X\x01\x00\x00\x00a" + REBUILD + b"(" + STORAGE + offset + shape + strides + b"\x89}tRu."


def test_the_pickle_of_the_next_tests_is_a_good_one(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(legacy(described(b"K\x06\x85"), ["0"], tail=np.array([6], "<i8").tobytes() + np.arange(6, dtype="<f4").tobytes()))
    np.testing.assert_array_equal(read_torch(path)["a"], np.arange(6))


@pytest.mark.parametrize("data", [
    legacy([1], ["0"]), legacy(described(b"K\x06\x85"), 5), legacy(described(b"K\x06\x85"), [["0"]]), legacy(described(b"K\x06\x85"), ["1"]),
    legacy(described(b"\x8a\x0a" + (1 << 75).to_bytes(10, "little") + b"\x85"), ["0"]), legacy(described(b"K\x00\x8a\x0a" + (1 << 75).to_bytes(10, "little") + b"\x86"), ["0"]),
    legacy(described(b"K\x06"), ["0"]), legacy(described(b"J\xff\xff\xff\xff\x85"), ["0"]), legacy(described(b"K\x06\x85", b"K\x02\x85"), ["0"]),
    legacy(described(b"K\x06\x85", offset=b"K\x01"), ["0"]), legacy(described(b"K\x06\x85"), ["0"], tail=np.array([1 << 62], "<i8").tobytes()),
    pickle.dumps(MAGIC, 2) + pickle.dumps(1001, 2) + pickle.dumps([], 2), pickle.dumps(MAGIC, 2) + pickle.dumps("x" * 10_000, 2)])
def test_hostile_legacy_files_end_in_one_short_error(tmp_path, data):
    (tmp_path / "a.pth").write_bytes(data)
    with pytest.raises(ValueError, match="a.pth: not a PyTorch file of weights") as caught:
        read_torch(tmp_path / "a.pth")
    assert len(str(caught.value)) < 700


def test_a_value_that_doubles_with_every_byte_is_never_written_out(tmp_path):
    """Tuples of tuples through the memo: a hundred bytes that would print as gigabytes."""
    doubled = b"\x80\x02K\x01q\x00" + b"".join(b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(60))
    for end in (b"Q.", b"\x85Q.", b"."):
        (tmp_path / "a.pth").write_bytes(legacy(doubled + end, ["0"]))
        with pytest.raises(ValueError, match="not a PyTorch file") as caught:
            read_torch(tmp_path / "a.pth")
        assert len(str(caught.value)) < 2000


def test_a_small_file_may_not_become_large(tmp_path):
    """Compressed members, and one storage under hundreds of names."""
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.zeros(1000)}, tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth") as old, zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(ValueError, match="compressed or encrypted"):
        read_torch(tmp_path / "b.pth")
    x = torch.zeros(100_000)
    torch.save({f"name{i}": x for i in range(50)}, tmp_path / "c.pth")
    with pytest.raises(ValueError, match="claim to hold tensors of 20000000"):
        read_torch(tmp_path / "c.pth")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_flipped_bytes_are_read_or_refused(tmp_path, zipped):
    """Every byte of the description flipped once: never another exception, and never another kind of result."""
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(2)}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    whole, path = (tmp_path / "a.pth").read_bytes(), tmp_path / "b.pth"
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1:])
        try:
            found = read_torch(path)
        except ValueError as error:
            assert "b.pth" in str(error)  # noqa: PT017
        else:
            assert all(isinstance(x, np.ndarray) for x in found.values())


def test_names_are_translated_and_never_doubled():
    x = np.zeros(1)
    assert list(weights.translated({"module.a.weight": x, "bn.num_batches_tracked": x})) == ["a.weight"]
    assert list(weights.translated({"features.denseblock1.denselayer2.norm.1.weight": x}, "densenet121")) == [
        "features.denseblock1.denselayer2.norm1.weight"]
    assert list(weights.translated({"aux1.fc1.weight": x, "fc.bias": x}, "googlenet")) == ["fc.bias"]
    assert list(weights.translated({"backbone.fpn.inner_blocks.0.weight": x}, "fasterrcnn_resnet50_fpn")) == [
        "backbone.fpn.inner_blocks.0.0.weight"]
    with pytest.raises(ValueError, match="module.a and another tensor would both be a"):
        weights.translated({"a": x, "module.a": x})


# ---- darknet

DARKNET = {
    "ok.cfg": None, "crlf_spaces_comments.cfg": None, "ok.weights": None,
    "trailing.weights": "holds 224 numbers, the network wants 124: the weights of another network",
    "unknown_layer.cfg": r"line 14, \[attention\]: an unknown kind of layer", "forward_route.cfg": r"\[route\]: layers is .*only earlier ones",
    "shortcut_shape.cfg": r"\[shortcut\]: joins maps of different (number of channels|stride)", "no_net.cfg": r"does not begin with \[net\]",
    "bad_number.cfg": r"line \d+, \[convolutional\]: filters is 'four'; expected a number",
}


def test_no_bad_darknet_file_is_left_out():
    assert {p.name for p in (BAD / "darknet").iterdir()} == set(DARKNET)


@pytest.mark.parametrize("name", DARKNET)
def test_bad_inputs_darknet(name):
    path, words = BAD / "darknet" / name, DARKNET[name]
    load = (lambda: weights.load_darknet(Darknet(BAD / "darknet" / "ok.cfg"), path)) if path.suffix == ".weights" else lambda: Darknet(path)
    if words is None:
        load()
    else:
        with pytest.raises(ValueError, match=words) as caught:
            load()
        assert name in str(caught.value)


def test_the_odd_but_legal_cfg_is_the_same_network():
    """CRLF, blanks around =, both comment marks; and every number of the weights is used, in darknet's order."""
    plain, odd = (Darknet(BAD / "darknet" / name) for name in ("ok.cfg", "crlf_spaces_comments.cfg"))
    for model in (plain, odd):
        weights.load_darknet(model, BAD / "darknet" / "ok.weights")
    for (name, a), (_, b) in zip(sorted(plain.state().items()), sorted(odd.state().items()), strict=True):
        np.testing.assert_array_equal(a, b)
    numbers = np.fromfile(BAD / "darknet" / "ok.weights", "<f4", offset=20)
    block = plain.layers[0]
    held = [block.norm.bias.data, block.norm.weight.data, block.norm.running_mean, block.norm.running_var, block.conv.weight.data]
    np.testing.assert_array_equal(np.concatenate([x.ravel() for x in held]), numbers)


@pytest.mark.parametrize("text, option", [
    ("[convolutional]\nfilters=3\ndilation=2\nactivation=linear\n", "dilation=2"), ("[convolutional]\nfilters=3\nstride=2\nstride_x=1\n", "stride_x=1"),
    ("[convolutional]\nfilters=4\n[route]\nlayers=-1\ngroups=2\ngroup_id=1\n", "groups=2"), ("[upsample]\nscale=0.5\n", "scale=0.5"),
    ("[maxpool]\nsize=2\nstride=2\nmaxpool_depth=1\n", "maxpool_depth=1"), ("[dropout]\nprobability=1\n", "probability is 1.0"),
    ("[convolutional]\nfilters=7\n[yolo]\nclasses=2\nmask=0\nanchors=1,2\nnew_coords=1\n", "new_coords=1"),
    ("[convolutional]\nfilters=7\n[avgpool]\n[yolo]\nclasses=2\nmask=0\nanchors=1,2\n", "behind .avgpool.")])
def test_options_that_change_the_answer_are_never_passed_over(tmp_path, text, option):
    (tmp_path / "a.cfg").write_text("[net]\nwidth=8\nheight=8\n" + text)
    with pytest.raises(ValueError, match=option):
        Darknet(tmp_path / "a.cfg")


def test_a_network_without_heads_says_so(tmp_path):
    (tmp_path / "a.cfg").write_text("[net]\nwidth=8\nheight=8\n[convolutional]\nfilters=2\nactivation=linear\n")
    with pytest.raises(ValueError, match="finds nothing"):
        Darknet(tmp_path / "a.cfg").detect(np.zeros((1, 3, 8, 8), np.float32))


@pytest.mark.parametrize("text, words", [
    ("[net]\nwidth=8\n", "has no layer"), ("width=8\n", "neither a .section. nor an option"), ("[net]\nwidth\n", "line 2"),
    ("[net]\nheight=8\n[avgpool]\n", r"\[net\]: width is missing"), ("[net]\nwidth=0\nheight=8\n[avgpool]\n", "width is 0; expected at least 1"),
    ("[net]\nwidth=8\nheight=8\nwidth=9\n[avgpool]\n", "width is given twice"),
    ("[net]\nwidth=8\nheight=8\n[convolutional]\nfilters=3\ngroups=2\n", "cannot be cut into 2 groups"),
    ("[net]\nwidth=8\nheight=8\n[convolutional]\nfilters=3\nactivation=swish\n", "activation is 'swish'; known are linear, leaky"),
    ("[net]\nwidth=8\nheight=8\n[convolutional]\nfilters=7\n[yolo]\nclasses=2\nmask=0\nanchors=1,2,3\n", "expected pairs"),
    ("[net]\nwidth=8\nheight=8\n[convolutional]\nfilters=7\n[yolo]\nclasses=2\nmask=1\nanchors=1,2\n", "there are 1 anchors"),
    ("[net]\nwidth=8\nheight=8\n[convolutional]\nfilters=8\n[yolo]\nclasses=2\nmask=0\nanchors=1,2\n", "the map has 8 channels.*take 7"),
    ("[net]\nwidth=8\nheight=8\n[maxpool]\nsize=2\nstride=2\npadding=5\n", "padding 5 is too much"),
    ("[net]\nwidth=8\nheight=8\n[route]\nlayers=\n", "names no layer"), ("[net]\nwidth=8\nheight=8\n[route]\nlayers=x\n", "expected numbers"),
])
def test_errors_in_a_cfg_name_the_line(tmp_path, text, words):
    (tmp_path / "a.cfg").write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        Darknet(tmp_path / "a.cfg")
    assert "a.cfg" in str(caught.value)


def test_weights_that_are_no_darknet_file(tmp_path):
    model, path = Darknet(BAD / "darknet" / "ok.cfg"), tmp_path / "a.weights"
    before = model.state()
    good = (BAD / "darknet" / "ok.weights").read_bytes()
    poisoned = np.frombuffer(good[20:], "<f4").copy()
    poisoned[5] = np.nan
    for data, words in ((b"", "0 bytes"), (good[:-8], "cut off"), (b"\xff" * 516, "not a darknet file"), (good[:20] + poisoned.tobytes(), "NaN")):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=words):
            weights.load_darknet(model, path)
    assert all(np.array_equal(before[k], v) for k, v in model.state().items())
    with pytest.raises(FileNotFoundError, match="none.weights"):
        weights.load_darknet(model, tmp_path / "none.weights")


def test_an_old_head_has_a_short_count(tmp_path):
    """Before version 0.2 the count of images seen took four bytes."""
    good = (BAD / "darknet" / "ok.weights").read_bytes()
    (tmp_path / "old.weights").write_bytes(np.array([0, 1, 0, 5], "<i4").tobytes() + good[20:])
    weights.load_darknet(Darknet(BAD / "darknet" / "ok.cfg"), tmp_path / "old.weights")


def test_every_ending_has_its_reader(tmp_path):
    model = models.SmallCNN(size=8, rng=0)
    weights.save(model, tmp_path / "a.safetensors")
    np.savez(tmp_path / "a.npz", **model.state())
    other = models.SmallCNN(size=8, rng=1)
    for name in ("a.safetensors", "a.npz"):
        other.conv1.bias.data[:] = 7
        weights.load(other, tmp_path / name)
        assert all(np.array_equal(x, other.state()[k]) for k, x in model.state().items())
