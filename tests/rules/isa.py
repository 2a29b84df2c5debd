"""TESSERA_ISA=scalar makes every family of kernels use its scalar row, and may only lower: a level that is none ends with status 1."""
import json
import os
import subprocess

import rule


def info(program, isa):
    environment = {name: value for name, value in os.environ.items() if name != "TESSERA_ISA"}
    if isa is not None:
        environment["TESSERA_ISA"] = isa
    return subprocess.run([program, "info", "--ops", "--json"], capture_output=True, text=True, env=environment)


def main():
    arguments = rule.arguments(__doc__, "program")
    report = rule.Report("rows of kernel tables")
    for isa in (None, "scalar"):
        result = info(arguments.program, isa)
        label = f"TESSERA_ISA={isa}" if isa else "no TESSERA_ISA"
        if result.returncode != 0:
            report.bad(label, f"tessera info ended with {result.returncode}: {result.stderr.strip()}")
            continue
        rows = json.loads(result.stdout)["rows"]
        report.saw(len(rows))
        families = {row["family"] for row in rows}
        used = [row for row in rows if row["used"]]
        print(f"{label}: " + ", ".join(f"{row['family']} {row['row']}" for row in used))
        for family in sorted(families - {row["family"] for row in used}):
            report.bad(label, f"no row of {family} is used")
        for row in rows:
            if not row["used"] and not row["reason"]:
                report.bad(label, f"{row['family']} {row['row']} is not used and gives no reason")
        if isa == "scalar":
            for row in used:
                if not row["row"].startswith("scalar"):
                    report.bad(label, f"{row['family']} uses {row['row']}")
    wrong = info(arguments.program, "no-such-level")
    if wrong.returncode != 1 or "no-such-level" not in wrong.stderr:
        report.bad("TESSERA_ISA=no-such-level", f"expected status 1 and an error that names it, got {wrong.returncode}: {wrong.stderr.strip()}")
    report.finish()


if __name__ == "__main__":
    main()
