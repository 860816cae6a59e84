#!/usr/bin/env bash
# Judges of deployment files: Kubernetes' schemas, compose's, Ray Serve's own pydantic models. 600 MB, a minute.  usage: setup-deploy.sh VENV
set -euo pipefail
venv=${1:?usage: setup-deploy.sh VENV}
[ -e "$venv/ready" ] && exit 0
python3 -m venv --clear "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check 'kubernetes-validate==1.37.0' 'check-jsonschema==0.39.0' 'ray[serve]==2.60.0' \
  pyarrow jsonref pandas ninja transformers
touch "$venv/ready"
