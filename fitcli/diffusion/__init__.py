"""Diffusion, in four parts that know nothing of each other: schedules, parameterization, samplers, and the network.

Only `generate` and `objective` put them together. Gamma is the share of the data in the variance of a noisy image:
1 without noise, 0 where nothing but noise is left.
"""
