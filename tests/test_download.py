"""Downloads against a local server that breaks off, ignores ranges, lies and refuses."""

import hashlib
import http.server
import io
import tarfile
import threading
import zipfile

import numpy as np
import pytest

from minivision import data
from minivision.data import published, sets
from minivision.data.archives import digest_of_files, unpack
from minivision.data.download import fetch

BODY = bytes(range(256)) * 4000        # 1 MB
SUM = "sha256:" + hashlib.sha256(BODY).hexdigest()


class Server(http.server.BaseHTTPRequestHandler):
    files, ranges, breaks_after, seen = {}, True, None, []

    def do_GET(self):
        cls = type(self)
        body = cls.files.get(self.path)
        cls.seen.append((self.path, self.headers.get("Range")))
        if body is None:
            return self.send_error(404)
        start = int(self.headers["Range"].split("=")[1].rstrip("-")) if self.headers.get("Range") and cls.ranges else 0
        if start >= len(body) and start:
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        stop = len(body) if cls.breaks_after is None else start + cls.breaks_after
        self.wfile.write(body[start:stop])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    Server.files, Server.ranges, Server.breaks_after, Server.seen = {"/file": BODY}, True, None, []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}/"
        running.shutdown()


def quiet(*args):
    return fetch(*args, progress=False)


def test_a_download_arrives_whole_and_is_not_repeated(server, tmp_path):
    path = quiet(server + "file", tmp_path / "deep" / "f", SUM)
    assert path.read_bytes() == BODY
    assert [p.name for p in path.parent.iterdir()] == ["f"]
    quiet(server + "file", path, SUM)
    assert len(Server.seen) == 1


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_goes_on_where_it_stopped(server, tmp_path, ranges):
    Server.breaks_after = 300_000
    with pytest.raises(ValueError, match="closed after 300000 of 1024000 bytes.*300000 bytes are kept"):
        quiet(server + "file", tmp_path / "f", SUM)
    assert not (tmp_path / "f").exists()
    Server.breaks_after, Server.ranges = None, ranges
    assert quiet(server + "file", tmp_path / "f", SUM).read_bytes() == BODY
    assert Server.seen[-1] == ("/file", "bytes=300000-")


def test_a_partial_file_that_is_complete_already_is_finished(server, tmp_path):
    (tmp_path / "f.partial").write_bytes(BODY)
    assert quiet(server + "file", tmp_path / "f", SUM).read_bytes() == BODY


def test_wrong_data_is_thrown_away_and_a_wrong_file_is_left_for_the_user(server, tmp_path):
    Server.files["/file"] = BODY[:-1] + b"?"
    with pytest.raises(ValueError, match="expected sha256.*thrown away"):
        quiet(server + "file", tmp_path / "f", SUM)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "f").write_bytes(b"mine")
    with pytest.raises(ValueError, match="move it away"):
        quiet(server + "file", tmp_path / "f", SUM)
    assert (tmp_path / "f").read_bytes() == b"mine"


def test_no_server_and_no_file_are_told_with_what_to_do(server, tmp_path):
    with pytest.raises(ValueError, match="Not Found.*put the file at"):
        quiet(server + "other", tmp_path / "f", SUM)
    with pytest.raises(ValueError, match="127.0.0.1:9/.*refused.*Without a network"):
        quiet("http://127.0.0.1:9/x", tmp_path / "f", SUM)


def test_a_data_set_by_name(server, tmp_path, monkeypatch):
    """`minivision data get` against a mirror: four IDX files, then readable by name."""
    folder = sets.shipped("digits")
    files = {p.name: p.read_bytes() for p in folder.glob("*.gz")}
    Server.files = {f"/{name}": body for name, body in files.items()}
    sums = {name: "md5:" + hashlib.md5(body).hexdigest() for name, body in files.items()}
    monkeypatch.setitem(published.PUBLISHED, "mnist", published.Published("http://nowhere/", sums, ""))
    monkeypatch.setenv("MINIVISION_DATA", str(tmp_path))
    assert data.get("mnist", base=server, progress=False) == tmp_path / "mnist"
    train, test = data.load("mnist")
    assert (len(train), len(test)) == (1437, 360)


