"""A SLURM cluster of two nodes for tests: loopback only, all its files in one folder, two GPUs a node that are none.

Both nodes are this machine: two daemons, each with a port, folder and log of its own.

There is no accounting database, unless slurm.accounting adds one. The stand-in for sacct answers from the queue, where
finished jobs stay for an hour.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

SEARCHED = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
PROGRAMS = ("slurmctld", "slurmd", "munged", "srun", "sbatch", "squeue", "scancel", "scontrol", "sinfo")
NODES = ("node1", "node2")
#: Of each node.
CPUS = 4
MEMORY_MB = 8000

CONFIGURATION = """\
ClusterName=vlmtsc
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller}
SrunPortRange={first}-{last}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
# A requeued job waits as long as a credential lives, two minutes by default.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
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
{accounting}
{nodes}
PartitionName=test Nodes=ALL Default=YES MaxTime=60 DefMemPerCPU=500 State=UP
"""

NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
    "CPUs={cpus} RealMemory={memory} Gres=gpu:2 State=UNKNOWN"
)

# SLURM's commands know this cluster even where a job's environment has lost SLURM_CONF.
WRAPPER = '#!/bin/sh\nSLURM_CONF={configuration} exec {program} "$@"\n'

# Asked for the jobs of a name (`--name`), sacct lists them; any other question has an empty answer.
SACCT = """\
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
    nodes: int

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

    #: Options of Snakemake that this kind of cluster needs.
    options: tuple[str, ...] = ("--slurm-status-command", "squeue")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands = folder / "bin"
        self.user = getpass.getuser()
        self._configuration = folder / "slurm.conf"
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._sessions: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Write the configuration and start munge, controller and node."""
        for name in ("state", "bin", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        host = socket.gethostname().partition(".")[0]
        port = free_ports(50)
        size = {"cpus": CPUS, "memory": MEMORY_MB}
        nodes = [
            NODE.format(name=name, host=host, port=port + number, **size)
            for number, name in enumerate(NODES, start=1)
        ]
        database = port + 1 + len(NODES)
        ports = {"controller": port, "first": database + 1, "last": port + 49}
        text = CONFIGURATION.format(
            host=host,
            user=self.user,
            folder=self.folder,
            nodes="\n".join(nodes),
            accounting=self.accounting(database),
            **ports,
        )
        self._configuration.write_text(text)
        # A count alone leaves the node invalid; any device files will do.
        gpus = [
            f"NodeName={node} Name=gpu File={file}\n" for node in NODES for file in ("/dev/null", "/dev/zero")
        ]
        (self.folder / "gres.conf").write_text("".join(gpus))
        for name in PROGRAMS[3:]:
            self._wrap(name)
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o600)
        paths = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid"}
        paths |= {"log-file": "munge.log", "seed-file": "munge.seed"}
        options = [f"--{option}={self.folder / name}" for option, name in paths.items()]
        self._launch("munged", "--foreground", "--force", "--num-threads=1", *options)
        wait_for((self.folder / "munge.socket").exists, "munge", 20)
        self.start_accounting()
        self.start_controller()
        for node in NODES:
            self._launch("slurmd", "-D", "-N", node, "-f", str(self._configuration), called=node)
        idle = ["idle"] * len(NODES)
        wait_for(lambda: self.ask("sinfo", "-h", "-N", "-o", "%T").split() == idle, "idle nodes", 60)

    def accounting(self, port: int) -> str:
        """Return what the configuration says of accounting; a database may have that port."""
        return "AccountingStorageType=accounting_storage/none"

    def start_accounting(self) -> None:
        """Start what `sacct` needs. It comes after munge and before the controller."""
        self._write_command("sacct", SACCT.format(squeue=self.commands / "squeue"))

    def _wrap(self, name: str) -> None:
        program = shutil.which(name, path=SEARCHED)
        self._write_command(name, WRAPPER.format(configuration=self._configuration, program=program))

    def _write_command(self, name: str, text: str) -> None:
        (self.commands / name).write_text(text)
        (self.commands / name).chmod(0o755)

    def _launch(
        self,
        name: str,
        *arguments: str,
        called: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        # Under its plain name: called slurmd-wlm it would not find its own parts.
        program = shutil.which(name, path=SEARCHED)
        with (self.folder / f"{called or name}.output").open("ab") as output:
            self._daemons[called or name] = subprocess.Popen(
                [str(program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SLURM_CONF": str(self._configuration), **(environment or {})},
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
            for name in (*NODES, "slurmctld", "slurmdbd", "mariadbd", "munged"):
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
                nodes=int(fields["NumNodes"].partition("-")[0]),
            )
        return found

    def running(self, rule: str) -> str | None:
        """Return the number of the running job whose comment begins with `rule`, if there is one."""
        for job in self.jobs().values():
            if job.state == "RUNNING" and job.rule.startswith(rule):
                return job.number
        return None

    def with_steps_on(self, node: str) -> set[str]:
        """Return the numbers of the jobs of which a node's daemon has started a step."""
        log = (self.folder / f"slurmd-{node}.log").read_text()
        return set(re.findall(r"launch task StepId=(\d+)\.\d+ ", log))
