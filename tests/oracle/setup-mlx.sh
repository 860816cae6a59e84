#!/usr/bin/env bash
# mlx-lm's and mlx-vlm's own servers on MLX's CPU build: 1.1 GB, a minute.  usage: setup-mlx.sh VENV
set -euo pipefail
venv=${1:?usage: setup-mlx.sh VENV}
[ -e "$venv/ready" ] && exit 0
python3 -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'mlx[cpu]==0.32.4' 'mlx-lm==0.32.2' 'mlx-vlm==0.7.10'
touch "$venv/ready"
