"""The ways to die that were collected beside this checkout (`../shared/cases/oom`), each with its outcome."""

import pytest
from sandbox_kit import CASES, GIB, LEVELS, Runner, jail_of

from sandbox.spec import Limits, Outcome

EXPECTED = {
    "native_crash": Outcome.CRASH,
    "oom_gpu": Outcome.OOM_GPU,
    "ok": Outcome.OK,
    "disk_full": Outcome.DISK_FULL,
    "nonzero_exit": Outcome.CRASH,
    "oom_host": Outcome.OOM_HOST,
    "import_error": Outcome.CRASH,
    "syntax_error": Outcome.CRASH,
    "assertion": Outcome.CRASH,
    "killed_unexplained": Outcome.LOST,
    "shm_exhausted": Outcome.OOM_HOST,
    "signal": Outcome.CRASH,
    "timeout": Outcome.TIMEOUT_TRAIN,
    "kernel_resources": Outcome.CRASH,
}
SCRIPTS = sorted((CASES / "oom").glob("*.py"))


def expected(text):
    word = text.splitlines()[0].removeprefix("# EXPECT ")
    return next(outcome for name, outcome in EXPECTED.items() if word.startswith(name))


@pytest.mark.skipif(not SCRIPTS, reason="no ../shared/cases/oom beside this checkout")
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", [path.stem for path in SCRIPTS])
def test_a_way_to_die_is_told_by_its_evidence(name, level, tmp_path):
    if name.startswith("shm_") and level == "none":
        pytest.skip("without a jail /dev/shm is the machine's own")
    text = next(path for path in SCRIPTS if path.stem == name).read_text()
    disk = 4 * GIB if name.startswith("shm_") else GIB // 2
    ran = Runner(jail_of(level), tmp_path)(
        text, seconds=4.0 if name == "timeout" else 40.0, limits=Limits(2 * GIB, disk_bytes=disk)
    )
    assert ran.finding.outcome is expected(text), ran.finding
    assert ran.left == [] and ran.finding.reason
    if ran.finding.outcome is Outcome.OOM_HOST:
        assert ran.finding.numbers["limit_bytes"] == 2 * GIB and "in_use_bytes" in ran.finding.numbers
