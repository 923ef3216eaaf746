#!/bin/sh
# Make the kind cluster ttg-sandbox ready: create it if it is missing, build and load the image, start a broker in the
# namespace ttg, and point kubectl at that namespace.   usage: k8s/local/setup-local.sh [redis|rabbitmq]
# Running it again changes nothing that is already there.
set -eu
cd "$(dirname "$0")/../.."
backend=${1:-redis}
context=kind-ttg-sandbox

fail() { echo "setup-local: $*" >&2; exit 2; }

case $backend in redis | rabbitmq) ;; *) fail "expected redis or rabbitmq, got $backend" ;; esac
for tool in docker kind kubectl; do
    command -v $tool >/dev/null || fail "expected $tool on PATH: docs/kubernetes.md says where it comes from"
done
ttg=.venv/bin/ttg
[ -x $ttg ] || ttg=$(command -v ttg) || fail "expected ttg: run 'make setup' first"

if kind get clusters 2>/dev/null | grep -qx ttg-sandbox; then
    echo "setup-local: the cluster ttg-sandbox is there"
else
    kind create cluster --config k8s/local/kind-config.yaml --wait 120s
fi
scripts/build.sh --load-kind
$ttg kube up --context $context --backend "$backend"
kubectl config set-context $context --namespace ttg >/dev/null
echo "setup-local: ready. Next: ttg kube run --context $context --backend $backend examples/option_pricing.py:price …"
