#!/bin/sh
# Resolve requirements.in in a fresh environment and write the exact versions of the whole closure to requirements.lock.
set -eu
envs=$(dirname "$0")
PYTHON=${PYTHON:-python3}
. "$envs/torch_index.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$PYTHON" -m venv "$work/venv"
pip="$work/venv/bin/python -m pip --disable-pip-version-check -qq"
choose_torch_index "$work/venv/bin/python"
$pip install $TORCH_OPTIONS "$TORCH" --requirement "$envs/requirements.in"
{
    echo "# Made by \`make lock\` from requirements.in: exact versions of everything but PyTorch, which"
    echo "# torch_index.sh pins, since its builds come from an index of their own."
    # PyTorch's CUDA build brings NVIDIA's packages, which a CPU machine does not need.
    $pip freeze --exclude torch --exclude triton | grep -vi '^nvidia' | grep -vi '^cuda' | LC_ALL=C sort -f
} > "$work/requirements.lock"
mv "$work/requirements.lock" "$envs/requirements.lock"
