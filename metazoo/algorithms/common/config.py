"""Settings of learners: plain frozen dataclasses whose fields know what they allow and what they mean."""

from dataclasses import dataclass, field, fields
from typing import Any

from metazoo.words import meant


def setting(default: Any, allowed: Any, doc: str, search: tuple[float, float] | None = None) -> Any:
    """A config field: ``allowed`` is ``(low, high)``, both included, or a tuple of strings to choose from.

    ``search`` is the range inside of it where good values are known to lie: ``metazoo tune`` looks there. Settings that
    change how many environment steps an update takes have none: their trials would not be comparable.
    """
    return field(default=default, metadata={"allowed": allowed, "doc": doc, "search": search})


@dataclass(frozen=True)
class Config:
    """Base of the learners' configs: refuses values that ``setting`` does not allow, naming the field and its range."""

    def __post_init__(self):
        for item in fields(self):
            allowed, value = item.metadata.get("allowed"), getattr(self, item.name)
            if allowed is None:
                continue
            if isinstance(allowed[0], str):
                if value not in allowed:
                    raise ValueError(f"{item.name} is {value!r}; {meant(value, allowed)}")
                continue
            whole = isinstance(item.default, int)
            number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
            if not number or not allowed[0] <= value <= allowed[1]:
                must = "be a whole number" if whole else "lie"
                raise ValueError(f"{item.name} is {value!r}; it must {must} in [{allowed[0]}, {allowed[1]}].")
