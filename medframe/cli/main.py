"""The command line. It parses and prints; the work is done by functions that Python users call, too."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="medframe",
        description="From a folder of labelled scans to a trained network, predictions, scores and a report.",
    )
    top.add_argument("--traceback", action="store_true", help="show where an error came from, for bug reports")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    fit = commands.add_parser("fit", help="train on a dataset; run again to continue")
    fit.add_argument("dataset", type=Path, help="folder (Decathlon, nnU-Net v2, or images/ and labels/) or CSV list")
    fit.add_argument("--out", type=Path, default=None, help="folder of the run (default: runs/<dataset>_fold<k>)")
    fit.add_argument("--fold", type=int, default=0, help="which fold to hold out (default 0 of 5)")
    fit.add_argument("--minutes", type=float, default=None, help="time for training (default 15)")
    fit.add_argument("settings", nargs="*", metavar="name=value", help="any setting of run.yaml, such as batch=4")

    predict = commands.add_parser("predict", help="segment scans with a trained run")
    predict.add_argument("run", type=Path, help="folder that fit wrote")
    predict.add_argument("inputs", type=Path, nargs="+", help="image files or folders")
    predict.add_argument("--out", type=Path, required=True, help="folder for the label maps")
    predict.add_argument("--probabilities", action="store_true", help="also write the class probabilities")
    predict.add_argument("--overwrite", action="store_true", help="replace files that exist")

    evaluate = commands.add_parser("evaluate", help="score label maps against references")
    evaluate.add_argument("predictions", type=Path, help="folder of predicted label maps")
    evaluate.add_argument("labels", type=Path, help="folder of reference label maps of the same names")
    evaluate.add_argument("--out", type=Path, required=True, help="table to write (.csv)")
    evaluate.add_argument("--tolerance", type=float, default=1.0, help="of the surface Dice, in mm (default 1)")
    evaluate.add_argument("--overwrite", action="store_true", help="replace a table that exists")

    compare = commands.add_parser("compare", help="compare two tables of scores of the same cases")
    compare.add_argument("first", type=Path, help="table that evaluate wrote (.csv or .json)")
    compare.add_argument("second", type=Path, help="the other run's table; differences are second minus first")
    compare.add_argument("--out", type=Path, default=None, help="also write the comparison (.csv or .json)")

    check = commands.add_parser("check", help="look for faults in a dataset, before training")
    check.add_argument("dataset", type=Path, help="a dataset as for fit, or a file or folder of images")
    check.add_argument("--voxels", action="store_true", help="read all voxels (default: headers alone)")
    check.add_argument("--json", type=Path, default=None, metavar="FILE", help="write the findings as JSON")
    check.add_argument("--html", type=Path, default=None, metavar="FILE", help="write a page with pictures")
    check.add_argument("--jobs", type=_positive, default=None, help="cases at the same time (default: one a core)")
    check.add_argument("--all", action="store_true", help="show every case of every finding")

    convert = commands.add_parser("convert", help="from any format that is read to any that is written")
    convert.add_argument("source", type=Path, help="an image, a DICOM folder, or a folder of images")
    convert.add_argument("target", type=Path, help="a file name, or a folder; a tree keeps its layout")
    convert.add_argument("--to", default=None, metavar="ENDING", help="format of the new files (folders: .nii.gz)")
    convert.add_argument("--dtype", default=None, help="of the voxels, such as int16 (default: as read)")
    convert.add_argument(
        "--on-loss", choices=("raise", "round", "clip"), default="raise", help="where values do not fit"
    )
    convert.add_argument("--labels", action="store_true", help="the files are label maps")
    convert.add_argument("--jobs", type=_positive, default=None, help="processes (default: one a core, for folders)")
    convert.add_argument("--overwrite", action="store_true", help="replace files that no earlier conversion made")

    demo = commands.add_parser("demo", help="train, predict, evaluate and report on real data in about two minutes")
    demo.add_argument("--out", type=Path, default=Path("medframe_demo"), help="folder to write (default medframe_demo)")
    demo.add_argument("--minutes", type=float, default=2.2, help="time for training (default 2.2)")

    commands.add_parser("info", help="versions, back ends, GPU, extras")
    return top


def _positive(word: str) -> int:
    number = int(word)  # argparse turns the ValueError into its usage line
    if number < 1:
        raise argparse.ArgumentTypeError("a positive number")
    return number


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line; settings (`name=value`) may stand before, between and after the options of `fit`."""
    top = parser()
    # argparse fills a list of words from the first gap it meets and calls later ones unknown
    arguments, rest = top.parse_known_args(argv)
    if rest and (arguments.command != "fit" or any(word.startswith("-") for word in rest)):
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    if arguments.command == "fit":
        arguments.settings = [*arguments.settings, *rest]
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    arguments = parse(argv)
    # only now: `medframe --help` should not wait for torch
    from medframe.base.errors import MedframeError
    from medframe.cli.commands import COMMANDS

    try:
        return COMMANDS[arguments.command](arguments)
    except MedframeError as error:
        if arguments.traceback:
            raise
        print(f"medframe: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("medframe: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 141


if __name__ == "__main__":
    sys.exit(main())
