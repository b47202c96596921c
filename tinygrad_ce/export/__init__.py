"""Models for other programs: ONNX for runtimes that know no Python, safetensors for PyTorch's weights, out and in."""

from tinygrad_ce.export.graph import load_safetensors, onnx, safetensors

__all__ = ["load_safetensors", "onnx", "safetensors"]
