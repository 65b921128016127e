"""Result folders that exist whole or not at all, and the hashes of what is in them."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from posteriori.core.errors import StoreError


@contextmanager
def place(folder: Path) -> Iterator[None]:
    """Make sure that ``folder`` can be written; parents that were made for it go again where nothing came of it."""
    made = [parent for parent in folder.parents if not parent.exists()]
    try:
        require_new(folder)
        yield
    finally:
        for parent in made:
            with suppress(OSError):  # it holds something, and stays
                parent.rmdir()


def require_new(folder: Path) -> None:
    """Make sure, before any work, that ``folder`` can be written and would replace nothing; else ``StoreError``."""
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise StoreError(f"{folder} holds something already; choose another --out, or move it away.")
        if folder.exists() and not folder.is_dir():
            raise StoreError(f"{folder} is a file; choose another --out.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}."):
            pass
    except StoreError:
        raise
    except OSError as problem:
        raise StoreError(f"{folder} cannot be written ({problem.strerror}); choose another --out.") from problem


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A hidden sibling to fill; it becomes ``folder`` when the block ends well and vanishes when it does not."""
    draft = folder.with_name(f".{folder.name}.partial")
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        yield draft
        draft.rename(folder)
    except StoreError:
        raise
    except OSError as problem:
        raise StoreError(f"{folder} could not be written ({problem}); free some space, then run again.") from problem
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def digests(folder: Path, skip: Sequence[str] = ()) -> dict[str, str]:
    """The SHA-256 of every array and file in ``folder`` but ``skip``, by ``file`` or ``file:/group/array``.

    Arrays of netCDF files are hashed one by one, so that a date or a duration in an attribute changes nothing.
    """
    found: dict[str, str] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if name in skip:
            continue
        if path.suffix in (".nc", ".h5"):
            found |= {f"{name}:{array}": digest for array, digest in _arrays(path)}
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _arrays(path: Path) -> list[tuple[str, str]]:
    import h5py

    found: list[tuple[str, str]] = []

    def visit(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            digest = hashlib.sha256(f"{node.dtype} {node.shape} ".encode())
            values = node[()]
            digest.update(repr(values.tolist()).encode() if node.dtype.hasobject else values.tobytes())
            found.append((f"/{name}", digest.hexdigest()))

    with h5py.File(path) as file:
        file.visititems(visit)
    return found
