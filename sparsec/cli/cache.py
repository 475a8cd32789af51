"""`sparsec cache`: the compiled code that is kept between runs.

    sparsec cache info     where it is, how much of it, of how much
    sparsec cache clear    remove all of it
"""

from __future__ import annotations

import argparse

from sparsec.config import settings
from sparsec.runtime.cache import DiskCache, disk_cache

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the subcommand takes."""
    parser.add_argument("action", choices=("info", "clear"), nargs="?", default="info")


def run(args: argparse.Namespace) -> int:
    """Shows or clears it."""
    cache = disk_cache()
    if cache is None:
        print("off (SPARSEC_CACHE=0, or stages are being dumped)")
    elif args.action == "clear":
        count = cache.clear()
        print(f"removed {count} {'entry' if count == 1 else 'entries'} from {cache.folder}")
    else:
        _show(cache)
    return 0


def _show(cache: DiskCache) -> None:
    entries = cache.entries()
    size = sum(status.st_size for _, status in entries)
    print(f"folder   {cache.folder}")
    print(f"entries  {len(entries)}")
    print(f"size     {size / 2**20:.1f} MB of {settings.cache_mb} MB")
