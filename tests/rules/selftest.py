"""Breaks every rule on purpose, in small repositories made for it, and fails when a rule does not notice.

For each rule: an empty repository fails, a clean one passes, and each single breach fails and is named in the rule's output.
"""
import pathlib
import subprocess
import sys
import tempfile

import rule

RULES = pathlib.Path(__file__).resolve().parent
NOTE = "// What it is for. Test: tests/core/value_test.cpp.\n"
PAGE = "# op\n" + "".join(f"## {h}\n" for h in ("What it computes", "Arguments", "dtypes and layouts", "Errors", "NaN and Inf", "Kernel rows", "Cost", "Source"))
CLEAN = {
    "tessera/core/value.h": NOTE + "#pragma once\n#include <vector>\n",
    "tests/core/value_test.cpp": '#include "tessera/core/value.h"\n#include <gtest/gtest.h>\n',
    "tessera/runtime/context.cpp": '#include <cstdlib>\n#include "tessera/core/value.h"\nconst char* x = std::getenv("TESSERA_ISA");\n',
    "tessera/kernels/pool/pool.cpp": '#include "tessera/core/value.h"\n#include "hwy/highway.h"\n',
    "tests/kernels/pool_test.cpp": "// rows\n",
    "tessera/ops/pool.h": "#pragma once\n",
    "tessera/ops/pool.cpp": '#include "tessera/kernels/pool/pool.h"\n#include "tessera/runtime/context.h"\n',
    "tests/ops/pool_test.cpp": '#include "tests/reference/pool.h"\n// shapes of tests/shapes/pool.txt, runnable_rows, ctx.force()\n',
    "tests/reference/pool.h": "// plain loops\n",
    "tests/shapes/pool.txt": "1 2 3\n",
    "docs/ops/pool.md": PAGE + "See `tessera/ops/pool.h` and [the other](../ops/pool.md).\n",
    "tessera/io/png.h": "#pragma once\n",
    "tests/io/png_test.cpp": "// readers\n",
    "tests/fuzz/png_fuzz.cpp": "// hostile bytes\n",
    "README.md": "Look at `docs/ops/pool.md`.\n",
}
# rule: [(what is broken, {path: new content, or None to leave the file out}, what the rule must say)]
BREACHES = {
    "layers": [
        ("an upward include", {"tessera/core/value.h": '#include "tessera/ops/pool.h"\n'}, "core may not include ops"),
        ("rooms of one number", {"tessera/io/png.h": '#include "tessera/device/cpu.h"\n'}, "io may not include device"),
        ("models past ops", {"tessera/models/m.cpp": '#include "tessera/kernels/pool/pool.h"\n'}, "models may not include kernels"),
        ("a relative include", {"tessera/ops/pool.cpp": '#include "pool.h"\n'}, "include by full path"),
        ("an app in the library", {"tessera/ops/pool.cpp": '#include "apps/cli/commands.h"\n'}, "include by full path"),
        ("a library in a public header", {"tessera/core/value.h": "#include <fmt/core.h>\n"}, "public header"),
        ("a library in the wrong room", {"tessera/ops/pool.cpp": "#include <nlohmann/json.hpp>\n"}, "private to io, tests"),
        ("an unknown header", {"tessera/ops/pool.cpp": "#include <windows.h>\n"}, "in no list"),
        ("a room of its own", {"tessera/util/all.h": "#pragma once\n"}, "no room 'util'"),
    ],
    "complete": [
        ("no reference", {"tests/reference/pool.h": None}, "tests/reference/pool.h is missing"),
        ("no shapes", {"tests/shapes/pool.txt": None}, "tests/shapes/pool.txt is missing"),
        ("no page", {"docs/ops/pool.md": None}, "docs/ops/pool.md is missing"),
        ("no test", {"tests/ops/pool_test.cpp": None}, "tests/ops/pool_test.cpp is missing"),
        ("an empty test", {"tests/ops/pool_test.cpp": "\n"}, "is empty"),
        ("a test without rows", {"tests/ops/pool_test.cpp": '#include "tests/reference/pool.h"\n// shapes\n'}, "every row that runs here"),
        ("no source", {"tessera/ops/pool.cpp": None}, "tessera/ops/pool.cpp is missing"),
        ("a page without errors", {"docs/ops/pool.md": PAGE.replace("## Errors\n", "")}, "lacks the heading 'Errors'"),
        ("a family without test", {"tests/kernels/pool_test.cpp": None}, "tests/kernels/pool_test.cpp is missing"),
        ("a reader without fuzzer", {"tests/fuzz/png_fuzz.cpp": None}, "hostile bytes"),
    ],
    "length": [
        ("a long source", {"tessera/ops/pool.cpp": "//\n" * 601}, "601 lines"),
        ("a long test", {"tests/ops/pool_test.cpp": "//\n" * 700}, "700 lines"),
    ],
    "markers": [("unfinished work", {"tessera/ops/pool.cpp": "// TO" + "DO: the rest\n"}, "finish it")],
    "environment": [
        ("a read elsewhere", {"tessera/ops/pool.cpp": 'auto x = std::getenv("HOME");\n'}, "tessera/ops/pool.cpp:1"),
        ("a write", {"tessera/runtime/context.cpp": 'int x = setenv("A", "B", 1);\n'}, "changes no environment"),
        ("no read at all", {"tessera/runtime/context.cpp": "int x;\n"}, "expected the one place"),
    ],
    "docs": [
        ("a page that lies", {"README.md": "Look at `docs/ops/conv.md`.\n"}, "'docs/ops/conv.md' does not exist"),
        ("a dead link", {"README.md": "Look [here](docs/nowhere.md).\n"}, "'docs/nowhere.md' does not exist"),
        ("a header that lies", {"tests/core/value_test.cpp": None}, "'tests/core/value_test.cpp' does not exist"),
        ("a path of one machine", {"tessera/ops/pool.cpp": "// see /ho" + "me/me/notes\n"}, "path of one machine"),
    ],
}
KERNEL = """
namespace tessera::kernels {
namespace N_AVX2 { %s }
int* pool_rows() { static int* table = new int(0); return table; }
}
"""
CLEAN_KERNEL = '__attribute__((target("avx2"))) void run(float* x, int n) noexcept { for (int i = 0; i < n; ++i) x[i] *= 2.0f; }'
# rule: [(what, source, extra arguments before the archive, what the rule must say or None when it must pass)]
OBJECTS = {
    "library_symbols": [
        ("clean code", "#include <stdexcept>\nvoid f() { throw std::runtime_error(\"x\"); }", None),
        ("abort", "#include <cstdlib>\nvoid f() { std::abort(); }", "uses abort"),
        ("exit", "#include <cstdlib>\nvoid f() { std::exit(1); }", "uses exit"),
        ("printf", "#include <cstdio>\nvoid f(int x) { std::printf(\"%d\", x); }", "printf"),
        ("stderr", "#include <cstdio>\nvoid f() { std::fputs(\"x\", stderr); }", "uses stderr"),
        ("cout", "#include <iostream>\nvoid f() { std::cout << 1; }", "std::cout"),
        ("assert", "#undef NDEBUG\n#include <cassert>\nvoid f(int x) { assert(x); }", "__assert_fail"),
        ("nothing", "static int x;", "is it a library?"),
    ],
    "kernel_symbols": [
        ("clean code", KERNEL % CLEAN_KERNEL, None),
        ("new in a kernel", KERNEL % (CLEAN_KERNEL + "float* make(int n) { return new float[n]; }"), "calls operator new"),
        ("malloc in a kernel", "#include <cstdlib>" + KERNEL % (CLEAN_KERNEL + "void* make(int n) { return std::malloc(n); }"), "calls malloc"),
        ("throw in a kernel", KERNEL % (CLEAN_KERNEL + "void no(int n) { if (n) throw 1; }"), "__cxa_"),
        ("a vector in a kernel", "#include <vector>" + KERNEL % (CLEAN_KERNEL + "void grow(std::vector<int>& v) { v.push_back(1); }"), "calls"),
        (
            "AVX in a mergeable function",
            'template <class T> __attribute__((target("avx2"), noinline)) T twice(T x) { return x * 2; }' + KERNEL % "float run(float x) { return twice(x); }",
            "the linker may merge",
        ),
        (
            "AVX in the baseline",
            "namespace tessera::kernels { " + CLEAN_KERNEL.replace("run", "plain") + " }" + KERNEL % CLEAN_KERNEL,
            "is baseline code by its name",
        ),
        (
            "a table built by code of one instruction set",
            KERNEL.replace("new int(0)", "new int(N_AVX2::make(1.0f))")
            % (CLEAN_KERNEL + '__attribute__((target("avx2"), noinline)) int make(float x) { return int(x * 3); }'),
            "which not every processor can run",
        ),
        (
            "AVX before main()",
            'float seed = 3; namespace tessera::kernels { float table[64]; }\nstruct Fill { __attribute__((target("avx2"))) Fill() noexcept '
            "{ for (float& x : tessera::kernels::table) x = seed * 2; } };\nstatic Fill fill;\n"
            + KERNEL % CLEAN_KERNEL,
            "before main()",
        ),
        ("an exported name", KERNEL % CLEAN_KERNEL + "int loose() { return 1; }", "not in tessera::kernels"),
        ("no kernel", "int x() { return 1; }", "no kernel or no table"),
    ],
}
# A stand-in for the program: what `info` prints with and without TESSERA_ISA, and its status for a level that is none.
PROGRAM = """#!/bin/sh
case "$TESSERA_ISA" in
  no-*) echo "no level no-such-level" >&2; exit %s ;;
  scalar) row=%s ;;
  *) row=avx2 ;;
esac
echo '{"rows": [%s]}' | sed "s/ROW/$row/"
"""
ROW = '{"family": "pool", "row": "ROW", "used": true, "reason": ""}'
PROGRAMS = [
    ("a program that obeys", PROGRAM % (1, "scalar", ROW), None),
    ("a program that does not lower", PROGRAM % (1, "avx2", ROW), "pool uses avx2"),
    ("a program that takes any level", PROGRAM % (0, "scalar", ROW), "expected status 1"),
    ("a family without a row", PROGRAM % (1, "scalar", ROW.replace("true", "false")), "no row of pool is used"),
    ("no rows", PROGRAM % (1, "scalar", ""), "looked at 0"),
]
PROJECT = """cmake_minimum_required(VERSION 3.25)
project(selftest LANGUAGES CXX)
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_VERIFY_INTERFACE_HEADER_SETS ON)
add_library(room STATIC value.cpp)
target_sources(room PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES tessera/core/value.h)
"""


