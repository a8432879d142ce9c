"""What a command composes, for tests."""

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from mnist_lab.cli.names import register_resolvers
from mnist_lab.settings.conf import CONF, to_plain


def composed(folder, *overrides):
    """What `config.yaml` of `python -m mnist_lab.train OVERRIDES` in this folder holds."""
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", list(overrides), return_hydra_config=True)
        cfg.hydra.runtime.output_dir = str(folder)
        HydraConfig.instance().set_config(cfg)
        return to_plain(OmegaConf.masked_copy(cfg, [key for key in cfg if key != "hydra"]))
