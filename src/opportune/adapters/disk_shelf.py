"""ModelShelf on local disk: models/<name>/<version>/ in the home, and a pointer file that names the champion.

A model becomes the champion only after its hash held and a child process loaded it and found its golden rows;
readers therefore see the old champion or the new one, whole.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from opportune.learning import manifest as manifests
from opportune.ports import ModelFiles

POINTER = "champion"
_PROVEN = ".proven"
_PROBE_S = 60
_SAFE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


class DiskShelf:
    """The shelf of one home folder. Safe for many readers and one writer at a time; writes are atomic renames."""

    def __init__(self, home: Path) -> None:
        self._root = home / "models"

    def stamp(self, name: str) -> str | None:
        """Changes when the champion, or a file of it, changes; null when there is none. Three file lookups."""
        version = self.champion(name)
        if version is None:
            return None
        marks = [version]
        for file in (manifests.MANIFEST, manifests.MODEL):
            try:
                seen = (self._root / name / version / file).stat()
            except FileNotFoundError:
                marks.append("gone")
            else:
                marks.append(f"{seen.st_mtime_ns}.{seen.st_size}.{seen.st_ino}")
        return ":".join(marks)

    def champion(self, name: str) -> str | None:
        """Version of the champion on disk; null when there is none."""
        try:
            version = (self._folder(name) / POINTER).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return None
        return version if _SAFE.match(version) else None

    def load(self, name: str) -> ModelFiles:
        """The champion, verified. Raises FileNotFoundError (none), ValueError (hash, manifest, crash in the probe)."""
        version = self.champion(name)
        if version is None:
            raise FileNotFoundError(f"no champion of {name} on disk: train it, or let the worker fetch it")
        return _verified(self._root / name / version, name, version)

    def put(self, name: str, version: str, files: Mapping[str, bytes]) -> None:
        """Verify and store a version, then make it the champion. Raises ValueError; the champion then stays.

        A version that is there with the same files, proven before, is not loaded again: going back is quick.
        """
        folder = self._folder(name)
        if not _SAFE.match(version):
            raise ValueError(f"{version!r} is not a version")
        for needed in (manifests.MANIFEST, manifests.MODEL):
            if needed not in files:
                raise ValueError(f"{name}/{version} comes without {needed}")
        folder.mkdir(parents=True, exist_ok=True)
        if _same(folder / version, files):
            _verified(folder / version, name, version)
        else:
            self._store(folder, name, version, files)
        pointer = folder / f".{POINTER}-{os.getpid()}"
        _write(pointer, version.encode())
        pointer.replace(folder / POINTER)

    def _store(self, folder: Path, name: str, version: str, files: Mapping[str, bytes]) -> None:
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
        try:
            for file, data in files.items():
                if not _SAFE.match(file):
                    raise ValueError(f"{name}/{version} holds the file {file!r}")
                _write(fresh / file, data)
            _verified(fresh, name, version)
            _swap(fresh, folder / version)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _folder(self, name: str) -> Path:
        if not _SAFE.match(name):
            raise ValueError(f"{name!r} is not a model name")
        return self._root / name


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _same(folder: Path, files: Mapping[str, bytes]) -> bool:
    return all((folder / file).is_file() and (folder / file).read_bytes() == data for file, data in files.items())


def _swap(fresh: Path, target: Path) -> None:
    """Move a folder into place; a folder that is there already is moved aside first."""
    if target.exists():
        aside = Path(tempfile.mkdtemp(prefix=".old-", dir=target.parent))
        target.rename(aside / target.name)
        fresh.rename(target)
        shutil.rmtree(aside)
    else:
        fresh.rename(target)


def _verified(folder: Path, name: str, version: str) -> ModelFiles:
    try:
        manifest_bytes = (folder / manifests.MANIFEST).read_bytes()
        text = (folder / manifests.MODEL).read_bytes().decode()
    except FileNotFoundError as problem:
        raise ValueError(
            f"{name}/{version} on disk is not whole: {Path(problem.filename).name} is missing"
        ) from problem
    manifest = manifests.parse(manifest_bytes)
    manifests.check(manifest, name, text)
    if manifest["version"] not in (None, version):
        raise ValueError(f"the manifest in {name}/{version} is that of version {manifest['version']}")
    _prove(folder, name, version, f"{manifests.sha256(manifest_bytes)} {manifest['sha256']}")
    return ModelFiles(name=name, version=version, manifest=manifest, text=text)


def _prove(folder: Path, name: str, version: str, mark: str) -> None:
    """Load these very bytes once in a child process; the marker remembers by hash that it went well."""
    marker = folder / _PROVEN
    if marker.is_file() and marker.read_text(encoding="utf-8") == mark:
        return
    command = [sys.executable, "-m", "opportune.learning.probe", str(folder), name, version]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, capture_output=True, timeout=_PROBE_S, env=environment, check=False)
    except subprocess.TimeoutExpired as problem:
        raise ValueError(f"{name}/{version} did not load within {_PROBE_S} s") from problem
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        why = said[-1] if done.returncode == 1 and said else f"the loading process died ({done.returncode})"
        raise ValueError(f"{name}/{version} cannot be loaded: {why}")
    temporary = folder / f"{_PROVEN}-{os.getpid()}"
    _write(temporary, mark.encode())
    temporary.replace(marker)
