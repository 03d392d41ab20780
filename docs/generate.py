"""Write docs/reference.md and the JSON Schemas from the tables in the code; `--check` only compares."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec

from launcher.cli.validate import json_schema
from launcher.core.annotations import FORMS
from launcher.core.annotations import TABLE as ANNOTATIONS
from launcher.core.diagnose.signatures import TABLE as SIGNATURES
from launcher.core.diagnose.signatures.endings import CODES, NOTHING, OOM, OTHER_SIGNAL, SIGNALS, UNKNOWN
from launcher.core.environ import TABLE as VARIABLES
from launcher.core.plan import Plan
from launcher.core.reproduce import Reproduce
from launcher.core.retrying import INFRASTRUCTURE
from launcher.core.settings import TABLE as SETTINGS

HERE = Path(__file__).parent
CODES_AND_SIGNALS = (OOM, *SIGNALS.values(), OTHER_SIGNAL, *CODES.values(), UNKNOWN, NOTHING)


def reference() -> str:
    """The page of settings and variables."""
    lines = [
        "# Reference",
        "",
        "Written by `python docs/generate.py` from the tables in the code.",
        "",
        "## Settings of the launcher",
        "",
        "Read from its own environment; none of them reaches a boot file.",
        "",
        "| variable | may be | when unset | what it does |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{s.name}` | {s.kind.replace('|', ' or ')} | {s.default or 'nothing'} | {s.meaning} |" for s in SETTINGS
    ]
    lines += [
        "",
        "## Settings of one job",
        "",
        "In the job's `metadata.annotations`. `*` and `?` in a pattern stand for anything within one folder, `**`",
        "also across folders; a pattern without `/` fits a name in any folder, one with `/` counts from the channel's",
        "folder, and one that ends in `/` means all below a folder.",
        "",
        "| annotation | may be | of | what it does |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{a.name}` | {FORMS[a.kind]} | {a.of} | {a.meaning} |" for a in ANNOTATIONS]
    lines += [
        "",
        "## Variables of a boot file",
        "",
        "Laid over the environment that the launcher was started with; the job's own `environments` win over all.",
        "Where a variable is marked as kept, what the platform has set already stands. `MA_LAUNCHER_MARK` is",
        "there too: by this mark the next start finds what a killed launcher left running",
        "([decision 008](decisions/008-survivors.md)).",
        "",
        "| variable | meaning | |",
        "|---|---|---|",
    ]
    lines += [f"| `{v.name}` | {v.meaning} | {'kept' if v.inherit else ''} |" for v in VARIABLES]
    lines += [
        "",
        "Each channel with `access_method: env`, and every channel of a `command` job, is a variable of its own name.",
        "",
        "## Schemas",
        "",
        "[job](schemas/job.json), [algorithm](schemas/algorithm.json) (`launcher validate --schema`), and the",
        "[plan](schemas/plan.json) that `launcher preview --json` prints, and [reproduce](schemas/reproduce.json) of",
        "run.json ([replay](replay.md)).",
        "",
    ]
    return "\n".join(lines)


def causes() -> str:
    """The page of what a diagnosis may say; in Chinese the same stands in run.json with LAUNCHER_LANG=zh."""
    lines = [
        "# Causes",
        "",
        "Written by `python docs/generate.py` from the tables in the code. `cause.code` of run.json and of the",
        "termination message is one of these when a boot process failed; `{…}` is filled in. A consequence is not",
        "told while a cause is known. *again*: a job that allows restarts is started again after it",
        "([restarts](retries.md)).",
        "",
        "| code | what is said | what to do | |",
        "|---|---|---|---|",
    ]
    rows = [(each.code, each.en, each.kind == "cascade") for each in SIGNATURES]
    rows += [(each.code, each.en, False) for each in CODES_AND_SIGNALS]
    for code, words, cascade in sorted(dict.fromkeys(rows), key=lambda row: (row[2], row[0])):
        again = "again" if code in INFRASTRUCTURE else ""
        told = [text.replace("|", "\\|") for text in (words.message, words.action)]
        lines.append(f"| `{code}`{' (a consequence)' if cascade else ''} | {told[0]} | {told[1]} | {again} |")
    return "\n".join([*lines, ""])


def pages() -> dict[Path, str]:
    """Every generated file and what it must hold."""
    schemas = {
        "job": json_schema("job"),
        "algorithm": json_schema("algorithm"),
        "plan": msgspec.json.schema(Plan),
        "reproduce": msgspec.json.schema(Reproduce),
    }
    made = {HERE / "schemas" / f"{name}.json": json.dumps(schema, indent=1) + "\n" for name, schema in schemas.items()}
    return {HERE / "reference.md": reference(), HERE / "causes.md": causes(), **made}


def main() -> int:
    """Write all, or with --check say which are old."""
    old = [path for path, text in pages().items() if not path.exists() or path.read_text() != text]
    for path in old:
        if "--check" in sys.argv:
            print(f"{path} is not what the code says; run python docs/generate.py")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(pages()[path])
    return int(bool(old and "--check" in sys.argv))


if __name__ == "__main__":
    sys.exit(main())
