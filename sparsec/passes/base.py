"""What a pass is, how passes are named in text, and the one function that runs them.

A pass is a frozen dataclass whose fields are its options. Its spec is text that reads back:
`fuse{max-ops=8}`. It states the form that it needs and the one that it leaves; `run_pipeline` finds a
mismatch before anything runs, so order rules live in the passes and not in comments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

from sparsec.config import say, settings
from sparsec.errors import ConfigError, VerifyError
from sparsec.ir.forms import Form, check_form
from sparsec.ir.graph import Func, walk
from sparsec.ir.text import to_text
from sparsec.ir.verify import verify as verify_ir

__all__ = ["Pass", "check_forms", "parse_spec", "run_pipeline"]


@dataclass(frozen=True)
class Pass:
    """Valid IR of form `requires` in, valid IR of form `ensures` out; `ensures` None keeps the form."""

    name: ClassVar[str] = ""
    requires: ClassVar[Form] = Form.TRACED
    ensures: ClassVar[Form | None] = None

    def run(self, func: Func) -> Func:
        """The rewritten function. Never changes `func`."""
        raise NotImplementedError

    @property
    def spec(self) -> str:
        """`name{option=value}`, with the options that differ from their defaults."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        options = ",".join(f"{key.replace('_', '-')}={_option_text(value)}" for key, value in values.items())
        return f"{self.name}{{{options}}}" if options else self.name


def _option_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_SPEC = re.compile(r"\s*([a-z][a-z0-9-]*)\s*(?:\{([^{}]*)\})?\s*(?:,|$)")


def parse_spec(text: str, known: Mapping[str, type[Pass]]) -> tuple[Pass, ...]:
    """The passes that `canonicalize,fuse{max-ops=8}` names. Raises ConfigError that says what is possible."""
    found, at = [], 0
    while at < len(text):
        match = _SPEC.match(text, at)
        if match is None:
            hint = "write pass,pass{option=value}"
            raise ConfigError(f"cannot read the pipeline at {text[at:]!r}", hint=hint)
        name, options = match.groups()
        if name not in known:
            raise ConfigError(f"there is no pass {name!r}", hint="passes: " + ", ".join(known))
        found.append(_with_options(known[name], options or ""))
        at = match.end()
    return tuple(found)


def _with_options(cls: type[Pass], text: str) -> Pass:
    defaults = {f.name.replace("_", "-"): f.default for f in fields(cls)}
    values: dict[str, Any] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        key, _, value = (word.strip() for word in part.partition("="))
        if key not in defaults:
            hint = "options: " + (", ".join(defaults) or "none")
            raise ConfigError(f"pass {cls.name} has no option {key!r}", hint=hint)
        values[key.replace("-", "_")] = _option_value(cls.name, key, value, type(defaults[key]))
    return cls(**values)


def _option_value(name: str, key: str, text: str, kind: type) -> Any:
    if kind is bool and text in ("true", "false"):
        return text == "true"
    try:
        if kind is not bool:
            return kind(text)
    except ValueError:
        pass
    raise ConfigError(f"option {key} of pass {name} must be a {kind.__name__}, not {text!r}")


def check_forms(passes: Sequence[Pass], start: Form = Form.TRACED) -> Form:
    """The form that the passes leave. Raises VerifyError at the first that gets a form it cannot take."""
    form = start
    for step in passes:
        if form < step.requires:
            raise VerifyError(
                f"pass {step.name} needs the form {step.requires.name}, but gets {form.name}",
                hint="put the pass that makes this form before it",
            )
        if step.ensures is not None:
            form = max(form, step.ensures)
    return form


def run_pipeline(
    func: Func, passes: Sequence[Pass], *, start: Form = Form.TRACED, verify: bool | None = None,
    observe: Callable[[Pass, Func], None] | None = None,
) -> Func:
    """Runs the passes in order.

    verify: check the IR and its form after each one, and not only after the last (default: the switch `verify`);
    what comes in is checked in any case. observe: called after each pass with its result. With the switch `dump` each
    result is also written there, as `03-fuse.sir`.
    """
    check_forms(passes, start)
    verify = settings.verify if verify is None else verify
    verify_ir(func)
    form = start
    checked = func, form  # a pass that changes nothing leaves nothing to check
    for number, step in enumerate(passes, 1):
        began = perf_counter()
        func = step.run(func)
        form = max(form, step.ensures or form)
        _tell(step, func, perf_counter() - began)
        if settings.dump is not None:
            _write_dump(settings.dump, f"{number:02d}-{step.name}.sir", func)
        if (verify or number == len(passes)) and (func, form) != checked:
            _verify(func, form, step)
            checked = func, form
        if observe is not None:
            observe(step, func)
    return func


def _tell(step: Pass, func: Func, seconds: float) -> None:
    if settings.debug >= 2:
        say(2, f"sparsec:   {step.spec}: {sum(1 for _ in walk(func.ops))} ops after {1e3 * seconds:.1f} ms")
    if settings.debug >= 3:
        say(3, to_text(func))


def _verify(func: Func, form: Form, step: Pass) -> None:
    try:
        verify_ir(func)
        check_form(func, form)
    except VerifyError as error:
        message = f"after pass {step.name}: {error.message}"
        raise VerifyError(message, loc=error.loc, hint=error.hint) from error


def _write_dump(folder: Path, name: str, func: Func) -> None:
    target = folder / func.name
    target.mkdir(parents=True, exist_ok=True)
    (target / name).write_text(to_text(func), encoding="utf-8")
