"""Kernels neither allocate, throw nor lock, and no code for one instruction set can slip into the path of another.

A function that the linker may merge with another file's copy (a template or inline function of the standard library, say) and that was
compiled with AVX would run on processors without it, depending on the order of the objects. So in the objects of the kernels:
  - instructions beyond baseline x86-64 stand only in functions whose namespace or file names the instruction set;
  - what builds a table of rows, which every processor does, neither holds nor calls such instructions;
  - functions of tessera::kernels, other than those that build a table of rows, call nothing that allocates, throws, locks or exits;
  - every exported name is in tessera::kernels.
"""
import re

import objects
import rule

SET = re.compile(r"N_AVX\w*::|\b(avx|amx)\w*::|::\w*(avx2|avx512|amx)\w*\(")
SET_IN_FILE = re.compile(r"(avx2|avx512|amx)")
OWN = re.compile(r"(?:.*\s)?tessera::kernels::")
TABLE = re.compile(r"tessera::kernels::(?:\w+::)*\w*_rows\(|tessera::kernels::(?:\w+::)*\w*rows\[abi")
CALLS = re.compile(
    r"operator (new|delete)|(malloc|calloc|realloc|free|aligned_alloc|posix_memalign)$|__cxa_(throw|allocate_exception|guard)|abort$|exit$|"
    r"(__)?v?printf|puts$|__assert_fail|pthread_|std::(vector|__cxx11::basic_string|__throw|mutex|thread|function|map|unordered_map)|hwy::Abort"
)
ALLOWED_WITH_ASSERTIONS = re.compile(r"__assert_fail|hwy::Abort")


def main():
    arguments = rule.arguments(__doc__, "assertions", "archives")
    report = rule.Report("functions of kernels")
    kernels = tables = wide = mergeable = 0
    for archive in arguments.archives:
        weak = set()
        for member, kind, name in objects.symbols(archive):
            if kind in "WwVvu" and "DW.ref" not in name:
                weak.add((member, name))
            elif kind in "TDBRG" and not OWN.match(name) and not re.match(r"(typeinfo|vtable).* for tessera::kernels", name):
                report.bad(f"{archive}({member})", f"exports {name}, which is not in tessera::kernels")
        functions = objects.functions(archive)
        wide_functions = {(member, name) for member, name, instructions, *_ in functions if objects.vex(instructions)}
        for member, name, instructions, refers, calls in functions:
            where = f"{archive}({member})"
            report.saw()
            vex = objects.vex(instructions)
            plain = re.sub(r" \[clone [^]]*\]", "", name)
            mergeable += (member, plain) in weak
            if re.match(r"_GLOBAL__|__static_initialization|__cxx_global", name):
                runs = vex[:1] + [call for call in sorted(calls) if (member, call) in wide_functions]
                if runs:
                    report.bad(where, f"{name} runs on every processor before main(), and it holds or calls {runs[0]}")
            elif vex:
                wide += 1
                if (member, plain) in weak and not SET.search(name):
                    report.bad(where, f"the linker may merge {name} into the baseline path, and it holds {vex[0]} and {len(vex) - 1} more such")
                elif not SET.search(name) and not SET_IN_FILE.search(member):
                    report.bad(where, f"{name} is baseline code by its name, and it holds {vex[0]} and {len(vex) - 1} more such")
            if not OWN.match(name):
                continue
            if TABLE.search(name):
                tables += 1
                if vex:
                    report.bad(where, f"{name} builds a table on every processor, and it holds {vex[0]}")
                for call in sorted(calls):
                    if (member, call) in wide_functions:
                        report.bad(where, f"{name} builds a table on every processor, and it calls {call}, which not every processor can run")
                continue
            kernels += 1
            for call in sorted(refers):
                if CALLS.match(call) and not (arguments.assertions == "on" and ALLOWED_WITH_ASSERTIONS.match(call)):
                    report.bad(where, f"{name} calls {call}")
    print(f"{kernels} functions in tessera::kernels, {tables} that build tables, {mergeable} mergeable, {wide} beyond baseline x86-64")
    if kernels == 0 or tables == 0:
        report.bad("kernels", "no kernel or no table found")
    report.finish()


if __name__ == "__main__":
    main()
