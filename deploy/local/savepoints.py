"""What a savepoint was made by, beside it in a file of ours: a job that starts from it is checked against that."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
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


def copy_to_start_from(savepoint: str) -> str:
    """Return the address of a copy for a job to take over; of the savepoint itself where we cannot make one.

    With a log of state changes Flink starts a job from nothing but a savepoint that is the job's own from then on, and
    removes it once later checkpoints need it no more. A copy takes no room where the file system has hard links.
    """
    folder = folder_of(savepoint)
    if folder is None:
        return savepoint
    copy = None
    try:
        copy = Path(tempfile.mkdtemp(prefix=f"{folder.name}-started-", dir=folder.parent))
        shutil.copytree(folder, copy, copy_function=_link, dirs_exist_ok=True)
    except OSError:
        if copy is not None:
            shutil.rmtree(copy, ignore_errors=True)
        return savepoint
    return copy.as_uri()


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


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
