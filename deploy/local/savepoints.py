"""What a savepoint was made by, beside it in a file of ours: a job that starts from it is checked against that."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Mapping
from pathlib import Path

from deploy.local.errors import StackError

NOTE = "weir.json"


def folder_of(savepoint: str) -> Path | None:
    """Return the folder of a savepoint of this machine's file system; None of another."""
    address = urllib.parse.urlparse(savepoint)
    return Path(urllib.parse.unquote(address.path)) if address.scheme in ("", "file") else None


def write_note(savepoint: str, parameters: Mapping[str, str]) -> bool:
    """Write the parameters of the job that was saved; return whether the savepoint lies where we can."""
    folder = folder_of(savepoint)
    if folder is None or not folder.is_dir():
        return False
    (folder / NOTE).write_text(json.dumps(dict(parameters), indent=2, sort_keys=True) + "\n")
    return True


def changes_since(savepoint: str, parameters: Mapping[str, str], fixed: Mapping[str, str]) -> list[str]:
    """Compare the job to be started with the one that was saved.

    Parameters
    ----------
    savepoint
        Its address.
    parameters
        Of the job to be started.
    fixed
        Parameters that cannot change over a savepoint, and what to do instead.

    Returns
    -------
    list
        A sentence for each parameter that differs; empty too where there is no note.

    Raises
    ------
    StackError
        If the savepoint is not there, or a fixed parameter differs.
    """
    folder = folder_of(savepoint)
    if folder is None:
        return []
    if not (folder / "_metadata").exists():
        raise StackError(f"there is no savepoint or retained checkpoint in {folder}: give the folder of its _metadata")
    note = folder / NOTE
    if not note.exists():
        return []
    saved = json.loads(note.read_text())
    names = sorted(set(saved) | set(parameters))
    changes = {
        name: f"{name} was {saved.get(name, 'unknown')} and is {parameters.get(name, 'unknown')}"
        for name in names
        if saved.get(name) != parameters.get(name)
    }
    for name in fixed:
        if name in changes:
            raise StackError(f"{changes[name]}: that cannot change over a savepoint, {fixed[name]}")
    return list(changes.values())
