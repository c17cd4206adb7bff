"""How many workers there are, and how long they are waited for."""

import os
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


_Number = BeforeValidator(_no_boolean)
Seconds = Annotated[float, _Number, Field(gt=0, le=600, allow_inf_nan=False)]


class IsolateSettings(BaseModel):
    """What a pool of workers keeps to: the keys of `[isolates]`.  The policy's isolates say the rest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    workers: Annotated[int, _Number, Field(ge=1, le=64)] | None = None
    """Worker processes at most that are a session's; each stays its first session's.  Runs inside runs (an
    isolate that calls a tool that runs in an isolate) may have as many again for each step, or they would
    wait for one another.  None: twice the processors (most of them wait for their calls), 4 at least and
    16 at most."""
    spare: Annotated[int, _Number, Field(ge=0, le=8)] = 1
    """Workers that are kept ready beside these, nobody's yet, for each amount of memory that is used."""
    jobs_per_worker: Annotated[int, _Number, Field(ge=1, le=10_000)] = 100
    """A worker is replaced after so many; each has an isolate of its own in any case."""
    worker_cpu_s: Annotated[int, _Number, Field(ge=1, le=86_400)] = 3600
    """Processor time of a worker's whole life, held by the system should we not be there to hold it."""
    idle_s: Seconds = 60.0
    """Seconds until a session's worker that has nothing to do is ended."""
    start_s: Seconds = 20.0
    """Seconds until a new worker must have proved its walls."""
    wait_s: Seconds = 30.0
    """Seconds that a run waits for a worker at most; they are not part of its time."""

    @property
    def at_most(self) -> int:
        """The number of `workers`."""
        return self.workers if self.workers is not None else min(16, max(4, 2 * (os.cpu_count() or 1)))
