"""Ways to die, each run for real at every level, and told by its evidence.

Those collected beside this checkout (`../shared/cases/oom`) and those of this file: each is written here by what it
does, in the format of that folder, and with no look at how it is told.
"""

import re
import tempfile
from pathlib import Path

import pytest
from sandbox_kit import CASES

from sandbox.deaths import case_of, deaths, line, load, total, tried, wrong
from sandbox.jail import pick
from sandbox.spec import Finding, JailUnavailable, Kind, Outcome, SandboxError

LEVELS = ("none", "landlock", pytest.param("namespace", marks=pytest.mark.jail))
OWN = r"""
# EXPECT exception: the last of a chain counts, and it is no MemoryError
try: bytearray(1 << 46)
except MemoryError: {}["retry"]
---
# EXPECT oom_host: the last of a chain counts, and it is a MemoryError
try: {}["batch"]
except KeyError: bytearray(1 << 46)
---
# EXPECT exception: what a lack of memory caused, in words of the script
try: bytearray(1 << 46)
except MemoryError as error: raise RuntimeError("the training failed") from error
---
# EXPECT nonzero_exit: words of its own at the end
import sys; sys.exit("CUDA out of memory. Tried to allocate 2.00 GiB")
---
# EXPECT nonzero_exit: 139 is no signal
import sys; sys.exit(139)
---
# EXPECT nonzero_exit: 9 is no signal either
import os; os._exit(9)
---
# EXPECT nonzero_exit: it swallows its lack of memory and gives up
import sys
try: bytearray(1 << 46)
except MemoryError as error: print("MemoryError", error); sys.exit(1)
---
# EXPECT nonzero_exit: it tells its traceback, and gives up with a code of its own
import sys, traceback
try: bytearray(1 << 46)
except MemoryError: traceback.print_exc(); sys.exit(3)
---
# EXPECT ok: a traceback, then a hard exit with 0
import os, traceback
try: bytearray(1 << 46)
except MemoryError: traceback.print_exc()
os._exit(0)
---
# EXPECT ok: a thread dies of it, the main thread does not
import threading
thread = threading.Thread(target=lambda: bytearray(1 << 46)); thread.start(); thread.join()
---
# EXPECT nonzero_exit: a thread dies of it, and the main thread says no more than 1
import sys, threading
thread = threading.Thread(target=lambda: bytearray(1 << 46)); thread.start(); thread.join(); sys.exit(1)
---
# EXPECT oom_host: in a group
found = []
for what in (lambda: 1 / 0, lambda: bytearray(1 << 46)):
    try: what()
    except Exception as error: found.append(error)
raise ExceptionGroup("all of them", found)
---
# EXPECT exception: a group that only speaks of memory
raise ExceptionGroup("CUDA out of memory", [ValueError("a"), KeyError("b")])
---
# EXPECT signal: Python ends itself with SIGINT
raise KeyboardInterrupt
---
# EXPECT exception: recursion
def f(n): return f(n + 1) + 1
f(0)
---
# EXPECT oom_host: after 50 MB of output
for k in range(12_500): print("x" * 4000)
bytearray(1 << 46)
---
# EXPECT ok: an OOM is logged and survived
import logging
try: bytearray(1 << 46)
except MemoryError: logging.exception("torch.OutOfMemoryError: CUDA out of memory")
print("val_loss: 1.0")
---
# EXPECT assertion: not finite
loss = float("inf") - float("inf")
assert loss == loss, "loss is nan: CUDA out of memory?"
---
# EXPECT disk_full: many files in the temporary folder
import os, pathlib
for k in range(12): (pathlib.Path(os.environ["TMPDIR"]) / f"part{k}").write_bytes(bytes(1 << 26))
import time; time.sleep(8)
---
# EXPECT disk_full: one file beyond the limit, and sparse
with open("big", "wb") as file: file.truncate(1 << 30)
---
# EXPECT disk_full: by the signal
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_DFL); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
open("big", "wb").write(bytes(1 << 20))
---
# EXPECT disk_full: what torch.save makes of it
import resource, torch
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)); torch.save(torch.zeros(1 << 20), "model.pt")
---
# EXPECT exception: shapes, of torch, and the word memory
import torch
torch.zeros(2, 3).to(memory_format=torch.channels_last)
---
# EXPECT exception: a loader worker is killed by somebody
import os, torch
class D(torch.utils.data.Dataset):
    def __len__(s): return 4
    def __getitem__(s, k): os.kill(os.getpid(), 9)
if __name__ == "__main__": list(torch.utils.data.DataLoader(D(), num_workers=1))
---
# EXPECT shm_exhausted: a loader worker is killed by a bus error
import os, signal, torch
class D(torch.utils.data.Dataset):
    def __len__(s): return 4
    def __getitem__(s, k): os.kill(os.getpid(), signal.SIGBUS)
if __name__ == "__main__": list(torch.utils.data.DataLoader(D(), num_workers=1))
---
# EXPECT oom_host: a loader worker has no memory
import torch
class D(torch.utils.data.Dataset):
    def __len__(s): return 4
    def __getitem__(s, k): return bytearray(1 << 46)
if __name__ == "__main__": list(torch.utils.data.DataLoader(D(), num_workers=1))
---
# EXPECT oom_gpu: a process that torch spawned
import torch
def work(rank): raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
if __name__ == "__main__": torch.multiprocessing.spawn(work, nprocs=1)
---
# EXPECT oom_host: std::bad_alloc that nobody catches
import ctypes
ctypes.CDLL("libstdc++.so.6")._ZSt17__throw_bad_allocv()
---
# EXPECT native_crash: one of C++ that is not about memory
import ctypes
ctypes.CDLL("libstdc++.so.6")._ZSt16__throw_bad_castv()
---
# EXPECT process_limit: a storm of processes
import os, time
for k in range(400):
    if os.fork() == 0: time.sleep(10); os._exit(0)
time.sleep(10)
---
# EXPECT oom_host: a mapping that is refused
import mmap
mmap.mmap(-1, 1 << 46)
---
# EXPECT oom_host: a limit of its own
import resource
resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28)); x = [0] * 10**8
---
# EXPECT oom_host: in a pool, with the traceback of the other process
import multiprocessing
def work(k): return len(bytearray(1 << 46))
if __name__ == "__main__":
    with multiprocessing.Pool(1) as pool: pool.map(work, [1])
---
# EXPECT oom_host: in an executor's process
import concurrent.futures
def work(k): return len(bytearray(1 << 46))
if __name__ == "__main__":
    with concurrent.futures.ProcessPoolExecutor(1) as pool: pool.submit(work, 1).result()
---
# EXPECT exception: an executor's process is killed by somebody
import concurrent.futures, os
def work(k): os.kill(os.getpid(), 9)
if __name__ == "__main__":
    with concurrent.futures.ProcessPoolExecutor(1) as pool: pool.submit(work, 1).result()
---
# EXPECT oom_host: in a coroutine among others
import asyncio
async def a(): bytearray(1 << 46)
async def b(): await asyncio.sleep(1)
async def main(): await asyncio.gather(a(), b())
asyncio.run(main())
---
# EXPECT syntax_error: in a module that it imports
open("model.py", "w").write("def f(:\n  pass\n")
import sys; sys.path.insert(0, "."); import model
---
# EXPECT syntax_error: tabs and spaces
if True:
	x = 1
        y = 2
---
# EXPECT import_error: a name that is not there
from math import MemoryError
---
# EXPECT nonzero_exit: its own hook prints nothing
import sys
sys.excepthook = lambda *error: None
bytearray(1 << 46)
---
# EXPECT exception: a program that it calls dies
import subprocess, sys
subprocess.run([sys.executable, "-c", "import os; os.abort()"], check=True)
---
# EXPECT ok: a child fails its assertion, which nobody minds
import multiprocessing
def work(): assert False, "CUDA out of memory"
if __name__ == "__main__":
    child = multiprocessing.Process(target=work); child.start(); child.join()
---
# EXPECT ok: a child is killed, which nobody minds
import os
child = os.fork()
if child == 0: os.kill(os.getpid(), 9)
os.waitpid(child, 0)
---
# EXPECT ok: what goes wrong at the very end changes nothing
import atexit
@atexit.register
def late(): bytearray(1 << 46)
class Held:
    def __del__(self): raise MemoryError
held = Held()
---
# EXPECT signal: SIGHUP
import os, signal; os.kill(os.getpid(), signal.SIGHUP)
---
# EXPECT native_crash: SIGFPE
import os, signal; os.kill(os.getpid(), signal.SIGFPE)
---
# EXPECT native_crash: with the words of faulthandler
import faulthandler, ctypes; faulthandler.enable(); print("CUDA out of memory", flush=True); ctypes.string_at(0)
---
# EXPECT oom_host: with notes and a long message
error = MemoryError("line\n" * 5000); error.add_note("step 3"); raise error
---
# EXPECT exception: a note may say what it likes
error = ValueError("no"); error.add_note("torch.OutOfMemoryError: CUDA out of memory."); raise error
---
# EXPECT exception: what Python flushes at exit stands behind the traceback
print("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB: retrying with half the batch")
raise ValueError("something else")
---
# EXPECT oom_gpu: who fails anyway can choose how it looks, and gains nothing by it
fake = "torch.OutOfMemoryError: CUDA out of memory."
print(f"Traceback (most recent call last):\n  File 't.py', line 1, in f\n{fake}", flush=True)
import os; os._exit(1)
---
# EXPECT ok: output that is no text, and no newline at its end
import sys; sys.stdout.buffer.write(b"\xff\xfe\x00\x1b[31mMemoryError\r" * 1000)
---
# EXPECT maybe_oom_gpu: a library that could not start
raise RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`")
---
# EXPECT shm_exhausted: a bus error
import os, signal; os.kill(os.getpid(), signal.SIGBUS)
""".strip().split("\n---\n")
SLOW = "torch"  # takes seconds to import, so a way with it is tried at one level; those beside this checkout at each
OWN_CASES = [case_of(Path(f"own{k}.py"), text) for k, text in enumerate(OWN)]
SCRIPTS = sorted((CASES / "oom").glob("*.py"))


