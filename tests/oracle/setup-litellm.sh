#!/usr/bin/env bash
# The LiteLLM proxy as a judge of litellm.yaml: about a minute and 750 MB.  usage: setup-litellm.sh VENV
set -euo pipefail
venv=${1:?usage: setup-litellm.sh VENV}
[ -e "$venv/ready" ] && exit 0
python3 -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'litellm[proxy]==1.106.2'
touch "$venv/ready"
