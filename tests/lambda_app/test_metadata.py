"""Test the metadata of model files."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_app.metadata import Metadata, MetadataError
from tests.support.tiny_model import METADATA

names = st.lists(st.text(min_size=1), min_size=2, max_size=5).map(tuple)


@given(names, st.integers(1, 1000), st.floats(allow_nan=False, allow_infinity=False), st.text())
def test_metadata_survives_a_round_trip(class_names, image_size, temperature, version):
    """Any metadata equals itself after it was written to ONNX's strings and read."""
    metadata = replace(
        METADATA, class_names=class_names, image_size=image_size, temperature=temperature, model_version=version
    )
    assert metadata == Metadata.from_props(metadata.to_props())


@pytest.mark.parametrize("key", METADATA.to_props())
def test_missing_key_is_an_error(key):
    """The error names the key; there are no defaults."""
    props = METADATA.to_props()
    del props[key]
    with pytest.raises(MetadataError, match=f"no metadata '{key}'"):
        Metadata.from_props(props)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("class_names", '["cat"]', r"class_names is \['cat'\]; expected a list of at least two"),
        ("class_names", "[cat", r"'class_names' is '\[cat'; expected JSON"),
        ("image_size", "0", "image_size is 0; expected a positive integer"),
        ("image_size", '"224"', "image_size is '224'; expected a positive integer"),
        ("unknown_threshold", "null", "unknown_threshold is None; expected a number"),
    ],
)
def test_malformed_value_is_an_error(key, value, message):
    """The error names the value and what was expected."""
    with pytest.raises(MetadataError, match=message):
        Metadata.from_props(METADATA.to_props() | {key: value})
