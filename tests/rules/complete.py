"""Every op has its seven places, every family of kernels its test, every reader of files its test and fuzzer."""
import re

import rule

# Headers in ops/ that describe the table of kernels and compute nothing: no reference, no shapes, no page.
NO_OP = {
    "kernel_table": "lists the rows of all families; computes nothing",
    "images": "reads sizes off shapes; computes nothing",
}
# Headers in io/ that parse no file format of their own.
NO_READER = {"file": "opens, maps and replaces files; knows no format"}
HEADINGS = ("What it computes", "Arguments", "dtypes and layouts", "Errors", "NaN and Inf", "Kernel rows", "Cost", "Source")


def main():
    root = rule.arguments(__doc__).root.resolve()
    report = rule.Report("units")
    listing = set(map(str, rule.files(root)))

    def need(stem, path):
        if path not in listing:
            report.bad(stem, f"{path} is missing")
            return False
        if not (root / path).read_text().strip():
            report.bad(stem, f"{path} is empty")
            return False
        return True

    def stems(room):
        private = rule.private_headers(root, room)
        pattern = re.compile(rf"tessera/{room}/(\w+)\.h$")
        return sorted(m[1] for m in map(pattern.match, listing) if m and m[1] + ".h" not in private)

    ops = stems("ops")
    for stem in ops:
        report.saw()
        need(stem, f"tessera/ops/{stem}.cpp")
        tested = need(stem, f"tests/ops/{stem}_test.cpp")
        if stem in NO_OP:
            print(f"exempt: {stem}: {NO_OP[stem]}")
            continue
        if tested:
            test = (root / f"tests/ops/{stem}_test.cpp").read_text()
            source = root / f"tessera/ops/{stem}.cpp"
            uses = {"its reference": re.escape(f'"tests/reference/{stem}.h"'), "its shapes": "shapes"}
            if source.is_file() and '#include "tessera/kernels/' in source.read_text():
                uses["every row that runs here, by force"] = r"(?s)(runnable_rows|\w_rows\(\)).*force\("
            for what, word in uses.items():
                if not re.search(word, test):
                    report.bad(stem, f"tests/ops/{stem}_test.cpp does not use {what} ({word})")
        need(stem, f"tests/reference/{stem}.h")
        need(stem, f"tests/shapes/{stem}.txt")
        if need(stem, f"docs/ops/{stem}.md"):
            page = (root / f"docs/ops/{stem}.md").read_text()
            for heading in HEADINGS:
                if not re.search(rf"^#+ {re.escape(heading)}\s*$", page, re.MULTILINE):
                    report.bad(stem, f"docs/ops/{stem}.md lacks the heading '{heading}'")
    families = sorted({m[1] for m in (re.match(r"tessera/kernels/(\w+)/\w+\.cpp$", name) for name in listing) if m})
    for family in families:
        report.saw()
        need(family, f"tests/kernels/{family}_test.cpp")
    readers = stems("io")
    for stem in readers:
        report.saw()
        need(stem, f"tests/io/{stem}_test.cpp")
        if stem in NO_READER:
            print(f"exempt: {stem}: {NO_READER[stem]}")
        elif not any(re.match(rf"tests/fuzz/{stem}\w*\.cpp$", name) for name in listing):
            report.bad(stem, f"no tests/fuzz/{stem}*.cpp reads hostile bytes with it")
    for room, found in (("ops", ops), ("families of kernels", families), ("readers", readers)):
        print(f"{room}: {', '.join(found)}")
        if not found:
            report.bad(room, "none found")
    report.finish()


if __name__ == "__main__":
    main()
