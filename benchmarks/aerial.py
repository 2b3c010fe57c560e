"""Large images from a diffusion model that has seen one aerial photograph.

    python benchmarks/aerial.py --photograph FILE --work FOLDER [--train OPTIONS] [--res 4096] [--out FILE.json]

Cuts square crops out of the photograph, at full size and shrunk up to eightfold, so that what is made coarse to fine
is like something the model has seen at every size; trains on them; and draws one image of the given size. Nothing is
scored here: the image is to be looked at. `generate.py --seam-runs WORK/run` measures its seams.
"""
