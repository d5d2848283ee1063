"""What the home stage does with micro-batches that are none."""

from __future__ import annotations

import pytest
from pyflink.common import Row

from jobs.stream.intake_function import ClockSetBackError, IntakeFunction
from models.scoring.core_settings import CoreSettings


def test_a_batch_without_its_records_fails_the_task_before_a_checkpoint_passes_it() -> None:
    function = IntakeFunction(CoreSettings(), (1, 2), "labels", None)
    with pytest.raises(ClockSetBackError, match="clock was set back"):
        next(function.process_element(Row(0, "transactions", None, None, None, None, None), None))