def archive(members, mode="w:gz"):
    """A tar file of these members, and of a link to a file that is none of its business."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
        link = tarfile.TarInfo("VOCdevkit/VOC2007/JPEGImages/link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return buffer.getvalue()


def test_cifar10_is_unpacked_by_exact_names_only(server, tmp_path, monkeypatch):
    record = bytes([3]) + bytes(3072)
    inside = {f"cifar-10-batches-bin/{name}": record * 2 for name in
              [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]}
    body = archive(inside | {"../escape": b"x", "/etc/escape": b"x", "cifar-10-batches-bin/readme.html": b"x"})
    Server.files = {"/cifar-10-binary.tar.gz": body}
    entry = published.Published("http://nowhere/", {"cifar-10-binary.tar.gz": "md5:" + hashlib.md5(body).hexdigest()}, "", published.cifar10_place)
    monkeypatch.setitem(published.PUBLISHED, "cifar10", entry)
    folder = data.get("cifar10", tmp_path / "home", base=server, progress=False)
    written = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert written == sorted(f"home/cifar10/{name}" for name in [*inside, ".cifar-10-binary.tar.gz.unpacked"])
    train, test = data.load(folder)
    assert (len(train), len(test)) == (10, 2)
    assert np.all(train.labels == 3)
    data.get("cifar10", tmp_path / "home", base=server, progress=False)         # nothing is asked twice
    assert len(Server.seen) == 1


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, body in members.items():
            file.writestr(name, body, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def voc_files(root, tmp_path):
    """The files of a small VOC folder, under `root`, with some that nobody wants."""
    data.write_voc(data.scenes(3, (48, 48), 1, classes=("disc", "star")), tmp_path / "source")
    files = {f"{root}/{p.relative_to(tmp_path / 'source')}": p.read_bytes() for p in (tmp_path / "source").rglob("*") if p.is_file()}
    return files | {f"{root}/JPEGImages/../../../escape": b"x", f"{root}/JPEGImages/.DS_Store": b"x", "../escape": b"x",
                    "/Annotations/../../escape": b"x", f"{root}/SegmentationClass/a.png": b"x", "README.md": b"x"}


@pytest.mark.parametrize("name, root, pack", [("voc2007", "VOCdevkit/VOC2007", lambda members: archive(members, "w")), ("bccd", "BCCD_Dataset-d272/BCCD", zipped)])
def test_a_detection_set_by_name(name, root, pack, server, tmp_path, monkeypatch):
    """Fetched, unpacked into its three folders and nowhere else, readable by name; a second call asks for nothing."""
    body = pack(voc_files(root, tmp_path))
    place, right = published.PUBLISHED[name].place, None
    if name == "bccd":                                      # GitHub's archives have no lasting checksum: their contents have
        with zipfile.ZipFile(io.BytesIO(body)) as file:
            wanted = {place(n): file.read(n) for n in file.namelist() if place(n)}
        for path, content in wanted.items():
            (tmp_path / "wanted" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "wanted" / path).write_bytes(content)
        right = digest_of_files(tmp_path / "wanted", wanted)
    checksum = None if name == "bccd" else "sha256:" + hashlib.sha256(body).hexdigest()
    monkeypatch.setenv("MINIVISION_DATA", str(tmp_path / "home"))
    Server.files = {"/set.archive": body}
    if name == "bccd":
        monkeypatch.setitem(published.PUBLISHED, name, published.Published("http://nowhere/", {"set.archive": None}, "", place, "sha256:00"))
        with pytest.raises(ValueError, match="expected sha256:00; nothing was written"):
            data.get(name, base=server, progress=False)
        assert [p.name for p in (tmp_path / "home" / name).iterdir()] == []
    monkeypatch.setitem(published.PUBLISHED, name, published.Published("http://nowhere/", {"set.archive": checksum}, "", place, right))
    data.get(name, base=server, progress=False)
    asked = len(Server.seen)
    data.get(name, base=server, progress=False)
    assert len(Server.seen) == asked
    found = data.load_detection(name, "train")
    assert len(found) == 3
    assert found.classes == ("disc", "star")
    assert not list(tmp_path.rglob("escape"))
    assert sorted(p.name for p in (tmp_path / "home" / name).iterdir()) == [".set.archive.unpacked", "Annotations", "ImageSets", "JPEGImages"]
    assert len(list((tmp_path / "home" / name / "JPEGImages").iterdir())) == 3


def test_coco_val_takes_the_images_and_one_file_of_boxes():
    place = published.PUBLISHED["coco-val"].place
    assert place("val2017/000000000139.jpg") == "images/val2017/000000000139.jpg"
    assert place("annotations/instances_val2017.json") == "annotations/instances_val2017.json"
    for other in ("annotations/captions_val2017.json", "annotations/instances_train2017.json", "val2017/../x.jpg", "val2017/", "x.jpg"):
        assert place(other) is None


def test_no_member_decides_where_it_is_written(tmp_path):
    """Twice: the tables let no such name through, and if one did, `unpack` would not write it."""
    for name in ("VOC2007/JPEGImages/..", "a/ImageSets/Main/..", "VOC2007/Annotations/../../x", "/Annotations", "x/Annotations/.hidden"):
        assert published.voc_place(name) is None
    (tmp_path / "a.zip").write_bytes(zipped({"good": b"x", "bad": b"x"}))
    for rogue in ("../escape", "/tmp/escape"):
        with pytest.raises(ValueError, match="'bad' would be written outside"):
            unpack(tmp_path / "a.zip", tmp_path / "out", {"good": "good", "bad": rogue}.get)
        assert not list((tmp_path / "out").iterdir())
    assert not (tmp_path / "escape").exists()


def test_bccd_as_it_was_published(shared):
    """The checksum in the table is that of the real files, taken from the commit it names."""
    root = shared / "bccd"
    names = [p.relative_to(root) for part in ("Annotations", "JPEGImages", "ImageSets/Main") for p in (root / part).iterdir()]
    assert digest_of_files(root, names) == published.PUBLISHED["bccd"].contents
    assert all(published.bccd_place(f"BCCD_Dataset-d272fb1/BCCD/{name}") == str(name) for name in names)


def test_damaged_archives_leave_nothing(tmp_path):
    whole = zipped({"Annotations/a.xml": b"x" * 1000, "JPEGImages/a.jpg": b"y" * 1000})
    at = whole.index(b"a.xml") + 5                               # the first byte of the packed data
    for name, body, words in (("cut.zip", whole[:len(whole) // 2], "damaged archive"), ("bit.zip", whole[:at] + b"\xff" + whole[at + 1:], "damaged archive"), ("none.zip", zipped({"a": b""}), "none of the files"),
                              ("text.tar", b"text", "damaged archive")):
        (tmp_path / name).write_bytes(body)
        with pytest.raises(ValueError, match=words) as caught:
            unpack(tmp_path / name, tmp_path / "out", published.voc_place)
        assert name in str(caught.value)
        assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
