"""Benchmarks of speed and of learning, and the GPU half of both in one call.

Run each as a module from the root of the repository, such as `python -m benchmarks.speed.images --help`. The figures in
docs/ are those of `benchmarks/results`, with the command line and the machine beside them. Ratios are within one run.
"""
