"""A file includes only rooms below its own, by full path, and third-party headers only where they belong, never in a public header."""
import re

import rule

# The order of the rooms is data, here and in the calls of tessera_room() in CMakeLists.txt, and nowhere else.
USES = {
    "core": set(),
    "device": {"core"},
    "io": {"core"},
    "kernels": {"core", "device"},
    "runtime": {"core", "device"},
    "ops": {"core", "device", "kernels", "runtime"},
    "models": {"core", "device", "runtime", "io", "ops"},
}
LIBRARY = set(rule.ROOMS)
# Headers of libraries, and the places whose sources may include them. Headers may not, except the private ones of the same place.
THIRD_PARTY = {
    r"fmt/": {"core", "io", "runtime", "ops", "models", "apps", "benchmarks", "tests"},
    r"nlohmann/": {"io", "tests"},
    r"jpeglib\.h$|jerror\.h$|png\.h$|sentencepiece|xxhash\.h$": {"io", "tests"},
    r"hwy/": {"kernels"},
    r"CLI/|cairo": {"apps"},
    r"nanobind/": {"python"},
    r"gtest/|gmock/": {"tests"},
    r"benchmark/": {"benchmarks"},
}
# Headers of the operating system and of the processor. kernels/ may know the instruction set, not the system.
INTRINSICS = r"(\w*intrin|arm_\w+|cpuid)\.h$"
SYSTEM = r"(sys/\w+|linux/\w+|asm/\w+|unistd|fcntl|sched|pthread|signal|dlfcn|dirent|termios|getopt|poll|time)\.h$"
SYSTEM_PLACES = {"core", "device", "io", "runtime", "apps", "tests"}
C_LIBRARY = r"(setjmp|stdio|stdint|stddef|stdlib|string)\.h$"
C_LIBRARY_PLACES = {"io", "apps", "tests"}  # what libjpeg and libpng ask for
STANDARD = r"[a-z_0-9]+$"


def place_of(path):
    """The room of a file, or the top folder of what is not the library."""
    if path.parts[0] == "tessera":
        return path.parts[1] if len(path.parts) > 2 else "tessera"
    return path.parts[0]


def check_quoted(report, where, place, target):
    top, *rest = target.split("/")
    if re.match(r"hwy/", target) and place == "kernels":
        return
    if top == "tessera" and len(rest) >= 2:
        room = rest[0]
        if room not in LIBRARY:
            report.bad(where, f"there is no room '{room}'")
        elif place in USES and room != place and room not in USES[place]:
            report.bad(where, f"{place} may not include {room}")
        return
    if top == "apps" and rest and place in {"apps", "tests"}:
        return
    if top == "python" and rest and place == "python":
        return
    if top == "tests" and rest and place in {"tests", "benchmarks"}:
        return
    report.bad(where, f'include by full path from the root, got "{target}"')


def check_angled(report, where, place, public, target):
    for pattern, places in THIRD_PARTY.items():
        if re.match(pattern, target):
            if place not in places:
                report.bad(where, f"{place} may not use <{target}>: it is private to {', '.join(sorted(places))}")
            elif public:
                report.bad(where, f"a public header may not include the third-party <{target}>")
            return
    if re.match(STANDARD, target):
        return
    if re.match(INTRINSICS, target):
        if place not in {"kernels", "device", "runtime", "benchmarks"} or public:
            report.bad(where, f"<{target}> belongs in sources of kernels and device")
    elif re.match(SYSTEM, target):
        if place not in SYSTEM_PLACES or public:
            report.bad(where, f"<{target}> belongs in sources of {', '.join(sorted(SYSTEM_PLACES))}")
    elif re.match(C_LIBRARY, target):
        if place not in C_LIBRARY_PLACES or public:
            report.bad(where, f"use the C++ form of <{target}>")
    elif target.startswith("tessera/"):
        report.bad(where, f'write "{target}", not <{target}>')
    else:
        report.bad(where, f"<{target}> is in no list of tests/rules/layers.py")


def main():
    root = rule.arguments(__doc__).root
    report = rule.Report("includes")
    private = {room: rule.private_headers(root, room) for room in rule.ROOMS}
    rooms = set()
    for path in rule.files(root):
        if path.suffix not in rule.SOURCE or path.parts[0] not in {"tessera", "apps", "tests", "benchmarks", "examples"}:
            continue
        place = place_of(path)
        if path.parts[0] == "tessera":
            rooms.add(place)
            if place not in LIBRARY:
                report.bad(path, f"there is no room '{place}'")
        public = path.suffix == ".h" and place in LIBRARY and "/".join(path.parts[2:]) not in private[place]
        for number, line in rule.lines(root, path):
            match = re.match(r'\s*#\s*include\s+(["<])([^">]+)[">]', line)
            if not match:
                continue
            report.saw()
            where = f"{path}:{number}"
            if match[1] == '"':
                check_quoted(report, where, place, match[2])
            else:
                check_angled(report, where, place, public, match[2])
    print(f"rooms: {', '.join(sorted(rooms))}")
    if not rooms:
        report.bad("tessera", "holds no room")
    report.finish()


if __name__ == "__main__":
    main()
