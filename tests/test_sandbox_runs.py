"""`run`: real programs in both jails, one property a test."""

import os
import re
import resource
import signal
import threading
import time

import pytest
from sandbox_kit import GIB, LEVELS, Runner, jail_of, tagged

from sandbox.launch import open_files
from sandbox.spec import Limits, Mount, Outcome, Phase, SandboxError, Spec, Stopped, Watch
from sandbox.supervise import run
from sandbox.unconfined import Unconfined

PHASES = ((Phase.STARTUP, 9.0), (Phase.TRAIN, 0.6))
READY = re.compile(r"^ready")


@pytest.fixture(params=LEVELS)
def runner(request, tmp_path):
    return Runner(jail_of(request.param, tmp_path), tmp_path)


def test_a_good_run_is_ok_and_all_is_seen(runner):
    ran = runner("print('one'); print('two')")
    assert ran.finding.outcome is Outcome.OK
    assert ran.lines == ["one", "two"] == ran.evidence.tail.splitlines() == ran.log.read_text().splitlines()
    assert ran.evidence.wait_status == 0 and ran.evidence.stopped is None and ran.evidence.kill_seconds is None
    assert ran.evidence.jail == runner.jail.name and ran.evidence.output_bytes == 8
    assert 0 < ran.evidence.seconds[Phase.TRAIN] < ran.seconds


@pytest.mark.parametrize(
    ("code", "status", "outcome", "reason"),
    [
        ("import sys; sys.exit(137)", 137 << 8, Outcome.CRASH, "137"),
        ("import os; os.kill(os.getpid(), 9)", 9, Outcome.LOST, "SIGKILL"),
        ("import os; os.kill(os.getpid(), 15)", 15, Outcome.CRASH, "SIGTERM"),
        ("import os; os.abort()", 6, Outcome.CRASH, "SIGABRT"),
        ("raise ValueError('no good')", 1 << 8, Outcome.CRASH, "ValueError: no good"),
        ("def f(:", 1 << 8, Outcome.CRASH, "SyntaxError: invalid syntax"),
        ("x = bytearray(1 << 46)", 1 << 8, Outcome.OOM_HOST, "MemoryError"),
    ],
)
def test_the_raw_status_tells_how_it_ended(runner, code, status, outcome, reason):
    ran = runner(code)
    assert ran.evidence.wait_status == status
    assert ran.finding.outcome is outcome and reason in ran.finding.reason


def test_time_up_before_ready_is_a_startup_timeout(runner):
    ran = runner(
        "import time; time.sleep(9)", phases=((Phase.STARTUP, 0.5), (Phase.TRAIN, 9.0)), begins=((Phase.TRAIN, READY),)
    )
    assert ran.finding.outcome is Outcome.TIMEOUT_STARTUP
    assert 0.5 <= ran.evidence.seconds[Phase.STARTUP] < 9.0 and ran.left == []
    assert Phase.TRAIN not in ran.evidence.seconds


def test_time_up_after_ready_is_a_train_timeout_and_startup_is_not_charged(runner):
    code = "import time; time.sleep(0.4); print('ready', flush=True); time.sleep(9)"
    ran = runner(code, phases=PHASES, begins=((Phase.TRAIN, READY),))
    assert ran.finding.outcome is Outcome.TIMEOUT_TRAIN and ran.evidence.phase is Phase.TRAIN
    assert 0.4 < ran.evidence.seconds[Phase.STARTUP] < 9.0 and ran.evidence.seconds[Phase.TRAIN] >= 0.6
    assert {phase for phase, _, _ in ran.samples} == {Phase.STARTUP, Phase.TRAIN}


def test_ready_is_said_once(runner):
    code = "import time\nfor _ in range(20): print('ready', flush=True); time.sleep(0.1)"
    assert runner(code, phases=PHASES, begins=((Phase.TRAIN, READY),)).finding.outcome is Outcome.TIMEOUT_TRAIN


def test_a_judge_that_is_late_is_a_refusal(runner):
    ran = runner("import time; time.sleep(9)", phases=((Phase.JUDGE, 0.4),))
    assert ran.finding.outcome is Outcome.REJECTED


def test_a_program_may_end_by_itself_on_sigterm(runner):
    code = """
import signal, sys, time
def bye(*_):
    print('bye', flush=True)
    sys.exit(3)
signal.signal(signal.SIGTERM, bye)
time.sleep(9)
"""
    for _ in range(5):  # it has GRACE_SECONDS for that: on a busy machine that may be too short
        ran = runner(code, seconds=0.5)
        assert ran.evidence.stopped is Stopped.TIME
        if ran.evidence.wait_status == 3 << 8:
            break
    assert ran.lines == ["bye"] and ran.evidence.kill_seconds < 1.0