def write(root, tree):
    for name, content in tree.items():
        if content is not None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(content)


def run(name, *arguments):
    result = subprocess.run([sys.executable, str(RULES / f"{name}.py"), *map(str, arguments)], capture_output=True, text=True)
    return result.returncode, result.stdout + result.stderr


def expect(report, name, what, outcome, must_say):
    report.saw()
    status, text = outcome
    if must_say is None and status != 0:
        report.bad(name, f"{what}: expected to pass, it said:\n{text}")
    elif must_say is not None and (status == 0 or must_say not in text):
        report.bad(name, f"{what}: expected to fail with '{must_say}', it ended with status {status} and said:\n{text}")


def main():
    arguments = rule.arguments(__doc__, "cmake", "compiler")
    report = rule.Report("cases")
    with tempfile.TemporaryDirectory() as folder:
        base = pathlib.Path(folder)
        (base / "empty").mkdir()
        for name, breaches in BREACHES.items():
            expect(report, name, "an empty repository", run(name, "--root", base / "empty"), "looked at 0")
            for i, (what, changes, must_say) in enumerate([("a clean repository", {}, None), *breaches]):
                root = base / f"{name}{i}"
                write(root, CLEAN | changes)
                expect(report, name, what, run(name, "--root", root), must_say)
        for name, cases in OBJECTS.items():
            status, text = run(name, "off", base / "missing.a")
            expect(report, name, "a missing archive", (status, text), "missing.a")
            for i, (what, source, must_say) in enumerate(cases):
                stem = base / f"{name}{i}"
                stem.with_suffix(".cpp").write_text(source)
                subprocess.run([arguments.compiler, "-std=c++20", "-O2", "-c", f"{stem}.cpp", "-o", f"{stem}.cpp.o"], check=True)
                subprocess.run(["ar", "rcs", f"{stem}.a", f"{stem}.cpp.o"], check=True)
                expect(report, name, what, run(name, "off", f"{stem}.a"), must_say)
        for i, (what, header, must_say) in enumerate([("a whole header", "#include <vector>\n", None), ("a header that leans on others", "", "compile alone")]):
            root = base / f"headers{i}"
            write(root, {"CMakeLists.txt": PROJECT, "value.cpp": "int x;\n", "tessera/core/value.h": header + "inline std::vector<int> v();\n"})
            configure = [arguments.cmake, "-S", root, "-B", root / "build", f"-DCMAKE_CXX_COMPILER={arguments.compiler}"]
            subprocess.run(configure, check=True, capture_output=True)
            expect(report, "headers", what, run("headers", "--root", root, arguments.cmake, root / "build"), must_say)
            write(root, {"tessera/core/forgotten.h": "#pragma once\n"})
            if must_say is None:
                expect(report, "headers", "a header in no target", run("headers", "--root", root, arguments.cmake, root / "build"), "was not compiled alone")
        for i, (what, source, must_say) in enumerate(PROGRAMS):
            program = base / f"program{i}"
            program.write_text(source)
            program.chmod(0o755)
            expect(report, "isa", what, run("isa", program), must_say)
    covered = set(BREACHES) | set(OBJECTS) | {"headers", "isa"}
    for script in sorted(RULES.glob("*.py")):
        if script.stem not in covered | {"rule", "objects", "selftest"}:
            report.bad(script.name, "is a rule that no case here breaks")
    print(f"rules: {', '.join(sorted(covered))}")
    report.finish()


if __name__ == "__main__":
    main()
