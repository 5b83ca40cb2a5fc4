"""Unpacking downloads: only the members that are wanted, only to places that we name, and all of them or none."""

import hashlib
import os
import shutil
import tarfile
import zipfile
import zlib
from pathlib import Path

__all__ = ["digest_of_files", "unpack"]


def unpack(archive, folder, place, contents=None):
    """Write members of a .zip or .tar(.gz) into `folder`; returns how many.

    place      function: a member's name → the path in `folder` where it goes, or None to leave it. No member says itself where
               it is written, and only plain files are
    contents   "sha256:…" of all files written (`digest_of_files`), where the archive itself has no lasting checksum
    ValueError, and nothing written, for a damaged archive, none of the files wanted, or other contents.
    """
    folder, waiting = Path(folder), Path(folder) / ".unpacking"
    shutil.rmtree(waiting, ignore_errors=True)
    found = []
    try:
        for name, read in members(archive):
            path = place(name)
            if path is None:
                continue
            if Path(path).is_absolute() or ".." in Path(path).parts:
                raise ValueError(f"{archive}: {name!r} would be written outside {folder}")
            (waiting / path).parent.mkdir(parents=True, exist_ok=True)
            (waiting / path).write_bytes(read())
            found.append(path)
        if not found:
            raise ValueError(f"{archive}: none of the files that it should have")
        if contents is not None and (digest := digest_of_files(waiting, found)) != contents:
            raise ValueError(f"{archive}: its files have the checksum {digest}, expected {contents}; nothing was written")
        for path in found:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(waiting / path, folder / path)
    # zipfile says NotImplementedError of a compression that it does not know, RuntimeError of a password
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{archive}: a damaged archive: {error}") from None
    finally:
        shutil.rmtree(waiting, ignore_errors=True)
    return len(found)


def members(archive):
    """(name, function that reads it) of every plain file in an archive."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            yield from ((info.filename, lambda info=info: file.read(info)) for info in file.infolist() if not info.is_dir())
    else:
        with tarfile.open(archive) as file:
            yield from ((info.name, lambda info=info: file.extractfile(info).read()) for info in file if info.isfile())


def digest_of_files(folder, names):
    """"sha256:…" over the names and contents of files, whatever order they come in."""
    whole = hashlib.sha256()
    for name in sorted(str(n) for n in names):
        whole.update(f"{hashlib.sha256((Path(folder) / name).read_bytes()).hexdigest()}  {name}\n".encode())
    return f"sha256:{whole.hexdigest()}"
