"""What a glob names: of files, and of objects as of the files that they are where they are mounted."""

import fnmatch
import glob
import os
from collections.abc import Iterator

MOST_NAMES = 1_000_000  # that ** looks at


def matches(parts: list[str], pattern: list[str]) -> bool:
    """Return whether a glob names a path, each in its parts; ** stands for any folders that are not hidden."""

    def reached(places: set[int]) -> set[int]:
        """Add to places in the pattern those that they lead to where a ** stands for nothing."""
        for place in sorted(places):
            while place < len(pattern) and pattern[place] == "**":
                place += 1
                places.add(place)
        return places

    # where in the pattern it can be: all at once, as trying one after the other may take for ever
    places = reached({0})
    for part in parts:
        is_hidden, onward = part.startswith("."), set()
        for place in places - {len(pattern)}:
            if pattern[place] == "**":
                onward |= set() if is_hidden else {place}
            elif (not is_hidden or pattern[place].startswith(".")) and fnmatch.fnmatchcase(part, pattern[place]):
                onward.add(place + 1)
        places = reached(onward)
    return len(pattern) in places


def named(pattern: str) -> Iterator[str]:
    """Yield the files that a glob names; ** follows no links, which may lead in a circle.

    Raises:
        ValueError: there is too much below the folder that ** begins in.
    """
    parts = pattern.split(os.sep)
    if "**" not in parts:
        yield from (path for path in glob.iglob(pattern) if not os.path.isdir(path))
        return
    fixed = next(place for place, part in enumerate(parts) if glob.has_magic(part))
    root, n_names = os.sep.join(parts[:fixed]) or os.sep, 0
    for folder, folders, names in os.walk(root):
        n_names += len(folders) + len(names)
        if n_names > MOST_NAMES:
            raise ValueError(f"{pattern} looks through more than {MOST_NAMES:,} files. Name a folder nearer to them.")
        inside = [] if folder == root else os.path.relpath(folder, root).split(os.sep)
        for name in names:
            if matches([*inside, name], parts[fixed:]):
                yield os.path.join(folder, name)
