#!/bin/sh
# Shows the queues, runs and workers of TTG on RabbitMQ: the same picture as `ttg monitor`.
#   scripts/rabbitmq_monitor.sh --watch 2        again every two seconds (the default); Ctrl-C ends it
#   scripts/rabbitmq_monitor.sh --once [--json]  one look
# The broker is the one of RABBITMQ_HOST, RABBITMQ_PORT, RABBITMQ_USER, RABBITMQ_PASSWORD, RABBITMQ_VHOST.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
if [ -x "$here/../.venv/bin/ttg" ]; then
    ttg="$here/../.venv/bin/ttg"
elif command -v ttg >/dev/null 2>&1; then
    ttg=ttg
else
    echo "rabbitmq_monitor.sh: expected ttg on PATH or in .venv: run \`make setup\`" >&2
    exit 2
fi
unset TTG_BROKER
QUEUE_BACKEND=rabbitmq exec "$ttg" monitor "$@"
