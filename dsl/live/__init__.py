"""Tools as they really are, by their JSON Schemas: what `takes` is compared with, and scaffolded from."""

from ringfence.dsl.live.shapes import Shape, shape_of
from ringfence.dsl.live.tools import LiveTool, Parameters, parameters_of

__all__ = ["LiveTool", "Parameters", "Shape", "parameters_of", "shape_of"]