def test_cancel_ends_it_at_once(runner):
    cancel = threading.Event()
    threading.Timer(0.4, cancel.set).start()
    ran = runner("import time; time.sleep(9)", watch={"cancel": cancel})
    assert ran.evidence.stopped is Stopped.CANCELLED and ran.finding.outcome is Outcome.LOST
    assert ran.evidence.kill_seconds < 2


def test_the_budget_s_deadline_cancels(runner):
    ran = runner("import time; time.sleep(9)", watch={"deadline": time.monotonic() + 0.4})
    assert ran.evidence.stopped is Stopped.CANCELLED and ran.evidence.kill_seconds < 2


def test_an_exception_of_a_callback_ends_the_tree_and_passes_through(runner):
    def fail(line):
        raise RuntimeError("house on fire")

    code = "import os, time\nos.fork()\nprint('x', flush=True)\ntime.sleep(9)"
    with pytest.raises(RuntimeError, match="house on fire"):
        runner(code, watch={"on_line": fail})
    assert tagged(runner.tag) == []


def test_a_program_that_is_not_there_is_a_crash_with_that_reason(runner):
    spec = Spec(("no-such-program",), runner.work, {}, ((Phase.TRAIN, 5.0),), Limits(GIB))
    evidence = run(spec, runner.jail, Watch(runner.folder / "log"))
    assert evidence.wait_status == 127 << 8 and "no-such-program cannot be started" in evidence.tail


def test_a_jail_that_does_not_start_is_a_failure_of_the_house(runner):
    with pytest.raises(SandboxError, match="could not start"):
        runner("pass", mounts=(Mount(runner.folder / "nothing", "data.bin"),))


def test_one_gibibyte_without_a_newline_is_read_and_not_kept(runner):
    code = "import os\nb = b'A' * (1 << 20)\nfor _ in range(1024): os.write(1, b)"
    ran = runner(code, limits=Limits(GIB, output_bytes=2**31))
    assert ran.finding.outcome is Outcome.OK and ran.evidence.output_bytes == 1 << 30
    assert ran.log.stat().st_size < 5000


def test_a_flood_of_lines_is_capped_in_the_log(runner):
    code = "import os\nb = b'loss 1.0\\n' * 10000\nfor _ in range(30): os.write(1, b)\nprint('last words')"
    ran = runner(code, limits=Limits(GIB, log_bytes=2**16))
    text = ran.log.read_text()
    assert len(text) < 2**16 + 100 and text.startswith("loss 1.0") and text.endswith("last words\n")
    assert len(ran.evidence.tail) <= 2**15 and len(ran.lines) == 300001


def test_a_script_that_deletes_its_work_folder(runner):
    ran = runner("import shutil, os; shutil.rmtree(os.getcwd(), ignore_errors=True); print('gone')")
    assert ran.finding.outcome is Outcome.OK and ran.lines == ["gone"]


def test_a_script_that_closes_its_output_goes_on(runner):
    code = "import os, time\nos.close(1); os.close(2)\ntime.sleep(0.5)\nopen('late', 'w').write('x')"
    ran = runner(code)
    assert ran.finding.outcome is Outcome.OK and (runner.work / "late").exists()


def test_the_size_of_the_work_folder_is_limited(runner):
    code = "import time\nfor k in range(40): open(f'f{k}', 'wb').write(b'x' * 2**20); time.sleep(0.05)\ntime.sleep(9)"
    ran = runner(code, limits=Limits(GIB, disk_bytes=2**24))
    assert ran.evidence.stopped is Stopped.DISK and ran.finding.outcome is Outcome.DISK_FULL


def test_the_size_of_one_file_is_limited(runner):
    ran = runner("f = open('f', 'wb')\nfor _ in range(64): f.write(b'x' * 2**20)", limits=Limits(GIB, disk_bytes=2**24))
    assert ran.finding.outcome is Outcome.DISK_FULL


def test_a_sparse_giant_does_not_count_as_disk(runner):
    code = "import time; open('f', 'wb').truncate(2**23); time.sleep(1.5)"
    assert runner(code, limits=Limits(GIB, disk_bytes=2**23)).finding.outcome is Outcome.OK


def test_too_many_processes(runner):
    code = "import os, time\nfor _ in range(60):\n    if os.fork() == 0: time.sleep(9); os._exit(0)\ntime.sleep(9)"
    ran = runner(code, limits=Limits(GIB, processes=40))
    assert ran.evidence.stopped is Stopped.PROCESSES and ran.left == [] and ran.evidence.kill_seconds < 2


