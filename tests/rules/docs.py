"""Paths that pages and header notes name exist, and no file names a path of one particular machine."""
import re

import rule

TOP = r"(?:tessera|apps|tests|docs|tools|scripts|examples|benchmarks|cmake|python|\.ci)"
IN_BACKTICKS = re.compile(r"`((?:\./)?" + TOP + r"/[\w./<>*{}\-]+|[A-Z][A-Za-z_]+\.(?:md|txt|json)|LICENSE)`")
IN_LINKS = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)")
IN_NOTES = re.compile(r"\b(" + TOP + r"/[\w./\-]+\.(?:md|txt|h|cpp|py|cmake|json))\b")
# Spelled in pieces, so that this file does not hold what it looks for.
MACHINE = re.compile(r"(?<![\w.<>}-])/(?:" + "|".join(("work", "root", "home", "tmp/wt", "Users")) + r")(?:/|\b)(?!-)")
GENERATED = ("build/",)


def exists(root, path, target):
    """A path from the root, or beside the page; a <stem> or * in it stands for any name."""
    target = target.removeprefix("./").rstrip("/.")
    pattern = re.sub(r"<[^>]*>|\{[^}]*\}", "*", target)
    for base in (root, root / path.parent):
        if "*" in pattern and next(base.glob(pattern), None) is not None:
            return True
        if (base / target).exists():
            return True
    return False


def main():
    root = rule.arguments(__doc__).root.resolve()
    report = rule.Report("named paths")
    texts = pages = 0
    for path in rule.files(root):
        golden = path.parts[:2] == ("tests", "goldens")
        content = rule.lines(root, path)
        texts += bool(content)
        page = path.suffix == ".md" and not golden
        pages += page
        for number, line in content:
            where = f"{path}:{number}"
            match = MACHINE.search(line)
            if match and not golden:
                report.bad(where, f"'{match[0]}' is a path of one machine")
            targets = []
            if page:
                targets = IN_BACKTICKS.findall(line) + IN_LINKS.findall(re.sub(r"`[^`]*`", "", line))
            elif path.suffix == ".h" and number <= 4 and line.startswith("//"):
                targets = IN_NOTES.findall(line)
            for target in targets:
                if target.startswith(GENERATED):
                    continue
                report.saw()
                if not exists(root, path, target):
                    report.bad(where, f"'{target}' does not exist")
    print(f"read {texts} text files, of which {pages} pages")
    if pages == 0:
        report.bad("docs", "there is no page")
    report.finish()


if __name__ == "__main__":
    main()
