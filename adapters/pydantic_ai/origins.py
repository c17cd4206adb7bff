"""What the messages of a history say, part by part."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from ringfence.dsl.plan import Json
from ringfence.engine.binding.origins import Origins, key_of
from ringfence.engine.decision.events import CallFinished, ModelAnswered, ModelAsked, PromptGiven
from ringfence.engine.enforcement.guard import Guard
from ringfence.engine.enforcement.runs import Run


def origins_of(guard: Guard) -> Origins:
    """Return what says where the messages of a run of this guard come from."""
    return Origins(guard, _contents)


def injected(origins: Origins, run: Run, messages: Sequence[Json], known: set[bytes]) -> None:
    """Record the prompts among these messages that nobody has said anything of, and make them known."""
    for message in messages:
        for part in message.get("parts", ()) if isinstance(message, Mapping) else ():
            if not isinstance(part, Mapping) or part.get("part_kind") != "user-prompt":
                continue
            for _, content in _shown(part):
                if (key := key_of(content)) not in known:
                    known.add(key)
                    origins.give(run, "host", content)


def keys_of(given: Iterable[Json]) -> set[bytes]:
    """Return what tells the parts of messages, and of a prompt, from others."""
    return {key_of(part) for _, part in parts_of(given)}


def parts_of(given: Iterable[Json]) -> Iterator[tuple[str | None, Json]]:
    """Yield what messages, and parts of a prompt, show a model."""
    for one in given:
        yield from _parts(one)


def _parts(given: Json) -> Iterator[tuple[str | None, Json]]:
    """Yield what a message shows a model: contents, and the arguments of calls with their tool."""
    if not isinstance(given, Mapping) or not isinstance(given.get("parts"), list):
        if given not in (None, "", []):
            yield None, given
        return
    for part in given["parts"]:
        if isinstance(part, Mapping):
            yield from _shown(part)


def _shown(part: Mapping[str, Json]) -> Iterator[tuple[str | None, Json]]:
    content, tool = part.get("content"), part.get("tool_name")
    if part.get("part_kind") == "user-prompt" and isinstance(content, list):
        yield from ((None, _text(one)) for one in content if not _is_mark(one))
    elif content not in (None, "", []):
        yield None, content
    if part.get("args"):
        yield tool if isinstance(tool, str) else None, part["args"]


def _is_mark(block: Json) -> bool:
    """Say whether it is nothing that a model reads: where a provider may keep what stands before it."""
    return isinstance(block, Mapping) and block.get("kind") == "cache-point"


def _text(block: Json) -> Json:
    text = block.get("content") if isinstance(block, Mapping) else None
    return text if isinstance(text, str) else block


def _contents(event: object) -> Iterator[Json]:
    """Yield the parts of the messages that an event holds."""
    if isinstance(event, PromptGiven):
        yield event.text
    elif isinstance(event, CallFinished):
        yield event.result
    elif isinstance(event, ModelAsked | ModelAnswered):
        for message in event.messages or ():
            yield from (part for _, part in _parts(message))
