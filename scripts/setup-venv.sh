#!/bin/sh
# Create the virtual environment $1 from requirements/dev.lock and install TTG into it, editable.
# PYTHON chooses the interpreter; otherwise the newest of python3.13, 3.12, 3.11 and python3 that is found.
set -eu
cd "$(dirname "$0")/.."
venv=$1

fail() { echo "setup: $*" >&2; exit 1; }

is_usable() { "$1" -c 'import sys; sys.exit(not sys.version_info >= (3, 11))' 2>/dev/null; }

find_python() {
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3}; do
        if is_usable "$candidate"; then echo "$candidate"; return; fi
    done
    fail "expected Python 3.11 or newer${PYTHON:+, got $PYTHON}: install it, or name one with 'make setup PYTHON=/path/to/python3'"
}

# Debian and Ubuntu ship Python without ensurepip; their package python3-venv brings it.
install_venv_module() {
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    package=python$version-venv
    command -v apt-get >/dev/null || fail "$1 has no working venv module: install ensurepip for Python $version"
    if [ "$(id -u)" = 0 ]; then as_root=""
    elif sudo -n true 2>/dev/null; then as_root="sudo -n"
    else fail "$1 has no working venv module: run 'sudo apt-get install $package' and try again"
    fi
    echo "setup: installing $package" >&2
    $as_root apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $as_root apt-get install -qq --no-install-recommends "$package" >/dev/null
}

if ! { [ -x "$venv/bin/python" ] && is_usable "$venv/bin/python"; }; then
    python=$(find_python)
    "$python" -c 'import ensurepip, venv' 2>/dev/null || install_venv_module "$python"
    "$python" -m venv --clear "$venv"
fi

export PIP_DISABLE_PIP_VERSION_CHECK=1
"$venv/bin/python" -m pip install --quiet --require-hashes -r requirements/dev.lock
"$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation --no-index --editable .
