"""The process that sends a run's folder to a tracker, beside the run: `trackers.py` starts it.

It reads its order as the first line of standard input, then a byte whenever there may be more to
send. At `END`, or where the run's process has gone, it sends what is left, closes the run there,
and ends. On standard output it says why something could not be sent.

Imports neither torch nor lightning.
"""

import contextlib
import csv
import json
import os
import select
import signal
import time
import traceback
from pathlib import Path
from typing import Any

from filelock import FileLock

from mnist_lab.reports import clients
from mnist_lab.system.files import whole

FOLDER = "trackers"
"""In a run's folder: what is kept of the trackers that it is in."""

MORE, END = b"+", b"."

_PAUSE = 30.0  # seconds from a failure to the next try
_LAST = 600  # seconds after the run's end, whatever has been sent by then
_LONGEST = 200  # characters of a reason


class Follower:
    """Sends what is new in a run's folder; what was not sent is new the next time."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.folder = Path(order["folder"])
        self._order = order
        self._record = self.folder / FOLDER / f"{order['client']}.json"
        self._client: clients.Client | None = None
        self._begun = False  # whether it knows what the run is made of
        self._epochs = 0  # that it has got

    def send(self, ended: bool) -> None:
        """The epochs that have been completed; of a run that has ended also all that is final.

        Raises:
            Exception: whatever the client makes of a tracker that can't be reached, or is full.
        """
        finished = ended and (self.folder / "result.json").exists()
        client = self._client = self._client or self._connected()
        if not self._begun:
            client.begin()
            self._begun = True
        for epoch, values in sorted(self._rows(finished).items()):
            if epoch >= self._epochs:
                client.epoch(epoch, values)
                self._remember(client.id, epoch + 1)
        if ended:
            result = json.loads((self.folder / "result.json").read_text()) if finished else None
            client.end(result)

    def _connected(self) -> clients.Client:
        known = json.loads(self._record.read_text()) if self._record.exists() else {}
        client = clients.CLIENTS[self._order["client"]](
            self.folder, self._order["values"], known.get("id"), **self._order["settings"]
        )
        self._remember(client.id, known["epochs"] if client.id == known.get("id") else 0)
        return client

    def _remember(self, run: str, epochs: int) -> None:
        self._epochs = epochs
        with whole(self._record) as file:
            json.dump({"id": run, "epochs": epochs}, file)

    def _rows(self, finished: bool) -> dict[int, dict[str, float]]:
        """Those of `metrics.csv` that are complete: an epoch is validated before it has ended."""
        path = self.folder / "metrics.csv"
        if not path.exists():
            return {}
        with open(path, newline="") as file:
            rows = {
                int(row.pop("epoch")): {key: float(value) for key, value in row.items() if value}
                for row in csv.DictReader(file)
            }
        last = max(rows, default=0)
        trained = any(key.startswith("train/") for key in rows.get(last, ()))
        return {e: row for e, row in rows.items() if e < last or trained or finished}


def main() -> None:
    """Follow the run that the order names until it has ended."""
    orders, told = os.dup(0), os.dup(1)
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)  # no client asks anybody anything
    os.dup2(2, 1)  # what clients say goes to their log
    for number in (signal.SIGINT, signal.SIGTERM):  # the run's, which tells what comes of them
        signal.signal(number, signal.SIG_IGN)
    os.nice(5)  # where there are too few cores, the run comes first
    with os.fdopen(orders, "rb", buffering=0) as words:
        order = json.loads(words.readline())
        lock = FileLock(Path(order["folder"]) / FOLDER / f".{order['client']}.lock")
        with lock:  # of a run that was killed and goes on, there may be another one still
            _follow(Follower(order), words, told)


def _follow(follower: Follower, words: Any, told: int) -> None:
    again: float | None = None  # after a failure: when to try again
    ended = False
    while not ended:
        left = None if again is None else max(0.0, again - time.monotonic())
        ready, _, _ = select.select([words], [], [], left)
        word = words.read(1 << 16) if ready else MORE
        ended = not word or END in word
        if ended:  # the run doesn't wait for all of it
            signal.alarm(_LAST)
        elif again is not None and time.monotonic() < again:
            continue
        try:
            follower.send(ended)
            again = None
        except Exception as error:  # any that a client raises, of whatever type
            traceback.print_exc()
            again = time.monotonic() + _PAUSE
            reason = " ".join(str(error).split()) or type(error).__name__
            with contextlib.suppress(BrokenPipeError):  # nobody is there to hear it
                os.write(told, f"{reason[:_LONGEST]}\n".encode())


if __name__ == "__main__":
    main()
