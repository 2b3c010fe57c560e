"""The two options for background are one share, in settings of every version."""

from __future__ import annotations

import pytest

from fitcli.errors import FitError
from fitcli.tasks.shared_options import BACKGROUND_THRESHOLD, BackgroundOptions, background_share


def test_a_threshold_needs_the_switch() -> None:
    assert background_share(False, BACKGROUND_THRESHOLD) is None
    assert background_share(True, BACKGROUND_THRESHOLD) == BACKGROUND_THRESHOLD
    assert background_share(True, 0.1) == 0.1
    with pytest.raises(FitError, match="--background-threshold is for --skip-background"):
        background_share(False, 0.1)
    assert BackgroundOptions().background is None
    assert BackgroundOptions(skip_background=True, background_threshold=0.1).background == 0.1
    with pytest.raises(FitError, match="--background-threshold is for --skip-background"):
        BackgroundOptions(background_threshold=0.1)


def test_older_settings_hold_the_share_alone() -> None:
    upgraded = BackgroundOptions.upgraded
    assert upgraded({"balance": True, "background": None}) == {"balance": True}
    assert upgraded({"background": 0.1}) == {"skip_background": True, "background_threshold": 0.1}
    newer = {"skip_background": False, "background_threshold": BACKGROUND_THRESHOLD}
    assert upgraded(newer) == newer
