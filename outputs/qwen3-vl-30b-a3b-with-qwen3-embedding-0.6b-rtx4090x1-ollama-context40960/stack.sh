#!/usr/bin/env bash
# qwen3-vl:30b and qwen3-embedding:0.6b on 1x GeForce RTX 4090 with ollama
# Services of one machine: `./stack.sh start`, `stop`, `status`, `logs`, or `run` in the foreground.
# shellcheck disable=SC2310,SC2312,SC2329 # conditions call functions that are written to be asked, services are called by their names
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "${here}"
state=${PLAN_STATE_DIR:-${here}}
# Environments that setup.sh made here come first.
PATH="${here}/.venv-litellm/bin:${PATH}"

names=(chat litellm)
ports=(11434 8080)
urls=(
  http://127.0.0.1:11434/api/version
  http://127.0.0.1:8080/health/liveliness
)

# 40,960 tokens of context for each of 1 at a time
run_chat() {
  export OLLAMA_HOST=127.0.0.1:11434
  export OLLAMA_CONTEXT_LENGTH=40960
  export OLLAMA_NUM_PARALLEL=1
  export OLLAMA_FLASH_ATTENTION=1
  export OLLAMA_KV_CACHE_TYPE=f16
  export OLLAMA_MAX_LOADED_MODELS=2
  exec ollama serve
}

# one endpoint for all of them
run_litellm() {
  exec litellm \
    --config litellm.yaml \
    --host 127.0.0.1 \
    --port 8080
}

check_tools() {
  local tool
  for tool in curl ollama litellm; do
    command -v "${tool}" >/dev/null || fail "${tool} is not installed; ./setup.sh installs the engines, your system's packages the rest"
  done
  [[ -n ${LITELLM_MASTER_KEY:-} ]] || fail "LITELLM_MASTER_KEY is not set: export LITELLM_MASTER_KEY=\"sk-\$(openssl rand -hex 24)\""
}

fail() { echo "${0##*/}: $*" >&2; exit 1; }

pid_of() { head -n 1 "${state}/run/$1.pid" 2>/dev/null || true; }

# State, group and time of start of a process, nothing where it is dead or only waits to be collected: from /proc, or by ps on macOS.
facts() {
  local line fields
  if [[ -d /proc/self ]]; then
    { read -r line <"/proc/$1/stat"; } 2>/dev/null || return 0
    read -r -a fields <<<"${line##*) }" # behind the name, which may hold anything
    [[ ${fields[0]} == Z ]] || echo "${fields[2]} ${fields[19]}"
  else
    ps -o stat= -o pgid= -o lstart= -p "$1" 2>/dev/null | awk '$1 !~ /^Z/ { $1 = ""; print }' || true
  fi
}

# A pid alone may belong to someone else by now: group and time of start must be those that were written down with it.
lives() {
  local pid now
  pid=$(head -n 1 "$1" 2>/dev/null || true)
  [[ -n ${pid} ]] || return 1
  now=$(facts "${pid}")
  [[ -n ${now} && ${now} == "$(tail -n +2 "$1")" ]]
}

is_ours() { lives "${state}/run/$1.pid"; }

# Whether any process of a group is alive.
group_lives() {
  local file line fields
  if [[ ! -d /proc/self ]]; then
    ps -A -o pgid= -o stat= | awk -v group="$1" '$1 == group && $2 !~ /^Z/ { found = 1 } END { exit !found }'
    return
  fi
  for file in /proc/[0-9]*/stat; do
    { read -r line <"${file}"; } 2>/dev/null || continue
    read -r -a fields <<<"${line##*) }"
    if [[ ${fields[2]} == "$1" && ${fields[0]} != Z ]]; then return 0; fi
  done
  return 1
}

answers() { curl --silent --fail --noproxy '*' --output /dev/null --max-time 5 "$1"; }

port_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Stops the whole process group: an engine's workers must not outlive it, they hold the GPU.
stop_group() {
  local group=$1 began=${SECONDS}
  kill -TERM -- "-${group}" 2>/dev/null || true
  while group_lives "${group}"; do
    if ((SECONDS - began >= ${PLAN_STOP_TIMEOUT:-30})); then kill -KILL -- "-${group}" 2>/dev/null || true; fi
    sleep 0.1
  done
}