@pytest.fixture(scope="module", params=LEVELS)
def place(request):
    """A jail, and a short folder that the user of a trial can reach."""
    with tempfile.TemporaryDirectory(prefix="t-") as name:
        folder = Path(name).resolve()
        folder.chmod(0o711)
        try:
            yield pick(request.param, (folder,)).jail, folder
        except JailUnavailable as error:
            pytest.skip(str(error))


def tell(case, place):
    jail, folder = place
    death = tried(case, jail, folder)
    if death.finding is None:
        pytest.skip(line(death))
    assert not death.wrong, line(death)
    return death.finding


@pytest.mark.parametrize("case", OWN_CASES, ids=lambda case: re.sub(r"\W+", "_", case.why)[:50])
def test_a_way_to_die_of_our_own_is_told_by_its_evidence(case, place):
    if re.search(rf"import .*\b{SLOW}", case.text) and place[0].name != "none":
        pytest.skip(f"{SLOW} is slow to start: tried at level none only")
    finding = tell(case, place)
    assert finding.reason and finding.kind is not None


@pytest.mark.skipif(not SCRIPTS, reason="no ../shared/cases/oom beside this checkout")
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_way_to_die_is_told_by_its_evidence(path, place):
    tell(case_of(path, path.read_text()), place)


SMALLER = """# EXPECT {kind}: retries smaller
import os, time
try: a = bytearray(1 << 46)
except MemoryError: a = bytearray(b"x" * (1 << 28))
time.sleep(0.5)
{end}
"""


