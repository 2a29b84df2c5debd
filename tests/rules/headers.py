"""Every public header compiles alone. Builds CMake's own check (VERIFY_INTERFACE_HEADER_SETS) and compares what it compiled with what there is."""
import pathlib
import subprocess

import rule

TARGET = "all_verify_interface_header_sets"


def main():
    arguments = rule.arguments(__doc__, "cmake", "build")
    root = arguments.root.resolve()
    report = rule.Report("public headers")
    public = set()
    for path in rule.files(root):
        if path.suffix == ".h" and path.parts[0] == "tessera" and len(path.parts) > 2:
            if "/".join(path.parts[2:]) not in rule.private_headers(root, path.parts[1]):
                public.add(str(path))
    built = subprocess.run([arguments.cmake, "--build", arguments.build, "--target", TARGET], capture_output=True, text=True)
    if built.returncode != 0:
        print(built.stdout[-8000:], built.stderr[-2000:])
        report.bad(TARGET, "a header does not compile alone")
    compiled = set()
    for item in pathlib.Path(arguments.build).rglob("*.h.cxx.o"):
        match = str(item).split("_verify_interface_header_sets.dir/", 1)
        if len(match) == 2:
            name = match[1]
            compiled.add(name[name.index("tessera/", name.index("_verify_interface_header_sets/")) : -len(".cxx.o")])
    report.saw(len(public & compiled))
    for path in sorted(public - compiled):
        report.bad(path, "was not compiled alone: is it in a room of CMakeLists.txt?")
    report.finish()


if __name__ == "__main__":
    main()
