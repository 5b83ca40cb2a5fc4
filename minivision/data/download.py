"""Downloads that can be interrupted: resumed where they stopped, checked, and only then given their name."""

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

CHUNK = 1 << 18


def fetch(url, path, checksum, *, progress=True, timeout=30):
    """Download `url` to `path` unless it is there with the right checksum; return the path.

    checksum: "md5:…" or "sha256:…", whole or its beginning, or None where the contents are checked later. While it runs
    the data lies in `path` + ".partial"; a later call continues there. ValueError if the checksum is wrong (the data is thrown
    away) or the server does not answer (it is kept).
    """
    path = Path(path)
    if path.is_file():
        if agrees(digest(path, checksum), checksum):
            return path
        raise ValueError(f"{path}: is there, but its checksum is not {checksum}; move it away and try again")
    partial = path.with_name(path.name + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        receive(url, partial, progress, timeout)
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        have = partial.stat().st_size if partial.exists() else 0
        kept = f"; {have} bytes are kept, run it again to continue" if have else ""
        raise ValueError(f"{url}: {getattr(error, 'reason', error)}{kept}. Without a network: put the file at {path} "
                         "by hand") from None
    found = digest(partial, checksum)
    if not agrees(found, checksum):
        partial.unlink()
        raise ValueError(f"{url}: the data received has checksum {found}, expected {checksum}; it was thrown away")
    os.replace(partial, path)
    return path


def receive(url, partial, progress, timeout):
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:              # nothing is left to send: the checksum decides
            return
        raise
    with response:
        if response.status != 206:                  # the server sends everything: start again
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        free = shutil.disk_usage(partial.parent).free
        if total and total - have > free:
            raise OSError(f"{total - have} bytes to come, {free} free on the disk")
        with (open(partial, "ab" if have else "wb") as file,
              tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=partial.stem, disable=not progress) as bar):
            while block := response.read(CHUNK):
                file.write(block)
                bar.update(len(block))
            file.flush()
            os.fsync(file.fileno())
        if total and partial.stat().st_size < total:
            raise OSError(f"the connection closed after {partial.stat().st_size} of {total} bytes")


def digest(path, like):
    """The checksum of a file in the manner of `like`: "md5:…" or "sha256:…"; None where there is none to compare with."""
    if like is None:
        return None
    name = like.partition(":")[0]
    with open(path, "rb") as file:
        return f"{name}:{hashlib.file_digest(file, name).hexdigest()}"


def agrees(found, checksum):
    """Whether a checksum is the expected one, or begins with it (PyTorch's file names have the first eight digits)."""
    return checksum is None or found.startswith(checksum)
