#!/bin/sh
# Build the image ttg-worker from docker/Dockerfile.   usage: scripts/build.sh [--load-kind] [--tag TAG]
# --load-kind also puts it on the nodes of the kind cluster ttg-sandbox. PYTHON_IMAGE chooses another base image.
set -eu
cd "$(dirname "$0")/.."

fail() { echo "build: $*" >&2; exit 2; }

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' src/ttg/__init__.py)
tag=v$version load_kind=false
while [ $# -gt 0 ]; do
    case $1 in
        --load-kind) load_kind=true ;;
        --tag) [ $# -ge 2 ] || fail "--tag: expected a tag after it"; tag=$2; shift ;;
        -h | --help) sed -n '2,3s/^# //p' "$0"; exit 0 ;;
        *) fail "expected --load-kind or --tag TAG, got $1" ;;
    esac
    shift
done

command -v docker >/dev/null || fail "expected docker on PATH: install Docker, or build docker/Dockerfile with another builder"
docker info >/dev/null 2>&1 || fail "docker is installed, but its daemon does not answer: start it, or check DOCKER_HOST"
if $load_kind; then
    command -v kind >/dev/null || fail "expected kind on PATH for --load-kind: see docs/kubernetes.md"
fi

docker build --file docker/Dockerfile --tag "ttg-worker:$tag" \
    --build-arg VERSION="$version" \
    --build-arg REVISION="$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
    ${PYTHON_IMAGE:+--build-arg PYTHON_IMAGE="$PYTHON_IMAGE"} ${BUILD_NETWORK:+--network "$BUILD_NETWORK"} .
docker image inspect --format "built ttg-worker:$tag, {{.Size}} bytes" "ttg-worker:$tag"

if $load_kind; then kind load docker-image "ttg-worker:$tag" --name "${KIND_CLUSTER:-ttg-sandbox}"; fi
