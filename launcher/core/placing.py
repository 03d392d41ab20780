"""Where the keys of a listing lie that is told page by page and never held: as `keys.arrange` says of a whole one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.errors import Exit, StageError
from launcher.core.keys import PATH_MOST, clash, is_own, relative_path

if TYPE_CHECKING:
    from launcher.core.urls import Location


class Placing:
    """Where the keys of one listing will lie, told one after the other as they come in their order; it keeps none.

    `listed` counts all keys seen, markers included; `own` those of the launcher itself, which have no place.
    """

    def __init__(self, folder: Location, room: int = PATH_MOST) -> None:
        self._folder = folder
        self._room = room
        self._last = ""
        self._above: list[str] = []
        self.listed = self.own = 0

    def place(self, key: str) -> str | None:
        """The relative path of a key, of a folder where it ends in `/`; None: it is no part of the channel.

        Raises `StageError` as `arrange` does, and for a listing that is not in order.
        """
        if key <= self._last:
            raise _disordered(key, self._last)
        self._last = key
        self.listed += 1
        relative = relative_path(key, self._folder, self._room)
        if is_own(relative):
            self.own += 1
            return None
        self._check_above(relative)
        return relative or None

    def _check_above(self, relative: str) -> None:
        """Keys in order that begin with a file's name follow on it, so only those that still do can be in its way.

        Of these the longest is the only one that was not looked at: the others are the beginning of it.
        """
        above = self._above
        while above and not relative.startswith(above[-1]):
            above.pop()
        if above and relative.startswith(above[-1] + "/"):
            raise clash(f"{self._folder.key + above[-1]!r} is an object and a folder at once", self._folder)
        if relative and not relative.endswith("/"):
            above.append(relative)


def _disordered(key: str, last: str) -> StageError:
    how = "twice" if key == last else f"after {last!r}, out of order: objects could be missed"
    return StageError(
        f"the store lists {key!r} {how}",
        code="store-listing",
        action="Start the job again; if it stays so, the store's listing is broken.",
        exit_code=Exit.UNREACHABLE,
    )
