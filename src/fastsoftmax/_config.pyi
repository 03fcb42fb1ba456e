from typing import Literal, TypedDict, overload

class _Isa(TypedDict):
    detected: list[str]
    compiled: list[str]
    used: str
    cap: str | None

class _Threads(TypedDict):
    used: int
    allowed: int

class _Memory(TypedDict):
    recycle_limit: int
    idle: int

class _System(TypedDict):
    python: str
    numpy: str
    machine: str
    cpus: int | None

class _Config(TypedDict):
    version: str
    backend: Literal["compiled", "numpy"]
    reason: str | None
    isa: _Isa
    openmp: str | None
    openmp_note: str
    threads: _Threads
    memory: _Memory
    system: _System

@overload
def show_config(mode: Literal["stdout"] = "stdout") -> None: ...
@overload
def show_config(mode: Literal["dicts"]) -> _Config: ...
