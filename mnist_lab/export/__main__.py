"""The command `python -m mnist_lab.export`: a trained network in one file."""

from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from mnist_lab.cli import command
from mnist_lab.cli.names import register_resolvers
from mnist_lab.export import export
from mnist_lab.settings import signatures
from mnist_lab.settings.conf import CONF

register_resolvers()


@hydra.main(version_base="1.3", config_path=CONF, config_name="export")
def main(cfg: DictConfig) -> None:
    """The file as composed, at `output`."""
    settings: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    command.say_loading()
    signatures.check(settings, export)
    written = export(**settings)
    print(f"{written.stat().st_size:,} bytes: {written}")


if __name__ == "__main__":
    command.run(main)
