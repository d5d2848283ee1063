"""Networks of evidence: size, shapes, parity of the exported graph, and training that goes on where it stopped."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the train extra is not installed")
pytest.importorskip("onnx", reason="the train extra is not installed")

import torch

from models.training.multimodal.network import MultimodalNetwork
from models.training.multimodal.network import NetworkConfig as MultimodalConfig
from models.training.vision.checkpoint import run_steps
from models.training.vision.export import ParityError, check_parity, session, to_onnx
from models.training.vision.network import NetworkConfig, VisionNetwork
from models.training.vision.residual import CLIP, SCALE, Residual


def an_image(count: int = 2) -> np.ndarray:
    image = np.random.default_rng(0).integers(1, 256, (count, 3, 512, 512), dtype=np.uint8)
    image[:, :, 300:, :] = 0
    return image


@pytest.fixture(scope="module")
def network() -> VisionNetwork:
    torch.manual_seed(0)
    return VisionNetwork(NetworkConfig()).eval()


def test_the_vision_network_has_at_most_3_2_million_parameters(network) -> None:
    assert sum(p.numel() for p in network.parameters()) <= 3_200_000


def test_padding_is_outside_the_page(network) -> None:
    with torch.inference_mode():
        forgery, document, page, forensic, heat = network(torch.from_numpy(an_image()))
    assert forgery.shape == (2, 7)
    assert document.shape == (2, 5)
    assert (forensic.shape, page.shape, heat.shape) == ((2, 64), (2, 128), (2, 64, 64))
    assert (heat[:, 38:] == -30).all()
    assert (heat[:, :37] > -30).all()
    torch.testing.assert_close(forgery.sum(1), torch.ones(2))


def test_residuals_of_a_plain_slope_are_zero_inside_and_noise_is_not() -> None:
    slope = torch.arange(64.0).expand(1, 3, 64, 64)
    assert Residual()(slope)[:, :, 4:-4, 4:-4].abs().max() < 1e-4
    noisy = Residual()(slope + 6 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    assert noisy.abs().mean() > 0.3
    assert noisy.abs().max() <= CLIP / SCALE


def test_the_exported_graph_answers_as_torch(network) -> None:
    outputs = ("forgery", "document", "page_embedding", "forensic_embedding", "heat")
    graph = session(to_onnx(network, (torch.zeros(2, 3, 512, 512, dtype=torch.uint8),), ["image"], outputs, "vision"))
    assert set(check_parity(network, graph, {"image": an_image(3)})) == set(outputs)
    with pytest.raises(ParityError, match="forgery"):
        check_parity(VisionNetwork(NetworkConfig()).eval(), graph, {"image": an_image(1)})


def test_both_encoders_of_the_multimodal_network_end_in_one_space_of_256() -> None:
    torch.manual_seed(0)
    network = MultimodalNetwork(MultimodalConfig()).eval()
    with torch.inference_mode():
        document = network.document(torch.from_numpy(an_image()), torch.ones(2, 40, 48, dtype=torch.int32))
        payment = network.payment(torch.ones(2, 4, 48, dtype=torch.int32))
        blank = network.document(torch.from_numpy(an_image()), torch.zeros(2, 40, 48, dtype=torch.int32))
    assert document.shape == payment.shape == (2, 256)
    assert torch.isfinite(blank).all()


def test_a_stopped_training_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    def weights(path: Path, stops: list[int], workers: int = 0) -> torch.Tensor:
        for steps in stops:
            torch.manual_seed(0)
            module = torch.nn.Linear(4, 1)
            optimizer = torch.optim.AdamW(module.parameters(), lr=0.1)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=121)
            data = [torch.randn(8, 4, generator=torch.Generator().manual_seed(i)) for i in range(120)]
            run_steps(
                path,
                module,
                optimizer,
                schedule,
                steps,
                lambda i, d=data: (d[i],),
                lambda batch, m=module: (m(batch[0]) - batch[0].sum(1, keepdim=True)).square().mean(),
                workers=workers,
            )
        return module.weight.detach()

    whole = weights(tmp_path / "a.pt", [120])
    torch.testing.assert_close(weights(tmp_path / "b.pt", [50, 120]), whole, rtol=0, atol=0)
    torch.testing.assert_close(weights(tmp_path / "c.pt", [120], workers=2), whole, rtol=0, atol=0)
