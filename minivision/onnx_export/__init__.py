"""Trained networks for other people's programs: `export_onnx(model, "net.onnx", (1, 3, 224, 224))`."""

from minivision.onnx_export.export import export_onnx

__all__ = ["export_onnx"]
