"""No file puts work off: no marker of unfinished work in sources, tests, scripts or pages."""
import re

import rule

# Spelled in pieces, so that this file does not hold what it looks for.
MARKERS = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b|not (yet )?" + r"implemented", re.IGNORECASE)
KINDS = {".h", ".cpp", ".py", ".cmake", ".sh", ".md", ".txt", ".json", ""}


def main():
    root = rule.arguments(__doc__).root
    report = rule.Report("lines")
    for path in rule.files(root):
        if path.suffix not in KINDS or path.name == "LICENSE" or path.parts[:2] == ("tests", "goldens"):
            continue
        for number, line in rule.lines(root, path):
            report.saw()
            match = MARKERS.search(line)
            if match:
                report.bad(f"{path}:{number}", f"'{match[0]}': finish it or leave it out")
    report.finish()


if __name__ == "__main__":
    main()
