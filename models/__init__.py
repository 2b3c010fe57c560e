"""FIT in pure PyTorch: tensors of groups, tokens and latents, without files, pixels or a command line.

Axis letters, used in every shape comment and einops pattern of this package:

    b  images in a batch           n  tokens per group        c  token width       h  heads
    g  groups, of all the images   m  latents per group       d  latent width      k  classes
    p  values per patch            s  conditioning tokens     q  cells per side of a patch
"""
