"""Readers, transforms and batches: good data arrives unchanged, bad data is named."""

import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minivision import data, models, weights
from minivision.data import images as decoding
from minivision.data.idx import read_idx, read_idx_pair

BAD = Path(__file__).parent / "bad_inputs"

# What bad_inputs/README.md asks of each file: a shape to load, or words that the error must contain beside the file's name.
IMAGES = {
    "ok_reference.jpg": (3, 120, 160), "name with space ü.jpg": (3, 120, 160), "progressive.jpg": (3, 120, 160),
    "png_named.jpg": (3, 120, 160), "rgba.png": (3, 120, 160), "gray_alpha.png": (3, 120, 160), "gray8.jpg": (3, 120, 160),
    "rgb16.png": (3, 120, 160), "bilevel.png": (3, 120, 160), "animated.gif": (3, 120, 160),
    "exif_quadrants_upright.png": (3, 120, 160), "exif_orientation_3.jpg": (3, 120, 160), "exif_orientation_6.jpg": (3, 120, 160),
    "one_pixel.png": (3, 1, 1), "thin_1x500.png": (3, 500, 1),
    "truncated_tail20.jpg": "truncated", "zero_byte.jpg": "empty file", "text_named.jpg": "not an image",
    "corrupt_crc.png": "broken data stream", "float32.tif": "32 bits",
}
SAFETENSORS = {
    "ok.safetensors": {"w": (2, 2)}, "bf16.safetensors": {"w": (2, 2)},
    "header_length_past_end.safetensors": "claims 5000 bytes", "header_not_json.safetensors": "Expecting value",
    "offsets_out_of_file.safetensors": "offset", "hole.safetensors": "invalid offset", "unknown_dtype.safetensors": "Q4",
    "negative_shape.safetensors": "-2", "empty.safetensors": "empty", "duplicate_key.safetensors": "given twice",
}
NPZ = {
    "ok_weights.npz": {"conv1.weight": (4, 3, 3, 3), "conv1.bias": (4,)},
    "float64_fortran.npz": {"conv1.weight": (4, 3, 3, 3), "conv1.bias": (4,)},
    "pickled_object.npz": "pickled object", "truncated.npz": "not a NumPy archive", "not_a_zip.npz": "not a NumPy archive",
    "zip_slip.npz": "../escape", "missing_key.npz": {"conv1.weight": (4, 3, 3, 3)},
    "extra_key.npz": {"conv1.weight": (4, 3, 3, 3), "conv1.bias": (4,), "fc.weight": (2, 2)},
}
IDX = {
    "ok_images-idx3-ubyte": (4, 28, 28), "ok_labels-idx1-ubyte": (4,), "not_gzip-idx3-ubyte.gz": (4, 28, 28),
    "float_type-idx3-ubyte": (4, 28, 28), "five_labels-idx1-ubyte": (5,), "label_out_of_range-idx1-ubyte": (4,),
    "wrong_magic-idx3-ubyte": "begins with 01 00 08 03", "truncated-idx3-ubyte": "2652 bytes, but 4×28×28 numbers of 1 byte.s. need 3152",
}


@pytest.mark.parametrize("folder, table", [("images", IMAGES), ("safetensors", SAFETENSORS), ("npz", NPZ), ("idx", IDX)])
def test_no_bad_input_is_left_out(folder, table):
    assert {path.name for path in (BAD / folder).iterdir()} == set(table)


def expect(read, path, expected, shape):
    if isinstance(expected, str):
        with pytest.raises(ValueError, match=expected) as caught:
            read(path)
        assert path.name in str(caught.value)
    else:
        assert shape(read(path)) == expected


@pytest.mark.parametrize("name", IMAGES)
def test_images(name):
    expect(data.read_image, BAD / "images" / name, IMAGES[name], lambda x: x.shape)


