"""Scores a model on label images, for `fit evaluate`."""

from __future__ import annotations


class SegmentationScorer:
    pass
