"""What trackers hold, read back by their own clients or from their own files."""

import contextlib
import json
import sqlite3
import struct
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

NAMES = ("mlflow", "wandb", "trackio")


def held(client, home):
    """The runs that it has: settings, curves, final metrics, figures, files, status.

    `curves` are pairs of epoch and value, as often as they are there.
    """
    return {"mlflow": _mlflow, "wandb": _wandb, "trackio": _trackio}[client](Path(home))


def settings(client, home, **more):
    """Those that have it store everything below `home`."""
    places = {"mlflow": {"uri": f"sqlite:///{home}/mlflow.db"}, "wandb": {"save_dir": str(home)},
              "trackio": {"save_dir": f"{home}/trackio"}}  # fmt: skip
    return places[client] | more


def _split(points):
    curves = {key: value for key, value in points.items() if not key.startswith("final/")}
    final = {key: value[-1][1] for key, value in points.items() if key.startswith("final/")}
    return curves, final


def _mlflow(home):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    found = []
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id]):
            points = {
                key: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)]
                for key in run.data.metrics
            }
            curves, final = _split(points)
            place = Path(run.info.artifact_uri.removeprefix("file://"))
            files = {str(p.relative_to(place)): p for p in place.rglob("*") if p.is_file()}
            found.append(SimpleNamespace(
                id=run.info.run_id, name=run.info.run_name, settings=run.data.params,
                curves=curves, final=final, status=run.info.status,
                figures={Path(name).stem for name in files if name.startswith("figures/")},
                files={p.name: p.read_bytes() for n, p in files.items() if "figures/" not in n},
            ))  # fmt: skip
    return found


def _records(path):
    """Of a `.wandb` file: LevelDB's log format, blocks of 32 KiB after a header of seven bytes."""
    from wandb.proto import wandb_internal_pb2 as wandb_internal

    content, position, whole = path.read_bytes(), 7, b""
    while position + 7 <= len(content):
        if 32768 - position % 32768 < 7:
            position += 32768 - position % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        whole += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a record's only or last part
            record = wandb_internal.Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def _wandb(home):
    runs = defaultdict(lambda: SimpleNamespace(
        name=None, settings={}, curves=defaultdict(list), final={}, status=None, figures=set(),
        files={}))  # fmt: skip
    for path in sorted(home.glob("wandb/*run-*/*.wandb")):
        run = runs[path.stem.removeprefix("run-")]
        run.id = path.stem.removeprefix("run-")
        for record in _records(path):
            if record.HasField("run"):
                run.name = record.run.display_name or run.name
            elif record.HasField("config"):
                for item in record.config.update:
                    run.settings[item.key or item.nested_key[-1]] = json.loads(item.value_json)
            elif record.HasField("summary"):
                for item in record.summary.update:
                    name = item.key or item.nested_key[-1]
                    if name.startswith("final/"):
                        run.final[name] = json.loads(item.value_json)
            elif record.HasField("history"):
                row = {i.key or i.nested_key[0]: i.value_json for i in record.history.item}
                for name, text in row.items():
                    if name.startswith("figures/"):
                        run.figures.add(name.removeprefix("figures/"))
                    elif name != "epoch" and not name.startswith("_") and "epoch" in row:
                        run.curves[name].append((int(row["epoch"]), json.loads(text)))
            elif record.HasField("exit"):
                run.status = record.exit.exit_code
            elif record.HasField("artifact"):
                for entry in record.artifact.manifest.contents:
                    run.files[entry.path] = Path(entry.local_path).read_bytes()
        for file in path.parent.glob("files/run/*"):
            run.files[file.name] = file.read_bytes()
    return list(runs.values())


def _trackio(home):
    found = {}
    for path in sorted((home / "trackio").glob("*.db")):
        with contextlib.closing(sqlite3.connect(path)) as store:
            for name, text in store.execute("SELECT run_name, config FROM configs"):
                found[name] = SimpleNamespace(
                    id=name, name=name, settings=json.loads(text), curves=defaultdict(list),
                    final={}, status=None, figures=set(), files={},
                )  # fmt: skip
            rows = "SELECT run_name, step, metrics FROM metrics ORDER BY id"
            for name, step, text in store.execute(rows):
                for key, value in json.loads(text).items():
                    if key.startswith("figures/"):
                        assert (home / "trackio/media" / value["file_path"]).stat().st_size
                        found[name].figures.add(key.removeprefix("figures/"))
                    elif key.startswith("final/"):
                        found[name].final[key] = value
                    else:
                        found[name].curves[key].append((step, value))
            files = "SELECT producer_run_name, manifest FROM artifact_versions ORDER BY id"
            for name, text in store.execute(files):
                for entry in json.loads(text):
                    blobs = home / "trackio/artifacts" / path.stem / "blobs/sha256"
                    content = (blobs / entry["digest"][:2] / entry["digest"]).read_bytes()
                    found[name].files[entry["path"]] = content
    return list(found.values())
