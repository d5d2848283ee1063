"""Fixtures for every test: nothing outside may change a test's settings."""

import os

import pytest

TEST_VARIABLES = ("WEIR_TEST_", "WEIR_HANDBOOK_DIR", "WEIR_JVM_LOG_LEVEL")


@pytest.fixture(autouse=True, scope="session")
def no_settings_from_outside():
    """A developer's own WEIR_ variables are taken away for the run."""
    taken = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name.startswith("WEIR_") and not name.startswith(TEST_VARIABLES)
    }
    yield
    os.environ.update(taken)
