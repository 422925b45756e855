"""`/directions/{bank}/{ordinal}`: one direction, what it says, and who else has learnt it."""

from __future__ import annotations
