#!/usr/bin/env bash
# Load for @title@, through the proxy; needs what setup.sh installs, nothing else.
#   ./bench.sh             @users@ at a time, prompts of about @prompt@ tokens
#   ./bench.sh full        the same with prompts that fill the context of @context@ tokens
#   ./bench.sh problems [FILE...]   five problems side by side, or those of files, a log each below experiments/
@own_usage@set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH="${here}/.venv-litellm/bin:@path@${PATH}"
: "${LITELLM_MASTER_KEY:?export the master key of the proxy first}"
export OPENAI_API_KEY="${LITELLM_MASTER_KEY}"
model=@alias@
proxy=${PLAN_BENCH_URL:-http://127.0.0.1:@port@}

client() {
  python3 - "$@" <<'PYTHON'
@client@PYTHON
}

case ${1:-load} in
  load)
    client load "${proxy}" "${model}" @users@ @requests@ @prompt@ @answer@ @timeout@ @task@
    ;;
  full)
    client load "${proxy}" "${model}" @users@ @requests@ @longest@ @output@ @timeout@ @task@
    ;;
  problems)
    stamp=$(date +%Y%m%d-%H%M%S)
    client problems "${proxy}" "${model}" "${here}/experiments/parallel_benchmark_${model//[^A-Za-z0-9._-]/-}_${stamp}" @most@ @timeout@ "${@:2}"
    ;;
@own@  *)
    echo "usage: bench.sh [load | full | problems [FILE...]@own_word@]" >&2
    exit 2
    ;;
esac
