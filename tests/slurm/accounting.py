"""The cluster of the tests with an accounting database: slurmdbd in front of MariaDB."""

from __future__ import annotations

import ipaddress
import shutil
import socket
import subprocess

from slurm.cluster import SEARCHED, Cluster, wait_for, why_not

PROGRAMS = ("slurmdbd", "mariadbd", "mariadb-install-db", "sacct", "sacctmgr", "sshare")

#: What sites set; without job_comment the efficiency report does not know the rules.
ACCOUNTING = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={address}
AccountingStoragePort={port}
# Munge, whose socket is asked for here and not in AuthInfo.
AccountingStoragePass={folder}/munge.socket
AccountingStoreFlags=job_comment"""

CONFIGURATION = """\
DbdHost={host}
DbdAddr={address}
DbdPort={port}
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
# Not on all addresses, but on that of the machine's name.
CommunicationParameters=NoInAddrAny
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser={user}
StorageLoc=slurm_acct
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
"""

#: A socket alone, and files that are as small as they may be.
DATABASE = ("--skip-networking", "--skip-grant-tables", "--innodb-log-file-size=16M")


def why_no_accounting() -> str | None:
    """Say why no cluster with accounting can be started here; None if one can."""
    if reason := why_not():
        return reason
    missing = [program for program in PROGRAMS if shutil.which(program, path=SEARCHED) is None]
    if missing:
        install = "`sh tests/slurm/install.sh accounting` installs it as root"
        return f"no accounting here ({', '.join(missing)} missing); {install}"
    address = own_address()
    if not ipaddress.ip_address(address).is_loopback:
        return f"slurmdbd would listen on {address}, the address of this machine's name, and not on loopback"
    return None


def own_address() -> str:
    """Return the address of this machine's name, where slurmdbd listens."""
    return socket.gethostbyname(socket.gethostname())


class AccountedCluster(Cluster):
    """A cluster with an accounting database, and so with nothing that stands in for sacct."""

    options = ()

    def accounting(self, port: int) -> str:
        """Return where the controller finds the database; write where the database's daemon is."""
        place = {"address": own_address(), "port": port}
        configuration = self.folder / "slurmdbd.conf"
        configuration.touch(0o600)
        configuration.write_text(
            CONFIGURATION.format(host=socket.gethostname(), user=self.user, folder=self.folder, **place)
        )
        return ACCOUNTING.format(folder=self.folder, **place)

    def start_accounting(self) -> None:
        """Make an empty database, start it and slurmdbd, and enter the cluster."""
        files = ("--no-defaults", f"--datadir={self.folder / 'database'}", f"--user={self.user}")
        program = str(shutil.which("mariadb-install-db", path=SEARCHED))
        made = subprocess.run(
            [program, *files, "--skip-test-db"], capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise RuntimeError(made.stdout + made.stderr)
        database = self.folder / "mariadb.socket"
        paths = (f"--socket={database}", f"--pid-file={self.folder / 'mariadb.pid'}")
        self._launch("mariadbd", *files, *paths, *DATABASE)
        wait_for(database.exists, "MariaDB", 60)
        self._launch("slurmdbd", "-D", environment={"MYSQL_UNIX_PORT": str(database)})
        for name in PROGRAMS[3:]:
            self._wrap(name)
        cluster = ("--immediate", "add", "cluster", "vlmtsc")
        wait_for(
            lambda: self.ask("sacctmgr", *cluster), "slurmdbd", 60
        )  # nothing is printed before it answers
