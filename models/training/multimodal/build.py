"""From nothing to the shipped folder: every step in its order."""

from __future__ import annotations

import dataclasses
import json
import logging
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from models.services.multimodal.grams import GRAMS, LINES
from models.training.documents import capture
from models.training.documents.words import BRANDS
from models.training.multimodal.config import LICENCE, MODEL_NAME, MODEL_VERSION, MultimodalConfig
from models.training.multimodal.data import (
    PAYABLE,
    Pictures,
    benchmark_jpegs,
    benchmark_payments,
    encode_all,
    simulated_lines,
    training_pictures,
)
from models.training.multimodal.evaluate import mrr_at_10, retrieval
from models.training.multimodal.network import MultimodalNetwork
from models.training.multimodal.train import BOTH, PICTURE, TEXT, groups, train_multimodal
from models.training.vision.card import write_folder
from models.training.vision.data import canvas
from models.training.vision.export import OPSET, check_parity, session, to_onnx
from models.training.vision.quantise import latencies
from models.training.vision.train_page import distort

logger = logging.getLogger(__name__)

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]

TEST_SEED = 1


def build(config: MultimodalConfig, output: Path, work: Path, threads: int, device: torch.device) -> dict[str, Any]:
    """Train, export, measure and write the folder; return the card."""
    torch.set_num_threads(threads)
    drawn = training_pictures(work, config.documents, threads)
    workers = threads if device.type == "cuda" else 0
    network, text_network, picture_network = (
        trained(drawn, config, work, device, workers, modality) for modality in (BOTH, TEXT, PICTURE)
    )
    blank = torch.zeros(2, LINES, GRAMS, dtype=torch.int32)
    example = (torch.zeros(2, 3, 512, 512, dtype=torch.uint8), blank)
    document = to_onnx(network.document, example, ["picture", "lines"], ["document_embedding"], "weir_document")
    payment = to_onnx(network.payment, (blank[:, :4],), ["fields"], ["payment_embedding"], "weir_payment")

    payments = benchmark_payments(config.candidates, config.group, TEST_SEED)
    jpegs = benchmark_jpegs(work, payments[: config.queries], TEST_SEED)
    texts = read_texts(jpegs, work / f"match-{len(jpegs)}-{TEST_SEED}-text.json", threads)
    fields, lines = encode_all(payments, texts)
    pictures = np.stack([canvas(jpeg) for jpeg in jpegs]).transpose(0, 3, 1, 2)
    reader, payer = session(document, threads), session(payment)
    parity = check_parity(network.document, reader, {"picture": np.ascontiguousarray(pictures[:6]), "lines": lines[:6]})
    parity |= check_parity(network.payment, payer, {"fields": fields[:6]})
    wanted = payer.run(None, {"fields": fields})[0]
    none = np.zeros_like(lines)
    both = embed(reader, pictures, lines) @ wanted.T
    metrics = retrieval(both, embed_text(network, lines) @ wanted.T, embed(reader, pictures, none) @ wanted.T, payments)
    # The whole without one modality is not at its best: each alone also has a network of its own, trained as long.
    metrics["own_network"] = {
        "text": round(mrr_at_10(embed_text(text_network, lines) @ embed_payments(text_network, fields).T), 4),
        "picture": round(
            mrr_at_10(embed_pictures(picture_network, pictures) @ embed_payments(picture_network, fields).T), 4
        ),
    }
    better = max(metrics["text_alone"], metrics["picture_alone"], *metrics["own_network"].values())
    metrics["above_better_single_modality"] = round(metrics["mrr_at_10"] - better, 4)
    logger.info("%s", metrics)
    feeds = [
        {"picture": np.ascontiguousarray(pictures[i : i + 1]), "lines": lines[i : i + 1]}
        for i in range(min(16, len(lines)))
    ]
    card = {
        "name": MODEL_NAME,
        "version": MODEL_VERSION,
        "licence": LICENCE,
        "precision": "fp32",
        "opset": OPSET,
        "parameters": sum(p.numel() for p in network.parameters()),
        "space": 256,
        "calibration": calibration(network, drawn, config),
        "training": {
            "data": "synthetic documents of models/training/documents; text simulated in training, read by OCR here",
            "kinds": list(PAYABLE),
            "config": dataclasses.asdict(config),
        },
        "metrics": {"retrieval": metrics},
        "latency_without_ocr": latencies([session(document)], feeds, 150)[0],
        "parity": parity,
    }
    files = {
        name: graph.SerializeToString(deterministic=True)
        for name, graph in (("document.onnx", document), ("payment.onnx", payment))
    }
    write_folder(output, files, card)
    return card


def trained(
    drawn: Pictures, config: MultimodalConfig, work: Path, device: torch.device, workers: int, modality: str
) -> MultimodalNetwork:
    """Return a trained network, on the processor."""
    torch.manual_seed(config.seed)
    network = MultimodalNetwork(config.network)
    train_multimodal(network, drawn, config, work, device, workers, modality)
    network.to("cpu").eval()
    return network


