"""What the audience sees: lines in colour, each read back from the mailbox, the database or the log."""

import os
from dataclasses import dataclass, field

from rich.console import Console
from rich.text import Text


def console() -> Console:
    """Return a console in colour, with or without a terminal, unless NO_COLOR says otherwise."""
    return Console(force_terminal=not os.environ.get("NO_COLOR"), width=110, highlight=False)


@dataclass
class Stage:
    """Prints, and keeps what it printed for the tests."""

    screen: Console = field(default_factory=console)
    lines: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """What should have held and did not."""

    def _print(self, text: str, style: str) -> None:
        self.lines.append(text)
        # SECURITY: Text, not markup: what a model or a page wrote must not become colour or a link.
        self.screen.print(Text(text, style=style))

    def act(self, title: str) -> None:
        """Begin an act."""
        self._print("", "")
        self._print(f"━━ {title} " + "━" * max(0, 100 - len(title)), "bold cyan")

    def scene(self, title: str) -> None:
        """Begin a scene."""
        self._print(f"\n▸ {title}", "bold")

    def harm(self, text: str) -> None:
        """Say what went wrong in the world."""
        self._print(f"  ✗ {text}", "red")

    def held(self, text: str) -> None:
        """Say what was kept from going wrong."""
        self._print(f"  ✓ {text}", "green")

    def judge(self, text: str, *, holds: bool) -> None:
        """Say what was read back, in the colour of whether it holds."""
        if holds:
            self.held(text)
        else:
            self.broken.append(text)
            self.harm(text)

    def warn(self, text: str) -> None:
        """Say loudly that something cannot be shown here."""
        self._print(f"  ! {text}", "bold yellow")

    def note(self, text: str) -> None:
        """Say something neither good nor bad."""
        self._print(f"    {text}", "dim")
