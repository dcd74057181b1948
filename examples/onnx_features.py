"""Features of image files by ONNX Runtime, where no TensorFlow is installed.

    pip install numpy onnxruntime pillow
    python onnx_features.py MODEL IMAGE...

MODEL is the file that `python -m export.saved_model --format=onnx` writes. Prints a line for each
image: how many features, and the first four.
"""

import argparse
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def main():
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("images", metavar="IMAGE", nargs="+")
    flags = parser.parse_args()
    session = onnxruntime.InferenceSession(flags.model)
    size = int(session.get_modelmeta().custom_metadata_map["image_size"])  # pixels, as in training
    images = np.stack([read(path, size) for path in flags.images])  # [n, size, size, 3]
    outputs = [output.name for output in session.get_outputs()]  # feature_map and others, too
    answer = dict(zip(outputs, session.run(outputs, {"images": images}), strict=True))
    for path, features in zip(flags.images, answer["features"], strict=True):
        print(f"{path}: {len(features)} features", *(f"{value:.3f}" for value in features[:4]))


def read(path, size):
    """An image file made square, float32 [size, size, 3] in [0, 1]: turned, cropped, resized."""
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except OSError as error:
        sys.exit(f"error: {path} cannot be read: {error}")
    square = ImageOps.fit(upright, (size, size), Image.Resampling.BILINEAR)
    return np.asarray(square, np.float32) / 255


if __name__ == "__main__":
    main()
