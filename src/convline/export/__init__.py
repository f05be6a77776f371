"""Export: a trained model as ONNX and LiteRT, the same bytes each time, and its agreement."""
