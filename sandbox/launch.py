"""What every jail starts: the stub, with the program's limits and environment as its flags.

Pure text: nothing is started or made here. The part that differs from jail to jail (where home and temporary
folder lie, what is mounted) is given by the jail.
"""

import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from sandbox import stub
from sandbox.spec import Spec

STUB = Path(stub.__file__)
BURST_BYTES = 2**30  # one process may pass the watchdog's limit by this much before its own allocation fails


def program(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The arguments with `python` and `python3` replaced by the interpreter that runs the agent."""
    return (sys.executable, *argv[1:]) if argv[0] in ("python", "python3") else argv


def limits(spec: Spec) -> dict[int, int]:
    """Resource limits of each process of the program: resource -> value.

    RLIMIT_AS would break CUDA and torch, which reserve far more address space than they use. RLIMIT_DATA
    counts private writable memory, thread stacks included: it catches the one allocation that outruns the
    watchdog. It is left away with a GPU, where drivers map at will.
    """
    found = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: spec.limits.disk_bytes}
    if not spec.gpu:
        found[resource.RLIMIT_DATA] = spec.limits.memory_bytes * 5 // 4 + BURST_BYTES
    return found


def environment(spec: Spec, home: str, temporary: str) -> dict[str, str]:
    """The program's complete environment: the spec's, with a private home and temporary folder."""
    here = str(Path(sys.executable).parent)
    return {
        "PATH": f"{here}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "USER": "trial",
        "LOGNAME": "trial",
        **spec.env,
        "HOME": home,
        "TMPDIR": temporary,
    }


def loader(spec: Spec) -> dict[str, str]:
    """What the stub's own Python may need to start: on clusters its libraries are found by this variable only."""
    return {name: text for name, text in spec.env.items() if name == "LD_LIBRARY_PATH"}


def command(spec: Spec, stub_path: str, env: dict[str, str], places: Sequence[str] = ()) -> list[str]:
    """The command line of the stub, which lies at `stub_path` inside; `places` are flags of the jail."""
    flags = [*places, "--cwd", str(spec.work)]
    for resource_number, value in limits(spec).items():
        flags += ["--limit", str(resource_number), str(value)]
    for name, text in env.items():
        flags += ["--env", name, text]
    return [sys.executable, "-I", "-S", stub_path, *flags, "--", *program(spec.argv)]