def test_the_rules_for_odd_images():
    read = lambda name: data.read_image(BAD / "images" / name)
    upright = read("exif_quadrants_upright.png").astype(int)
    for name in ("exif_orientation_3.jpg", "exif_orientation_6.jpg"):
        assert np.abs(read(name) - upright).mean() < 3              # JPEG's loss; a wrong turn gives over 100
    assert set(np.unique(read("bilevel.png"))) == {0, 255}
    gray = read("gray8.jpg")
    assert np.array_equal(gray[0], gray[1])
    assert np.array_equal(gray[0], gray[2])
    reference = read("png_named.jpg").astype(int)
    assert np.abs(read("rgb16.png") - reference).max() <= 1         # the upper byte
    with Image.open(BAD / "images" / "rgba.png") as image:
        rgba = np.asarray(image).astype(float)
    alpha = rgba[..., 3:] / 255
    blended = (alpha * rgba[..., :3] + (1 - alpha) * 255).transpose(2, 0, 1)
    assert np.abs(read("rgba.png") - blended).max() <= 1            # on white
    assert data.resize(read("one_pixel.png"), 8).shape == (3, 8, 8)
    assert data.resize(read("thin_1x500.png"), (20, 1)).shape == (3, 20, 1)


def test_sixteen_bit_gray_cmyk_and_palette(tmp_path):
    Image.fromarray(np.array([[0, 256, 65535]], np.uint16)).save(tmp_path / "gray16.png")
    assert data.read_image(tmp_path / "gray16.png")[0].tolist() == [[0, 1, 255]]
    Image.new("CMYK", (2, 1), (0, 255, 255, 0)).save(tmp_path / "cmyk.tif")
    assert data.read_image(tmp_path / "cmyk.tif")[:, 0, 0].tolist() == [255, 0, 0]
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    palette.save(tmp_path / "palette.png", transparency=0)
    assert data.read_image(tmp_path / "palette.png")[:, 0].T.tolist() == [[255, 255, 255], [200, 100, 50]]


def test_decompression_bombs_are_refused_before_decoding(tmp_path, monkeypatch):
    monkeypatch.setattr(decoding, "LARGEST", 99)
    Image.new("L", (10, 10)).save(tmp_path / "bomb.png")
    with pytest.raises(ValueError, match="bomb.png.*10×10 is more than 99 pixels"):
        data.read_image(tmp_path / "bomb.png")
    with pytest.raises(FileNotFoundError, match="nothing.png"):
        data.read_image(tmp_path / "nothing.png")


@pytest.mark.parametrize("name", SAFETENSORS)
def test_safetensors(name):
    expect(weights.read_safetensors, BAD / "safetensors" / name, SAFETENSORS[name], lambda x: {k: v.shape for k, v in x.items()})


@pytest.mark.parametrize("name", NPZ)
def test_npz(name):
    expect(weights.read_npz, BAD / "npz" / name, NPZ[name], lambda x: {k: v.shape for k, v in x.items()})


def test_what_the_weights_become(tmp_path):
    assert weights.read_safetensors(BAD / "safetensors" / "bf16.safetensors")["w"].tolist() == [[0, 1], [2, 3]]
    for x in weights.read_npz(BAD / "npz" / "float64_fortran.npz").values():
        assert x.dtype == np.float32
        assert x.flags.c_contiguous
    weights.write_safetensors({"h": np.array([1.5], np.float16), "t": np.arange(6.0).reshape(2, 3).T, "s": np.array(3.0)}, tmp_path / "a.safetensors")
    back = weights.read_safetensors(tmp_path / "a.safetensors")
    assert back["h"].dtype == np.float32
    assert back["s"].shape == ()
    np.testing.assert_array_equal(back["t"], np.arange(6.0).reshape(2, 3).T)       # a transposed view, not scrambled
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("name, words", [("missing_key.npz", "missing: conv1.bias"), ("extra_key.npz", "unexpected: fc.weight")])
def test_a_strict_load_lists_what_is_missing_and_what_is_too_much(name, words):
    from minivision import nn

    class Net(nn.Module):
        def __init__(self):
            self.conv1 = nn.Conv2d(3, 4, 3, rng=0)

    weights.load(Net(), BAD / "npz" / "ok_weights.npz")
    with pytest.raises(ValueError, match=f"{name}.*{words}"):
        weights.load(Net(), BAD / "npz" / name)


@pytest.mark.parametrize("name", IDX)
def test_idx(name):
    expect(read_idx, BAD / "idx" / name, IDX[name], lambda x: x.shape)


