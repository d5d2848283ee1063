"""From nothing to the shipped folder: every step in its order."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch

from models.training.documents.layouts import HELD_OUT_LAYOUTS, NEW_KIND_LAYOUTS, TRAINING_LAYOUTS
from models.training.vision.card import write_folder
from models.training.vision.config import LICENCE, MODEL_NAME, MODEL_VERSION, PLACE, SIDE, VisionConfig
from models.training.vision.data import (
    DOCUMENT_CLASSES,
    FORGERY_CLASSES,
    MADE_UP,
    PART,
    Documents,
    canvas,
    documents,
    joined,
    small_pages,
)
from models.training.vision.evaluate import few_shot_accuracy, forgery_metrics, threshold_at
from models.training.vision.export import OPSET, check_parity, session, to_onnx
from models.training.vision.network import VisionNetwork
from models.training.vision.quantise import gains, latencies, quantised
from models.training.vision.train_forensic import train_forensic
from models.training.vision.train_page import join_pages, train_page

logger = logging.getLogger(__name__)

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

OUTPUTS = ("forgery", "document", "page_embedding", "forensic_embedding", "heat")
COMPARED_DOCUMENTS = 200
LATENCY_RUNS = 150
KEPT = 50
KNOWN_SAMPLES, NEW_SAMPLES = 20, 15
CALIBRATION_DOCUMENTS = 32


def build(config: VisionConfig, output: Path, work: Path, threads: int, device: torch.device) -> dict[str, Any]:
    """Train, export, measure and write the folder; return the card."""
    torch.set_num_threads(threads)
    network = trained(config, work, threads, device)
    model = to_onnx(network, (torch.zeros(2, 3, SIDE, SIDE, dtype=torch.uint8),), ["image"], OUTPUTS, "weir_vision")
    held_out = documents(work, "test", config.test_documents, 0.5, threads)
    validation = documents(work, "validation", config.validation_documents, 0.5, threads)
    new = small_pages(work, "new", len(NEW_KIND_LAYOUTS), NEW_SAMPLES, threads)
    example = images(held_out.jpegs[:6])
    parity = check_parity(network, session(model), {"image": example})
    logger.info("parity: %s", parity)
    feeds = [{"image": images([jpeg])} for jpeg in held_out.jpegs[:24]]
    some_drawn = min(PART, config.documents)  # the first file of them
    calibration = documents(work, "train", some_drawn, config.forged_share, threads).jpegs[:CALIBRATION_DOCUMENTS]
    small = quantised(model, ({"image": images([j])} for j in calibration), work / "quantise", kept_float)
    graphs = {"fp32": model, "int8": small}
    single = [session(graph, 1) for graph in graphs.values()]
    opened = {name: session(graph, threads) for name, graph in graphs.items()}
    # Answers are kept by the graph that gave them.
    kept = {
        name: work / "answers" / hashlib.sha256(g.SerializeToString(deterministic=True)).hexdigest()[:12]
        for name, g in graphs.items()
    }
    rows: dict[str, dict[str, Any]] = {}
    some = min(COMPARED_DOCUMENTS, len(held_out))
    for (name, graph), times in zip(graphs.items(), latencies(single, feeds, LATENCY_RUNS), strict=True):
        compared = forged_log_odds(run(opened[name], held_out.jpegs[:some], kept[name] / "test")[0])
        auc = forgery_metrics(compared, held_out.forgery[:some])["roc_auc"]
        rows[name] = {"bytes": len(graph.SerializeToString()), **times, "documents": some, "roc_auc": auc}
        logger.info("%s: %s", name, rows[name])
    name = "int8" if gains(rows["fp32"], rows["int8"], "roc_auc") else "fp32"
    graph = graphs[name]
    row = measure(opened[name], kept[name], held_out, validation, new, config)
    logger.info("%s: %s", name, {k: v for k, v in row.items() if k != "genuine_scores"})
    # A forger who imitates blur and noise: measured so that nobody takes the other figures for what they are not.
    careful = documents(work, "test-careful", config.careful_documents, 1.0, threads)
    against = np.concatenate(
        [row["genuine_scores"], forged_log_odds(run(opened[name], careful.jpegs, kept[name] / "careful")[0])]
    )
    truth = np.concatenate([np.zeros(int((held_out.forgery == 0).sum()), np.int64), careful.forgery])
    card = {
        "name": MODEL_NAME,
        "version": MODEL_VERSION,
        "licence": LICENCE,
        "precision": name,
        "opset": OPSET,
        "parameters": sum(p.numel() for p in network.parameters()),
        "input": {"image": f"uint8 (n, 3, {SIDE}, {SIDE}), RGB, NCHW, 1-255; the page in the upper left, 0 beside it"},
        "outputs": {
            "forgery": list(FORGERY_CLASSES),
            "document": list(DOCUMENT_CLASSES),
            "page_embedding": config.network.page_embedding,
            "forensic_embedding": config.network.feature,
            "heat": [SIDE // PLACE, SIDE // PLACE],
        },
        "thresholds": row["thresholds"],
        "training": {
            "data": "synthetic documents of models/training/documents, drawn from seeds; no real document",
            "training_layouts": [f"{x.kind}/{x.name}" for x in TRAINING_LAYOUTS],
            "held_out_layouts": [f"{x.kind}/{x.name}" for x in HELD_OUT_LAYOUTS],
            "new_kinds": [x.kind for x in NEW_KIND_LAYOUTS],
            "config": dataclasses.asdict(config),
        },
        "metrics": {
            "held_out": row["held_out"],
            "document_kind_accuracy": row["document_kind_accuracy"],
            "few_shot": row["few_shot"],
            "careful_forger": forgery_metrics(against, truth),
        },
        "compression": rows,
        "parity": parity,
    }
    write_folder(output, {"vision.onnx": graph.SerializeToString(deterministic=True)}, card)
    return card


def trained(config: VisionConfig, work: Path, threads: int, device: torch.device) -> VisionNetwork:
    """Return the trained network, on the processor; every part goes on from its checkpoint in `work`."""
    # Residuals are small differences of large numbers: the 10 bits of TF32 would drown them.
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(config.seed)
    network = VisionNetwork(config.network)
    finished = work / "vision.pt"
    if finished.exists():
        network.load_state_dict(torch.load(finished, weights_only=True))
        network.eval()
        return network
    drawn = joined(
        [
            documents(work, "train", config.documents, config.forged_share, threads),
            documents(work, MADE_UP, config.made_up_documents, config.forged_share, threads),
        ]
    )
    is_fast = device.type == "cuda"
    workers = threads if is_fast else 0
    train_forensic(network, drawn.in_memory(threads) if is_fast else drawn, config, work, device, workers)
    del drawn
    known = small_pages(work, "known", len(TRAINING_LAYOUTS), KNOWN_SAMPLES, threads)
    train_page(
        network,
        join_pages(known, small_pages(work, "random", config.random_layouts, config.layout_samples, threads)),
        config,
        work,
        device,
        workers,
    )
    network.to("cpu")
    torch.save(network.state_dict(), finished)
    network.eval()
    return network


def images(jpegs: list[bytes]) -> npt.NDArray[np.uint8]:
    """Return pictures as the graph takes them, (n, 3, 512, 512)."""
    return np.ascontiguousarray(np.stack([canvas(jpeg) for jpeg in jpegs]).transpose(0, 3, 1, 2))


def run(graph: onnxruntime.InferenceSession, jpegs: list[bytes], kept: Path, batch: int = 4) -> tuple[F32, ...]:
    """Return all outputs but the map for every picture; parts are kept in files, so a stopped run goes on."""
    parts = []
    kept.parent.mkdir(parents=True, exist_ok=True)
    for first in range(0, len(jpegs), KEPT):
        some = jpegs[first : first + KEPT]
        path = kept.with_name(f"{kept.name}-{first}-{len(some)}.npz")
        if not path.exists():
            rows = [
                graph.run(list(OUTPUTS[:4]), {"image": images(some[i : i + batch])}) for i in range(0, len(some), batch)
            ]
            partial = path.with_suffix(".partial.npz")
            np.savez(partial, **{name: np.concatenate([r[k] for r in rows]) for k, name in enumerate(OUTPUTS[:4])})
            partial.rename(path)
        with np.load(path) as part:
            parts.append([part[name] for name in OUTPUTS[:4]])
    return tuple(np.concatenate([part[k] for part in parts]) for k in range(4))


def forged_log_odds(forgery: F32) -> F32:
    """Return the log-odds of any forgery, (n, 7) probabilities -> (n,)."""
    genuine = np.clip(forgery[:, 0].astype(np.float64), 1e-9, 1 - 1e-9)
    odds: F32 = (np.log1p(-genuine) - np.log(genuine)).astype(np.float32)
    return odds


def measure(
    graph: onnxruntime.InferenceSession,
    kept: Path,
    held_out: Documents,
    validation: Documents,
    new: tuple[npt.NDArray[np.uint8], I64],
    config: VisionConfig,
) -> dict[str, Any]:
    """Return the graph's metrics on held-out layouts and new kinds; the threshold comes from training layouts."""
    forgery, document, _, _ = run(graph, held_out.jpegs, kept / "test")
    score = forged_log_odds(forgery)
    held = forgery_metrics(score, held_out.forgery)
    forged = held_out.forgery > 0
    held["forgery_kind_accuracy"] = round(
        float((forgery[forged, 1:].argmax(1) + 1 == held_out.forgery[forged]).mean()), 4
    )
    tuned = forged_log_odds(run(graph, validation.jpegs, kept / "validation")[0])
    threshold = threshold_at(0.01, tuned[validation.forgery == 0])
    held["at_threshold"] = {
        "recall": round(float((score[forged] >= threshold).mean()), 4),
        "false_alarms": round(float((score[~forged] >= threshold).mean()), 4),
    }
    # New kinds come as small pages; the graph wants whole ones, whose average over 4 x 4 pixels is the small page
    # again.
    whole = [np.repeat(np.repeat(new[0][i : i + 4], 4, 2), 4, 3) for i in range(0, len(new[0]), 4)]
    embedding = np.concatenate([graph.run(["page_embedding"], {"image": w})[0] for w in whole])
    few = few_shot_accuracy(embedding, new[1], config.few_shot_tries, config.seed)
    return {
        "roc_auc": held["roc_auc"],
        "few_shot_accuracy": few["accuracy_mean"],
        "document_kind_accuracy": round(float((document.argmax(1) == held_out.document).mean()), 4),
        "held_out": held,
        "genuine_scores": score[~forged],
        "few_shot": few,
        "thresholds": {
            "forged_probability": round(float(1 / (1 + np.exp(-threshold))), 6),
            "chosen": "1% of the genuine documents of validation",
        },
    }


def kept_float(model: onnx.ModelProto) -> list[str]:
    """Return the nodes that stay float: the residual filters, the first convolution that reads them, and the heads."""
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    return [node.name for node in _first(convolutions, 3)] + [n.name for n in model.graph.node if n.op_type == "Gemm"]


def _first(nodes: list[onnx.NodeProto], count: int) -> Iterator[onnx.NodeProto]:
    yield from nodes[:count]