def test_a_lack_that_is_swallowed_and_survived_is_seen_in_the_peak(place):
    fine = case_of(Path("smaller.py"), SMALLER.format(kind="ok", end="print('done')"))
    assert tell(fine, place).outcome is Outcome.OK
    killed = SMALLER.format(kind="killed_unexplained", end="os.kill(os.getpid(), 9)")  # so that the peak is told
    reason = tell(case_of(Path("killed.py"), killed), place).reason
    assert 250 <= float(re.search(r"peak was ([\d.]+) MiB", reason)[1]) <= 700


OOM = 'raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")'
MODEL = f"""# EXPECT oom_gpu
import torch
class Hungry(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): return x.clone()
    @staticmethod
    def backward(ctx, g): {OOM}
class Fails(torch.nn.Linear):
    def forward(self, x): {OOM}
class Greedy(torch.optim.SGD):
    def step(self, closure=None): {OOM}
class Data(torch.utils.data.Dataset):
    def __len__(self): return 4
    def __getitem__(self, k): {OOM}
class Held:
    def __reduce__(self): {OOM}
def backend(graph, inputs): {OOM}
x, model = torch.ones(2, 2), torch.nn.Linear(2, 2)
"""
PLACES = {
    "forward": "Fails(2, 2)(x)",
    "backward": "Hungry.apply(model(x)).sum().backward()",
    "optimizer": "Greedy(model.parameters(), lr=1.0).step()",
    "data loader": "list(torch.utils.data.DataLoader(Data()))",
    "compiling": "torch.compile(model, backend=backend)(x)",
    "checkpoint": "torch.save(Held(), 'model.pt')",
}


