"""What the sandbox costs on this machine, beside what it is meant to cost."""

import statistics
from typing import Any

from agent.units import show_size
from sandbox.spawn import Costs

AIM_START, AIM_SHARE, AIM_KILL = 0.030, 0.01, 0.100  # seconds, of a core, seconds
AIM_OVERSHOOT, AIM_OVERSHOOT_SHARE = 500 * 10**6, 0.10  # whichever is more


def spawn_lines(costs: Costs) -> list[str]:
    """The figures for people."""
    bare, jailed = statistics.median(costs.bare_seconds), statistics.median(costs.jailed_seconds)
    killed, worst = statistics.median(costs.kill_seconds), max(costs.kill_seconds)
    beyond = max(costs.overshoot_bytes)
    return [
        f"jail {costs.jail}",
        f"start      {bare * 1e3:6.1f} ms bare, {jailed * 1e3:.1f} ms in the jail ({jailed / bare:.2f} times): "
        f"{costs.overhead_seconds * 1e3:.1f} ms more (median of {len(costs.bare_seconds)} pairs; "
        f"aim: {AIM_START * 1e3:.0f} ms)",
        f"watching   {costs.quiet_share:6.2%} of a core, of a trial that sleeps (aim: {AIM_SHARE:.0%})",
        f"kill       {killed * 1e3:6.1f} ms, worst {worst * 1e3:.1f} ms, of 11 processes that ignore SIGTERM "
        f"({len(costs.kill_seconds)} times; aim: {AIM_KILL * 1e3:.0f} ms)",
        f"overshoot  {show_size(beyond)} ({beyond / costs.limit_bytes:.1%}) beyond a memory limit of "
        f"{show_size(costs.limit_bytes)} at {costs.rate / 1e9:.2f} GB/s, worst of {len(costs.overshoot_bytes)} "
        f"(aim: {AIM_OVERSHOOT_SHARE:.0%} or {AIM_OVERSHOOT // 10**6} MB)",
    ]


def spawn_record(costs: Costs) -> dict[str, Any]:
    """The same for machines: what was measured, the aim, and whether it is met."""
    beyond = max(costs.overshoot_bytes)
    most_beyond = max(AIM_OVERSHOOT, round(AIM_OVERSHOOT_SHARE * costs.limit_bytes))
    return {
        "jail": costs.jail,
        "bare_start_seconds": statistics.median(costs.bare_seconds),
        "jailed_start_seconds": statistics.median(costs.jailed_seconds),
        "start_overhead_seconds": _beside(costs.overhead_seconds, AIM_START),
        "quiet_share_of_core": _beside(costs.quiet_share, AIM_SHARE),
        "kill_seconds": _beside(statistics.median(costs.kill_seconds), AIM_KILL),
        "worst_kill_seconds": _beside(max(costs.kill_seconds), AIM_KILL),
        "overshoot_bytes": _beside(beyond, most_beyond),
        "memory_limit_bytes": costs.limit_bytes,
        "growth_bytes_per_second": costs.rate,
    }


def _beside(measured: float, aim: float) -> dict[str, Any]:
    return {"measured": measured, "aim": aim, "met": measured <= aim}
