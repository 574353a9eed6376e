# Sourced by install.sh and lock.sh: sets TORCH_OPTIONS, pip's options that say where PyTorch comes from.
#
# TORCH_INDEX empty: PyTorch's index of CPU builds, or of CUDA builds where the machine has an NVIDIA driver, if it
# answers within 5 seconds; otherwise only what pip is configured with. TORCH_INDEX=none: never an extra index.
TORCH=torch==2.13.0

choose_torch_index() {
    if [ "${TORCH_INDEX:-}" = none ]; then
        TORCH_OPTIONS=
        return
    fi
    if [ -n "${TORCH_INDEX:-}" ]; then
        TORCH_OPTIONS="--extra-index-url $TORCH_INDEX"
        echo "PyTorch from $TORCH_INDEX (TORCH_INDEX)"
        return
    fi
    if command -v nvidia-smi > /dev/null 2>&1; then build=cu130; else build=cpu; fi
    index=https://download.pytorch.org/whl/$build
    if "$1" -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=5)' "$index/torch/" 2> /dev/null
    then
        TORCH_OPTIONS="--extra-index-url $index"
        echo "PyTorch from $index"
    else
        TORCH_OPTIONS=
        echo "$index does not answer: PyTorch from wherever pip is configured to look (set TORCH_INDEX to change it)"
    fi
}
