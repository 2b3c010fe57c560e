"""Defaults of `fit train` that depend on the preset, by kind of model; docs/training.md has them as a table.

No torch.
"""

from __future__ import annotations

from fitcli.runs.task_options import PresetDefaults

LEARNING_RATES = {"debug": 1e-3, "nano": 1e-3, "mini": 1e-3, "tiny": 1e-3, "small": 5e-4, "base": 3e-4, "large": 2e-4}
"""Learning rates by preset.

The best rate of Adam for hidden weights is inversely proportional to the width (Yang et al. 2022, arXiv:2203.03466,
table 3). From 1e-3 at the 256 of "tiny", the widths of latents of 512, 768 and 1024 give 5e-4, 3.3e-4 and 2.5e-4, here
rounded down to one digit. Presets that are narrower than "tiny" keep its rate.
"""

SMALL_BATCH_RATE = 3e-4
"""Largest learning rate of a classifier from "tiny" on: at 1e-3, with the default batch of four images, the validation
loss jumps (docs/training.md, "A smooth course")."""

AVERAGE = 0.9999
"""Largest decay of the moving average of the weights; before it is reached, the average spans a tenth of the steps."""

DROP_PATHS = {"base": 0.1, "large": 0.2}

CLASSIFIERS = {
    name: PresetDefaults(
        learning_rate=rate if name in ("debug", "nano", "mini") else min(rate, SMALL_BATCH_RATE),
        ema=AVERAGE,
        augment=True,
        drop_path=DROP_PATHS.get(name, 0.0),
    )
    for name, rate in LEARNING_RATES.items()
}
"""Defaults of classifiers.

Drop path, average and warm-up of "base" and "large" are those of ViT-B and ViT-L that are trained from scratch (He et
al. 2021, arXiv:2111.06377, appendix A.2, table 11: drop path 0.1 and 0.2, average 0.9999, 20 of 300 and of 200 epochs
of warm-up: 7 and 10 %, here 10 % for all). DeiT found the average 0.1 points better (Touvron et al. 2020,
arXiv:2012.12877, section 6). DeiT III drops more layers in runs of 240 to 800 epochs (Touvron et al. 2022,
arXiv:2204.07118, and its published commands: 0.1 to 0.2 for B, 0.3 to 0.45 for L; 0 to 0.05 for S). The average of the
smaller ones makes their validation, and so the choice of the weights to keep, depend less on the last few batches.
"""

DENSE_MODELS = {
    name: PresetDefaults(
        learning_rate=rate,
        ema=AVERAGE if name in DROP_PATHS else 0.0,
        augment=True,
        drop_path=DROP_PATHS.get(name, 0.0),
    )
    for name, rate in LEARNING_RATES.items()
}
"""Defaults of models with an answer at every place. Each image has many answers, so their loss jumps less than that of
a classifier; "base" and "large" have the drop path and the average of classifiers."""

GENERATORS = {name: PresetDefaults(learning_rate=rate, ema=AVERAGE) for name, rate in LEARNING_RATES.items()}
"""Defaults of models that generate.

The average is that of denoising models (Ho et al. 2020, arXiv:2006.11239, appendix B). Images are not turned, because
the models would learn to make turned ones.
"""

EARLIER_CLASSIFIER = PresetDefaults(learning_rate=1e-3, warmup=0.1, ema=0.0, drop_path=0.0, augment=True)
EARLIER_GENERATOR = PresetDefaults(learning_rate=1e-3, warmup=0.1, ema=0.9999, augment=False)
"""Defaults of versions in which every preset had the same."""
