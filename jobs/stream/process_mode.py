"""Imported first by functions that run in process mode: so that the libraries they use can be imported at all.

PyFlink's Python process puts a bound method of its own in the place of `print`. numba registers `print` by the name of
its module, does not find it there, and cannot be imported. Here the method is given the module that it stands in.
"""

from __future__ import annotations

import builtins

if (replaced := getattr(builtins.print, "__func__", None)) is not None:
    replaced.__module__ = "builtins"
