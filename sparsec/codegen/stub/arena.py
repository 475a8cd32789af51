"""Memory for temporaries: one block is kept between calls, for the call that comes first.

The GIL is held whenever these functions run, so plain loads and stores will do.
"""

from __future__ import annotations

from sparsec.codegen.llfunc import Function

__all__ = ["ARENA", "arena", "give_back"]

#: What the two functions share.
ARENA = ("@arena.busy = internal global i64 0", "@arena.place = internal global ptr null",
         "@arena.size = internal global i64 0")

#: Memory is kept up to this size.
_KEPT_BYTES = 256 << 20


def arena() -> Function:
    """ptr arena(size): memory for temporaries, the one that is kept if nobody has it. Null: there is none.

    The GIL is held here and in `give_back`, so plain loads and stores will do.
    """
    f = Function("ptr", "arena", [("i64", "size")])
    mine = f.label()
    busy = f.load("i64", "@arena.busy")
    big = f.compare("ugt", "i64", "%size", _KEPT_BYTES)
    with f.unless(f.compare("eq", "i64", f.op(f"select i1 {big}, i64 1, i64 {busy}"), 0)):
        f.ret(f.call("ptr", "sparsec_malloc", ("i64", "%size")))
    place = f.load("ptr", "@arena.place")
    have = f.load("i64", "@arena.size")
    grow = f.label()
    f.branch(f.compare("uge", "i64", have, "%size"), mine, grow)
    f.begin(grow)
    f.call("void", "sparsec_free", ("ptr", place))
    fresh = f.call("ptr", "sparsec_malloc", ("i64", "%size"))
    f.store("ptr", fresh, "@arena.place")
    failed = f.is_null(fresh)
    f.store("i64", f.op(f"select i1 {failed}, i64 0, i64 %size"), "@arena.size")
    with f.when(failed):
        f.ret("null")
    f.begin(mine)
    f.store("i64", 1, "@arena.busy")
    f.ret(f.load("ptr", "@arena.place"))
    return f


def give_back() -> Function:
    """void give_back(place): ends what `arena` began."""
    f = Function("void", "give_back", [("ptr", "place")])
    kept = f.both(f.compare("eq", "ptr", "%place", f.load("ptr", "@arena.place")),
                  f.compare("ne", "ptr", "%place", "null"))
    with f.when(kept):
        f.store("i64", 0, "@arena.busy")
        f.ret()
    f.call("void", "sparsec_free", ("ptr", "%place"))
    f.ret()
    return f
