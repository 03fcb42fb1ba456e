"""What the package runs on, for bug reports and benchmarks."""

import os

import numpy as np

from . import _backend, _threads


def show_config(mode="stdout"):
    """Show what the package runs on.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print a few lines, or return a dict of the same.

    Returns
    -------
    dict or None
        With the keys ``version``, ``backend`` ("compiled" or "numpy") and ``reason`` (why the
        kernels are not used, or None), ``isa`` (``detected``: instances that this processor can
        run, best first; ``compiled``: those built in; ``used``; ``cap``: FASTSOFTMAX_MAX_ISA),
        ``openmp`` (its version date, or None), ``openmp_note`` (how the build found it, or why it
        did not), ``threads`` (``used`` by a large call, ``allowed``
        by affinity and cgroup), ``memory`` (``recycle_limit``, and the bytes now ``idle``: freed
        results that are kept) and ``system``.

    Raises
    ------
    ValueError
        If `mode` is unknown.

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.show_config("dicts")["version"]
    '0.1.0'
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f"mode: expected 'stdout' or 'dicts', got {mode!r}")
    config = _collect()
    if mode == "dicts":
        return config
    isa, threads, system = config["isa"], config["threads"], config["system"]
    limit, idle = (f"{config['memory'][key] / 2**20:.0f} MiB" for key in ("recycle_limit", "idle"))
    reason = f" ({config['reason']})" if config["reason"] else ""
    cap = f", capped at {isa['cap']}" if isa["cap"] else ""
    print(f"fastsoftmax  {config['version']}")
    print(f"backend      {config['backend']}{reason}")
    print(f"ISA          {isa['used']}{cap}")
    print(f"  detected   {', '.join(isa['detected'])}")
    print(f"  compiled   {', '.join(isa['compiled']) or 'none'}")
    note = f" ({config['openmp_note']})" if config["openmp_note"] else ""
    print(f"OpenMP       {config['openmp'] or 'none'}{note}")
    print(f"threads      {threads['used']} ({threads['allowed']} CPUs allowed)")
    print(f"recycling    {limit} ({idle} idle)")
    print(f"system       {', '.join(f'{key} {value}' for key, value in system.items())}")


def _collect():
    import platform  # here, because `import fastsoftmax` should be quick

    from . import __version__  # not yet defined when this module is imported

    core = _backend.core
    return {
        "version": __version__,
        "backend": "compiled" if _backend.reason is None else "numpy",
        "reason": _backend.reason,
        "isa": {
            "detected": core.isas(),
            "compiled": core.compiled_isas(),
            "used": core.current_isa(),
            "cap": _backend.cap,
        },
        "openmp": core.openmp() or None,
        "openmp_note": core.openmp_note(),
        "threads": {"used": core.get_num_threads(), "allowed": _threads.allowed_cpus()},
        "memory": {"recycle_limit": core.get_recycle_limit(), "idle": core.idle_memory()},
        "system": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
        },
    }
