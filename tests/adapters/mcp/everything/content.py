"""What the tools, resources and prompts of the suite answer with."""

import base64
import io
import json
import struct
import wave
import zlib
from typing import Any

import mcp_types as types


def _png() -> str:
    """Return one red pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    parts = [
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", header),
        chunk(b"IDAT", zlib.compress(b"\x00\xff\x00\x00")),
        chunk(b"IEND", b""),
    ]
    return base64.b64encode(b"".join(parts)).decode()


def _wav() -> str:
    """Return a moment of silence."""
    made = io.BytesIO()
    with wave.open(made, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(1)
        sound.setframerate(8_000)
        sound.writeframes(b"\x80" * 80)
    return base64.b64encode(made.getvalue()).decode()


PNG = _png()
WAV = _wav()


def text(said: str) -> types.TextContent:
    return types.TextContent(type="text", text=said)


def image() -> types.ImageContent:
    return types.ImageContent(type="image", data=PNG, mime_type="image/png")


def embedded(uri: str, said: str, kind: str = "text/plain") -> types.EmbeddedResource:
    resource = types.TextResourceContents(uri=uri, mime_type=kind, text=said)
    return types.EmbeddedResource(type="resource", resource=resource)


CONTENT: dict[str, list[Any]] = {
    "test_simple_text": [text("This is a simple text response for testing.")],
    "test_image_content": [image()],
    "test_audio_content": [types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")],
    "test_embedded_resource": [embedded("test://embedded-resource", "This is an embedded resource content.")],
    "test_multiple_content_types": [
        text("Multiple content types test:"),
        image(),
        embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json"),
    ],
}
"""Tools that take nothing and always say the same."""

RESOURCES = [
    types.Resource(
        uri="test://static-text", name="static text", description="A text.", mime_type="text/plain"
    ),
    types.Resource(
        uri="test://static-binary", name="static binary", description="A pixel.", mime_type="image/png"
    ),
    types.Resource(
        uri="test://watched-resource", name="watched", description="May change.", mime_type="text/plain"
    ),
]
TEMPLATES = [
    types.ResourceTemplate(
        uri_template="test://template/{id}/data",
        name="template",
        description="Data of an id.",
        mime_type="application/json",
    )
]


def contents(uri: str) -> types.TextResourceContents | types.BlobResourceContents | None:
    """Return what stands at an address, None if nothing does."""
    if uri == "test://static-text":
        said = "This is the content of the static text resource."
        return types.TextResourceContents(uri=uri, mime_type="text/plain", text=said)
    if uri == "test://watched-resource":
        return types.TextResourceContents(uri=uri, mime_type="text/plain", text="watched")
    if uri == "test://static-binary":
        return types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)
    name = uri.removeprefix("test://template/").removesuffix("/data")
    if uri == f"test://template/{name}/data" and name and "/" not in name:
        said = json.dumps({"id": name, "templateTest": True, "data": f"Data for ID: {name}"})
        return types.TextResourceContents(uri=uri, mime_type="application/json", text=said)
    return None


def _prompt(name: str, *arguments: str) -> types.Prompt:
    wanted = [types.PromptArgument(name=one, description=one, required=True) for one in arguments]
    return types.Prompt(name=name, description=f"The prompt {name}.", arguments=wanted)


PROMPTS = [
    _prompt("test_simple_prompt"),
    _prompt("test_prompt_with_arguments", "arg1", "arg2"),
    _prompt("test_prompt_with_embedded_resource", "resourceUri"),
    _prompt("test_prompt_with_image"),
    _prompt("test_input_required_result_prompt"),
]


def messages(name: str, given: dict[str, str]) -> list[types.PromptMessage] | None:
    """Return the messages of a prompt, None if there is no such prompt."""

    def said(*blocks: Any) -> list[types.PromptMessage]:
        return [types.PromptMessage(role="user", content=block) for block in blocks]

    match name:
        case "test_simple_prompt":
            return said(text("This is a simple prompt for testing."))
        case "test_prompt_with_arguments":
            one, two = given.get("arg1", ""), given.get("arg2", "")
            return said(text(f"Prompt with arguments: arg1='{one}', arg2='{two}'"))
        case "test_prompt_with_embedded_resource":
            resource = embedded(given.get("resourceUri", ""), "Embedded resource content for testing.")
            return said(resource, text("Please process the embedded resource above."))
        case "test_prompt_with_image":
            return said(image(), text("Please analyze the image above."))
    return None
