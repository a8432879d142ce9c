"""What a run leaves behind beside its result: figures, tables and a page."""

import logging

from lightning.pytorch.callbacks import Callback

from mnist_lab.reports import gallery, page
from mnist_lab.runs.predictions import write_tables
from mnist_lab.training.ending import FinishedRun

log = logging.getLogger(__name__)


class Figures(Callback):
    """`figures/`: curves, confusion matrix, mistakes, filters and others, a PNG file each."""

    def on_run_end(self, run: FinishedRun) -> None:
        """Draw what there is to see of a run that was tested."""
        if run.evaluation is not None:
            gallery.save(run.folder / "figures", gallery.of_run(run))


class Tables(Callback):
    """`predictions.csv`, a row a test image, and `per_class.csv`."""

    def on_run_end(self, run: FinishedRun) -> None:
        """Write them for a run that was tested."""
        if run.evaluation is not None:
            write_tables(run.folder, run.evaluation)


class Report(Callback):
    """`report.html`: the run's numbers and all that lies in `figures/`, on one page."""

    told_last = True

    def on_run_end(self, run: FinishedRun) -> None:
        """Write it for a run that was tested."""
        if run.evaluation is not None:
            page.write_report(run.folder, run.result)
            log.info("Report:       %s", run.folder / "report.html")