stop_one() {
  local name=$1 pid
  pid=$(pid_of "${name}")
  if [[ -z ${pid} ]]; then rm -f "${state}/run/${name}.pid"{,.new}; return 0; fi
  local ours=no
  if is_ours "${name}"; then ours=yes; fi
  # The leader may be gone while its workers live; a group is ours as long as no new process has taken its number.
  if [[ ${ours} == yes || -z $(facts "${pid}") ]]; then
    stop_group "${pid}"
    echo "${name} is stopped"
  fi
  rm -f "${state}/run/${name}.pid"{,.new}
}

stop_all() {
  local i
  for ((i = ${#names[@]} - 1; i >= 0; i--)); do stop_one "${names[i]}"; done
}

# Two `start` at once would start everything twice: the folder is the lock, its owner's pid lies in it. `stale`: an owner was killed and could not clean up.
stale=""

lock() {
  mkdir -p "${state}/run" "${state}/logs" 2>/dev/null && [[ -w ${state}/run && -w ${state}/logs ]] ||
    fail "cannot write below ${state}; set PLAN_STATE_DIR to a folder that can be written"
  if ! mkdir "${state}/run/lock" 2>/dev/null; then
    if lives "${state}/run/lock/pid"; then fail "another script (pid $(head -n 1 "${state}/run/lock/pid")) is starting or running these services"; fi
    stale=yes
    rm -rf "${state}/run/lock"
    mkdir "${state}/run/lock" 2>/dev/null || fail "another script is starting these services"
  fi
  write_down "$$" "${state}/run/lock/pid" || { unlock; fail "cannot write ${state}/run/lock/pid: is the disk full?"; }
}

# A process in a file, whole or not at all: its pid, then what tells it from a later one of that number.
write_down() { { echo "$1" && facts "$1"; } 2>/dev/null >"$2.new" && [[ -s $2.new ]] && mv -f "$2.new" "$2" 2>/dev/null; }

unlock() { rm -rf "${state}/run/lock"; }

# Leaves nothing behind: what is running is stopped, also what this very moment was started.
abandon() {
  exec >&8 2>&9 # a signal may come within a redirected command: its trap would write there
  set +e # whatever fails now, the rest is still stopped
  trap - EXIT
  trap '' INT TERM HUP
  echo "${0##*/}: $1; stopping everything" >&2
  if [[ -n ${launching} ]]; then [[ -z ${!:-} ]] || stop_group "$!"; fi # started, but its pid was not written down yet
  stop_all
  unlock
  exit "$2"
}

launching=""

# A server logs for months: the last part of a log that has grown is kept beside it, and the log begins anew. Ends with the server it is for.
rotate() {
  local log=$1 server=$2 most=$((${PLAN_LOG_MIB:-64} * 1048576))
  while sleep 2 && [[ -n $(facts "${server}") ]]; do
    if (($(wc -c <"${log}" 2>/dev/null || echo 0) > most)); then
      tail -c "${most}" "${log}" >"${log}.1" 2>/dev/null || true
      : >"${log}"
    fi
  done
}

# The function of a service, as the leader of its group.
become() {
  if [[ -n ${on_terminal} ]]; then exec </dev/null; else
    exec >>"${state}/logs/$1.log" 2>&1 </dev/null
    rotate "${state}/logs/$1.log" "${BASHPID:-$(exec sh -c 'echo "$PPID"')}" >/dev/null 2>&1 &
  fi
  "run_${1//[-.]/_}"
}

on_terminal=""

launch() {
  local name=$1 port=$2
  if port_taken "${port}"; then abandon "port ${port} of ${name} is already in use" 1; fi
  launching=${name}
  set -m # a process group of its own: Ctrl-C reaches this script only, and the group can be stopped whole
  become "${name}" 8>&- 9>&- &
  local pid=$!
  set +m
  write_down "${pid}" "${state}/run/${name}.pid" || abandon "cannot write ${state}/run/${name}.pid: is the disk full?" 1
  launching=""
}

# An answer counts only while our own server lives: somebody else's may have taken the port.
await() {
  local name=$1 url=$2 began=${SECONDS} waited
  while is_ours "${name}"; do
    if answers "${url}" && is_ours "${name}"; then
      echo "${name} answers at ${url%/health*}"
      return
    fi
    waited=$((SECONDS - began))
    if ((waited >= ${PLAN_START_TIMEOUT:-3600})); then abandon "${name} did not answer ${url} within ${waited} s" 1; fi
    if ((waited < 5)); then sleep 0.2; else sleep 1; fi
  done
  if [[ -z ${on_terminal} ]]; then tail -n 20 "${state}/logs/${name}.log" >&2 || true; fi
  abandon "${name} ended before it was healthy, its log is above" 1
}

# From here on whatever ends this script stops what it started.
begin() {
  check_tools
  lock
  exec 8>&1 9>&2
  trap 'abandon interrupted 130' INT TERM HUP
  trap 'abandon "an unexpected error" 1' EXIT
}

usage() {
  cat <<TEXT
usage: stack.sh start | stop | status | logs [NAME] [-f] | run

start   start everything in order, each once the one before it is healthy; on a failure or Ctrl-C all that was started is stopped
stop    stop everything, last started first
status  what runs and answers; exit 0 if all do, 3 if not
logs    the end of the logs, of one service or of all; -f follows
run     start, stay in the foreground, stop everything on Ctrl-C or when one dies (for systemd and containers)

Services: ${names[*]}. Logs and pid files lie below ${state}; PLAN_STATE_DIR moves them. PLAN_START_TIMEOUT (seconds, 3600) and
PLAN_STOP_TIMEOUT (30) bound the waits, PLAN_LOG_MIB (64) the size of a log; what was before lies in NAME.log.1.
TEXT
}

index_of() {
  local i
  for ((i = 0; i < ${#names[@]}; i++)); do
    if [[ ${names[i]} == "$1" ]]; then echo "${i}"; return 0; fi
  done
  fail "there is no service $1; there are: ${names[*]}"
}

# Someone's `run` or unfinished `start` must not see its services die one by one: it stops them itself.
stop_owner() {
  local owner began=${SECONDS}
  lives "${state}/run/lock/pid" || return 0
  owner=$(head -n 1 "${state}/run/lock/pid")
  [[ ${owner} != "$$" ]] || return 0
  kill -TERM "${owner}" 2>/dev/null || return 0
  while lives "${state}/run/lock/pid" && ((SECONDS - began < ${PLAN_STOP_TIMEOUT:-30} * ${#names[@]})); do sleep 0.1; done
}

start_all() {
  begin
  [[ -z ${stale} ]] || echo "another script was killed before it was done; what it left is taken over"
  local i
  for ((i = 0; i < ${#names[@]}; i++)); do
    if is_ours "${names[i]}"; then
      echo "${names[i]} is already running"
    else
      rm -f "${state}/run/${names[i]}.pid"
      launch "${names[i]}" "${ports[i]}"
    fi
    await "${names[i]}" "${urls[i]}"
  done
  trap - EXIT
}

run_all() {
  start_all
  trap 'abandon "asked to stop" 0' INT TERM HUP
  local i
  while true; do
    for ((i = 0; i < ${#names[@]}; i++)); do
      is_ours "${names[i]}" || abandon "${names[i]} died" 1
    done
    sleep 1
  done
}

show_status() {
  local i good=yes
  for ((i = 0; i < ${#names[@]}; i++)); do
    if is_ours "${names[i]}"; then
      if answers "${urls[i]}"; then
        echo "${names[i]}: healthy, pid $(pid_of "${names[i]}"), ${urls[i]%/health*}"
      else
        echo "${names[i]}: running, pid $(pid_of "${names[i]}"), not answering yet"
        good=no
      fi
    else
      good=no
      if [[ -e ${state}/run/${names[i]}.pid ]]; then echo "${names[i]}: died; its pid file is left"; else echo "${names[i]}: stopped"; fi
    fi
  done
  [[ ${good} == yes ]] || exit 3
}

show_logs() {
  local files=() flags=(-n 50) name
  for name in "$@"; do
    if [[ ${name} == -f ]]; then flags+=(-F); else index_of "${name}" >/dev/null; files+=("${state}/logs/${name}.log"); fi
  done
  if ((${#files[@]} == 0)); then
    for name in "${names[@]}"; do [[ ! -e ${state}/logs/${name}.log ]] || files+=("${state}/logs/${name}.log"); done
  fi
  ((${#files[@]})) || fail "there are no logs yet"
  tail "${flags[@]}" "${files[@]}"
}

case ${1:-} in
  start) start_all; unlock ;;
  run) run_all ;;
  stop) stop_owner; stop_all; lives "${state}/run/lock/pid" || unlock ;;
  status) show_status ;;
  logs) shift; show_logs "$@" ;;
  -h | --help | help) usage ;;
  *) usage >&2; exit 2 ;;
esac
