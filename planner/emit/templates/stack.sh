
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
