"""The vector of an image is what the last layer of a classifier maps to the logits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.pictures import colored

from fitcli.device.runtime import choose_runtime
from fitcli.images.array_image import ArrayReader
from fitcli.tasks.classify.classify_image import classify_image
from fitcli.tasks.classify.image_vector import image_vector
from fitcli.tasks.classify.task import TASK as CLASSIFY
from fitcli.tasks.encoding.encode import EncodingSettings
from fitcli.tasks.load import load_run

CPU = choose_runtime("cpu", "fp32")


def test_the_last_layer_maps_it_to_the_answer(trained: Path) -> None:
    checkpoint, image = load_run(trained, CPU, CLASSIFY), ArrayReader(colored((70, 300), (40, 60, 200), 1))
    settings = EncodingSettings(background=None)
    vector = image_vector(checkpoint, image, CPU, settings)
    assert CLASSIFY.image_vector(checkpoint, image, CPU, settings) == vector
    weight, bias = checkpoint.model.head.class_layer(0)
    logits = weight @ torch.tensor(vector) + bias
    answer = classify_image(checkpoint, image, CPU, settings).probabilities
    np.testing.assert_allclose(logits.softmax(0).numpy(), answer, atol=1e-6)
    other = image_vector(checkpoint, ArrayReader(colored((70, 300), (200, 60, 40), 1)), CPU, settings)
    assert vector != pytest.approx(other)
