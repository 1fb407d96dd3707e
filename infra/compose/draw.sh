#!/bin/sh
# draw.sh: draw the secrets of a line in containers, once, into the file that compose reads by itself.
set -e
umask 077
file=$(dirname "$0")/.env
touch "$file"
for name in LATENTLINE_STORE_SECRET_KEY LATENTLINE_GATEWAY_DEFAULT_KEY LATENTLINE_GATEWAY_KEY_SECRET LATENTLINE_WEBHOOK_SECRET; do
    grep -q "^$name=" "$file" || echo "$name=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" >>"$file"
done
echo "the line's secrets are in $file"
