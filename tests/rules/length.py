"""No source file, test, script or build file is longer than 600 lines: a longer one wants a wall."""
import rule

LIMIT = 600
KINDS = {".h", ".cpp", ".py", ".cmake", ".sh", ""}


def main():
    root = rule.arguments(__doc__).root
    report = rule.Report("files")
    longest = (0, "")
    for path in rule.files(root):
        named = path.suffix in KINDS or path.name == "CMakeLists.txt"
        if not named or path.name == "LICENSE" or path.parts[:2] == ("tests", "goldens"):
            continue
        count = len(rule.lines(root, path))
        report.saw()
        longest = max(longest, (count, str(path)))
        if count > LIMIT:
            report.bad(path, f"{count} lines, at most {LIMIT} are allowed")
    print(f"longest: {longest[1]} with {longest[0]} lines")
    report.finish()


if __name__ == "__main__":
    main()
