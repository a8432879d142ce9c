"""`checkpoints/best.ckpt`."""

import math
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor


class BestCheckpoint(ModelCheckpoint):
    """`checkpoints/best.ckpt`: the epoch with the best monitored value.

    Of epochs that are level in it (of 80 images many are) the one with the lowest `val/loss`
    counts, then the earliest. Unlike its base it still knows its best value when the run's folder
    has been moved.
    """

    def __init__(self, folder: str, monitor: str | None, mode: Literal["min", "max"]) -> None:
        super().__init__(
            Path(folder) / "checkpoints",
            "best",
            monitor=monitor,
            mode=mode,
            enable_version_counter=False,
        )
        self._loss = math.inf  # of the best epoch

    def check_monitor_top_k(self, trainer: L.Trainer, current: Tensor | None = None) -> bool:
        """Whether the epoch is better than the best one so far."""
        loss = float(trainer.callback_metrics.get("val/loss", math.inf))
        best = self.best_model_score
        level = current is not None and best is not None and bool(current == best)
        better = loss < self._loss if level else super().check_monitor_top_k(trainer, current)
        if better:
            self._loss = loss
        return better

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "loss": self._loss}

    on_train_batch_end = Callback.on_train_batch_end  # it saves at the end of epochs alone

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        # In checkpoints of earlier versions, which kept the earliest: no later one is better.
        self._loss = state_dict.get("loss", -math.inf)
        moved = {**state_dict, "dirpath": self.dirpath}
        for key in ("best_model_path", "kth_best_model_path", "last_model_path"):
            moved[key] = here(state_dict[key])
        moved["best_k_models"] = {here(k): v for k, v in state_dict["best_k_models"].items()}
        super().load_state_dict(moved)
