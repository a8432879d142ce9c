"""Arrays in, matplotlib figures out; knows nothing else of this package.

Arrays are numpy's or CPU tensors, images uint8 `(N, C, H, W)` with one or three channels. All
sizes are meant for PNG at 200 dots per inch. Figures come without pyplot or any global state.
"""

from mnist_lab.reports.figures.attacked import attacked
from mnist_lab.reports.figures.corrupted import corruptions
from mnist_lab.reports.figures.doubt import foreign, risk_coverage
from mnist_lab.reports.figures.images import confusions, mistakes, predictions, samples
from mnist_lab.reports.figures.network import embedding, feature_maps, filters, output_strip
from mnist_lab.reports.figures.reliability import recalibrated, reliability
from mnist_lab.reports.figures.scores import class_distribution, confusion_matrix, curves, per_class

__all__ = [
    "attacked",
    "class_distribution",
    "confusion_matrix",
    "confusions",
    "corruptions",
    "curves",
    "embedding",
    "feature_maps",
    "filters",
    "foreign",
    "mistakes",
    "output_strip",
    "per_class",
    "predictions",
    "recalibrated",
    "reliability",
    "risk_coverage",
    "samples",
]
