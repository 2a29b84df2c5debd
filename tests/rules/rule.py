"""What the rules share: the files of the repository, and a report that fails when it looked at nothing."""
import argparse
import pathlib
import subprocess
import sys

SOURCE = (".h", ".cpp")
ROOMS = ("core", "device", "io", "kernels", "runtime", "ops", "models")
BUILD_FOLDERS = {".git", ".cache", "build", "__pycache__"}


def files(root):
    """Every file of the repository as a sorted list of paths relative to `root`: what git tracks or would add, else what lies there."""
    root = pathlib.Path(root).resolve()
    listing = None
    if (root / ".git").exists():
        command = ["git", "-c", f"safe.directory={root}", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        try:
            listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
        except (OSError, subprocess.CalledProcessError):
            listing = None
    if listing is None:
        listing = [str(path.relative_to(root)) for path in root.rglob("*") if not BUILD_FOLDERS & set(path.relative_to(root).parts)]
    return sorted({pathlib.PurePosixPath(name) for name in listing if name and (root / name).is_file()})


def lines(root, path):
    """(number, text) of each line; a file that is no text has none."""
    try:
        text = (pathlib.Path(root) / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return []
    return list(enumerate(text.splitlines(), 1))


def private_headers(root, room):
    """Headers of a room that are not installed, relative to the room."""
    listing = pathlib.Path(root) / "tessera" / room / "private_headers.txt"
    return set(listing.read_text().split()) if listing.is_file() else set()


class Report:
    """Collects what a rule looked at and what it found."""

    def __init__(self, what):
        self.what = what
        self.seen = 0
        self.violations = []

    def saw(self, count=1):
        self.seen += count

    def bad(self, where, message):
        self.violations.append(f"{where}: {message}")

    def finish(self):
        """Prints the report and ends the program: 0 when something was looked at and nothing was found."""
        for violation in self.violations:
            print(violation)
        print(f"looked at {self.seen} {self.what}: {len(self.violations)} violations")
        if self.seen == 0:
            print("a rule that looks at nothing fails")
        sys.exit(1 if self.violations or self.seen == 0 else 0)


def arguments(description, *names):
    """The repository's root (--root), and what else a rule asks for."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--root", default=pathlib.Path(__file__).resolve().parents[2], type=pathlib.Path)
    for name in names:
        parser.add_argument(name, nargs="+" if name == "archives" else None)
    return parser.parse_args()
