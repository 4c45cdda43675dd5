#!/bin/sh
# Makes .venv from requirements.lock and installs popavg into it, unless it is there and current.
set -u
cd "$(dirname "$0")/.." || exit 1
unset PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH VIRTUAL_ENV UV_PYTHON PIP_USER PIP_TARGET PIP_PREFIX

VENV=.venv
LOCK_STAMP=$VENV/.lock-installed
PROJECT_STAMP=$VENV/.project-installed
lock=$(cksum <requirements.lock)
project="$(cksum <pyproject.toml) $(pwd -P)"

stamped() { # stamped FILE TEXT: the stamp holds this text, and the interpreter still runs
    [ "$(cat "$1" 2>/dev/null)" = "$2" ] && "$VENV/bin/python" -c '' 2>/dev/null
}

suits() { # suits PROGRAM MODULES: a usual CPython 3.12-3.14 that has the modules
    "$1" -I -c "
import sys, sysconfig$2
good = (3, 12) <= sys.version_info[:2] <= (3, 14) and not sysconfig.get_config_var('Py_GIL_DISABLED')
sys.exit(not good)" >/dev/null 2>&1
}

candidates() { # programs that may be a Python, one a line, the preferred first
    home=${HOME:-/nonexistent}
    for version in 3.13 3.12 3.14; do
        command -v "python$version"
        for folder in \
            "${PYENV_ROOT:-$home/.pyenv}/versions/$version".* \
            "$home/.pyenv/versions/$version".* \
            "$home/.local/share/uv/python/cpython-$version".* \
            "$home/.asdf/installs/python/$version".* \
            "$home/.local/share/mise/installs/python/$version".* \
            "/opt/python/$version".* \
            "/Library/Frameworks/Python.framework/Versions/$version" \
            "$home/.local" /usr/local /opt/homebrew /usr; do
            ls "$folder/bin/python$version" 2>/dev/null
        done
    done
    command -v python3
    command -v python
    for folder in "${CONDA_PREFIX:-}" "$home/miniforge3" "$home/miniconda3" "$home/anaconda3"; do
        [ -n "$folder" ] && ls "$folder/bin/python3" 2>/dev/null
    done
}

find_python() { # find_python MODULES
    candidates | while IFS= read -r program; do
        if suits "$program" "$1"; then
            echo "$program"
            break
        fi
    done
}

find_uv() { # a uv that runs in this folder
    for program in uv "${HOME:-/nonexistent}/.local/bin/uv" "${HOME:-/nonexistent}/.cargo/bin/uv"; do
        if "$program" --version >/dev/null 2>&1; then
            echo "$program"
            break
        fi
    done
}

with_uv() { # without a Python on this machine uv brings its own
    python=$(find_python "")
    echo "Setting up $VENV with uv (${python:-Python 3.13}) ..."
    rm -rf "$VENV" &&
        "$uv" venv --quiet --python "${python:-3.13}" "$VENV" &&
        "$uv" pip install --quiet --python "$VENV/bin/python" --require-hashes -r requirements.lock
}

with_pip() {
    python=$(find_python ", ensurepip, venv")
    if [ -z "$python" ]; then
        echo "Please install Python 3.12, 3.13 or 3.14 with its venv module (for example" \
            "'apt install python3-venv', 'brew install python@3.13' or 'pyenv install 3.13')," \
            "or uv, and run this again." >&2
        return 1
    fi
    echo "Setting up $VENV with pip ($python); this takes a minute or two ..."
    rm -rf "$VENV" &&
        "$python" -m venv "$VENV" &&
        "$VENV/bin/python" -m pip install -qq --disable-pip-version-check \
            --require-hashes -r requirements.lock
}

install_project() {
    rm -f "$PROJECT_STAMP"
    if "$VENV/bin/python" -c 'import pip' 2>/dev/null; then
        "$VENV/bin/python" -m pip install -qq --disable-pip-version-check \
            --no-deps --no-build-isolation -e .
    else
        "$uv" pip install --quiet --python "$VENV/bin/python" --no-deps --no-build-isolation -e .
    fi && printf '%s\n' "$project" >"$PROJECT_STAMP"
}

uv=$(find_uv)
if ! stamped "$LOCK_STAMP" "$lock"; then
    { [ -n "$uv" ] && with_uv; } || with_pip || exit 1
    printf '%s\n' "$lock" >"$LOCK_STAMP"
fi
if ! stamped "$PROJECT_STAMP" "$project"; then
    install_project || exit 1
fi
