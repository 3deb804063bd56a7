"""The control groups of this process, as Linux lists them in files; elsewhere there are none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def groups(controller: str, root: Path = ROOT) -> Iterator[tuple[int, Path]]:
    """The folders where `controller` ("cpu", "memory") limits this process, each with its version, 1 or 2: those of its
    groups and of the groups around them. In a container the path may be the host's: only the mount is there then, and
    it is the container's own. Folders that are not there are among them."""
    mounts = root / "sys/fs/cgroup"
    for line in text_of(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (line + "::").split(":", 2)
        path = path.removesuffix("::")
        if controllers == "":
            yield from ((2, folder) for folder in _upwards(mounts, path))
        elif controller in controllers.split(","):
            for mount in dict.fromkeys((controller, controllers)):
                yield from ((1, folder) for folder in _upwards(mounts / mount, path))


def text_of(path: Path) -> str:
    """What a file says, "" where it cannot be read."""
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def _upwards(mount: Path, path: str) -> list[Path]:
    parts = [part for part in path.split("/") if part and part != ".."]
    return [mount.joinpath(*parts[:n]) for n in range(len(parts), -1, -1)]
