"""The servers of a test session: started once for all of its workers, ended for sure."""

import json
import os
from collections.abc import Iterator

import pytest
from holder import shared_servers
from lessons import lessons
from running import TINY, Server


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    if not (TINY / ".ready").exists():
        pytest.skip("no real servers: `make servers` builds them")
    if json.loads((TINY / "lessons.json").read_text()) != lessons():
        pytest.skip("the tiny model learnt other prompts than there are now: `make servers` teaches it again")
    own = tmp_path_factory.getbasetemp()
    folder = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own  # a worker's own folder is inside the session's
    with shared_servers(folder / "servers") as running:
        yield running
