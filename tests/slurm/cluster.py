"""A SLURM cluster of one node for tests: loopback only, all its files in one folder, two GPUs that are none.

There is no accounting database. The stand-in for sacct answers from the queue, where finished jobs stay for an hour.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SEARCHED = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
PROGRAMS = ("slurmctld", "slurmd", "munged", "srun", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
CPUS = 8

CONFIGURATION = """\
ClusterName=vlmtsc
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller}
SlurmdPort={node}
SrunPortRange={first}-{last}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
# A requeued job waits as long as a credential lives, two minutes by default.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
# Unlike linuxproc, it also finds what a killed shell has left behind.
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
GresTypes=gpu
SchedulerParameters=bf_interval=1,sched_interval=2
# More processors and memory than the machine may have.
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=3600
KillWait=2
MessageTimeout=5
# A job that uses more memory than it asked for is killed.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=16000 Gres=gpu:2 State=UNKNOWN
PartitionName=test Nodes={host} Default=YES MaxTime=60 DefMemPerCPU=500 State=UP
"""

# SLURM's commands know this cluster even where a job's environment has lost SLURM_CONF.
WRAPPER = '#!/bin/sh\nSLURM_CONF={configuration} exec {program} "$@"\n'

# Asked for the jobs of a name (`--name`), sacct lists them; any other question has an empty answer.
ACCOUNTING = """\
#!/bin/sh
name=
while [ $# -gt 0 ]; do
    case $1 in
        --name) name=$2; shift ;;
    esac
    shift
done
[ -n "$name" ] || exit 0
exec {squeue} --states=all --noheader --format='%i|%T' --name "$name"
"""


def why_not() -> str | None:
    """Say why no cluster can be started here; None if one can."""
    missing = [program for program in PROGRAMS if shutil.which(program, path=SEARCHED) is None]
    return (
        f"no SLURM here ({', '.join(missing)} missing); `make test-slurm` installs it as root"
        if missing
        else None
    )


def free_ports(count: int) -> int:
    """Find a range of free ports of the loopback interface; return the first."""
    for first in range(20000, 30000, count):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for offset, listener in enumerate(sockets):
                listener.bind(("127.0.0.1", first + offset))
            return first
        except OSError:
            continue
        finally:
            for listener in sockets:
                listener.close()
    raise RuntimeError("no free ports")


def wait_for(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.2)


@dataclass(frozen=True)
class Job:
    """What the controller knows of a job."""

    number: str
    state: str
    rule: str
    memory: str
    gres: str
    restarts: int

    @property
    def name(self) -> str:
        """Name of its rule, or of its group and the rules in it."""
        return self.rule.removeprefix("rule_").partition("_wildcards")[0]


class Cluster:
    """Start, ask and stop a cluster.

    Parameters
    ----------
    folder : Path
        New folder; every user has to be able to enter it, since munge insists.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands = folder / "bin"
        self._configuration = folder / "slurm.conf"
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._sessions: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Write the configuration and start munge, controller and node."""
        for name in ("state", "spool", "bin"):
            (self.folder / name).mkdir(parents=True)
        host = socket.gethostname().partition(".")[0]
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        port = free_ports(50)
        ports = {"controller": port, "node": port + 1, "first": port + 2, "last": port + 49}
        text = CONFIGURATION.format(host=host, user=user, folder=self.folder, cpus=CPUS, **ports)
        self._configuration.write_text(text)
        # A count alone leaves the node invalid; any device files will do.
        gpus = [f"NodeName={host} Name=gpu File={file}\n" for file in ("/dev/null", "/dev/zero")]
        (self.folder / "gres.conf").write_text("".join(gpus))
        for name in PROGRAMS[3:]:
            program = shutil.which(name, path=SEARCHED)
            self._write_command(name, WRAPPER.format(configuration=self._configuration, program=program))
        self._write_command("sacct", ACCOUNTING.format(squeue=self.commands / "squeue"))
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o600)
        paths = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid"}
        paths |= {"log-file": "munge.log", "seed-file": "munge.seed"}
        options = [f"--{option}={self.folder / name}" for option, name in paths.items()]
        self._launch("munged", "--foreground", "--force", "--num-threads=1", *options)
        wait_for((self.folder / "munge.socket").exists, "munge", 20)
        self.start_controller()
        self._launch("slurmd", "-D", "-f", str(self._configuration))
        wait_for(lambda: self.ask("sinfo", "-h", "-o", "%T").strip() == "idle", "an idle node", 60)

    def _write_command(self, name: str, text: str) -> None:
        (self.commands / name).write_text(text)
        (self.commands / name).chmod(0o755)

    def _launch(self, name: str, *arguments: str) -> None:
        # Under its plain name: called slurmd-wlm it would not find its own parts.
        program = shutil.which(name, path=SEARCHED)
        with (self.folder / f"{name}.output").open("ab") as output:
            self._daemons[name] = subprocess.Popen(
                [str(program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SLURM_CONF": str(self._configuration)},
                start_new_session=True,
            )

    def log_in(self, command: list[str], folder: Path, output: Path) -> subprocess.Popen[bytes]:
        """Start a command as on a login node, with SLURM's commands on its path."""
        with output.open("wb") as file:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, "PATH": f"{self.commands}{os.pathsep}{os.environ['PATH']}"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._sessions.append(process)
        return process

    def start_controller(self) -> None:
        """Start slurmctld; it takes up the state that it left."""
        self._launch("slurmctld", "-D", "-f", str(self._configuration))
        wait_for(lambda: "UP" in self.ask("scontrol", "ping"), "the controller", 60)

    def stop_controller(self) -> None:
        """Stop slurmctld: jobs go on, every question fails."""
        self._end("slurmctld")

    def _end(self, name: str) -> None:
        daemon = self._daemons.pop(name, None)
        if daemon is None:
            return
        daemon.terminate()
        try:
            daemon.wait(30)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def stop(self) -> None:
        """End every command and job that still runs, then every daemon."""
        for session in self._sessions:
            session.kill()
            session.wait()
        try:
            if numbers := self.ask("squeue", "-h", "-o", "%i").split():
                self.ask("scontrol", "resume", *numbers)
                self.ask("scancel", *numbers)
                wait_for(lambda: not self.ask("squeue", "-h").strip(), "the jobs' end", 60)
        finally:
            for name in ("slurmd", "slurmctld", "munged"):
                self._end(name)

    def ask(self, command: str, *arguments: str) -> str:
        """Run one of SLURM's commands and return what it prints; empty if it fails."""
        done = subprocess.run(
            [str(self.commands / command), *arguments], capture_output=True, text=True, check=False
        )
        return done.stdout if done.returncode == 0 else ""

    def jobs(self) -> dict[str, Job]:
        """List all jobs, finished ones too, by number."""
        found = {}
        for line in self.ask("scontrol", "--oneliner", "show", "job").splitlines():
            fields = dict(re.findall(r"(\w+)=(\S+)", line))
            if "JobId" not in fields:  # "No jobs in the system"
                continue
            found[fields["JobId"]] = Job(
                number=fields["JobId"],
                state=fields["JobState"],
                rule=fields.get("Comment", ""),
                memory=fields.get("MinMemoryNode", ""),
                gres=fields.get("TresPerJob", ""),
                restarts=int(fields["Restarts"]),
            )
        return found

    def running(self, rule: str) -> str | None:
        """Return the number of the running job whose comment begins with `rule`, if there is one."""
        for job in self.jobs().values():
            if job.state == "RUNNING" and job.rule.startswith(rule):
                return job.number
        return None
