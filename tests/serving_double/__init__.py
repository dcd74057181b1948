"""A test double of TensorFlow Serving: not TF Serving, but what answers in its place in tests.

It stands on the official messages and servicer stubs, and runs a SavedModel in a session as the
server does, so that the graph's errors are worded alike. It copies these behaviours:

- gRPC: Predict (with output_filter), GetModelMetadata, GetModelStatus;
- REST: `:predict` with rows (`instances`) or columns (`inputs`), the model's status, its metadata;
- status codes of wrong requests, for both;
- the highest version is served; a new one, once loaded, takes the old one's place;
- a version's warm-up requests are replayed as it is loaded, and must all succeed.

It has no batching, labels, classify, regress, several models, TLS, compression or monitoring, and
it is neither fast nor safe to open to a network.
"""
