"""A real Slurm of one machine, in a folder of its own, as whoever runs the tests."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")

_CONF = """
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={controller_port}
SlurmdPort={daemon_port}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
MinJobAge=3600
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=4000 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """The programs that a cluster needs and that are not here."""
    return [name for name in PROGRAMS if _program(name) is None]


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def free_port() -> int:
    """On which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start the three daemons; the environment with which commands find them."""
    host = socket.gethostname().partition(".")[0]
    user = subprocess.check_output(["id", "-un"], text=True).strip()
    for name in ("controller", "spool"):
        (folder / name).mkdir(parents=True)
    conf = folder / "slurm.conf"
    conf.write_text(
        _CONF.format(
            folder=folder, host=host, user=user, cpus=os.cpu_count(),
            controller_port=free_port(), daemon_port=free_port(),
        )
    )  # fmt: skip
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o600)
    folder.chmod(0o755)
    places = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munge.pid",
              "log-file": "munge.log", "seed-file": "munge.seed"}  # fmt: skip
    munged = [f"--{option}={folder / name}" for option, name in places.items()]
    commands = [
        ["munged", "--foreground", "--force", *munged],
        ["slurmctld", "-D", "-f", conf],
        ["slurmd", "-D", "-f", conf, "-N", host],
    ]
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    daemons = []
    try:
        for name, *arguments in commands:
            with open(folder / f"{name}.out", "wb") as out:
                program = [str(_program(str(name))), *map(str, arguments)]
                daemons.append(subprocess.Popen(program, env=environment, stdout=out, stderr=out))
            time.sleep(1)
        wait_for(lambda: " idle" in told(environment, "sinfo", "-h"), 60)
        yield environment
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(30)


def told(environment: dict[str, str], *command: str) -> str:
    """What one of Slurm's commands prints."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    return done.stdout + done.stderr


def wait_for(condition, seconds: float) -> None:
    """Until it holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.2)
