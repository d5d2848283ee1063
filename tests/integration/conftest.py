"""Fixtures that several integration tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from deploy.local.stack import LocalStack
    from tests.replayed_live import Live


@pytest.fixture(scope="session")
def live(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Live:
    """A stream that was scored live, with rules and a learner that changed in its midst; its job has ended."""
    from tests.replayed_live import score_live

    return score_live(stack, tmp_path_factory.mktemp("home"))
