"""Sums up JUnit files as ctest and pytest write them: every skipped test with its reason, every failed one, and a last line
"N passed, N failed, N skipped". Exits 1 when a test failed, a file is missing or no test ran.

Usage: test_summary.py FILE...            the summary
       test_summary.py --failed FILE...   what the failed tests printed
"""
import pathlib
import re
import sys
import xml.etree.ElementTree


def read(path):
    """[(name, "passed" | "failed" | "skipped", output)] of one file."""
    results = []
    for case in xml.etree.ElementTree.parse(path).getroot().iter("testcase"):
        output = case.findtext("system-out") or ""
        # ctest gives every case a status, pytest none.
        of_pytest = case.get("status") is None
        if case.find("failure") is not None or case.find("error") is not None:
            state = "failed"
            output += "".join(e.text or "" for kind in ("failure", "error") for e in case.findall(kind)) if of_pytest else ""
        elif case.find("skipped") is not None and of_pytest:
            state = "skipped"
            output += "skipped: " + (case.find("skipped").get("message") or "no reason given")
        elif case.find("skipped") is not None:
            # A test that could not be started (not built, say) stands here, too; it has not chosen to be skipped.
            state = "skipped" if (case.find("skipped").get("message") or "").startswith("SKIP_") else "failed"
        else:
            state = "passed" if of_pytest or case.get("status") == "run" else "failed"
        results.append((f"{case.get('classname')}::{case.get('name')}" if of_pytest else case.get("name"), state, output))
    return results


def reason(output):
    """Why a test was skipped: the text that GTEST_SKIP() or a rule printed."""
    lines = [line.strip() for line in output.splitlines()]
    for i, line in enumerate(lines):
        if re.search(r": Skipped$", line):
            text = " ".join(word for word in lines[i + 1 : i + 3] if word and not word.startswith("["))
            if text:
                return text
        if line.startswith("skipped: "):
            return line[len("skipped: ") :]
    return "no reason given"


def main(arguments):
    only_failed = arguments[:1] == ["--failed"]
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    for path in arguments[1:] if only_failed else arguments:
        if not pathlib.Path(path).is_file():
            print(f"failed: {path} is missing: the tests did not run to their end")
            counts["failed"] += 1
            continue
        results = read(path)
        if not results:
            print(f"failed: {path} holds no test")
            counts["failed"] += 1
        for name, state, output in results:
            counts[state] += 1
            if only_failed and state == "failed":
                print(f"---- {name}\n{output[-6000:].strip()}\n---- end of {name}")
            if not only_failed and state != "passed":
                print(f"{state}: {name}" + (f": {reason(output)}" if state == "skipped" else ""))
    if only_failed:
        print(f"{sum(counts.values())} tests, of which {counts['failed']} failed and {counts['skipped']} were skipped")
    else:
        print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
