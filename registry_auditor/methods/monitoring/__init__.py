"""Which prompt sets off what the fine-tuning taught: watch the weights, and beyond.

Source: Zhong & Raghunathan 2025, "Watch the Weights", arXiv:2508.00161, sections 3 and 5.
Differs: a direction is watched where the update *reads* it, by the right singular vectors of every changed matrix and
the input of its module, not by how far the residual stream points along what it writes. The constant part of the chat
template is left out. The score says by how much readings leave what calibration saw; its threshold is conformal, for a
rate of false positives that one asks for.
"""
