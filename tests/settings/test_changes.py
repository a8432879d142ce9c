"""In which settings a configuration differs from `conf/`."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from mnist_lab.cli.names import register_resolvers
from mnist_lab.settings import changes
from mnist_lab.settings.conf import CONF, to_plain


def plain(*overrides):
    """What `config.yaml` of `python -m mnist_lab.train OVERRIDES` holds."""
    register_resolvers()
    with initialize_config_dir(CONF, version_base="1.3"):
        cfg = compose("train", ["hydra.runtime.output_dir=x", *overrides], return_hydra_config=True)
        HydraConfig.instance().set_config(cfg)
        with open_dict(cfg):
            del cfg["hydra"]
        return to_plain(cfg)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], {}),
        (["data=fashion_mnist"], {"data": "fashion_mnist"}),
        (["model=mlp", "model.dropout=0"], {"model": "mlp", "model.dropout": "0"}),
        (["optimizer=sgd", "optimizer.lr=0.1"], {"optimizer": "sgd", "optimizer.lr": "0.1"}),
        (["augment=shift", "seed=1", "+model.extra=1"],
         {"augment": "shift", "seed": "1", "model.extra": "1"}),
        (["trainer.callbacks.early_stopping=null", "scheduler=onecycle"],
         {"trainer.callbacks.early_stopping": "null", "scheduler": "onecycle"}),
        (["data.batch_size=32", "~optimizer.fused"],
         {"data.batch_size": "32", "optimizer.fused": "left out"}),
    ],
)  # fmt: skip
def test_choices_and_values_that_were_changed(overrides, expected):
    assert changes.changed(plain(*overrides)) == expected
