#!/usr/bin/env bash
# From an empty machine to synced learners and employers, against made-up services on this machine.
#
#   examples/quickstart.sh            needs Rust, and the network only for cargo
#   KEEP=1 examples/quickstart.sh     keeps the folder with the database, and says how to go on
#
# Every command is printed before it runs. All of it happens in a folder of its own, which is removed at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

# The debug build: made in less than half the time of the optimized one, and the tests use it too.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
bin=$CARGO_TARGET_DIR/debug

bold= plain=
if [[ -t 1 ]]; then bold=$'\033[1m' plain=$'\033[0m'; fi
heading() { printf '\n%s# %s%s\n' "$bold" "$*" "$plain"; }
run() { printf '\n%s$ %s%s\n' "$bold" "$*" "$plain"; eval "$*"; }

heading "Build skillsctl, and the sandbox that plays Aptem, HubSpot and three more services"
run "cargo build --quiet --bin skillsctl --example sandbox"
export PATH=$bin:$PATH

folder=$(mktemp -d "${TMPDIR:-/tmp}/skillsctl-quickstart.XXXXXX")
sandbox=
finish() {
    if [[ -n $sandbox ]]; then kill "$sandbox" 2>/dev/null && wait "$sandbox" 2>/dev/null || true; fi
    if [[ -z ${KEEP:-} ]]; then rm -rf "$folder"; fi
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

"$bin/examples/sandbox" --ready-file "$folder/sandbox.json" >"$folder/sandbox.log" 2>&1 &
sandbox=$!
until [[ -s $folder/sandbox.json ]]; do
    kill -0 "$sandbox" 2>/dev/null || { cat "$folder/sandbox.log" >&2; exit 1; }
    sleep 0.05
done

# Returns what follows a name in a line of JSON: enough for the two lines read here, and needs no other program.
value_of() { [[ $2 =~ \"$1\":\"?([^\",}]+) ]] && printf '%s' "${BASH_REMATCH[1]}"; }
# Asks the sandbox's control address, with bash alone.
ask_sandbox() {
    local address=${1#http://} answer
    exec 3<>"/dev/tcp/${address%:*}/${address##*:}"
    printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$2" "$address" >&3
    answer=$(cat <&3)
    exec 3<&- 3>&-
    printf '%s' "$answer"
}
addresses=$(<"$folder/sandbox.json")
aptem=$(value_of aptem "$addresses")
hubspot=$(value_of hubspot "$addresses")
portal_id=$(value_of portal_id "$(ask_sandbox "$(value_of control "$addresses")" '/account?service=hubspot&account=acme')")

# Only what is set here counts, whatever the environment says.
for name in "${!SKILLSCTL_@}" CREDENTIALS_DIRECTORY; do unset "$name"; done
export SKILLSCTL_DB=$folder/skills.db SKILLSCTL_KEY_FILE=$folder/skillsctl.key

heading "The database, the master key, and the built-in providers and presets"
run "skillsctl init"
run "skillsctl preset list"

heading "An organization on the recommended preset; without flags, a wizard asks"
run "skillsctl org create --name 'Acme Training Ltd' --subdomain acme --preset aptem_hubspot"

heading "What is different for this organization: where its Aptem is, which HubSpot account is its own (http:// is for this machine only)"
run "skillsctl override set acme aptem allow_insecure_http=true api_url=$aptem"
run "skillsctl override set acme hubspot allow_insecure_http=true api_url=$hubspot portal_id=$portal_id"

heading "Its credentials, encrypted; never an argument"
run "printf sandbox-aptem-acme | skillsctl credential set acme aptem api_key --from-stdin"
run "printf sandbox-hubspot-acme | skillsctl credential set acme hubspot api_key --from-stdin"

heading "Sync: learners from Aptem, employers from HubSpot"
run "skillsctl sync acme"
run "skillsctl status acme"

heading "A look at the data"
run "skillsctl record list acme learners --limit 5"
run "skillsctl record list acme employers --limit 5"
run "skillsctl powerbi filters acme"

if [[ -n ${KEEP:-} ]]; then
    heading "Kept; the sandbox is stopped, so another sync would find nobody there"
    echo "export SKILLSCTL_DB=$SKILLSCTL_DB SKILLSCTL_KEY_FILE=$SKILLSCTL_KEY_FILE"
fi
