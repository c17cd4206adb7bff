"""The tools by their definitions; the few whose schemas the suite looks at are written out."""

from typing import Any, Final

import mcp_types as types

_NOTHING: Final = {"type": "object", "properties": {}}


def _takes(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


KEYWORDS_SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}

_SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    **dict.fromkeys(
        [
            "test_simple_text",
            "test_image_content",
            "test_audio_content",
            "test_embedded_resource",
            "test_multiple_content_types",
            "test_tool_with_logging",
            "test_logging_tool",
            "test_tool_with_progress",
            "test_error_handling",
            "test_elicitation_sep1034_defaults",
            "test_elicitation_sep1330_enums",
            "test_reconnection",
            "test_missing_capability",
            "test_streaming_elicitation",
            "test_trigger_tool_change",
            "test_trigger_prompt_change",
            *(
                f"test_input_required_result_{kind}"
                for kind in (
                    *("elicitation", "sampling", "list_roots", "request_state", "tampered_state"),
                    *("multiple_inputs", "multi_round", "capabilities"),
                )
            ),
        ],
        _NOTHING,
    ),
    "test_sampling": _takes(prompt={"type": "string", "description": "What to ask the model."}),
    "test_elicitation": _takes(message={"type": "string", "description": "What to ask the user."}),
    "test_headers": _takes(region={"type": "string", "x-mcp-header": "Region"}),
    "json_schema_2020_12_tool": KEYWORDS_SCHEMA,
}

TOOLS: Final = [
    types.Tool(name=name, description=f"The tool {name}.", input_schema=schema)
    for name, schema in sorted(_SCHEMAS.items())
]
