"""Real OpenAI-compatible servers on free ports of this machine, around the tiny model that `make servers` made."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
TINY = HERE.parent.parent / ".tiny"
MODEL = TINY / "model"
KEY = "sekret"
CONTEXT = 4096
START_SECONDS = 200.0
LONELY = {  # nothing is fetched, nothing is reported, one thread a server
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}
VLLM = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}


@dataclass(frozen=True)
class Server:
    """A server that runs.

    Attributes:
        url: its base URL.
        model: what its model is called there.
        key: what it asks for; None if it asks for none.
    """

    url: str
    model: str
    key: str | None


@dataclass
class Process:
    """A server's process, seen through its keeper."""

    name: str
    port: int
    keeper: subprocess.Popen[bytes]
    log: Path

    def wait_until_it_answers(self, given_up: Callable[[], bool]) -> None:
        until = time.monotonic() + START_SECONDS
        while not answers(f"http://127.0.0.1:{self.port}/v1/models"):
            if given_up():
                raise RuntimeError("nobody waits any more")
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            if self.keeper.poll() is not None:
                raise RuntimeError(f"{self.name} ended before it answered:\n{tail}")
            if time.monotonic() > until:
                raise RuntimeError(f"{self.name} did not answer in {START_SECONDS:.0f} s:\n{tail}")
            time.sleep(0.2)

    def end(self) -> None:
        assert self.keeper.stdin is not None
        self.keeper.stdin.close()
        self.keeper.wait(30)


def answers(url: str) -> bool:
    """Whether a server is there, whatever it says."""
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(name: str, folder: Path, port: int, command: list[str], more: Mapping[str, str]) -> Iterator[Process]:
    """A server's process with a home of its own, from the start to the certain end of it."""
    home = folder / name
    (home / "hf" / "hub").mkdir(parents=True, exist_ok=True)  # without it `transformers serve` answers 500 to /models
    own = {"HOME": str(home), "HF_HOME": str(home / "hf"), "TMPDIR": str(home), "PATH": os.environ["PATH"]}
    log = home / "log"
    with log.open("wb") as out:
        keeper = subprocess.Popen(
            [sys.executable, str(HERE / "keeper.py"), *command],
            env={**own, **LONELY, **more},
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    running = Process(name, port, keeper, log)
    try:
        yield running
    finally:
        running.end()


def vllm_command(port: int) -> list[str]:
    return [
        *(str(TINY / "vllm/bin/vllm"), "serve", str(MODEL), "--served-model-name", "tiny"),
        *("--host", "127.0.0.1", "--port", str(port), "--api-key", KEY, "--max-model-len", str(CONTEXT)),
        *("--dtype", "float32", "--enforce-eager", "--seed", "0", "--reasoning-parser", "deepseek_r1"),
        *("--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}'),
    ]


def transformers_command(port: int) -> list[str]:
    program = str(TINY / "serve/bin/transformers")
    return [program, "serve", str(MODEL), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]


def proxy_command(folder: Path, port: int, upstream: int) -> list[str]:
    behind = {"model": "openai/tiny", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": KEY}
    settings = {
        "model_list": [{"model_name": "tiny", "litellm_params": behind}],
        "general_settings": {"master_key": KEY},
        "litellm_settings": {"telemetry": False, "num_retries": 0},
    }
    path = folder / "proxy.json"
    path.write_text(json.dumps(settings))  # JSON is YAML
    program = str(TINY / "serve/bin/litellm")
    return [program, "--config", str(path), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]


@contextmanager
def all_servers(folder: Path, given_up: Callable[[], bool]) -> Iterator[dict[str, Server]]:
    """vLLM, `transformers serve`, and the litellm proxy in front of vLLM; started side by side.

    Raises:
        RuntimeError: one did not start, or `given_up` became true before all had.
    """
    vllm, transformers, proxy = free_port(), free_port(), free_port()
    with ExitStack() as stack:
        processes = [
            stack.enter_context(process(name, folder, port, command, more))
            for name, port, command, more in (
                ("vllm", vllm, vllm_command(vllm), VLLM),
                ("transformers", transformers, transformers_command(transformers), {}),
                ("proxy", proxy, proxy_command(folder, proxy, vllm), {}),
            )
        ]
        for each in processes:
            each.wait_until_it_answers(given_up)
        yield {
            "vllm": Server(f"http://127.0.0.1:{vllm}/v1", "tiny", KEY),
            "transformers": Server(f"http://127.0.0.1:{transformers}/v1", str(MODEL), None),
            "proxy": Server(f"http://127.0.0.1:{proxy}/v1", "tiny", KEY),
        }
