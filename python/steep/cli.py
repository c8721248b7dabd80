"""The ``steep`` command: ``steep info`` and ``steep bench``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from .config import show_config

__all__ = ["main"]


def _positive(text: str) -> int:
    n = int(text)
    if n < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return n


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    parser = argparse.ArgumentParser(prog="steep", description="steep: a small, fast deep-learning framework.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="print version, instruction set, threads and devices")
    bench = commands.add_parser("bench", help="compare the speed of steep with NumPy, PyTorch and JAX where installed")
    bench.add_argument("--quick", action="store_true", help="fewer and smaller rows, about a minute")
    bench.add_argument(
        "--filter", default="", metavar="TEXT", help="only the rows whose name (cuda: or group) contains TEXT"
    )
    bench.add_argument("--json", metavar="FILE", help="also write the figures to FILE")
    bench.add_argument("--html", metavar="FILE", help="also write them to FILE as a page for a browser")
    bench.add_argument("--plots", metavar="DIR", help="also draw them, as PNG files in DIR; needs matplotlib")
    bench.add_argument(
        "--compare", metavar="FILE", help="compare with the figures in FILE; exit status 3 if steep has become slower"
    )
    bench.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: with PyTorch, on the GPU")
    bench.add_argument(
        "--shrink", type=_positive, default=1, metavar="N", help="a trial: axes N times shorter; cuda only"
    )
    bench.add_argument("--threads", type=_positive, metavar="N", help="threads for every library")
    args = parser.parse_args(argv)
    if args.command == "info":
        show_config()
        return 0
    from .benchmarks import gpu, run

    status: int
    if args.device == "cuda":
        if args.html or args.plots or args.compare:
            parser.error("--html, --plots and --compare are for the CPU")
        status = gpu.run(quick=args.quick, only=args.filter, json_path=args.json, shrink=args.shrink)
    elif args.shrink > 1:
        parser.error("--shrink is for --device cuda")
    else:
        status = run(
            quick=args.quick,
            only=args.filter,
            json_path=args.json,
            threads=args.threads,
            plots_path=args.plots,
            html_path=args.html,
            compare_path=args.compare,
        )
    return status
