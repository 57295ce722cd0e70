"""`agent bench spawn`: what it measures is there, beside the aim, and a sandbox that fails is said."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sandbox_kit import GIB, LEVELS, jail_of

from agent.bench.spawn import spawn_lines, spawn_record
from sandbox.spawn import Costs, Rounds, measure
from sandbox.spec import SandboxError

AGENT = str(Path(sys.executable).with_name("agent"))


def costs(**changed) -> Costs:
    """Made-up figures, all within their aims."""
    figures = {
        "jail": "namespace",
        "bare_seconds": (0.010, 0.030, 0.020),
        "jailed_seconds": (0.030, 0.045, 0.045),
        "quiet_share": 0.004,
        "kill_seconds": (0.060, 0.070, 0.200),
        "limit_bytes": GIB,
        "overshoot_bytes": (10**8, 3 * 10**8),
        "rate": 1e9,
    }
    return Costs(**(figures | changed))


def test_the_overhead_is_that_of_the_pairs():
    assert costs().overhead_seconds == pytest.approx(0.020)


@pytest.mark.parametrize(
    ("figure", "bad", "name"),
    [
        ("jailed_seconds", (0.05, 0.07, 0.06), "start_overhead_seconds"),
        ("quiet_share", 0.02, "quiet_share_of_core"),
        ("kill_seconds", (0.11, 0.12), "kill_seconds"),
        ("overshoot_bytes", (0, 6 * 10**8), "overshoot_bytes"),
    ],
)
def test_a_figure_beyond_its_aim_is_told_from_one_within(figure, bad, name):
    assert spawn_record(costs())[name]["met"] and not spawn_record(costs(**{figure: bad}))[name]["met"]


def test_the_lines_name_measure_and_aim():
    text = "\n".join(spawn_lines(costs()))
    for part in ("20.0 ms more", "0.40% of a core", "70.0 ms, worst 200.0 ms", "286 MiB (27.9%)", "aim: 100 ms"):
        assert part in text


@pytest.mark.parametrize("level", LEVELS)
def test_everything_is_measured_with_real_programs(level, tmp_path):
    found = measure(jail_of(level), tmp_path, Rounds(2, 0.6, 1, 1))
    assert len(found.bare_seconds) == len(found.jailed_seconds) == 2
    assert min(found.jailed_seconds) > 0 and 0 < found.kill_seconds[0] < 10
    assert 0 < found.quiet_share < 1  # a watching that costs a whole core is broken
    assert 0 <= found.overshoot_bytes[0] < GIB and found.rate > 1e7
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_jail_that_cannot_start_a_program_is_said(tmp_path):
    class Broken:
        name, own_user = "broken", False

        def promises(self):
            return frozenset()

        def wrap(self, spec):
            return ["false"]

    with pytest.raises(SandboxError, match="could not start"):
        measure(Broken(), tmp_path, Rounds(1, 0.1, 1, 1))


def test_the_command_prints_a_record():
    line = [AGENT, "bench", "spawn", "--sandbox", "none", "--quick", "--json"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["jail"] == "none" and record["start_overhead_seconds"]["aim"] == 0.03
