#!/usr/bin/env bash
# SkyPilot as a judge of tasks: a minute and 460 MB.  usage: setup-skypilot.sh VENV
set -euo pipefail
venv=${1:?usage: setup-skypilot.sh VENV}
[ -e "$venv/ready" ] && exit 0
python3 -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'skypilot==0.14.1'
touch "$venv/ready"