def test_idx_in_depth(tmp_path):
    images, floats = BAD / "idx" / "ok_images-idx3-ubyte", read_idx(BAD / "idx" / "float_type-idx3-ubyte")
    assert floats.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(floats, read_idx(images).astype(np.float32))
    with pytest.raises(ValueError, match="4 images.*five_labels.* has 5 labels"):
        read_idx_pair(images, BAD / "idx" / "five_labels-idx1-ubyte")
    with pytest.raises(ValueError, match="label_out_of_range.*label 77 of image"):
        read_idx_pair(images, BAD / "idx" / "label_out_of_range-idx1-ubyte")
    with pytest.raises(ValueError, match="images are uint8"):
        read_idx_pair(BAD / "idx" / "float_type-idx3-ubyte", BAD / "idx" / "ok_labels-idx1-ubyte")
    packed = gzip.compress(images.read_bytes())
    (tmp_path / "cut.gz").write_bytes(packed[:-20])
    with pytest.raises(ValueError, match="cut.gz.*gzip data is damaged"):
        read_idx(tmp_path / "cut.gz")
    (tmp_path / "packed").write_bytes(packed)                           # gzip without the suffix
    assert read_idx(tmp_path / "packed").shape == (4, 28, 28)


def test_cifar():
    with pytest.raises(ValueError, match="label_42.bin: label 42 of image 0 is not in 0 … 9"):
        data.read_cifar10(BAD / "cifar" / "label_42.bin")


def test_cifar_and_its_image_folder_hold_the_same_pixels(shared):
    train, test = data.load(shared / "cifar10")
    assert (len(train), len(test)) == (10_000, 2000)
    assert np.bincount(test.labels).tolist() == [200] * 10
    folder, _ = data.load(shared / "cifar10" / "imagefolder", size=32)
    assert folder.classes == train.classes
    x, t = folder.take([0, 25, 199])
    known = {image.tobytes(): label for image, label in zip(train.images, train.labels)}
    assert [known[image.tobytes()] for image in x] == t.tolist()


def test_mnist(shared):
    train, test = data.load(shared / "mnist")
    assert train.images.shape == (60_000, 1, 28, 28)
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_the_shipped_digits():
    train, test = data.load("digits")
    assert (len(train), len(test)) == (1437, 360)
    levels = np.unique(np.concatenate([train.images, test.images]))
    assert levels.tolist() == [round(v * 255 / 16) for v in range(17)]
    assert np.bincount(test.labels).min() >= 33


def test_folders(tmp_path):
    for name, colour in (("b/1.png", "red"), ("a/2.jpg", "blue"), ("a/1.jpg", "green")):
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), colour).save(tmp_path / "train" / name)
    folder = data.ImageFolder(tmp_path / "train", 16)
    assert folder.classes == ("a", "b")
    x, t = folder.take([0, 2])
    assert x.shape == (2, 3, 16, 16)
    assert t.tolist() == [0, 1]
    (tmp_path / "train" / "a" / "0.jpg").write_bytes(b"<html>")
    with pytest.raises(ValueError, match=r"0.jpg: not an image"):
        data.ImageFolder(tmp_path / "train", 16).take([0, 1])
    with pytest.warns(UserWarning, match="left out: .*0.jpg"):
        x, t = data.ImageFolder(tmp_path / "train", 16, skip_broken=True).take([0, 1])
    assert len(x) == len(t) == 1
    with pytest.raises(ValueError, match="say at which to train"):
        (tmp_path / "test" / "a").mkdir(parents=True)
        data.load(tmp_path)
    with pytest.raises(ValueError, match="folder 'b' is not one of the classes"):
        data.ImageFolder(tmp_path / "train", 16, classes=("a",))
    with pytest.raises(ValueError, match="no images in class folders"):
        data.ImageFolder(tmp_path / "test", 16)


