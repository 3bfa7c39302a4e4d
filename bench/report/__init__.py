"""`report`: makes a page of what scenarios wrote with `--json`, or holds it against another run.

    python -m bench report DIR                  the figures, with plots, go into docs/benchmarks.md, between its markers
    python -m bench report DIR --page mine.md   … into another page, which is made if it is not there
    python -m bench report RUN --against BASE   shows what changed; each is a file or a folder

Compared are medians. A figure is worse if it moved the wrong way, and by more than the rounds of either run differ
among themselves: the ranges of their values have nothing in common. With one round that is any move, so measure more of
them. The exit status is 1 if one is worse by more than `--tolerance`.
"""

from bench.report.command import add_arguments, run

__all__ = ["add_arguments", "run"]
