"""The exported model: `python -m export.saved_model`. Knows the library and the trainers."""
