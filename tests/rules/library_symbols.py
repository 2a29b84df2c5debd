"""No object of the library ends the process or writes to a terminal: errors are exceptions, words belong to the apps.

Looks at the undefined symbols of the rooms' archives. What the C++ runtime does by itself (std::terminate behind noexcept) is
allowed; assert() is allowed in builds without NDEBUG, where other libraries' headers use it, and so is Highway's abort.
"""
import re

import objects
import rule

ENDS = r"abort|exit|_exit|_Exit|quick_exit|raise|kill|__assert_fail|std::abort.*|std::exit.*|hwy::Abort\(.*"
WRITES = r"v?printf|puts|putchar|perror|psignal|__v?printf_chk|_IO_putc|stdout|stderr|std::(w?cout|w?cerr|w?clog)|fmt::v\d+::(v?print|detail::print)\(.*"
READS = r"stdin|std::w?cin|getchar|gets|scanf"
FORBIDDEN = re.compile(rf"({ENDS}|{WRITES}|{READS})(@.*)?$")
WITH_ASSERTIONS = re.compile(r"__assert_fail$|hwy::Abort\(")


def main():
    arguments = rule.arguments(__doc__, "assertions", "archives")
    report = rule.Report("symbols that the library asks for")
    for archive in arguments.archives:
        asked = [(member, name) for member, kind, name in objects.symbols(archive) if kind in "Uw"]
        report.saw(len(asked))
        print(f"{archive.rsplit('/', 1)[-1]}: {len(asked)} in {len({member for member, _ in asked})} objects")
        if not asked:
            report.bad(archive, "asks for no symbol: is it a library?")
        for member, name in asked:
            if FORBIDDEN.match(name) and not (arguments.assertions == "on" and WITH_ASSERTIONS.match(name)):
                report.bad(f"{archive}({member})", f"uses {name}")
    report.finish()


if __name__ == "__main__":
    main()
