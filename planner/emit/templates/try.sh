
for tool in curl python3; do
  command -v "${tool}" >/dev/null || { echo "try.sh: ${tool} is needed" >&2; exit 2; }
done
: "${LITELLM_MASTER_KEY:?export the master key of the proxy first}"
folder=$(mktemp -d)
trap 'rm -rf "${folder}"' EXIT
failed=0

# read_answer WHAT STATUS ANSWER COMPLAINT SERVICE PARSER: one line about an answer; 1 where it is not what was asked for
read_answer() {
  python3 - "$@" <<'PYTHON'
@reader@PYTHON
}

# ask MODEL WHAT SERVICE PARSER PATH BODY: one request, as an agent makes it; the key goes in by standard input, no process list shows it
ask() {
  local model=$1 what=$2 service=$3 parser=$4 path=$5 body=$6 status
  : >"${folder}/answer"
  status=$(curl --silent --show-error --max-time "${PLAN_TRY_TIMEOUT:-${most}}" --noproxy '*' --output "${folder}/answer" --write-out '%{http_code}' \
    --header @- --header 'Content-Type: application/json' --data "${body}" "${proxy}${path}" \
    <<<"Authorization: Bearer ${LITELLM_MASTER_KEY}" 2>"${folder}/complaint") || status=000
  printf '%s, %s: ' "${model}" "${what}"
  read_answer "${what}" "${status}" "${folder}/answer" "${folder}/complaint" "${service}" "${parser}" || failed=$((failed + 1))
}

