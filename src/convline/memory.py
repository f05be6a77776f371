"""Memory: how an error shows that there is too little, and how glibc should keep what it has."""

import ctypes

# What libraries say, besides MemoryError, where the system gives them no more memory
SIGNS = (
    "RESOURCE_EXHAUSTED",
    "annot allocate memory",
    "can't start new thread",
    "failed to map segment",
)


def exhausted(error: Exception) -> bool:
    """Whether the system gave Python, numpy, TensorFlow or JAX no more memory."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "ResourceExhaustedError"
        or any(sign in str(error) for sign in SIGNS)
    )


def keep_freed() -> None:
    """Let glibc keep up to 64 MiB of freed memory in each of its heaps.

    By default it returns the memory of a step's arrays to the system and requests it again in the
    next step, page by page. That took an eighth of the processor time of an epoch of the recipe
    accurate.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # only glibc has it
    if mallopt:
        m_top_pad, m_mmap_threshold = -2, -3  # from malloc.h
        mallopt(m_top_pad, 64 * 2**20)
        mallopt(m_mmap_threshold, 32 * 2**20)  # the most that glibc allows
