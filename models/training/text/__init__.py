"""The text model: its encoder as ONNX, the head that finds risk tags, the texts it is trained on, its card."""
