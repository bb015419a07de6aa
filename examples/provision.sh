#!/usr/bin/env bash
# A CI job that creates an organization and stores its credentials, without the master key: it could read none of them.
#
# SKILLSCTL_DB is the database, SKILLSCTL_SEALING_KEY the id that `skillsctl credential sealing-key show` prints to who holds
# the master key. The rest is the organization's; HUBSPOT_URL only where its HubSpot is not the usual one.
set -euo pipefail
: "${SKILLSCTL_DB:?}" "${SKILLSCTL_SEALING_KEY:?}"
: "${ORG:?}" "${ORG_NAME:?}" "${APTEM_URL:?}" "${APTEM_KEY:?}" "${HUBSPOT_PORTAL:?}" "${HUBSPOT_TOKEN:?}"

for name in SKILLSCTL_KEY SKILLSCTL_KEY_FILE SKILLSCTL_KEY_COMMAND; do
    [[ -z ${!name:-} ]] || { echo "$name is set: this job needs no master key, and should have none" >&2; exit 1; }
done

skillsctl org create --no-input --if-not-exists --preset aptem_hubspot --name "$ORG_NAME" --subdomain "$ORG"
skillsctl override set "$ORG" aptem "api_url=$APTEM_URL"
skillsctl override set "$ORG" hubspot "portal_id=$HUBSPOT_PORTAL" ${HUBSPOT_URL:+"api_url=$HUBSPOT_URL"}

# Sealed to the pinned key, and to no other: a key that somebody has put in its place is refused.
skillsctl credential set "$ORG" aptem api_key --from-env APTEM_KEY --sealed
skillsctl credential set "$ORG" hubspot api_key --from-env HUBSPOT_TOKEN --sealed

# "credentials deposited": the next sync, where the master key is, takes them in.
skillsctl status "$ORG"
