"""What works without an extra: the packages of each are asked for where they are used."""

import subprocess
import sys

from patchvae_tf import extras
from patchvae_tf.saved_models import litert

WITHOUT_SCIKIT_LEARN = """
import sys
for name in ("sklearn", "threadpoolctl", "scipy", "tensorboard"):
    sys.modules[name] = None
import patchvae_tf.demo.page
import patchvae_tf.visualization.swaps
import patchvae_tf.saved_models.litert
"""


def test_the_demo_and_litert_need_no_scikit_learn(monkeypatch):
    done = subprocess.run([sys.executable, "-c", WITHOUT_SCIKIT_LEARN], capture_output=True)
    assert done.returncode == 0, done.stderr

    monkeypatch.setitem(extras.MODULES, "sklearn", ("no_such_module",))
    assert litert._classifier(None, None, "images held out") is None
    cost = litert.Cost(size=1, relative_errors={"features": 0.0}, top1=None, saved_model_top1=None)
    assert "not measured: no labels, no images held out, or no scikit-learn" in litert.summary(cost)
