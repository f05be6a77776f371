"""The names of objects in DVC's cache and remotes: checked, because they become paths."""

import re
from typing import Any

from convline.problems import Problem

NAME = re.compile(r"[0-9a-f]{32}(\.dir)?")  # an md5, and what marks the list of a directory


def checked_name(name: object, path: str) -> str:
    """`name`, the md5 that dvc.lock or the list of a directory has for `path`.

    Raises `Problem` where it is not an md5: as a path, it could lead anywhere on the disk.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise Problem(
            f"{path} has {str(name)[:60]!r} for its md5, which should be 32 hexadecimal digits; "
            "nothing was read or changed under that name"
        )
    return name


def check_lock(lock: Any) -> None:
    """Check every name in the content of a dvc.lock. Raises `Problem` at the first bad one."""
    for stage in (lock.get("stages") or {}).values():
        for entry in (*stage.get("deps", []), *stage.get("outs", [])):
            if "md5" in entry:
                checked_name(entry["md5"], entry["path"])
