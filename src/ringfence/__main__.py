"""`ringfence` on the command line: read the words, run one command, end with its exit code."""

import io
import os
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; the caller's `sys.exit` ends the process."""
    from ringfence.cli.exits import CANNOT_RUN

    # A stream that was closed before the start (`>&-`) is None; what would go there is not wanted.
    sys.stdout = sys.stdout or io.StringIO()
    sys.stderr = sys.stderr or io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _guarded(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader (`| head`) has gone: say nothing more
        _mute()
        return CANNOT_RUN
    except OSError as error:  # what was said is not all there: never exit code 0
        _mute()
        return _cannot(f"the output could not be written: {error.strerror or error}", "", CANNOT_RUN)


def _mute() -> None:
    """Let what the output still holds go nowhere: at its end the interpreter would fail on it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _guarded(arguments: Sequence[str]) -> int:
    """Run one command; whatever it raises becomes a sentence and an exit code that is not 0."""
    from ringfence.cli.exits import CANNOT_RUN, CommandError

    try:
        return _run(arguments)
    except SystemExit as end:  # argparse ends so after --help
        return end.code if isinstance(end.code, int) else CANNOT_RUN
    except CommandError as error:
        return _cannot(str(error), error.help, error.code)
    except KeyboardInterrupt:
        return _cannot("stopped", "", 130)
    except BrokenPipeError:
        raise
    except Exception as error:  # the command fails: exit code 1, never 0
        return _cannot(*_in_a_sentence(error))


def _run(arguments: Sequence[str]) -> int:
    from importlib import import_module

    from ringfence.cli.exits import CANNOT_RUN
    from ringfence.cli.say import Say
    from ringfence.cli.words import parser

    words = parser()
    asked = words.parse_args(arguments)
    say = Say(json=asked.json)
    if asked.version:
        from ringfence import __version__

        say.data({"version": __version__}) if say.json else say.line(f"ringfence {__version__}")
        return 0
    if asked.command is None:
        words.print_help(sys.stderr)
        return CANNOT_RUN
    code: int = import_module(f"ringfence.cli.commands.{asked.command}").run(asked, say)
    return code


def _in_a_sentence(error: Exception) -> tuple[str, str, int]:
    """Return message, help and exit code for an error that a command did not expect."""
    if os.environ.get("RINGFENCE_DEBUG"):
        raise error
    from ringfence.cli.exits import CANNOT_RUN

    help = getattr(error, "help", None) or "RINGFENCE_DEBUG=1 shows where it comes from"
    return str(error) or type(error).__name__, help, CANNOT_RUN


def _cannot(message: str, help: str, code: int) -> int:
    from ringfence.engine.seams.escape import escaped

    first, *rest = [escaped(line) for line in message.splitlines()] or [""]
    print(f"ringfence: {first}", *rest, sep="\n", file=sys.stderr)
    if help:
        print(f"  help: {escaped(help)}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
