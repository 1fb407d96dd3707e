#!/bin/sh
# step.sh NAME COMMAND...: run a setup step, show how long it took, and say plainly what failed.
name=$1
shift
start=$(date +%s)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
printf '  %-42s ' "$name"
if "$@" >"$log" 2>&1; then
    echo "done in $(($(date +%s) - start)) s"
else
    code=$?
    echo "FAILED after $(($(date +%s) - start)) s"
    echo "  the command was: $*"
    tail -n 15 "$log" | sed 's/^/  | /'
    echo "  What to do: check the network and the free disk space, then run make again; finished steps are kept."
    exit "$code"
fi
