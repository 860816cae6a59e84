#!/usr/bin/env bash
# What the page without a server is made of (tools/static_page/parts.py): Pyodide from npm, libraries from PyPI, 10 MB, some seconds.  usage: setup-static-page.sh FOLDER
set -euo pipefail
folder=${1:?usage: setup-static-page.sh FOLDER}
cd "$(dirname "$0")/../.."
"${PYTHON:-python3}" -m tools.static_page.parts "$folder"
touch "$folder/ready"
