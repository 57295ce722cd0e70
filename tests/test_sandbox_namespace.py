"""What a program is, may and can do in each form of the namespace jail: started by root, and by an ordinary user.

The work folder's owner, its removal and the program's user are looked at from outside. What torch needs (data loaders,
its compiler, process groups) is tried with torch itself, in the form that is picked here.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from jail_kit import FORMS, ORDINARY, ROOT, form, ordinary, ordinary_house
from sandbox_kit import GIB, Runner, jail_of

from sandbox import devices, identity
from sandbox.bubblewrap import Bubblewrap
from sandbox.spec import Limits, Outcome, Phase, SandboxError, Spec

pytestmark = pytest.mark.jail
HOUSE = """
import dataclasses, json, os, shutil, sys
from pathlib import Path
from sandbox.classify import classify
from sandbox.jail import pick
from sandbox.spec import Limits, Mount, Phase, Spec, Watch
from sandbox.supervise import run
told = json.load(sys.stdin)
folder, lines = Path(told['folder']), []
work = folder / 'work'
work.mkdir()
(folder / 'prepare.py').write_text('# ours')
jail = pick('namespace', (folder,)).jail
jail = dataclasses.replace(jail, **told['form'])
mounts = (Mount(folder / 'prepare.py', 'prepare.py'),)
spec = Spec(('python', '-c', told['code']), work, {}, ((Phase.TRAIN, 30.0),), Limits(2**30), mounts)
evidence = run(spec, jail, Watch(folder / 'log', lines.append))
owners = sorted({path.lstat().st_uid for path in work.rglob('*') if path.name != 'prepare.py'})
kept = (folder / 'prepare.py').read_text()
shutil.rmtree(work)
print(json.dumps([lines, classify(evidence).outcome, owners, kept, work.exists(), os.getuid()]))
"""


@dataclass(frozen=True)
class Trial:
    """What came of a trial, seen from outside."""

    lines: list[str]
    outcome: str
    owners: list[int]  # of the files it has made
    prepare: str  # the protected file afterwards
    left: bool  # whether its folder could not be removed
    house: int  # the user who started it


@pytest.fixture(params=[*FORMS, "ordinary user"])
def trial(request, tmp_path):
    """Runs code in one form of the jail, as a harness of its own would: `trial(code) -> Trial`."""
    if request.param == "ordinary user":
        with ordinary_house() as house:
            told = {"folder": str(house / "runs"), "form": {}}
            (house / "runs").mkdir()
            os.chown(house / "runs", ORDINARY, ORDINARY)
            yield lambda code: Trial(*json.loads(ordinary(HOUSE, house, json.dumps({**told, "code": code}))))
        return
    chosen = form(request.param)
    told = {"folder": str(tmp_path), "form": {"own_user": chosen.own_user, "fresh_proc": chosen.fresh_proc}}

    def run(code):
        line = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{HOUSE}"]
        text = json.dumps({**told, "code": code})
        done = subprocess.run(line, input=text, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return Trial(*json.loads(done.stdout))

    yield run


def test_it_has_no_privilege_and_few_system_calls(trial):
    code = """
