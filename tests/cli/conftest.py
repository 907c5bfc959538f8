from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.commands import assert_no_store_in


@pytest.fixture(scope="session")
def shared_dir() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="affix-") as folder:
        yield Path(folder) / "data"


@pytest.fixture
def data_dir(shared_dir: Path) -> Iterator[Path]:
    """A data folder, with what earlier tests stored in it, that nothing uses; no store may be left in it."""
    yield shared_dir
    assert_no_store_in(shared_dir)


@pytest.fixture
def new_dir() -> Iterator[Path]:
    """A data folder that does not exist yet, on a path short enough for sockets; no store may be left in it."""
    with tempfile.TemporaryDirectory(prefix="affix-") as folder:
        path = Path(folder) / "data"
        yield path
        assert_no_store_in(path)
