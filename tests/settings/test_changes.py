"""In which settings a configuration differs from `conf/`."""

import pytest

from mnist_lab.settings import changes
from tests.settings.composing import composed


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
        (["distil=teachers", "distil.teachers=[a,b]"],
         {"distil": "teachers", "distil.teachers": '["a", "b"]'}),
        (["attack=fgsm", "attack.random_start=true"],
         {"attack": "fgsm", "attack.random_start": "true"}),
        (["data.batch_size=32", "~optimizer.fused"],
         {"data.batch_size": "32", "optimizer.fused": "left out"}),
    ],
)  # fmt: skip
def test_choices_and_values_that_were_changed(overrides, expected, tmp_path):
    assert changes.changed(composed(tmp_path, *overrides)) == expected
