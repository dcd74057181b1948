"""Trained models as others load them: SavedModel for TensorFlow and TF Serving, LiteRT, ONNX."""
