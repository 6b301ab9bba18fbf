# SPDX-License-Identifier: GPL-2.0
"""The host side of the kexec jump project: sources, kernels, guests."""
