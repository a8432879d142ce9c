"""What every model shares: input, loss, metrics, optimizer, and what a checkpoint says of it."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, Literal, TypedDict

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mnist_lab import LabError
from mnist_lab.metrics.counts import METRICS, Counter, Scores
from mnist_lab.metrics.evaluation import shortest
from mnist_lab.metrics.tally import Tally
from mnist_lab.models.attacks import PGD, as_floats
from mnist_lab.models.distillation import Distillation
from mnist_lab.models.preprocessing import Preprocessing
from mnist_lab.models.schedules import constant, schedule
from mnist_lab.settings.ranges import Count, LessThanOne, Ranged
from mnist_lab.settings.signatures import ConfigError
from mnist_lab.system.processes import gathered

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]
MakeScheduler = Callable[[Optimizer, int], LRScheduler | None]

ADAM: MakeOptimizer = partial(Adam, lr=1e-3)


class Shared(TypedDict, total=False):
    """The settings that every model takes; `Classifier` says what they mean."""

    name: str | None
    in_channels: Count
    num_classes: Count
    image_size: Count
    resize: Literal["bilinear", "pad"]
    normalize: Literal["train", "none"]
    label_smoothing: LessThanOne
    compile: bool
    optimizer: MakeOptimizer
    scheduler: MakeScheduler
    decay: Literal["all", "weights"]
    distil: Distillation | None
    attack: PGD | None


class Classifier(Ranged, Preprocessing):
    """A network from images to logits, with its own preprocessing.

    A subclass passes its `**shared` settings on and sets `self.network`, which turns normalised
    images `(N, C, image_size, image_size)` into logits `(N, num_classes)`.

    Args:
        name: what the model is called in results; the class's name unless given.
        in_channels: C of the images.
        num_classes: K of the logits.
        image_size: height and width that the network is built for.
        resize: how images of another size get there: `bilinear` interpolation, or `pad`: zeros.
        normalize: `train` by the training split's mean and deviation, `none` takes 0..1 as it is.
        label_smoothing: in the training loss; validation and test loss are plain cross-entropy.
        compile: has torch.compile make one kernel of many when training begins, on CUDA in a
            graph; weights, their names and checkpoints stay as they are.
        optimizer: from parameters to an optimizer.
        scheduler: from (optimizer, total steps) to a schedule, or a class of torch's schedules,
            which takes the optimizer alone; stepped after every batch.
        decay: what the optimizer's weight decay shrinks: `all` parameters, or the `weights`, and
            neither biases nor the scales and offsets of norms, whatever has less than two
            dimensions (He et al., "Bag of Tricks for Image Classification", 2019).
        distil: trained networks to learn from beside the labels; `train/loss` is then what is
            minimised, of both, and `train/accuracy` still of the labels.
        attack: changes the images of each training batch anew, against the weights of that step,
            in eval mode; `train/loss` and `train/accuracy` are of what it makes of them.
    """

    metrics: ClassVar[tuple[str, ...]] = METRICS
    """What it logs of validation, as `val/NAME`: what can be monitored."""

    network: nn.Module

    def __init__(
        self,
        *,
        name: str | None = None,
        in_channels: Count = 1,
        num_classes: Count = 10,
        image_size: Count = 28,
        resize: Literal["bilinear", "pad"] = "bilinear",
        normalize: Literal["train", "none"] = "train",
        label_smoothing: LessThanOne = 0.0,
        compile: bool = False,
        optimizer: MakeOptimizer = ADAM,
        scheduler: MakeScheduler = constant,
        decay: Literal["all", "weights"] = "all",
        distil: Distillation | None = None,
        attack: PGD | None = None,
    ) -> None:
        super().__init__(in_channels, image_size, resize, normalize)
        try:  # now, not when training starts: a value out of their range
            trial = optimizer([nn.Parameter(torch.zeros(1))])
        except ValueError as error:
            raise ValueError(f"optimizer: {error}") from error
        try:
            schedule(scheduler, trial, 1000)
        except ValueError as error:
            raise ValueError(f"scheduler: {error}") from error
        if decay == "weights" and "weight_decay" not in trial.param_groups[0]:
            raise ConfigError(f"decay=weights: {type(trial).__name__} has no weight_decay")
        if attack is not None and attack.restarts > 1:
            raise ConfigError(f"attack: training takes one ascent, not {attack.restarts}")
        # Of this constructor and the subclass's: plain values, so that a checkpoint is loadable
        # with weights_only=True. How it is trained and run is the run's matter, not the model's.
        of_the_run = ["optimizer", "scheduler", "compile", "decay", "distil", "attack"]
        self.save_hyperparameters(ignore=of_the_run, logger=False)
        self.hparams.update({key: _plain(value) for key, value in self.hparams.items()})
        self.name = name or type(self).__name__.lower()
        self.num_classes, self.label_smoothing = num_classes, label_smoothing
        self._compile = compile
        self._make_optimizer, self._make_scheduler = optimizer, scheduler
        self.decay, self.distil, self.attack = decay, distil, attack
        self._tally = Tally()
        self._counters = nn.ModuleDict()  # by split, from setup on
        self.scores: dict[str, Scores] = {}
        """What the last validation (`val`) and the last test came to."""
        self.classes: list[str] | None = None
        """The classes' names, once it has been told them."""
        self.total_steps: int | None = None
        """How many steps the fit will have, likewise; a schedule is laid out for them."""
        self.trained_on: dict[str, Any] = {"data": None, "typical": None}
        """What its checkpoints say of its training images."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, K)` of images `(N, C, H, W)`: uint8, or floats from 0 to 1."""
        logits: Tensor = self.network(self.preprocess(images))
        return logits

    def setup(self, stage: str) -> None:
        for split in ("val", "test"):
            if split not in self._counters:
                self._counters[split] = Counter(self.num_classes)
        if stage == "fit" and self.distil is not None:
            self.distil.move_to(self.trainer.strategy.root_device)
        if stage == "fit" and self._compile:
            on_cuda = self.trainer.strategy.root_device.type == "cuda"
            self.network.compile(mode="reduce-overhead" if on_cuda else "default")

    def teardown(self, stage: str) -> None:
        self.network._compiled_call_impl = None  # whoever looks inside afterwards sees its layers

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        if self.attack is not None:
            with self.judging():
                images = self.attack.last(self, as_floats(images), labels)
        logits = self(images)
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        if self.distil is not None:
            loss = self.distil(loss, logits, images)
        self._tally.add(loss, logits, labels, batch_idx)
        if self.trainer.world_size > 1:
            # Gradients are averaged over processes, whose shares of a batch can differ by one.
            shares = torch.tensor(float(len(labels)), device=loss.device)
            mean = self.trainer.strategy.reduce(shares.clone(), reduce_op="mean")
            loss = loss * (shares / mean)
        trainer: Any = self.trainer  # its class doesn't declare what Lightning sets from outside
        every: int = trainer.log_every_n_steps
        if every and (self.global_step + 1) % every == 0:
            self.log("train/loss_step", loss.detach(), sync_dist=True)
            self.log("lr_step", self._learning_rate())
        return loss

    def on_train_epoch_end(self) -> None:
        sums = self.trainer.strategy.reduce(self._tally.totals(), reduce_op="sum")
        assert isinstance(sums, Tensor)
        if sums[2] > 0:  # else a subclass has a training step of its own
            self.log_dict({"train/loss": sums[0] / sums[2], "train/accuracy": sums[1] / sums[2]})
        self.log("lr", self._learning_rate())
        self._tally.reset()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self._evaluation_step("val", batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self._evaluation_step("test", batch)

    def on_validation_epoch_end(self) -> None:
        self._evaluation_end("val")

    def on_test_epoch_end(self) -> None:
        self._evaluation_end("test")

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Logits `(N, K)` of a batch of images, with or without labels."""
        logits: Tensor = self(batch[0] if isinstance(batch, tuple | list) else batch)
        return logits

    @contextlib.contextmanager
    def judging(self) -> Iterator[None]:
        """Within it the model is in eval mode and makes no gradients; then in the mode it was."""
        training = self.training
        try:
            with torch.no_grad():
                self.eval()
                yield
        finally:
            self.train(training)

    def running(self) -> tuple[float, float]:
        """Mean training loss and accuracy of this process's batches of the epoch so far."""
        loss, hits, count = self._tally.totals().tolist()
        return loss / max(count, 1), hits / max(count, 1)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = self._make_optimizer(self.parameters())
        if self.decay == "weights":
            _spare_vectors(optimizer)
        try:
            steps = self.total_steps or int(self.trainer.estimated_stepping_batches)
            scheduler = schedule(self._make_scheduler, optimizer, steps)
        except ValueError as error:  # of this length
            raise LabError(f"scheduler: {error}") from error
        if scheduler is None:
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["mnist_lab"] = {
            "class": f"{type(self).__module__}.{type(self).__qualname__}",
            **self.trained_on,
            "tally": gathered(self._tally.state()),
            "frozen": [name for name, p in self.named_parameters() if not p.requires_grad],
            "metrics": {k: shortest(v) for k, v in self.trainer.callback_metrics.items()},
        }
        if self.distil is not None:
            checkpoint["mnist_lab"]["teachers"] = self.distil.checksums

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.distil is not None:
            self.distil.refuse_changed(checkpoint["mnist_lab"].get("teachers", []))
        frozen = checkpoint["mnist_lab"].get("frozen")  # not in checkpoints of earlier versions
        if frozen is not None:  # as callbacks had it, which freeze and unfreeze as epochs go by
            for name, parameter in self.named_parameters():
                parameter.requires_grad_(name not in frozen)
        tallies = checkpoint["mnist_lab"]["tally"]
        if len(tallies) == self.trainer.world_size:
            self._tally.restore(tallies[self.trainer.global_rank])
        elif self.trainer.global_rank == 0:
            for other in tallies:  # by more or fewer processes: only what they add up to counts
                self._tally.restore(other)

    def _evaluation_step(self, split: str, batch: tuple[Tensor, Tensor]) -> Tensor:
        images, labels = batch
        logits: Tensor = self(images)
        self._counter(split).update(logits, labels)
        return logits

    def _evaluation_end(self, split: str) -> None:
        scores = self.scores[split] = self._counter(split).compute()
        self.log_dict({f"{split}/{name}": value for name, value in scores.means.items()})

    def _counter(self, split: str) -> Counter:
        counter = self._counters[split]
        assert isinstance(counter, Counter)
        return counter

    def _learning_rate(self) -> float:
        optimizer = self.optimizers()
        first = optimizer[0] if isinstance(optimizer, list) else optimizer  # a subclass's
        return float(first.param_groups[0]["lr"])


def _spare_vectors(optimizer: Optimizer) -> None:
    """Give parameters of less than two dimensions groups of their own, without weight decay."""
    for group in list(optimizer.param_groups):
        vectors = [parameter for parameter in group["params"] if parameter.ndim < 2]
        group["params"] = [parameter for parameter in group["params"] if parameter.ndim >= 2]
        optimizer.add_param_group({**group, "params": vectors, "weight_decay": 0.0})


def _plain(value: Any) -> Any:
    """Lists for all that is like one: OmegaConf's are not loadable with weights_only=True."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value
