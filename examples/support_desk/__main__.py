"""Plays the demo: unguarded, guarded, with JavaScript that the model writes, and the log."""

import sys
import tempfile
from pathlib import Path

from examples.support_desk import acme_plugins, code_harm, code_held, harm, log, playback
from examples.support_desk.held import SETTINGS, Play
from examples.support_desk.models import real_model_name
from examples.support_desk.stage import Stage
from examples.support_desk.tools import tools_of
from examples.support_desk.world import world
from ringfence import Guard


def play(stage: Stage, folder: Path) -> None:
    """Play all acts; databases and log stand in `folder`."""
    stage.note(f"the model: {real_model_name() or 'a script that plays a hijacked agent (no key was found)'}")
    (folder / "unguarded").mkdir()
    with world(folder / "unguarded") as before:
        harm.play(before, tools_of(before), stage)
    (folder / "unguarded code").mkdir()
    with world(folder / "unguarded code") as before:
        code_harm.play(before, tools_of(before), stage)
    store = f"sqlite:///{folder / 'ringfence.db'}"
    with world(folder) as after:
        guard = Guard.load(settings=SETTINGS, store=store, plugins=[acme_plugins])
        try:
            played = Play(after, tools_of(after), stage, guard, store)
            runs = played.play()
            code = code_held.play(played)
        finally:
            guard.close()
            after.release()
    log.tell(runs["attacker"], code, store, folder, stage)
    playback.show(runs["attacker"], tools_of(after), stage)


def main() -> int:
    """Play in a folder that is thrown away; return 2 if something did not hold."""
    stage = Stage()
    with tempfile.TemporaryDirectory(prefix="ringfence-demo-") as name:
        play(stage, Path(name))
    return 2 if stage.broken else 0


if __name__ == "__main__":
    sys.exit(main())
