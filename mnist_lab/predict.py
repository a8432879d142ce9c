"""The command `python -m mnist_lab.predict`: labels for images that have none."""

from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from mnist_lab.cli import command
from mnist_lab.cli.names import register_resolvers
from mnist_lab.settings import signatures
from mnist_lab.settings.conf import CONF

register_resolvers()


@hydra.main(version_base="1.3", config_path=CONF, config_name="predict")
def main(cfg: DictConfig) -> None:
    """Predictions as composed, into `output`."""
    from mnist_lab.runs.labels import predict

    settings: Any = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    command.say_loading()
    signatures.check(settings, predict)
    predict(**settings)


if __name__ == "__main__":
    command.run(main)
