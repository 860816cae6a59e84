#!/usr/bin/env bash
# {title}
# {capacity}
# Stop it with Ctrl-C, or with: kill "$(cat {pid_file})"
set -euo pipefail

fail() {{ echo "serve.sh: $*" >&2; exit 1; }}
command -v {program} >/dev/null || fail "{program} is not on PATH; install it in a virtual environment: pip install {package}"
command -v curl >/dev/null || fail "curl is needed to wait for the server"
{toolchain}
{reasons}
args=(
{arguments}
)

{command} "${{args[@]}}" &
server=$!
echo "${{server}}" >{pid_file}
trap 'kill "${{server}}" 2>/dev/null || true' INT TERM
trap 'rm -f {pid_file}' EXIT

# Loading and graph capture take minutes; the server answers /health once it can serve.
until curl --silent --fail --noproxy '*' --output /dev/null --max-time 5 {url}/health; do
  kill -0 "${{server}}" 2>/dev/null || fail "the server ended before it was healthy; its log is above"
  sleep 2
done
echo {ready}
wait "${{server}}"
