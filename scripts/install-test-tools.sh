#!/bin/sh
# Make sure that the servers and tools the tests start are on PATH: Redis, RabbitMQ, Prometheus, Chromium.
# Missing ones are installed with apt (as root or by passwordless sudo) or Homebrew; otherwise this says what to do.
# Tests start their own private instances on free ports; a service that a package starts is never used.
#
# TTG_TEST_BROKERS (for example memory,valkey) restricts the brokers under test and what is installed for them.
# TTG_TEST_TOOLS=skip checks nothing: tests whose tool (not broker) is missing are then skipped and say so.
set -eu

brokers=${TTG_TEST_BROKERS:-memory,valkey,redis,rabbitmq}

has() { PATH=$PATH:/usr/sbin:/usr/local/sbin command -v "$1" >/dev/null; }
tests_broker() { case ",$brokers," in *",$1,"*) return 0 ;; *) return 1 ;; esac; }
has_browser() { has chromium || has chromium-browser || has google-chrome || [ -d "/Applications/Chromium.app" ]; }

missing_packages() {
    if tests_broker redis; then has redis-server || echo "$redis_package"; fi
    if tests_broker rabbitmq; then has rabbitmq-server || echo "$rabbitmq_package"; fi
    has promtool || echo prometheus
    has_browser || echo chromium
}

fail() {
    echo "test tools: expected on PATH, but missing:" $missing >&2
    echo "test tools: $*" >&2
    echo "test tools: or restrict the tests: TTG_TEST_BROKERS=memory,valkey TTG_TEST_TOOLS=skip make test ARGS=tests/unit" >&2
    exit 1
}

[ "${TTG_TEST_TOOLS:-}" = skip ] && exit 0
redis_package=redis-server rabbitmq_package=rabbitmq-server
[ "$(uname)" = Darwin ] && redis_package=redis rabbitmq_package=rabbitmq
missing=$(missing_packages)
[ -z "$missing" ] && exit 0

echo "test tools: installing" $missing
if command -v apt-get >/dev/null; then
    if [ "$(id -u)" = 0 ]; then as_root="env"
    elif sudo -n true 2>/dev/null; then as_root="sudo -n env"
    else fail "run: sudo apt-get install" $missing
    fi
    $as_root apt-get update -qq </dev/null
    $as_root DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $missing </dev/null >/dev/null \
        || fail "apt-get could not install them (its message is above)"
elif command -v brew >/dev/null; then
    NONINTERACTIVE=1 brew install $missing </dev/null || fail "Homebrew could not install them (its message is above)"
else
    fail "install them with your system's package manager"
fi
missing=$(missing_packages)
[ -z "$missing" ] || fail "they were installed, but their commands are not on PATH"