status = dict(line.split(':', 1) for line in open('/proc/self/status'))
print([int(status[name], 16) for name in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')])
print(status['NoNewPrivs'].strip(), status['Seccomp'].strip(), status['Groups'].split())
print(len(set(status['Uid'].split())), len(set(status['Gid'].split())), '0' in status['Uid'].split())
"""
    *first, groups, same = trial(code).lines
    assert first == ["[0, 0, 0, 0, 0]"] and same == "1 1 False"
    assert groups.startswith("1 2 ")


def test_outside_its_files_belong_to_whom_the_form_says_and_the_harness_can_remove_them(trial, request):
    """Never to root where a user of its own is promised."""
    code = """
import os
os.makedirs('a/b')
open('a/b/file', 'w').close()
os.chmod('a/b/file', 0)
os.symlink('/etc/passwd', 'a/link')
os.mkfifo('a/fifo')
print(os.getuid(), os.getgroups())
"""
    seen = trial(code)
    assert not seen.left and len(seen.owners) == 1
    if "own user" in request.node.callspec.id:
        assert seen.owners[0] in identity.USERS and seen.lines == [f"{seen.owners[0]} []"]
    else:
        assert seen.owners == [seen.house] and seen.lines[0].startswith("1000 ")


def test_the_keeper_cannot_be_signalled_stopped_limited_or_traced(trial):
    code = """
import ctypes, os, resource, signal, time
keeper, libc = os.getppid(), ctypes.CDLL(None)
def attempt(what, *args):
    try: return what(*args)
    except OSError: return 'refused'
for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV):
    attempt(os.kill, 1, number)
    attempt(os.kill, keeper, number)
print([libc.ptrace(request, pid, 0, 0) for request in (16, 0x4206) for pid in (1, keeper)])
shown = dict(line.split(':', 1) for line in open('/proc/self/status'))['PPid'].strip()  # as this /proc counts
def look(name): return open(f'/proc/{shown}/{name}', 'rb').read(1)
print({attempt(look, name) for name in ('mem', 'environ', 'maps', 'auxv', 'syscall', 'fd/3')})
print({attempt(os.listdir, f'/proc/{shown}/root'), *(attempt(os.readlink, f'/proc/{shown}/fd/{n}') for n in range(9))})
print(attempt(resource.prlimit, 1, resource.RLIMIT_CPU, (0, 0)), attempt(resource.prlimit, 1, resource.RLIMIT_NOFILE))
end = time.monotonic() + 0.3
while time.monotonic() < end: pass
raise SystemExit(7)  # which only a living keeper can tell
"""
    seen = trial(code)
    assert seen.lines == ["[-1, -1, -1, -1]", "{'refused'}", "{'refused'}", "refused refused"]
    assert seen.outcome == Outcome.CRASH


def test_a_protected_file_in_its_work_folder_stays_as_it_is(trial):
    code = """
import os
def attempt(what, *args):
    try: what(*args); return 'done'
    except OSError as error: return 'refused'
print([attempt(*call) for call in (
    (open, 'prepare.py', 'w'), (os.truncate, 'prepare.py', 0), (os.unlink, 'prepare.py'),
    (os.chmod, 'prepare.py', 0o777), (os.rename, 'prepare.py', 'other.py'), (os.rename, '/etc/hosts', 'prepare.py'),
    (os.link, 'prepare.py', 'linked.py'), (os.symlink, 'x', 'prepare.py'), (os.utime, 'prepare.py'))])
open('replacement', 'w').close()
print(attempt(os.replace, 'replacement', 'prepare.py'), open('prepare.py').read())
"""
    seen = trial(code)
    assert seen.lines == [str(["refused"] * 9), "refused # ours"] and seen.prepare == "# ours"


def test_sockets_of_little_tested_families_and_raw_ones_are_refused(trial):
    code = """
import errno, socket
asked = {'vsock': (40, 1, 0), 'packet': (17, 3, 0), 'raw': (2, 3, 1), 'raw6': (10, 3, 58), 'crypto': (38, 5, 0)}
asked |= {'bluetooth': (31, 1, 0), 'audit': (16, 3, 9), 'xdp': (44, 3, 0), 'smc': (43, 1, 0), 'tipc': (30, 1, 0)}
for name, args in asked.items():
    try: socket.socket(*args); print('got', name)
    except OSError: pass
for args in ((1, 1), (2, 1), (2, 2), (10, 1), (16, 3)): socket.socket(*args).close()
print('honest ones work')
"""
    assert trial(code).lines == ["honest ones work"]


def test_it_has_a_name_and_a_home_however_it_asks(trial):
    code = """
import getpass, grp, os, pathlib, pwd, tempfile
me = pwd.getpwuid(os.getuid())
print(me.pw_name, me.pw_dir, grp.getgrgid(os.getgid()).gr_name, pwd.getpwnam('trial').pw_uid == os.getuid())
print(getpass.getuser(), os.path.expanduser('~'), pathlib.Path.home(), os.path.expanduser('~trial'))
open(os.path.expanduser('~/file'), 'w').close(); os.makedirs(os.path.expanduser('~/.cache/torch'))
for name in ('HOME', 'USER', 'LOGNAME'): del os.environ[name]
print(getpass.getuser(), os.path.expanduser('~'))
print(tempfile.gettempdir(), os.path.samefile(tempfile.mkdtemp() + '/..', '/tmp'))
"""
    home = "/home/trial"
    told = [f"trial {home} trial True", f"trial {home} {home} {home}", f"trial {home}", "/tmp True"]
    assert trial(code).lines == told


def test_every_folder_on_the_way_to_what_is_shown_can_be_entered(trial):
    """bubblewrap makes them with mode 0700 if not told otherwise: closed to a user of its own."""
    code = """
import os
mounts = [line.split()[4] for line in open('/proc/self/mountinfo')]
ways = {mount.rsplit('/', depth)[0] for mount in mounts for depth in range(1, mount.count('/')) if '/proc' not in mount}
print(len(ways) > 8, sorted(way for way in ways if not os.access(way, os.R_OK | os.X_OK)))
print(len(os.listdir('/sys/devices/system/cpu')) > 2)
"""
    assert trial(code).lines == ["True []", "True"]


def test_what_multiprocessing_offers_works(trial):
    code = """
import multiprocessing as m, multiprocessing.shared_memory as s, os, subprocess
lock = m.get_context('fork').Lock()
memory = s.SharedMemory(create=True, size=4096)
memory.buf[0] = 7
same = s.SharedMemory(memory.name)
print(same.buf[0])
same.close(); memory.close(); memory.unlink()
open('job.py', 'w').write('''
import multiprocessing as m
def double(x): return 2 * x
if __name__ == '__main__':
    for how in ('fork', 'spawn', 'forkserver'):
        with m.get_context(how).Pool(2) as pool: print(how, pool.map(double, [1, 2]))
    queue = m.Manager().Queue(); queue.put(3); print(queue.get())
''')
print(subprocess.run(['python3', 'job.py'], capture_output=True, text=True).stdout)
"""
    lines = [line for line in trial(code).lines if line]
    assert lines == ["7", "fork [2, 4]", "spawn [2, 4]", "forkserver [2, 4]", "3"]


LOADERS = """
import sys
import torch, torch.distributed as dist, torch.multiprocessing as m
from torch.utils.data import DataLoader, TensorDataset

def rank(k, port):
    dist.init_process_group('gloo', init_method=f'tcp://127.0.0.1:{port}', rank=k, world_size=2)
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(4, 1))
    model(torch.full((2, 4), float(k + 1))).sum().backward()
    total = torch.tensor([k + 1.0]); dist.all_reduce(total)
    if k == 0: print('ddp', total.item(), model.module.weight.grad[0, 0].item(), flush=True)
    dist.destroy_process_group()

