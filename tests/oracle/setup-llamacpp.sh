#!/usr/bin/env bash
# llama.cpp v0.5.0 (de3ff815e) as a library for any CPU, from the npm package that ships it: 11 MB, some seconds, no compiler.  usage: setup-llamacpp.sh FOLDER
set -euo pipefail
folder=${1:?usage: setup-llamacpp.sh FOLDER}
[ -e "$folder/ready" ] && exit 0
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
npm pack --silent @node-llama-cpp/linux-x64@3.22.1 >/dev/null
tar -xzf node-llama-cpp-linux-x64-3.22.1.tgz --strip-components=3 package/bins/linux-x64
rm node-llama-cpp-linux-x64-3.22.1.tgz
touch ready
