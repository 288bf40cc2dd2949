"""Whether a job that failed ran out of memory; no system says so plainly.

What there is to go by: a refused allocation ends Python with MemoryError and C++ with
`std::bad_alloc`, in words that end the log; the kernel's killer sends SIGKILL and counts it; and a
peak close to the limit, when a native library crashed on the null pointer it was handed.
"""

from __future__ import annotations

import signal

#: Peak resident memory from this share of the size on makes a crash a case of memory.
NEARLY_ALL = 0.9

#: What programs print last when an allocation was refused.
WORDS = (b"MemoryError", b"bad_alloc", b"bad allocation", b"Cannot allocate memory")

#: Exit codes with a meaning of their own (sysexits), which the words of a log do not change; 70 is
#: what an error becomes that nobody foresaw, memory included.
SPEAKING_CODES = frozenset({0, *range(64, 79)}) - {70}

#: Signals by which programs end that wrote where there was nothing, or gave up.
CRASHES = frozenset({signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS})


def memory_evidence(
    exit_code: int | None,
    number: int | None,
    peak_mb: float,
    memory_mb: int,
    kernel_killed: bool,
    log_tail: bytes,
) -> str:
    """Why the end is a case of memory, in words; empty when nothing says so.

    Args:
        exit_code: what the job returned, None when a signal ended it.
        number: that signal.
        peak_mb: its peak resident memory in MiB.
        memory_mb: what its size allows, in MiB.
        kernel_killed: whether the kernel killed any process for memory while the job ran.
        log_tail: the last bytes of its log.
    """
    if number == signal.SIGKILL and kernel_killed:
        return "the kernel ended processes to free memory when the job was killed"
    if number in {signal.SIGKILL, *CRASHES} and peak_mb >= NEARLY_ALL * memory_mb:
        return f"killed at a peak of {peak_mb:.0f} of {memory_mb} MiB"
    if number in CRASHES or (number is None and exit_code not in SPEAKING_CODES):
        return _last_words(log_tail)
    return ""


def _last_words(log_tail: bytes) -> str:
    found = next((words for words in WORDS if words in log_tail), b"")
    return f"its log ends with {found.decode()}" if found else ""
