"""What a worker is started with: `python -I -S -B entry.py DESCRIPTOR SITE FOLDER OPTIONS`.

It makes this folder, and the frames beside it, importable by their full names without the rest of ringfence:
nothing of the host's code is read or run here.
"""

import os.path
import sys
import types


def adopted(folder: str) -> None:
    """Put empty packages above this folder, so that only what lies here is found."""
    above = {
        "ringfence": [],
        "ringfence.plugins": [],
        "ringfence.plugins.isolate": [os.path.dirname(folder)],
    }
    for name, path in above.items():
        package = types.ModuleType(name)
        package.__path__ = path
        sys.modules[name] = package


if __name__ == "__main__":
    adopted(sys.argv[3])
    from ringfence.plugins.isolate.worker.program import main

    main(sys.argv[1:])
