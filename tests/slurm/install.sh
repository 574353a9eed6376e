#!/bin/sh
# Install what tests/slurm needs: SLURM's daemons and munge, from Debian's or Ubuntu's packages. Nothing is started.
# With the argument `accounting` also what tests/slurm/test_accounting.py needs: slurmdbd and MariaDB (200 MB).
# Exit status 1, with the reason in one line, where that cannot be done.
set -eu
PATH=$PATH:/usr/sbin:/sbin
packages="slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge"
programs="slurmctld slurmd srun munged"
case ${1:-} in
    "") ;;
    accounting)
        packages="$packages slurmdbd mariadb-server"
        programs="$programs slurmdbd mariadbd mariadb-install-db"
        ;;
    *) echo "$1; allowed: accounting, or nothing" >&2; exit 1 ;;
esac

complete() {
    for program in $programs; do
        command -v "$program" > /dev/null || return 1
    done
}

complete && exit 0
command -v apt-get > /dev/null || { echo "no SLURM: it is not installed, and there is no apt-get" >&2; exit 1; }
[ "$(id -u)" = 0 ] || { echo "no SLURM: not root. Install it with: apt-get install $packages" >&2; exit 1; }
# Packages start their services where nothing forbids it.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
{ apt-get update && apt-get install --yes --no-install-recommends $packages; } > /dev/null 2>&1 || true
complete || { echo "no SLURM: apt-get install $packages failed" >&2; exit 1; }
