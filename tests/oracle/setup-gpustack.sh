#!/usr/bin/env bash
# GPUStack's scheduler as a judge of what it is told to admit: about two minutes and 900 MB.  usage: setup-gpustack.sh VENV
set -euo pipefail
venv=${1:?usage: setup-gpustack.sh VENV}
[ -e "$venv/ready" ] && exit 0
python3 -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'gpustack==2.3.0'
touch "$venv/ready"
