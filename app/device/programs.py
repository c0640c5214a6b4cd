"""Stage programs in torch: write them without example inputs, load them after inspection."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.export import Dim, export, load, save

from app.device.archive import ProgramRefused, inspect_program

LARGEST_BATCH = 1024
# What the exporter notes for debugging; it holds paths of the machine that built the program.
_DEBUG_NOTES = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node")

Tensor = torch.Tensor
Program = Callable[..., Sequence[Tensor]]  # tensors in, a tuple of tensors out


def deterministic(threads: int = 1) -> None:
    """Make torch repeat itself in this process: one thread, no algorithm that depends on timing."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)


def write_program(module: torch.nn.Module, examples: Sequence[Tensor]) -> bytes:
    """`module` as an archive, the first axis of every input free. The same module gives the same
    bytes. `examples` fix the other axes and are not stored."""
    batch = Dim("batch", min=1, max=LARGEST_BATCH)
    free = tuple({0: batch} for _ in examples)
    # Copies: the exporter takes one tensor given twice for one input used twice.
    distinct = tuple(example.clone() for example in examples)
    program = export(module.eval(), distinct, dynamic_shapes=free)
    program._example_inputs = None
    for node in program.graph.nodes:
        for note in _DEBUG_NOTES:
            node.meta.pop(note, None)
    buffer = io.BytesIO()
    save(program, buffer)
    return buffer.getvalue()


def load_program(name: str, data: bytes) -> Program:
    """A program that is ready to run, without gradients, after `inspect_program`."""
    inspect_program(name, data)
    try:
        module = load(io.BytesIO(data)).module()
    except _UNLOADABLE as error:
        raise ProgramRefused(f"{name}: does not load: {type(error).__name__}") from error

    def run(*inputs: Tensor) -> Sequence[Tensor]:
        with torch.inference_mode():
            outputs: Any = module(*inputs)
        return outputs if isinstance(outputs, tuple) else (outputs,)

    return run


_UNLOADABLE = (RuntimeError, ValueError, KeyError, TypeError, AttributeError, AssertionError)
