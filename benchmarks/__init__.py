"""Benchmarks of speed and of learning; `benchmarks.gpu` runs those that need a GPU in one call.

Run each as a module from the root of the repository, such as `python -m benchmarks.speed.images --help`. `--out` writes
the figures to a JSON file, with the command line and the machine; `results/` holds those that docs/ shows.
"""
