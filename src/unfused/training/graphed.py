"""A training step on a GPU, recorded once and replayed: the host has one launch left."""

from collections.abc import Callable

import torch
from torch import Tensor

_WARM_UP = 3
"""Calls before the recording: they make the optimiser's state, and compile what is compiled."""


class Graphed:
    """A function of tensors that a CUDA graph repeats after its first calls.

    A step of a small encoder is a thousand kernels of some microseconds; launching each from Python
    takes longer than computing it. What the function does on the host happens in the first calls
    and is then fixed; what it does on the device, in place, happens in each. Inputs keep their
    shapes. Generators are what it draws from beside torch's global one; they can be seeded anew.
    """

    def __init__(
        self, function: Callable[..., dict[str, Tensor]], *generators: torch.Generator
    ) -> None:
        self.function, self.generators = function, generators
        self._stream, self._calls = torch.cuda.Stream(), 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._outputs: dict[str, Tensor] = {}

    def __call__(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Return what the function returns; nothing of it is overwritten by the next call."""
        self._calls += 1
        if self._calls <= _WARM_UP:  # on the stream of the recording, as autograd remembers it
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                outputs = self.function(*inputs)
            torch.cuda.current_stream().wait_stream(self._stream)
            return outputs
        if self._graph is None:
            self._record(inputs)
        assert self._graph is not None
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._graph.replay()
        return {name: value.clone() for name, value in self._outputs.items()}

    def _record(self, inputs: tuple[Tensor, ...]) -> None:
        self._inputs = tuple(given.clone() for given in inputs)
        self._graph = torch.cuda.CUDAGraph()
        for generator in self.generators:
            self._graph.register_generator_state(generator)
        # thread_local: another thread may gather the next batch meanwhile
        mode = "thread_local"
        with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode=mode):
            self._outputs = self.function(*self._inputs)
