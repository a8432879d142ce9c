"""What an experiment's settings are: `conf/`, the signatures behind it, what each is for.

Imports nothing heavy: `--help`, `--cfg job` and a mistyped key answer before torch is loaded.
"""

from mnist_lab.settings.conf import CONF, make
from mnist_lab.settings.signatures import ConfigError

__all__ = ["CONF", "ConfigError", "make"]
