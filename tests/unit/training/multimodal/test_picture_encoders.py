"""Encoders of the picture: one interface, and graphs that answer as the networks do."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the train extra is not installed")
pytest.importorskip("onnx", reason="the train extra is not installed")

import torch

from models.services.multimodal.grams import GRAMS, LINES
from models.training.multimodal.network import MultimodalNetwork, NetworkConfig
from models.training.multimodal.pictures import MOBILEVIT, SWIN_TINY, PictureEncoderError, picture_encoder
from models.training.vision.export import check_parity, session, to_onnx

PICTURES = [MOBILEVIT, SWIN_TINY]


def needs(name: str) -> None:
    if name == SWIN_TINY:
        pytest.importorskip("torchvision", reason="the swin extra is not installed", exc_type=ImportError)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_becomes_a_token_for_each_16_pixels_squared(name: str) -> None:
    needs(name)
    torch.manual_seed(0)
    encoder = picture_encoder(name, 96, 4).eval()
    picture = torch.full((2, 3, 256, 256), 255.0)
    picture[1, :, :16, 240:] = 0.0  # the last token of the first row
    with torch.inference_mode():
        white, marked = encoder(picture)
    assert white.shape == (256, 96)
    assert not torch.equal(white, marked)
    if name == SWIN_TINY:  # before any training the other one's attention carries a mark everywhere
        assert torch.linalg.norm(marked - white, dim=1).argmax() == 15


@pytest.mark.parametrize("name", PICTURES)
def test_the_document_graph_answers_as_the_network_with_either(name: str) -> None:
    needs(name)
    torch.manual_seed(0)
    document = MultimodalNetwork(NetworkConfig(picture=name)).document.eval()
    lines = torch.zeros(2, LINES, GRAMS, dtype=torch.int32)
    graph = to_onnx(
        document,
        (torch.zeros(2, 3, 512, 512, dtype=torch.uint8), lines),
        ["picture", "lines"],
        ["document_embedding"],
        "document",
    )
    rng = np.random.default_rng(1)
    feeds = {
        "picture": rng.integers(0, 256, (3, 3, 512, 512), np.uint8),
        "lines": rng.integers(0, 100, (3, LINES, GRAMS), np.int32),
    }
    check_parity(document, session(graph), feeds)


def test_swin_tiny_starts_from_weights_of_its_own_kind_alone(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision", reason="the swin extra is not installed", exc_type=ImportError)
    torch.manual_seed(3)
    known = torchvision.models.swin_t(weights=None)
    torch.save(known.state_dict(), tmp_path / "swin.pt")
    encoder = picture_encoder(SWIN_TINY, 96, 4, str(tmp_path / "swin.pt"))
    assert torch.equal(encoder.norm.weight, known.norm.weight)
    assert torch.equal(encoder.middle[0][0].weight, known.features[0][0].weight)
    torch.save(torchvision.models.swin_s(weights=None).state_dict(), tmp_path / "other.pt")
    with pytest.raises(PictureEncoderError, match="swin_t"):
        picture_encoder(SWIN_TINY, 96, 4, str(tmp_path / "other.pt"))


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(PictureEncoderError, match="choose mobilevit or swin-tiny"):
        picture_encoder("resnet", 96, 4)
    with pytest.raises(PictureEncoderError, match="leave the weights out"):
        picture_encoder(MOBILEVIT, 96, 4, "weights.pt")
