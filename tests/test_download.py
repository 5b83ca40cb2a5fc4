"""Downloads against a local server that breaks off, ignores ranges, lies and refuses."""

import hashlib
import http.server
import io
import tarfile
import threading

import numpy as np
import pytest

from minivision import data
from minivision.data import published, sets
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


def archive(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


def test_cifar10_is_unpacked_by_exact_names_only(server, tmp_path, monkeypatch):
    record = bytes([3]) + bytes(3072)
    inside = {f"cifar-10-batches-bin/{name}": record * 2 for name in
              [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]}
    body = archive(inside | {"../escape": b"x", "/etc/escape": b"x", "cifar-10-batches-bin/readme.html": b"x"})
    Server.files = {"/cifar-10-binary.tar.gz": body}
    entry = published.Published("http://nowhere/", {"cifar-10-binary.tar.gz": "md5:" + hashlib.md5(body).hexdigest()}, "")
    monkeypatch.setitem(published.PUBLISHED, "cifar10", entry)
    folder = data.get("cifar10", tmp_path / "home", base=server, progress=False)
    written = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file())
    assert written == sorted(f"home/cifar10/{name}" for name in [*inside, ".cifar-10-binary.tar.gz.unpacked"])
    train, test = data.load(folder)
    assert (len(train), len(test)) == (10, 2)
    assert np.all(train.labels == 3)
    data.get("cifar10", tmp_path / "home", base=server, progress=False)         # nothing is asked twice
    assert len(Server.seen) == 1
