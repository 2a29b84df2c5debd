"""What rules ask of compiled code: the symbols of an archive's objects, and the functions in them (nm and objdump of binutils)."""
import re
import subprocess


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # check: a missing file is a failure


def symbols(archive):
    """(object, kind, demangled name) of every symbol; kinds as nm prints them: U undefined, T t text, W w V v u mergeable, ..."""
    found, member = [], ""
    for line in output("nm", "-C", str(archive)).splitlines():
        if line.endswith(".o:"):
            member = line[:-1]
            continue
        match = re.match(r"(?:[0-9a-f]+)?\s+([A-Za-z]) (.*)$", line)
        if match:
            found.append((member, match[1], match[2]))
    return found


CALLS = {"call", "jmp", "bl", "b"}


def functions(archive):
    """(object, demangled name, instructions, names that it refers to, those of them that it calls) of every function."""
    found, member, current, last = [], "", None, ""
    for line in output("objdump", "-drC", "--no-show-raw-insn", "-w", str(archive)).splitlines():
        match = re.match(r"(\S+\.o):\s+file format", line)
        if match:
            member, current = match[1], None
            continue
        match = re.match(r"[0-9a-f]+ <(.*)>:$", line)
        if match:
            current = (member, match[1], [], set(), set())
            found.append(current)
            continue
        if current is None:
            continue
        # A relocation stands behind or below its instruction: "  4f: R_X86_64_PLT32	operator new(unsigned long)-0x4".
        match = re.match(r"\s+[0-9a-f]+:\t(\S+)(.*)$", line)
        if match and not match[1].startswith("R_"):
            last = match[1]
            current[2].append(last)
            target = re.search(r"<(.*?)(?:\+0x[0-9a-f]+)?>\s*(?:\t|$)", match[2])
            if target and last in CALLS:
                current[3].add(target[1])
                current[4].add(target[1])
        for relocation in re.findall(r"R_\w+\s+(.*?)(?:[-+]0x[0-9a-f]+)?(?=\t|$)", line):
            current[3].add(relocation.strip())
            if last in CALLS:
                current[4].add(relocation.strip())
    return found


# x86 instructions that an old processor does not know: VEX and EVEX (all of AVX, BMI, masks) and the tiles of AMX.
VEX = re.compile(r"v(?!err$|erw$|mcall$)[a-z]|(andn|bextr|bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx|blsr|blsi|blsmsk)[lq]?$|k(mov|and|or|xor|xnor|not|add|shift|unpck|test)|td(p|ph)|tile|ldtilecfg|sttilecfg")


def vex(instructions):
    """The instructions among these that need more than baseline x86-64."""
    return [word for word in instructions if VEX.match(word)]