def test_a_program_may_hold_only_so_many_files_open(runner):
    ran = runner("import resource; print(resource.getrlimit(resource.RLIMIT_NOFILE))")
    soft, hard = eval(ran.lines[0])
    assert soft == hard == min(open_files(256), resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def test_without_lists_of_children_nothing_is_run(tmp_path, monkeypatch):
    monkeypatch.setattr("sandbox.processes.OWN_THREADS", str(tmp_path))
    (tmp_path / "1").mkdir()
    with pytest.raises(SandboxError, match="lists no children.*CONFIG_PROC_CHILDREN"):
        Runner(Unconfined(), tmp_path)("open('ran', 'w')")


def test_the_environment_is_what_was_given(runner):
    ran = runner("import os; print(sorted(os.environ))", env={"AGENT_SEED": "7"})
    assert set(eval(ran.lines[0])) == {
        "AGENT_SEED", "HOME", "LANG", "LOGNAME", "PATH", "SANDBOX_RUN", "TEST_TAG", "TMPDIR", "USER",
    }  # fmt: skip


def test_the_library_path_of_a_cluster_reaches_the_interpreter(runner):
    ran = runner("import os; print(os.environ['LD_LIBRARY_PATH'])", env={"LD_LIBRARY_PATH": "/opt/lib"})
    assert ran.lines == ["/opt/lib"]


def test_no_descriptor_and_no_ignored_signal_is_inherited(runner):
    code = "import os; print(os.listdir('/proc/self/fd')); print(open('/proc/self/status').read())"
    spec = runner.spec(code)
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        lines = []
        evidence = run(spec, runner.jail, Watch(runner.folder / "log", lines.append))
    finally:
        os.close(read)
        os.close(write)
    assert evidence.wait_status == 0
    assert set(eval(lines[0])) <= {"0", "1", "2", "3"}  # 3 is the listing's own
    ignored = int(next(line for line in lines if line.startswith("SigIgn")).split()[1], 16)
    # Python sets SIGPIPE and SIGXFSZ itself; 32 and 33 belong to the C library, which lets nobody reset them
    expected = {signal.SIGPIPE, signal.SIGXFSZ, 32, 33}
    assert {number for number in range(1, 65) if ignored >> number - 1 & 1} <= expected


def test_when_memory_is_short_the_kernel_takes_a_trial_before_the_agent(runner):
    assert runner("print(open('/proc/self/oom_score_adj').read())").lines == ["800"]


def test_home_and_temporary_folder_are_private_and_usable(runner):
    code = "import os, tempfile\nopen(os.path.expanduser('~/x'), 'w').write('x')\ntempfile.TemporaryFile().write(b'x')"
    assert runner(code).finding.outcome is Outcome.OK


def test_mounts_show_files_at_home_in_the_work_folder_and_at_their_own_path(runner):
    data = runner.folder / "data"
    data.mkdir()
    (data / "train.bin").write_text("tokens")
    code = f"""
import os
home = os.path.expanduser('~/.cache/nano/train.bin')
for path in ('prepare.bin', 'sub/train.bin', home, {str(data)!r} + '/train.bin'):
    print(open(path).read())
"""
    mounts = (
        Mount(data / "train.bin", "prepare.bin"),
        Mount(data, "sub"),
        Mount(data, "~/.cache/nano"),
        Mount(data, str(data)),
    )
    for _ in range(2):  # the same work folder may be used again
        assert runner(code, mounts=mounts).lines == ["tokens"] * 4


def test_runs_in_many_threads_do_not_disturb_each_other(runner):
    found = {}

    def one(name):
        other = Runner(runner.jail, runner.folder / name)
        other.folder.mkdir()
        found[name] = other(f"import time; time.sleep(0.3); print({name!r})")

    threads = [threading.Thread(target=one, args=(f"t{k}",)) for k in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert {name: ran.lines for name, ran in found.items()} == {f"t{k}": [f"t{k}"] for k in range(6)}
    assert all(ran.finding.outcome is Outcome.OK and ran.left == [] for ran in found.values())


def test_the_supervisor_is_nearly_idle_while_a_program_computes(runner):
    began = time.process_time()
    runner("import time; time.sleep(3)")
    assert time.process_time() - began < 0.3


def test_a_trusted_program_may_get_the_user_s_home(tmp_path):
    ran = Runner(Unconfined(home=tmp_path), tmp_path)("import os; print(os.environ['HOME'])")
    assert ran.lines == [str(tmp_path)]
