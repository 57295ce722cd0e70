"""What every jail starts: the stub, with the program's limits and environment as its flags.

Text only: nothing is started or made here. The part that differs from jail to jail (where home and temporary folder
lie, what is mounted) is given by the jail.
"""

import os
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from sandbox.spec import Spec

PACKAGE = Path(__file__).parent  # holds the stub and what it imports; shown inside every jail
BURST_BYTES = 2**30  # one process may pass the watchdog's limit by this much before its own allocation fails
OPEN_FILES = 2**21  # of all processes together: the watchdog has to look at each, the kernel to close it at the end
LEAST_OPEN_FILES, MOST_OPEN_FILES = 2**10, 2**14  # of one process
POOLS = 32  # processes of an honest program that start a thread for each processor: torch and numpy do


def program(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The arguments with `python` and `python3` replaced by the interpreter that runs the agent."""
    return (sys.executable, *argv[1:]) if argv[0] in ("python", "python3") else argv


def limits(spec: Spec) -> dict[int, int]:
    """Resource limits of each process of the program: resource -> value.

    RLIMIT_AS would break CUDA and torch, which reserve far more address space than they use. RLIMIT_DATA
    counts private writable memory, thread stacks included: it catches the one allocation that outruns the
    watchdog. It is left away with a GPU, where drivers map at will. RLIMIT_NPROC counts the threads of a user: it is
    a fence far behind the watchdog's number of processes, for the moment that a fork bomb needs.
    """
    found = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: open_files(spec.limits.processes),
        resource.RLIMIT_FSIZE: spec.limits.disk_bytes,
        resource.RLIMIT_NPROC: most_tasks(spec.limits.processes),
    }
    if spec.user is None:  # then it shares the count with all else that its user runs: no more than all there is
        found[resource.RLIMIT_NPROC] += tasks()
    if not spec.gpu:
        found[resource.RLIMIT_DATA] = spec.limits.memory_bytes * 5 // 4 + BURST_BYTES
    return found


def most_tasks(processes: int) -> int:
    """The fence for processes and threads together: each process may have two, and some a pool for each processor.

    As low as honest programs allow: a fork bomb keeps all of them running until it is ended.
    """
    return 2 * processes + POOLS * ((os.cpu_count() or 1) + 2)


def open_files(processes: int) -> int:
    """How many files each process may hold open; measured: their end then takes 1.6 to 2.6 s, and 6 with 2**14 each."""
    return max(LEAST_OPEN_FILES, min(MOST_OPEN_FILES, OPEN_FILES // processes))


def tasks() -> int:
    """How many processes and threads this machine has."""
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])


def environment(spec: Spec, home: str, temporary: str) -> dict[str, str]:
    """The program's complete environment: the spec's (`~/` begins a path below the private home), with both folders."""
    here = str(Path(sys.executable).parent)
    given = {name: f"{home}{text[1:]}" if text.startswith("~/") else text for name, text in spec.env.items()}
    return {
        "PATH": f"{here}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "USER": "trial",
        "LOGNAME": "trial",
        **given,
        "HOME": home,
        "TMPDIR": temporary,
    }


def loader(spec: Spec) -> dict[str, str]:
    """What the stub's own Python may need to start: on clusters its libraries are found by this variable only."""
    return {name: text for name, text in spec.env.items() if name == "LD_LIBRARY_PATH"}


def command(spec: Spec, package: Path, env: dict[str, str], places: Sequence[str] = ()) -> list[str]:
    """The command line of the stub; `package` is the folder of this package inside, `places` are flags of the jail."""
    flags = [*places, "--cwd", str(spec.work)]
    if spec.user is not None:
        flags += ["--user", str(spec.user)]
    if spec.held:
        flags += ["--wait", "yes"]
    for resource_number, value in limits(spec).items():
        flags += ["--limit", str(resource_number), str(value)]
    for name, text in env.items():
        flags += ["--env", name, text]
    start = [sys.executable, "-I", "-S", str(package / "stub.py"), str(package.parent)]
    return [*start, *flags, "--", *program(spec.argv)]
