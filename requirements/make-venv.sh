#!/bin/sh
# Makes a virtual environment with the locked dependencies and an editable voxtree: what `make` runs before anything else.
#
#   requirements/make-venv.sh DIRECTORY    make it, or bring it up to date with the lock
#   requirements/make-venv.sh --check      only say whether a fitting Python is there
#
# PYTHON names the interpreter to use. Whatever fails is told in one sentence with what to do about it; what pip (or uv,
# which is used when it is there) had to say is in DIRECTORY.log.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
lock=$here/test.txt

say() { printf 'voxtree: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        fits "$PYTHON" || fail "PYTHON=$PYTHON is not a Python of 3.11 or later; name another one, or leave PYTHON out."
        python=$PYTHON
        return
    fi
    for python in python3.13 python3.12 python3.11 python3; do
        # pyenv leaves commands behind that do not run, so each is tried, not just looked up
        if fits "$python"; then return; fi
    done
    found=$(python3 -V 2>&1) || found="no python3"
    fail "voxtree needs Python 3.11 or later, and here is $found; install one (Debian 12: apt-get install python3" \
        "python3-venv), or name one: make PYTHON=/path/to/python3.12 …"
}

check_venv() {
    if have_uv || "$python" -c 'import ensurepip, venv' 2>/dev/null; then return; fi
    fail "$python has no venv module; install it (Debian, Ubuntu: apt-get install python3-venv), or install uv."
}

have_uv() { command -v uv >/dev/null 2>&1; }

create() {
    if "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then return; fi
    rm -rf "$venv"
    if have_uv; then run uv venv --python "$python" "$venv"; else run "$python" -m venv "$venv"; fi
}

pip_install() {
    if have_uv; then
        run uv pip install --python "$venv/bin/python" "$@"
    else
        run "$venv/bin/python" -m pip install --disable-pip-version-check --no-input "$@"
    fi
}

# Runs a command with its output in the log; every 15 seconds a line says that it is still at work.
run() {
    "$@" >>"$log" 2>&1 </dev/null &
    worker=$!
    ticks=0
    while kill -0 "$worker" 2>/dev/null; do
        sleep 0.2
        ticks=$((ticks + 1))
        if [ $((ticks % 75)) -eq 0 ]; then progress $((ticks / 5)); fi
    done
    status=0
    wait "$worker" || status=$?
    worker=
    if [ "$status" -ne 0 ]; then explain; fi
}

progress() {
    fetched=$(grep -cE '^(Collecting|Requirement already)' "$log" || true)
    if grep -q '^Installing collected' "$log"; then
        say "… $1 s, unpacking"
    elif [ "$fetched" -gt 0 ]; then
        say "… $1 s, at package $fetched of about $(grep -c '==' "$lock")"
    else
        say "… $1 s"
    fi
}

# The log's own words decide which sentence fits.
explain() {
    if grep -qi 'no space left' "$log"; then
        fail "the disk is full: $venv needs about 800 MB, and pip as much again for a while in ${TMPDIR:-/tmp}." \
            "Free some space and run make again. (Log: $log)"
    elif grep -qiE 'do not match the hashes|hash mismatch' "$log"; then
        fail "a downloaded package is not the one that requirements/test.txt pins; try again, and do not use it" \
            "if that repeats: a mirror or proxy may have changed it. (Log: $log)"
    elif grep -qiE 'name resolution|name or service|dns error|connection (refused|reset|error)|connection broken|timed out|network is unreachable|error sending request|proxyerror|certificate verify failed' "$log"; then
        fail "the package index could not be reached; check the network (behind a proxy, set HTTPS_PROXY) and run" \
            "make again. (Log: $log)"
    elif grep -qiE 'no matching distribution|no wheels|resolution-incompatible|no solution found' "$log"; then
        fail "a package has no build for $("$python" -V 2>&1) on $(uname -sm); voxtree is tested with Python 3.11 to" \
            "3.13 on 64-bit Linux (glibc 2.34 or later): make PYTHON=python3.11 … (Log: $log)"
    fi
    fail "setting up $venv failed ($(tail -n 1 "$log")); the whole story is in $log"
}

find_python
check_venv
if [ "${1:?usage: make-venv.sh DIRECTORY | --check}" = --check ]; then exit 0; fi

venv=$1
log=$venv.log
worker=
trap 'if [ -n "$worker" ]; then kill "$worker" 2>/dev/null || true; fi' EXIT
trap 'exit 130' INT TERM
export PYTHONUNBUFFERED=1  # so that pip's log keeps up with what it does
(: >"$log") 2>/dev/null || fail "$log cannot be written; run make as the user who owns this folder."

say "installing what voxtree needs into $venv (once; about 800 MB on disk, one to three minutes)"
create
pip_install --require-hashes -r "$lock"
pip_install --no-deps --no-build-isolation -e "$(dirname "$here")"
touch "$venv/.installed"
say "$venv is ready"
