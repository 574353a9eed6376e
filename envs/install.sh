#!/bin/sh
# Make or update the virtual environment $1 from requirements.lock; nothing to do if it is up to date.
# PYTHON: interpreter (python3). TORCH_INDEX: see torch_index.sh.
set -eu
venv=$1
envs=$(dirname "$0")
PYTHON=${PYTHON:-python3}
. "$envs/torch_index.sh"

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "error: $PYTHON is $("$PYTHON" --version 2>&1); Python 3.11 or newer is needed (make PYTHON=/path/to/python)" >&2
    exit 1
}
# What the environment was made from; a move of the folder breaks the scripts in it, so its place counts too.
wanted=$({ cat "$envs/requirements.lock" "$envs/torch_index.sh"; echo "${TORCH_INDEX:-}"; "$PYTHON" --version; pwd; } | cksum)
stamp=$venv/installed-from
if [ "$(cat "$stamp" 2> /dev/null)" = "$wanted" ]; then
    exit 0
fi

# With --clear, venv would empty the folder that a link leads to: another environment.
[ ! -L "$venv" ] || {
    echo "error: $venv is a link to $(readlink "$venv"), which was not made from this lock in this folder; remove the link" >&2
    exit 1
}
echo "setting up $venv (a few minutes)"
rm -f "$stamp"
"$PYTHON" -m venv --clear "$venv"
pip="$venv/bin/python -m pip --disable-pip-version-check -qq"
choose_torch_index "$venv/bin/python"
# PyTorch first and alone, with everything else held to the lock, so that no later step chooses another build.
$pip install $TORCH_OPTIONS --constraint "$envs/requirements.lock" "$TORCH"
# The lock is the whole closure: nothing is left to resolve.
$pip install --no-deps --requirement "$envs/requirements.lock"
$pip check
"$venv/bin/python" - << 'PY'
from importlib.metadata import version

found = version("torch")
if not found.startswith("2.13.0"):
    raise SystemExit(f"error: torch {found} was installed; 2.13.0 is needed")
print(f"torch {found}, transformers {version('transformers')}, snakemake {version('snakemake')}")
PY
echo "$wanted" > "$stamp"
