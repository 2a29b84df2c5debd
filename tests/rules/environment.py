"""The library reads environment variables in one file only, and never writes them; the programs read none."""
import re

import rule

ALLOWED = "tessera/runtime/context.cpp"
ACCESS = re.compile(r"\b(secure_)?(getenv|setenv|putenv|unsetenv|clearenv|environ)\b")


def main():
    root = rule.arguments(__doc__).root
    report = rule.Report("source files")
    reads = 0
    for path in rule.files(root):
        if path.suffix not in rule.SOURCE or path.parts[0] not in {"tessera", "apps"}:
            continue
        report.saw()
        for number, line in rule.lines(root, path):
            match = ACCESS.search(line)
            if not match:
                continue
            if str(path) != ALLOWED:
                report.bad(f"{path}:{number}", f"'{match[0]}': environment variables are read in {ALLOWED} only")
            elif match[2] != "getenv":
                report.bad(f"{path}:{number}", f"'{match[0]}': the library changes no environment variable")
            else:
                reads += 1
    print(f"{ALLOWED} reads the environment in {reads} places")
    if reads == 0:
        report.bad(ALLOWED, "expected the one place that reads the environment")
    report.finish()


if __name__ == "__main__":
    main()
