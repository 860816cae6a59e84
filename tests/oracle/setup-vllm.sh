#!/usr/bin/env bash
# A release of vLLM as a judge, without a GPU: about two minutes and 3.5 GB.  usage: setup-vllm.sh VENV [VERSION]
# vLLM goes in without its pins (they bring gigabytes of CUDA packages); torch is the CPU build of the same API.
set -euo pipefail
venv=${1:?usage: setup-vllm.sh VENV [VERSION]}
version=${2:-0.33.0}
here=$(cd "$(dirname "$0")" && pwd)
[ -e "$venv/ready" ] && exit 0
python3 -m venv --clear "$venv"
pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
"${pip[@]}" 'torch==2.13.0'
"${pip[@]}" -r "$here/requirements.txt" 'torch==2.13.0'
"${pip[@]}" --no-deps "vllm==$version" timm==1.0.31 xgrammar==0.2.8 apache-tvm-ffi outlines_core==0.2.14 lm-format-enforcer==0.11.3
# Vision models import torchvision to name its functions, and its published build does not load beside a CPU torch.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
for module in '' transforms transforms/v2 io ops transforms/functional transforms/v2/functional tv_tensors ops/misc datasets utils models models/feature_extraction; do
  mkdir -p "$site/torchvision/$module"
  cp "$here/torchvision_stand_in.py" "$site/torchvision/$module/__init__.py"
done
touch "$venv/ready"
