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

CLASSIFIERS = {
    name: PresetDefaults(learning_rate=rate, ema=0.0, augment=True) for name, rate in LEARNING_RATES.items()
} | {
    "base": PresetDefaults(learning_rate=LEARNING_RATES["base"], ema=0.9999, augment=True, drop_path=0.1),
    "large": PresetDefaults(learning_rate=LEARNING_RATES["large"], ema=0.9999, augment=True, drop_path=0.2),
}
"""Defaults of classifiers.

Drop path, average and warm-up of "base" and "large" are those of ViT-B and ViT-L that are trained from scratch (He et
al. 2021, arXiv:2111.06377, appendix A.2, table 11: drop path 0.1 and 0.2, average 0.9999, 20 of 300 and of 200 epochs
of warm-up: 7 and 10 %, here 10 % for all). DeiT found the average 0.1 points better (Touvron et al. 2020,
arXiv:2012.12877, section 6). DeiT III drops more layers in runs of 240 to 800 epochs (Touvron et al. 2022,
arXiv:2204.07118, and its published commands: 0.1 to 0.2 for B, 0.3 to 0.45 for L). Smaller classifiers have neither
(DeiT III: 0 to 0.05 for S).
"""

GENERATORS = {name: PresetDefaults(learning_rate=rate, ema=0.9999) for name, rate in LEARNING_RATES.items()}
"""Defaults of models that generate.

The average is that of denoising models (Ho et al. 2020, arXiv:2006.11239, appendix B). Images are not turned, because
the models would learn to make turned ones.
"""

EARLIER_CLASSIFIER = PresetDefaults(learning_rate=1e-3, warmup=0.1, ema=0.0, drop_path=0.0, augment=True)
EARLIER_GENERATOR = PresetDefaults(learning_rate=1e-3, warmup=0.1, ema=0.9999, augment=False)
"""Defaults of versions in which every preset had the same."""
