"""Which parts of a data set are for what, where they are not called "train" and "test"."""

# Learning without labels may use every image that is not for testing.
_UNSUPERVISED = {"indoor67": "train+extra"}
# Where the labels of the test part were never published, results are reported on another.
_TEST = {"imagenet2012": "validation", "places205": "validation"}


def _bare_name(dataset):
    """`name` of TFDS's `name/config:version`."""
    return dataset.partition(":")[0].partition("/")[0]


def unsupervised_split(dataset: str) -> str:
    """The part of a data set, of any kind that `load` takes, to learn from without labels."""
    return _UNSUPERVISED.get(_bare_name(dataset), "train")


def test_split(dataset: str) -> str:
    """The part of a data set, of any kind that `load` takes, that results are reported on."""
    return _TEST.get(_bare_name(dataset), "test")