@pytest.mark.parametrize("where", PLACES)
def test_the_frames_of_this_torch_tell_where_it_was(where, tmp_path):
    case = case_of(Path("train.py"), MODEL + PLACES[where])
    finding = tell(case, (pick("none").jail, tmp_path))
    assert where in finding.reason.partition("(phase")[0], finding.reason
    assert finding.numbers["requested_bytes"] == 2 * 2**30


# --- the folder and its count ------------------------------------------------------------------------------------


def test_a_folder_is_run_and_counted(tmp_path):
    (tmp_path / "a.py").write_text("# EXPECT ok: why\nprint(1)\n")
    (tmp_path / "b.py").write_text("# EXPECT oom_host: this is wrong\nraise ValueError('x')\n")
    (tmp_path / "shm_c.py").write_text("# EXPECT shm_exhausted\nraise ValueError('x')\n")
    found = list(deaths(load(tmp_path), "none"))
    said = [line(death) for death in found]
    assert said[0].startswith("right  a ") and "\n       expected oom_host: this is wrong" in said[1]
    assert said[2].startswith("skip ") and "not tried at this level" in said[2]
    assert total(found) == "1 of 2 as expected, 1 not tried here"
    assert total(found[:1]) == "1 of 1 as expected"


@pytest.mark.parametrize(
    ("first", "allowed", "why"),
    [
        ("# EXPECT oom_host: because of this", (Kind.OOM_HOST,), "because of this"),
        ("# EXPECT oom_host(watchdog|cgroup): grows", (Kind.OOM_HOST,), "watchdog|cgroup): grows"),
        ("# EXPECT native_crash (std::terminate path)", (Kind.NATIVE_CRASH,), "std::terminate path"),
        ("# EXPECT oom_host : numpy", (Kind.OOM_HOST,), "numpy"),
        ("# EXPECT crash", (Outcome.CRASH,), ""),
        ("# EXPECT crash | lost", (Outcome.CRASH, Outcome.LOST), ""),
        ("# EXPECT maybe_oom: full", (Kind.MAYBE_OOM_GPU,), "full"),
    ],
)
def test_the_first_line_says_what_to_expect(first, allowed, why):
    case = case_of(Path("x.py"), f"{first}\npass\n")
    assert case.why == why
    assert [(type(known), known) for known in case.allowed] == [(type(known), known) for known in allowed]


@pytest.mark.parametrize("text", ["pass", "", "# EXPECT", "# EXPECT no_such_class: x", "# expect ok"])
def test_a_script_that_expects_nothing_known_is_named(text):
    with pytest.raises(SandboxError, match=r"here/x\.py"):
        case_of(Path("here/x.py"), text)


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "binary").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "binary/x.py").write_bytes(b"# EXPECT ok\xff\n")
    for name, said in ("empty", "no scripts"), ("missing", "no folder"), ("binary", "cannot be read"):
        with pytest.raises(SandboxError, match=f"{said}.*{name}|{name}.*{said}"):
            load(tmp_path / name)


@pytest.mark.parametrize(
    ("kind", "outcome", "numbers", "right"),
    [
        (Kind.OOM_HOST, Outcome.OOM_HOST, {"in_use_bytes": 1, "limit_bytes": 2}, True),
        (Kind.OOM_HOST, Outcome.OOM_HOST, {}, False),
        (Kind.SHM_EXHAUSTED, Outcome.OOM_HOST, {"in_use_bytes": 1, "limit_bytes": 2}, False),
    ],
)
def test_a_class_is_right_only_as_itself_and_with_its_evidence(kind, outcome, numbers, right):
    case = case_of(Path("x.py"), "# EXPECT oom_host\n")
    assert (wrong(case, Finding(outcome, "why", numbers, kind)) == "") is right


def test_nothing_is_left_where_the_scripts_ran(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    list(deaths([case_of(Path("x.py"), "# EXPECT ok\nopen('left', 'w')\n")], "none"))
    assert list(tmp_path.iterdir()) == []
