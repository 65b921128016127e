"""A folder of checkpoints and small results: everything is written beside its place and renamed into it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from posteriori.core.errors import StoreError


@contextmanager
def renamed(path: Path) -> Iterator[Path]:
    """A temporary sibling of ``path`` that takes its place only if the block ends well.

    Raises:
        StoreError: the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}; choose a folder that can be written.") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except StoreError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"cannot write {path}: {reason}; what stood there before is untouched.") from error
    finally:
        temporary.unlink(missing_ok=True)


def writable(folder: Path) -> Path:
    """``folder`` once it is known to take a file; asked before hours of work, not after.

    Raises:
        StoreError: it cannot be made or written.
    """
    with renamed(Path(folder) / ".writable"):
        pass
    (Path(folder) / ".writable").unlink(missing_ok=True)
    return Path(folder)


@dataclass(frozen=True)
class Store:
    """Tensors with their facts under names, in ``folder``; safetensors inside, never pickle."""

    folder: Path

    def child(self, *key: str | int) -> Store:
        """The corner below this one that ``key`` names."""
        return Store(self.folder.joinpath(*(str(part) for part in key)))

    def save(self, name: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any] | None = None) -> None:
        """Keep ``tensors`` and JSON-able ``facts`` under ``name``; an older version stays until the new one is whole.

        Raises:
            StoreError: the folder cannot be written.
        """
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        held = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
        with renamed(self.folder / f"{name}.safetensors") as path:
            try:
                save_file(held, str(path), {"facts": json.dumps(dict(facts or {}))})
            except SafetensorError as error:
                raise StoreError(f"cannot write {path.parent / name}: {error}; make room and start again.") from error

    def load(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What was kept under ``name``: tensors and facts; None when nothing was.

        Raises:
            StoreError: the file is damaged.
        """
        from safetensors import SafetensorError, safe_open

        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            return None
        try:
            with safe_open(str(path), framework="pt") as held:
                tensors: dict[str, Tensor] = {key: held.get_tensor(key) for key in held.keys()}  # noqa: SIM118
                return tensors, json.loads((held.metadata() or {}).get("facts", "{}"))
        except (SafetensorError, OSError, ValueError) as error:
            raise StoreError(f"{path} is damaged ({error}); delete it and start that part again.") from error

    def has(self, name: str) -> bool:
        """Whether something is kept under ``name``."""
        return (self.folder / f"{name}.safetensors").exists()

    def remove(self, name: str) -> None:
        """Forget what is kept under ``name``, if anything."""
        (self.folder / f"{name}.safetensors").unlink(missing_ok=True)

    def once(self, name: str, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """What is kept under ``name``, made and kept first if need be."""
        found = self.load(name)
        if found is not None:
            return found[0]
        made = dict(make())
        self.save(name, made)
        return made