@pytest.mark.parametrize("call, words", [
    (lambda d: data.load("no-such"), "neither a folder nor one of digits, mnist"),
    (lambda d: data.load("mnist"), "get it with: minivision data get mnist"),
    (lambda d: data.load(d), "found no IDX files"),
    (lambda d: data.get("imagenet", d), "no data set 'imagenet'"),
    (lambda d: data.ImageFolder(d / "x", 8), "no such folder"),
    (lambda d: data.read_cifar10(d / "x.bin"), "no such file"),
    (lambda d: data.center_crop(np.zeros((3, 4, 4)), 5), "cannot cut 5×5 out of an image of 4×4"),
    (lambda d: data.Batches([], 4, mean=[0], deviation=[1]), "batch size 4 of 0 images"),
    (lambda d: data.LabelledImages(np.zeros((2, 1, 4, 4), np.uint8), [0, 3], "ab"), "label 3 of image 1 is not in 0 … 1"),
    (lambda d: data.LabelledImages(np.zeros((2, 1, 4, 4)), [0, 1], "ab"), "expected uint8"),
    (lambda d: models.SmallCNN().evaluate([]), "no images to evaluate"),
])
def test_misuse_is_told_in_one_sentence(call, words, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIVISION_DATA", str(tmp_path / "home"))
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        call(tmp_path)


def test_transforms(rng):
    x = rng.integers(0, 256, (64, 3, 9, 12)).astype(np.uint8)
    flipped = data.random_flip(x, np.random.default_rng(0))
    same, mirrored = (flipped == x).all(axis=(1, 2, 3)), (flipped == x[..., ::-1]).all(axis=(1, 2, 3))
    assert (same | mirrored).all()
    assert 16 < mirrored.sum() < 48
    cropped = data.random_crop(x, np.random.default_rng(0), padding=2)
    assert cropped.shape == x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))
    for image, paper in zip(cropped, padded):
        assert any(np.array_equal(image, paper[:, i:i + 9, j:j + 12]) for i in range(5) for j in range(5))
    mean, deviation = data.statistics(x)
    y = data.normalise(x, mean, deviation)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(0, 2, 3)), 1, atol=1e-5)
    np.testing.assert_allclose(y[0, 1, 2, 3], (x[0, 1, 2, 3] / 255 - mean[1]) / deviation[1], rtol=1e-5)
    assert data.center_crop(x, (3, 4)).shape == (64, 3, 3, 4)
    assert data.resize(x[0], 18).shape == (3, 18, 24)
    assert np.isfinite(data.normalise(np.zeros((2, 1, 2, 2), np.uint8), *data.statistics(np.zeros((2, 1, 2, 2), np.uint8)))).all()


def test_batches_are_the_same_with_and_without_threads_and_visit_every_image_once():
    digits, _ = data.load("digits")
    make = lambda ahead: data.Batches(digits, 100, mean=[0.3], deviation=[0.4], augment=[data.random_crop], ahead=ahead)
    runs = [[(x, t) for x, t in make(ahead).epoch(np.random.default_rng(4))] for ahead in (0, 3)]
    assert len(runs[0]) == len(make(0)) == 15
    for (x, t), (x2, t2) in zip(*runs):
        np.testing.assert_array_equal(x, x2)
        np.testing.assert_array_equal(t, t2)
    labels = np.concatenate([t for _, t in runs[0]])
    assert np.bincount(labels).tolist() == np.bincount(digits.labels).tolist()
    first = next(iter(make(2)))                         # in order, not augmented; leaving early leaves no thread behind
    np.testing.assert_array_equal(first[1], digits.labels[:100])
    other = [t for _, t in make(0).epoch(np.random.default_rng(5))]
    stream, rng = make(3).stream(np.random.default_rng(4)), np.random.default_rng(4)
    for batch in [*make(0).epoch(rng), *make(0).epoch(rng)]:                    # one epoch after the other, from one generator
        np.testing.assert_array_equal(next(stream)[0], batch[0])
    assert not np.array_equal(other[0], runs[0][0][1])


def test_an_error_in_a_prefetching_thread_reaches_the_loop(tmp_path):
    (tmp_path / "a").mkdir()
    for i in range(5):
        Image.new("L", (4, 4)).save(tmp_path / "a" / f"{i}.png")
    (tmp_path / "a" / "3.png").write_bytes(b"")
    batches = data.Batches(data.ImageFolder(tmp_path, 4), 2, mean=[0] * 3, deviation=[1] * 3)
    with warnings.catch_warnings(), pytest.raises(ValueError, match=r"3.png: not an image \(empty file\)"):
        list(batches)
