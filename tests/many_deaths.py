"""Two hundred ways to die: a script that dies as its constant says, and a search method that walks through them.

`agent run --proposer many_deaths:Walk` with this folder on PYTHONPATH.
"""

from agent.nouns import Proposal
from agent.proposers.base import Setup
from agent.state import State

OOM = 'raise RuntimeError("CUDA out of memory. Tried to allocate {0}.00 GiB. GPU 0 has a total capacity of 79 GiB")'
SLOW_LEAK = "while True: a.append(bytearray(b'x' * 2**20)); time.sleep(.002)"
DAEMON = "if os.fork() == 0:\n    os.setsid(); signal.signal(15, signal.SIG_IGN)\n    while True: time.sleep(1)"
# (kind, code): {0} is a number that differs from trial to trial, so that no two die quite the same way
WAYS = (
    ("ok", "pass"),
    ("exception", 'raise ValueError("shape [{0}, 3] does not fit")'),
    ("exception", "{{}}['key{0}']"),
    ("exception", "def deeper(): deeper()\ndeeper()"),
    ("import_error", "import a_module_that_is_missing_{0}"),
    ("syntax_error", "exec('x = = {0}')"),
    ("assertion", 'assert {0} < 0, "loss is nan at step {0}"'),
    ("nonzero_exit", "os._exit(3 + {0} % 100)"),
    ("nonzero_exit", "sys.exit(137)"),
    ("native_crash", "os.abort()"),
    ("native_crash", "ctypes.string_at({0})"),
    ("signal", "os.kill(os.getpid(), 15)"),
    ("signal", "os.kill(os.getpid(), 10)"),
    ("killed_unexplained", "os.kill(os.getpid(), 9)"),
    ("oom_host", "a = [bytearray(b'x' * 2**20) for _ in range(10_000)]"),
    ("oom_host", "bytearray(2**46 + {0})"),
    (
        "oom_host",
        "[os.fork() for _ in range(3)]\na = []\nwhile True: a.append(bytearray(b'x' * 2**20)); time.sleep(.002)",
    ),
    ("oom_gpu", OOM),
    ("oom_gpu", 'raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`")'),
    ("kernel_resources", 'raise type("OutOfResources", (Exception,), {{}})("out of resource: shared memory, {0}")'),
    ("disk_full", "for n in range(64):\n    with open(f'big{{n}}', 'wb') as f: f.write(b'x' * 2**22)\ntime.sleep(9)"),
    ("disk_full", "open('one', 'wb').write(b'x' * 2**26)"),
    ("disk_full", "for n in range(400_000): open(f'n{{n}}', 'w').close()\ntime.sleep(9)"),
    ("disk_full", "raise OSError(28, 'No space left on device', 'f{0}')"),
    ("process_limit", "for _ in range(400):\n    if os.fork() == 0: time.sleep(30)\ntime.sleep(9)"),
    ("output_limit", "while True: os.write(1, b'x' * 2**20)"),
    ("timeout", "while True: pass"),
    ("timeout", "signal.signal(15, signal.SIG_IGN)\nwhile True: pass"),
    ("stalled", "time.sleep(60)"),
    ("stalled", "os.fork()\nos.nice(1)\ntime.sleep(60)"),
    ("ok", DAEMON),
    ("exception", DAEMON + "\nraise ValueError('{0}')"),
    ("nonzero_exit", "print('torch.OutOfMemoryError: CUDA out of memory.'); os._exit(1)"),
)
SCRIPT = """import ctypes, os, signal, sys, time
DEATH = 0  # which way
WAYS = {ways!r}
print(f"step 0 loss 2.0", flush=True)
exec(WAYS[DEATH % len(WAYS)][1].format(DEATH))
print(f"val_loss: {{2 + DEATH}}")
"""


def script() -> str:
    """The script: it dies in way DEATH."""
    return SCRIPT.format(ways=WAYS)


class Walk:
    """Proposes DEATH = 1, 2, 3 ..., one a trial."""

    def __init__(self, setup: Setup) -> None:
        self._name = setup.space.knobs[0].name

    def ask(self, state: State) -> Proposal:
        """The next way."""
        number = len(state.trials)
        return Proposal(source="walk", title=f"way {number}", constants={self._name: number})

    def tell(self, trial) -> None:
        """Nothing to learn."""
