"""Models for other programs: ONNX for runtimes that know no Python, safetensors for PyTorch's weights, out and in."""

from tinygrad_ce.export.onnx_file import onnx
from tinygrad_ce.export.weights import load_safetensors, safetensors

__all__ = ["load_safetensors", "onnx", "safetensors"]
