"""What a run leaves behind beside its result: figures, tables and a page."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from PIL import Image

from mnist_lab.reports import events, gallery, page
from mnist_lab.runs.predictions import write_tables
from mnist_lab.training.ending import FinishedRun

log = logging.getLogger(__name__)


class Figures(Callback):
    """`figures/`: curves, confusion matrix, mistakes, filters and others, a PNG file each."""

    leaves = "figures"

    def on_run_end(self, run: FinishedRun) -> None:
        """Draw what there is to see of a run that was tested, for loggers that take pictures, too.

        Of TensorBoard a few, as `events.FIGURES` calls them.
        """
        if run.evaluation is None:
            return
        gallery.save(run.folder / self.leaves, gallery.of_run(run))
        pictures = sorted((run.folder / self.leaves).glob("*.png"))
        for logger in run.trainer.loggers:
            _show(logger, pictures, run.result.steps or 0)


def _show(logger: Logger, pictures: Sequence[Path], step: int) -> None:
    """Give pictures to a logger by `log_image`, or else by its experiment's `add_image`."""
    if isinstance(logger, TensorBoardLogger):
        for path in pictures:
            if path.stem in events.FIGURES:  # not every network has filters that can be shown
                events.add_png(logger.experiment, events.FIGURES[path.stem], path, step)
        logger.experiment.flush()
        return
    add_image = getattr(getattr(logger, "experiment", None), "add_image", None)
    for path in pictures:
        if hasattr(logger, "log_image"):
            logger.log_image(key=path.stem, images=[str(path)], step=step)
        elif add_image is not None:
            with Image.open(path) as picture:
                add_image(path.stem, np.asarray(picture.convert("RGB")), step, dataformats="HWC")


class Tables(Callback):
    """`predictions.csv`, a row a test image, and `per_class.csv`."""

    def on_run_end(self, run: FinishedRun) -> None:
        """Write them for a run that was tested."""
        if run.evaluation is not None:
            write_tables(run.folder, run.evaluation)


class Report(Callback):
    """`report.html`: the run's numbers and all that lies in `figures/`, on one page."""

    leaves = "report.html"
    told_last = True

    def on_run_end(self, run: FinishedRun) -> None:
        """Write it for a run that was tested."""
        if run.evaluation is not None:
            page.write_report(run.folder, run.result)
            log.info("Report:       %s", run.folder / self.leaves)
