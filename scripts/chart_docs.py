"""`python -m scripts.chart_docs`: the table of values in charts/ttg/README.md, from the comments in values.yaml.

With `--check` nothing is written: exit status 1 and a sentence a difference, if the README is not what the comments say, a
value has no comment, or values.yaml and values.schema.json do not name the same values.

The comments are read from the text, so values.yaml keeps to a form: a key a line, two spaces a level, its comment above it.
A key without comment belongs to the value of the one above.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHART = Path(__file__).resolve().parent.parent / "charts" / "ttg"
BEGIN, END = "<!-- values: made by python -m scripts.chart_docs -->", "<!-- end of values -->"
KEY = re.compile(r"( *)([A-Za-z]\w*):(?: +(.*))?")


@dataclass
class Value:
    """One key of values.yaml.

    Attributes:
        path: from the top, `run.parameters.count`.
        comment: on one line.
        default: its text; lines below it are joined.
        children: the commented keys below it.
    """

    path: str
    comment: str
    default: str
    children: list[Value] = field(default_factory=list)

    def walk(self) -> Iterator[Value]:
        yield self
        for child in self.children:
            yield from child.walk()


def read(text: str) -> list[Value]:
    """The values in `text`, by the top-level keys."""
    top = Value("", "", "")
    branch = [top]  # the last value of each level
    comment: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            comment.append(stripped[1:].strip())
            continue
        match = KEY.fullmatch(line)
        if match and (comment or not match[1]):
            level = len(match[1]) // 2
            del branch[level + 1 :]
            value = Value(f"{branch[-1].path}.{match[2]}".lstrip("."), " ".join(comment), match[3] or "")
            branch[-1].children.append(value)
            branch.append(value)
        elif stripped:
            branch[-1].default = f"{branch[-1].default} {stripped}".strip()
        comment = []
    return top.children


def table(values: list[Value]) -> str:
    """The section of the README: a heading for each group, a row for each value."""
    lines = []
    plain = [value for value in values if not value.children]
    for title, intro, group in [("All", "", plain), *((v.path, v.comment, v.children) for v in values if v.children)]:
        lines += [f"### {title}", "", *([intro, ""] if intro else []), "| value | default | meaning |", "|---|---|---|"]
        for value in (value for child in group for value in child.walk()):
            default = f"`{value.default}`" if value.default else ""
            lines.append(f"| `{value.path}` | {default} | {value.comment} |".replace("  ", " "))
        lines.append("")
    return "\n".join(lines)


def with_table(readme: str, values: list[Value]) -> str:
    """`readme` with the section between its two marks renewed."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"README.md has no {BEGIN} ... {END}: put the two marks where the table belongs")
    return f"{before}{BEGIN}\n\n{table(values)}\n{END}{after}"


def schema_paths(schema: dict[str, Any], node: dict[str, Any], path: str = "") -> Iterator[str]:
    """Every value that the schema names."""
    if "$ref" in node:
        node = schema["definitions"][node["$ref"].rpartition("/")[2]]
    if path:
        yield path
    for name, child in node.get("properties", {}).items():
        if path or name != "global":  # Helm's own, in a chart that contains this one
            yield from schema_paths(schema, child, f"{path}.{name}".lstrip("."))


def open_objects(node: Any, path: str = "") -> Iterator[str]:
    """Objects of the schema that name their properties and admit others."""
    if isinstance(node, dict):
        if "properties" in node and node.get("additionalProperties") is not False and isinstance(node.get("type"), str):
            yield path or "the top"
        for name, child in node.items():
            yield from open_objects(child, f"{path}/{name}")


def problems(chart: Path = CHART) -> list[str]:
    """What does not agree, a sentence each."""
    values = read((chart / "values.yaml").read_text())
    readme = (chart / "README.md").read_text()
    schema = json.loads((chart / "values.schema.json").read_text())
    here = {value.path: value for top in values for value in top.walk()}
    there = set(schema_paths(schema, schema))
    found = [f"{path} has no comment in values.yaml" for path, value in here.items() if not value.comment]
    found += [f"{path} is in values.yaml and not in values.schema.json" for path in here if path not in there]
    found += [f"{path} is in values.schema.json and not, with a comment, in values.yaml" for path in sorted(there - set(here))]
    found += [f"values.schema.json is open at {path}" for path in open_objects(schema)]
    if readme != with_table(readme, values):
        found.append("README.md is not what values.yaml says: run python -m scripts.chart_docs")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if something does not agree")
    if parser.parse_args().check:
        found = problems()
        print("\n".join(found), end="\n" if found else "")
        return 1 if found else 0
    readme = CHART / "README.md"
    readme.write_text(with_table(readme.read_text(), read((CHART / "values.yaml").read_text())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
