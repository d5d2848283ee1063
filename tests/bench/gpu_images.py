"""The vision network on a GPU, in torch: images of 512 x 512 per second, FP32 and FP16, with and without CUDA graphs.

A batch is copied to the GPU, run, and its answers copied back; all of that counts. FP16 is automatic mixed precision,
but for the residual filters: small differences of large numbers, which half precision would drown.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.training.vision.config import VisionConfig
from models.training.vision.network import VisionNetwork


class _Exact(nn.Module):  # type: ignore[misc]  # torch's types are not followed
    """A module that stays in float32 inside mixed precision."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cuda", enabled=False):
            return self.inner(x.float())


class Runner:
    """The network at one batch size and precision, replayed as a CUDA graph or called."""

    def __init__(self, network: nn.Module, batch: int, is_half: bool, with_graph: bool) -> None:
        self.network, self.is_half = network, is_half
        self.image = torch.ones(batch, 3, 512, 512, dtype=torch.uint8, device="cuda")
        self.graph: torch.cuda.CUDAGraph | None = None
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):
                self.answer = self._forward()
        torch.cuda.current_stream().wait_stream(aside)
        if with_graph:
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.answer = self._forward()

    def _forward(self) -> tuple[torch.Tensor, ...]:
        # Without its cache, which a captured graph may not use.
        with torch.inference_mode(), torch.autocast("cuda", torch.float16, enabled=self.is_half, cache_enabled=False):
            answer: tuple[torch.Tensor, ...] = self.network(self.image)
            return answer

    def run(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Return the answers, on the processor."""
        self.image.copy_(images)
        if self.graph is None:
            self.answer = self._forward()
        else:
            self.graph.replay()
        return [value.float().cpu() for value in self.answer]


def measured(runner: Runner, images: torch.Tensor, seconds: float) -> dict[str, float]:
    """Return images per second, and the time of a batch, one after another."""
    for _ in range(5):
        runner.run(images)
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        runner.run(images)
        taken.append(time.perf_counter() - started)
    return {
        "images_per_second": round(len(images) * len(taken) / sum(taken), 1),
        "p50_ms": round(float(np.quantile(taken, 0.5)) * 1e3, 3),
        "p99_ms": round(float(np.quantile(taken, 0.99)) * 1e3, 3),
    }


def main(argv: list[str] | None = None) -> int:
    """Measure and print one JSON object a row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=Path(".weir/evidence/vision.pt"), help="of models-evidence")
    parser.add_argument("--seconds", type=float, default=3.0, help="time of each row")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    given = parser.parse_args(argv)
    if not torch.cuda.is_available():
        print("no GPU is at hand: torch sees none", file=sys.stderr)
        return 1
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    network = VisionNetwork(VisionConfig().network)
    network.load_state_dict(torch.load(given.weights, weights_only=True))
    network = network.eval().to("cuda", memory_format=torch.channels_last)
    network.forensic.residual = _Exact(network.forensic.residual)
    print(json.dumps({"gpu": torch.cuda.get_device_name(), "torch": torch.__version__}), flush=True)
    generator = torch.Generator().manual_seed(0)
    for batch in given.batches:
        images = torch.randint(1, 256, (batch, 3, 512, 512), dtype=torch.uint8, generator=generator).pin_memory()
        for is_half in (False, True):
            for with_graph in (False, True):
                row: dict[str, Any] = {"precision": "fp16" if is_half else "fp32", "batch": batch}
                row["cuda_graph"] = with_graph
                runner = Runner(network, batch, is_half, with_graph)
                print(json.dumps(row | measured(runner, images, given.seconds)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
