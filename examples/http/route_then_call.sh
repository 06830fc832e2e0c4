#!/usr/bin/env bash
# Route first, then call: tierwise names the model, and the prompt goes to it. Needs curl and python3.
set -euo pipefail
prompt=${1:?usage: route_then_call.sh "prompt"}
model=${FALLBACK_MODEL:?the model to call where tierwise cannot be asked}

# A key goes in by a file descriptor, because others can read a command line.
post() { # url, key, seconds; the body comes on stdin
	curl --silent --show-error --fail --max-time "$3" --header "Content-Type: application/json" \
		--header @<(printf '%s' "${2:+Authorization: Bearer $2}") --data-binary @- "$1"
}
body() { python3 -c 'import json, sys; print(json.dumps(
	dict(zip(sys.argv[2::2], sys.argv[3::2]), messages=[{"role": "user", "content": sys.argv[1]}])))' "$prompt" "$@"; }
pick() { python3 -c "import json, sys; print(json.load(sys.stdin)$1)"; }

# Whatever becomes of tierwise, the prompt is answered.
named=$(body | post "${TIERWISE_URL:-http://127.0.0.1:8080}/v1/route" "${TIERWISE_API_KEY:-}" \
	"${TIERWISE_TIMEOUT_S:-0.2}" | pick '["model"]' 2>/dev/null) && model=$named ||
	echo "tierwise named no model; calling $model" >&2

body model "$model" | post "${OPENAI_BASE_URL:-https://api.openai.com/v1}/chat/completions" \
	"${OPENAI_API_KEY:-}" 600 | pick '["choices"][0]["message"]["content"]'
