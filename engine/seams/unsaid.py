"""Whether anybody says anything about the deployment.

Reading settings takes longer than checking a policy of a few hundred lines, and most policies are checked
where there are none.
"""

import os
from pathlib import Path

FILE = "ringfence.toml"
PREFIX = "RINGFENCE_"


def unsaid(path: str | Path | None) -> bool:
    """True if `Settings.load(path)` finds neither file nor variable, so that everything is as by default."""
    if path is not None or any(name.startswith(PREFIX) for name in os.environ):
        return False
    return not Path(FILE).exists()