if __name__ == '__main__':
    data = TensorDataset(torch.arange(64.0))
    for strategy, context in (('file_descriptor', 'fork'), ('file_system', 'fork'), ('file_descriptor', 'spawn')):
        m.set_sharing_strategy(strategy)
        loader = DataLoader(data, batch_size=8, num_workers=2, multiprocessing_context=context)
        print(strategy, context, sum(batch.sum().item() for batch, in loader), flush=True)
    m.spawn(rank, (29517,), nprocs=2)
"""


def test_data_loaders_and_distributed_processes_of_torch_work(tmp_path):
    ran = Runner(jail_of("namespace"), tmp_path)(LOADERS, seconds=120.0, limits=Limits(6 * GIB))
    loads = [f"{how} 2016.0" for how in ("file_descriptor fork", "file_system fork", "file_descriptor spawn")]
    assert [line for line in ran.lines if line.startswith(("file_", "ddp"))] == [*loads, "ddp 3.0 3.0"], ran.lines


def test_torch_compiles_with_the_systems_compiler_and_its_pool_of_processes(tmp_path):
    code = """
import torch, torch._inductor.config as config
config.compile_threads = 2
@torch.compile
def f(x): return (x.sin() + x.cos()).sum(dim=0) * 2
x = torch.arange(12.0).reshape(3, 4)
print('compiled', torch.allclose(f(x), (x.sin() + x.cos()).sum(dim=0) * 2))
from torch._inductor.utils import is_cpu_device
from torch._dynamo.utils import counters
print('graphs', counters['stats']['unique_graphs'])
"""
    if subprocess.run(["sh", "-c", "command -v g++"], capture_output=True, check=False).returncode:
        pytest.skip("no compiler")
    ran = Runner(jail_of("namespace"), tmp_path)(code, seconds=180.0, limits=Limits(6 * GIB))
    assert ran.lines[-2:] == ["compiled True", "graphs 1"], ran.lines


def machine(root, models=("H200", "H200", "H200"), minors=(0, 2, 1)):
    """A machine with GPUs, in the order of the bus, as files below `root`."""
    (root / "dev").mkdir(parents=True)
    for name in ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset", "sda", "tty"):
        (root / "dev" / name).touch()
    for at, (model, minor) in enumerate(zip(models, minors, strict=True)):
        folder = root / f"proc/driver/nvidia/gpus/0000:0{at}:00.0"
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t {model}\nBus Type: \t PCIe\nDevice Minor: \t {minor}\n")
        (root / f"dev/nvidia{minor}").touch()
    return root


CONTROL = ["nvidia-modeset", "nvidia-uvm", "nvidia-uvm-tools", "nvidiactl"]


@pytest.mark.parametrize(
    ("env", "gpus", "inside"),
    [
        ({}, ["nvidia0", "nvidia1", "nvidia2"], None),
        ({"CUDA_VISIBLE_DEVICES": "0"}, ["nvidia0"], "0"),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ["nvidia2"], "0"),  # the second on the bus has minor number 2
        ({"CUDA_VISIBLE_DEVICES": "2,0"}, ["nvidia0", "nvidia1"], "1,0"),
        ({"CUDA_VISIBLE_DEVICES": "1,7,0"}, ["nvidia2"], "0"),  # CUDA reads up to the first that is not there
        ({"CUDA_VISIBLE_DEVICES": ""}, [], ""),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8f1c"}, ["nvidia0", "nvidia1", "nvidia2"], None),
    ],
)
def test_only_the_listed_gpus_are_shown_under_the_numbers_that_they_then_have(tmp_path, env, gpus, inside):
    root = machine(tmp_path / "root")
    assert [node.name for node in devices.nodes(env, root)] == sorted([*CONTROL, *gpus])
    assert devices.renumbered(env, root).get("CUDA_VISIBLE_DEVICES") == inside


@pytest.mark.parametrize(("order", "gpus"), [("PCI_BUS_ID", 1), ("FASTEST_FIRST", 3), (None, 3)])
def test_unequal_gpus_are_told_apart_only_where_their_order_is_known(tmp_path, order, gpus):
    root = machine(tmp_path / "root", models=("H200", "T4", "H200"))
    env = {"CUDA_VISIBLE_DEVICES": "1"} | ({"CUDA_DEVICE_ORDER": order} if order else {})
    shown = [node.name for node in devices.nodes(env, root) if node.name not in CONTROL]
    assert len(shown) == gpus and (gpus == 3 or shown == ["nvidia2"])


def test_a_gpu_closed_to_the_programs_user_is_no_silent_cpu_run(tmp_path):
    with pytest.raises(SandboxError, match=r"closed to the user .* `chmod a\+rw /dev/kmsg`"):
        devices.refuse_closed([Path("/dev/null"), Path("/dev/kmsg")])
    devices.refuse_closed([Path("/dev/null"), Path("/dev/zero")])


def test_the_folders_on_the_way_to_what_a_gpu_needs_are_made_for_everybody(tmp_path):
    """`/sys`, `/sys/bus`, `/opt`: also where this machine has none of it, the command line says so."""
    jail = Bubblewrap("/usr/bin/bwrap")
    line = jail.wrap(Spec(("true",), tmp_path, {}, ((Phase.TRAIN, 1.0),), Limits(GIB), gpu=True))
    for path in devices.FILES:
        for parent in Path(path).parents[:-1]:
            made = [at for at in range(len(line)) if line[at : at + 2] == ["--dir", str(parent)]]
            assert made and line[made[0] - 2 : made[0]] == ["--perms", "0755"] and made[0] < line.index(path), parent


def test_without_a_gpu_in_its_spec_no_device_node_is_shown(tmp_path):
    jail = Bubblewrap("/usr/bin/bwrap", own_user=False)
    spec = Spec(("true",), tmp_path, {"CUDA_VISIBLE_DEVICES": "0"}, ((Phase.TRAIN, 1.0),), Limits(GIB))
    assert "--dev-bind" not in jail.wrap(spec)
