"""Read photos in place from folders and archives, and find the class of each photo."""

from training.source.collection import CONTRIBUTED, Source, SourceList, replace_link
from training.source.layout import Layout, detect_layout
from training.source.source_reader import EXTRA, OUTLIERS, PHOTOS, PRETRAINED, SUFFIXES, SourceError, sha256

__all__ = [
    "CONTRIBUTED",
    "EXTRA",
    "OUTLIERS",
    "PHOTOS",
    "PRETRAINED",
    "SUFFIXES",
    "Layout",
    "Source",
    "SourceError",
    "SourceList",
    "detect_layout",
    "replace_link",
    "sha256",
]