def embed_payments(network: MultimodalNetwork, fields: I32) -> F32:
    """Return payments' embeddings, (n, 256)."""
    with torch.inference_mode():
        embedded: F32 = network.payment(torch.from_numpy(fields)).numpy()
    return embedded


def embed_pictures(network: MultimodalNetwork, pictures: npt.NDArray[np.uint8], batch: int = 16) -> F32:
    """Return documents' embeddings without their text, (n, 256)."""
    none = torch.zeros(batch, LINES, GRAMS, dtype=torch.int32)
    with torch.inference_mode():
        parts = [
            network.document(torch.from_numpy(np.ascontiguousarray(some)), none[: len(some)]).numpy()
            for some in (pictures[i : i + batch] for i in range(0, len(pictures), batch))
        ]
    return np.concatenate(parts)


def read_texts(jpegs: list[bytes], cache: Path, workers: int) -> list[list[str]]:
    """Return the lines that OCR reads on every document; kept in `cache`, in parts, so that a stopped run goes on."""
    known: list[list[str]] = json.loads(cache.read_text()) if cache.exists() else []
    step = 40
    with ProcessPoolExecutor(workers) as pool:
        while len(known) < len(jpegs):
            chunk = jpegs[len(known) : len(known) + step]
            each = -(-len(chunk) // workers)
            for part in pool.map(_read, [chunk[i : i + each] for i in range(0, len(chunk), each)]):
                known += part
            cache.write_text(json.dumps(known))
            logger.info("read %d of %d documents", len(known), len(jpegs))
    return known


def _read(jpegs: list[bytes]) -> list[list[str]]:
    from models.services.reading.ocr import Reader

    reader = Reader()
    return [[line.text for line in reader.read(capture.read_jpeg(jpeg))] for jpeg in jpegs]


def embed(graph: onnxruntime.InferenceSession, pictures: npt.NDArray[np.uint8], lines: I32, batch: int = 16) -> F32:
    """Return documents' embeddings, (n, 256)."""
    parts = [
        graph.run(None, {"picture": np.ascontiguousarray(pictures[i : i + batch]), "lines": lines[i : i + batch]})[0]
        for i in range(0, len(lines), batch)
    ]
    embedded: F32 = np.concatenate(parts)
    return embedded


def embed_text(network: MultimodalNetwork, lines: I32) -> F32:
    """Return documents' embeddings without their pictures, as training did it in the steps without one."""
    ids = torch.from_numpy(lines)
    places = torch.zeros(len(lines), 256, network.document.slots.shape[1])
    with torch.inference_mode():
        embedded: F32 = network.document.embed(places, ids).numpy()
    return embedded


def calibration(
    network: MultimodalNetwork, pictures: Pictures, config: MultimodalConfig, batches: int = 8
) -> dict[str, float]:
    """Return slope and offset of a logistic function from similarity to the probability of a match.

    Fitted on pairs of training layouts with simulated text, as many that match as do not; the latter share all but
    one field with the match, for a pair that has nothing in common needs no fine probability.
    """
    values, truths = [], []
    rows_of = [np.flatnonzero(pictures.brand == brand) for brand in range(len(BRANDS))]
    for batch in range(batches):
        rng = np.random.default_rng([config.seed, 14, batch])
        payments, rows = groups(config, rows_of, rng)
        fields, lines = encode_all(payments, [simulated_lines(p, rng) for p in payments])
        payments, fields, lines = payments[: len(rows)], fields[: len(rows)], lines[: len(rows)]
        with torch.inference_mode():
            places = network.document.picture(torch.from_numpy(distort(pictures.images[rows], rng)))
            documents = network.document.embed(places, torch.from_numpy(lines))
            similarity = (documents @ network.payment(torch.from_numpy(fields)).T).numpy().astype(np.float64)
        other = np.arange(len(payments)) ^ 1  # the neighbour is of the same group
        differs = np.array([payments[i] != payments[int(j)] for i, j in enumerate(other)])
        values += [np.diagonal(similarity), similarity[np.arange(len(payments)), other][differs]]
        truths += [np.ones(len(payments)), np.zeros(int(differs.sum()))]
    slope, offset = logistic_fit(np.concatenate(values), np.concatenate(truths))
    return {"slope": round(slope, 4), "offset": round(offset, 4)}


def logistic_fit(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return slope and offset by Newton's method, with a little ridge so that separable values stay finite."""
    slope, offset = 1.0, 0.0
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(slope * x + offset, -30, 30)))
        weight = p * (1 - p)
        gradient = np.array([((p - y) * x).sum() + 1e-2 * slope, (p - y).sum()])
        hessian = np.array(
            [[(weight * x * x).sum() + 1e-2, (weight * x).sum()], [(weight * x).sum(), weight.sum() + 1e-6]]
        )
        step = np.linalg.solve(hessian, gradient)
        slope, offset = slope - step[0], offset - step[1]
    return float(slope), float(offset)
