"""The settings of a service: one frozen object, built once when the process starts.

Names in the environment: `WEIR_SERVICE_` and the field's name in capitals, for instance `WEIR_SERVICE_TOKENS=abc,def`.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

SHIPPED = Path(__file__).resolve().parents[2] / "shipped"


class ServiceSettings(BaseSettings):
    """Settings of one service process.

    Raises
    ------
    pydantic.ValidationError
        If a value is out of range, or an address other than loopback is asked for without a token.
    """

    model_config = SettingsConfigDict(env_prefix="WEIR_SERVICE_", frozen=True, extra="forbid")

    host: str = Field("127.0.0.1", description="Address to listen on; other than loopback only with `tokens`.")
    port: int = Field(0, ge=0, le=65_535, description="Port to listen on; 0 takes a free one.")
    tokens: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="Bearer tokens that are accepted, separated by commas; none: no token is asked for."
    )
    models_dir: Path = Field(SHIPPED, description="Folder that holds the folders of the models.")
    model_dir: Path | None = Field(
        None,
        description="Folder of a model that takes the place of the shipped one; docs/services.md states its form.",
    )

    max_body_bytes: int = Field(32 << 20, ge=1 << 10, description="Largest body of a request.")
    max_bodies_bytes: int = Field(
        256 << 20, ge=1 << 10, description="Bytes that all bodies being read or answered may hold together."
    )
    max_instances: int = Field(256, ge=1, description="Most instances of a request.")
    max_text_characters: int = Field(20_000, ge=1, description="Longest text field, and JSON field as text.")
    max_image_bytes: int = Field(16 << 20, ge=1 << 10, description="Largest image, inline or by reference.")
    max_image_pixels: int = Field(40_000_000, ge=1, description="Most pixels of an image (width times height).")

    header_timeout_seconds: float = Field(5.0, gt=0, description="Time to send a request's line and headers.")
    body_timeout_seconds: float = Field(10.0, gt=0, description="Time to send a request's body.")
    answer_timeout_seconds: float = Field(8.0, gt=0, description="Time to answer, from the end of the body.")
    keep_alive_seconds: int = Field(30, ge=1, description="Idle time after which a connection is closed.")
    max_connections: int = Field(4_096, ge=8, description="Connections held open at once; further ones are closed.")
    shutdown_seconds: int = Field(5, ge=0, description="Time that requests being answered get when the process ends.")

    max_batch_size: int = Field(32, ge=1, description="Most instances of a batch; 1 switches batching off.")
    max_queue_delay_ms: float = Field(5.0, ge=0, description="Longest wait of an instance for others of its batch.")
    max_queue_size: int = Field(512, ge=1, description="Instances waiting for a batch; a request beyond it gets 429.")
    preprocess_threads: int = Field(2, ge=1, description="Threads that check, fetch and decode.")

    intra_op_threads: int = Field(1, ge=0, description="Threads of ONNX Runtime for one operator; 0: one a core.")
    use_gpu: bool = Field(True, description="Run on CUDA where ONNX Runtime has it.")

    evidence_roots: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Folders and http(s) URL prefixes that references may point into, separated by commas.",
    )
    evidence_private_addresses: bool = Field(
        False, description="Accept URL roots whose host has a private or loopback address."
    )
    fetch_timeout_seconds: float = Field(5.0, gt=0, description="Time to fetch one reference.")

    max_answers: int = Field(4_096, ge=0, description="Answers kept by request id; 0 keeps none.")
    max_answers_bytes: int = Field(64 << 20, ge=0, description="Bytes that kept answers may hold together.")
    answer_ttl_seconds: float = Field(600.0, gt=0, description="Time for which an answer is kept.")

    @field_validator("tokens", "evidence_roots", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_together(self) -> ServiceSettings:
        if not self.tokens and not is_loopback(self.host):
            raise ValueError(f"host {self.host!r} is not loopback: set tokens, or listen on 127.0.0.1")
        if self.max_bodies_bytes < self.max_body_bytes:
            raise ValueError("max_bodies_bytes is below max_body_bytes: not even one such body could be read")
        if self.max_queue_size < self.max_instances:
            raise ValueError("max_queue_size is below max_instances: such a request would always be refused")
        return self


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone; names other than `localhost` are not looked up and count as no.

    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0"), is_loopback("::1"), is_loopback("example.org")
    (True, False, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
