
# Its log is the terminal's. What a killed script left is stopped first; what another script started is left alone.
serve() {
  local name=${names[0]} code=0
  begin
  if is_ours "${name}"; then
    if [[ -z ${stale} ]]; then
      trap - EXIT
      unlock
      fail "${name} is already running, pid $(pid_of "${name}")"
    fi
    echo "${name} was left by a script that was killed: it is stopped first"
  fi
  stop_one "${name}"
  on_terminal=yes
  launch "${name}" "${ports[0]}"
  await "${name}" "${urls[0]}"
  trap 'abandon "asked to stop" 0' INT TERM HUP
  echo "ready: ${urls[0]%/health*}/v1 serves ${served_name}"
  wait "$!" || code=$?
  if ((code == 0)); then code=1; fi
  abandon "${name} died" "${code}"
}

case ${1:-} in
  "") serve ;;
  *) echo "usage: serve.sh; PLAN_START_TIMEOUT (seconds, 3600) and PLAN_STOP_TIMEOUT (30) bound the waits" >&2; exit 2 ;;
esac
