"""A job that starts from a savepoint is checked against the one that was saved."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.errors import StackError
from deploy.local.savepoints import NOTE, changes_since, copy_to_start_from, folder_of, write_note

FIXED = {"shards": "give them as they were"}
SAVED = {"shards": "2", "feature_set": "abc", "model": "weir@1"}


@pytest.fixture
def savepoint(tmp_path: Path) -> str:
    folder = tmp_path / "savepoint 1"
    folder.mkdir()
    (folder / "_metadata").write_bytes(b"")
    return folder.as_uri()


def test_what_changed_is_told(savepoint: str) -> None:
    assert write_note(savepoint, SAVED)
    assert changes_since(savepoint, SAVED, FIXED) == []
    assert changes_since(savepoint, {**SAVED, "model": "weir@2"}, FIXED) == ["model was weir@1 and is weir@2"]


def test_other_shards_are_refused(savepoint: str) -> None:
    write_note(savepoint, SAVED)
    with pytest.raises(StackError, match=r"shards was 2 and is 3: .* give them as they were"):
        changes_since(savepoint, {**SAVED, "shards": "3"}, FIXED)


def test_a_savepoint_without_a_note_is_taken_as_it_is(savepoint: str) -> None:
    assert changes_since(savepoint, SAVED, FIXED) == []
    assert changes_since("s3://bucket/savepoint-1", SAVED, FIXED) == []
    assert not write_note("s3://bucket/savepoint-1", SAVED)


def test_a_folder_without_a_savepoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="_metadata"):
        changes_since(str(tmp_path), SAVED, FIXED)
    assert not (tmp_path / NOTE).exists()


def test_a_job_starts_from_a_copy_and_the_savepoint_stays(savepoint: str) -> None:
    own, known = folder_of(copy_to_start_from(savepoint)), folder_of(savepoint)
    assert own is not None
    assert known is not None
    assert own != known
    assert sorted(file.name for file in own.iterdir()) == sorted(file.name for file in known.iterdir())
    for file in own.iterdir():
        file.unlink()
    assert (known / "_metadata").exists()


def test_what_cannot_be_copied_is_taken_over_itself() -> None:
    assert copy_to_start_from("s3://bucket/savepoint-1") == "s3://bucket/savepoint-1"
    assert copy_to_start_from("file:///nowhere/savepoint-1") == "file:///nowhere/savepoint-1"
