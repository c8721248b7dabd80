"""Steps that are recorded as CUDA graphs, and replayed: ``steep.cuda.graph``. ``docs/graphs.md`` tells how."""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from types import MethodType
from typing import Any

from . import _core, autocasting, capturing, devices, random
from ._core import is_recording
from .autograd import anomaly
from .capturing import Postponed, Recording
from .checks import check_count
from .devices import Device
from .stack import level_outside
from .structure import map_tensors
from .tensor import Tensor

__all__ = ["CapturedStep", "graph"]


def graph(function: Callable[..., Any], *, device: Any = None, warmup: int = 1, limit: int = 16) -> CapturedStep:
    """``function`` as a step that a CUDA device does at one go: called again and again, it is queued as one graph.

    Small steps spend more time on queueing kernels than on running them; a graph is queued by one call. The first
    ``warmup`` calls run as they are; the next one is recorded, and from then on replayed. Without a CUDA device, and on
    tensors on the CPU, it is the function itself, with the same results.

    Arguments may be tensors of one device, and tuples, lists and dicts of them; anything else in them, such as numbers,
    is compared. Each combination of shapes, dtypes and other values is recorded for itself, up to ``limit`` of them;
    more than that run as they are, with a warning. Arguments are copied into memory of the graph, and results out of
    it, so that neither changes with the next call. Results are tensors on the device, and None, in tuples, lists and
    dicts; they have no history: ``backward`` belongs into the step.

    In a replay nothing of Python runs but what optimizers need: the learning rate, by a schedule or set by hand, step
    counts, and the place in the random stream are right in every replay, so that training has the same bits as without
    a graph. Parameters must be changed in place, as optimizers and ``load_state_dict`` do. ``device`` is needed only by
    a step without tensors among its arguments, unless CUDA is the default device.

    Raises CudaError for a step that reads values while it is recorded (``item``, ``if x > 0``, a shape that depends on
    values), copies from the host or works on several devices; all is as before then. Labels and indices are looked at
    by the device, and an error about them comes with a later call or when something is read. Raises ValueError for
    tensors elsewhere or with ``requires_grad``; TypeError for results and arguments of other kinds.

    >>> import steep as st
    >>> model, x = st.nn.Linear(3, 1), st.ones(8, 3)
    >>> optimizer = st.optim.Adam(model.parameters(), lr=0.1)
    >>> @st.cuda.graph
    ... def step(x, y):
    ...     optimizer.zero_grad()
    ...     loss = (model(x) - y).square().mean()
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> losses = [float(step(x, st.zeros(8, 1))) for _ in range(50)]
    >>> losses[-1] < losses[0]
    True
    """
    return CapturedStep(function, device, warmup, limit)


class CapturedStep:
    """What ``steep.cuda.graph`` returns."""

    def __init__(self, function: Callable[..., Any], device: Any, warmup: int, limit: int) -> None:
        if not callable(function):
            raise TypeError(f"graph: expected a function, not {function!r:.60}")
        self._device = None if device is None else devices.device(device)
        self._warmup, self._limit = check_count("graph: warmup", warmup), check_count("graph: limit", limit)
        self._function = function
        self._calls: dict[Any, int] = {}  # by signature: how often it ran as it is
        self._graphs: dict[Any, _Replay] = {}
        self._warned = False
        self._lock = threading.Lock()  # a graph has one set of arguments and results, whichever thread calls
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        tensors: list[Tensor] = []
        arguments = _described((args, kwargs), tensors)
        device = self._place(tensors)
        if device is devices.cpu or capturing.recording() is not None or anomaly.is_on():
            return _detached(self._function(*args, **kwargs))
        for x in tensors:
            if x.device is not device or x.requires_grad:
                raise ValueError(_unfit(x, device))
        key = (device, is_recording(), autocasting.policy(), _core.float32_matmul_precision(), arguments)
        with self._lock:
            replay = self._replay_for(key, device, args, kwargs)
            if replay is not None:
                return replay(tensors)
        return _detached(self._function(*args, **kwargs))

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method, of which each object has graphs of its own."""
        return self if instance is None else MethodType(self, instance)

    def __reduce__(self) -> Any:  # copies begin without graphs
        return CapturedStep, (self._function, self._device, self._warmup, self._limit)

    def __repr__(self) -> str:
        name = getattr(self._function, "__name__", repr(self._function))
        return f"steep.cuda.graph({name}), {len(self._graphs)} recorded"

    def reset(self) -> None:
        """Forgets all that was recorded, and frees its memory. What it holds of the step's results stays valid."""
        self._calls.clear()
        self._graphs.clear()

    def _place(self, tensors: list[Tensor]) -> Device:
        if self._device is not None:
            return self._device if _core.cuda.device_count() else devices.cpu
        if tensors:
            return next((x.device for x in tensors if x.device is not devices.cpu), devices.cpu)
        return devices.get_default_device()

    def _replay_for(self, key: Any, device: Device, args: Any, kwargs: Any) -> _Replay | None:
        """The graph for these arguments, which may be recorded now; None for a call that runs as it is."""
        try:
            replay = self._graphs.get(key)
        except TypeError:
            raise TypeError(
                "graph: an argument is neither a tensor nor something that can be compared, such as a number or a "
                "string: make arrays tensors, with steep.tensor"
            ) from None
        if replay is not None:
            fits = replay.fits()
            if fits is None:  # it will never fit again
                del self._graphs[key]
            return replay if fits else None
        calls = self._calls.get(key, 0)
        if calls < self._warmup:
            if key not in self._calls and len(self._calls) >= self._limit:
                self._warn()
                return None
            self._calls[key] = calls + 1
            return None
        try:
            replay = _Replay(self._function, device, args, kwargs)
        except Postponed:
            return None
        self._graphs[key] = replay
        return replay

    def _warn(self) -> None:
        if self._warned:
            return
        self._warned = True
        warnings.warn(
            f"graph: the step was called with more than {self._limit} combinations of shapes, dtypes and other values: "
            "those to come run without a graph. Pass numbers that change as tensors, and batches of one size, or raise "
            "limit",
            stacklevel=level_outside(),
        )


class _Replay:
    """One recorded step. It is called with the tensors among the arguments, in their order."""

    def __init__(self, function: Callable[..., Any], device: Device, args: Any, kwargs: Any) -> None:
        self._inputs: list[Tensor] = []
        args, kwargs = map_tensors(self._input, (args, kwargs))
        self._graph = _core.cuda.Graph(device.index)
        self._gradients = _core.cuda.Gradients()
        self._recording = recording = Recording(random.current())
        self._drawn = 0
        self._first = True
        self._record(function, args, kwargs, device)
        self._drawn = (recording.stream.offset - recording.start[1]) % 2**64

    def _input(self, x: Tensor) -> Tensor:
        self._inputs.append(_core.copy(x))
        return self._inputs[-1]

    def _record(self, function: Callable[..., Any], args: Any, kwargs: Any, device: Device) -> None:
        recording, state = self._recording, random.get_state()
        self._graph.begin(recording.start[1])
        capturing.set_recording(recording)
        self._gradients.start()
        ended = False
        try:
            with autocasting.under(autocasting.policy()) if autocasting.blocks else nullcontext():
                outputs = function(*args, **kwargs)
            self._outputs = _detached(outputs)
            _check_results(self._outputs, device)
            ended = True
            self._graph.end()
            self._gradients.finish()
        except BaseException:
            if not ended:
                self._graph.abandon()
            self._gradients.undo()
            for undo in reversed(recording.undo):
                undo()
            random.set_stream_state(recording.stream, state)
            raise
        finally:
            capturing.set_recording(None)

    def fits(self) -> bool | None:
        """Whether a replay does what the step would; None if it never will again."""
        if self._gradients.changed() or not all(fits() for fits in self._recording.fits):
            return None
        return self._gradients.fit()

    def __call__(self, tensors: list[Tensor]) -> Any:
        recording = self._recording
        self._graph.follow()
        for buffer, x in zip(self._inputs, tensors, strict=True):
            _core.assign(buffer, x)
        if self._first:  # what Python does has been done, by the recording
            self._first, state = False, recording.start
        else:
            for before in recording.before:
                before()
            state = random.take(self._drawn)
        self._graph.launch(*state)
        for after in recording.after:
            after()
        self._gradients.set()
        return map_tensors(_core.copy, self._outputs)


def _described(x: Any, tensors: list[Tensor]) -> Any:
    """What must be the same in a replay; the tensors are listed."""
    if isinstance(x, Tensor):
        tensors.append(x)
        return x.shape, x.dtype
    if isinstance(x, tuple | list):
        return type(x), *[_described(part, tensors) for part in x]
    if isinstance(x, Mapping):
        return type(x), *[(key, _described(part, tensors)) for key, part in x.items()]
    if isinstance(x, float | complex):
        return type(x), repr(x)  # 0.0 and -0.0 are equal, and a NaN isn't to itself
    return type(x), x  # 1, 1.0 and True are equal


def _detached(x: Any) -> Any:
    return map_tensors(lambda t: t.detach() if t.requires_grad else t, x)


def _unfit(x: Tensor, device: Device) -> str:
    if x.device is not device:
        return (
            f"graph: an argument of shape {x.shape} is on {x.device}, and the step runs on {device}: move it there "
            f"with .to('{device}')"
        )
    return (
        f"graph: an argument of shape {x.shape} requires a gradient, which would not come back to it: pass x.detach(), "
        "and call backward in the step"
    )


def _check_results(x: Any, device: Device) -> None:
    if isinstance(x, tuple | list | Mapping):
        for part in x.values() if isinstance(x, Mapping) else x:
            _check_results(part, device)
    elif x is not None and not (isinstance(x, Tensor) and x.device is device):
        what = f"a tensor on {x.device}" if isinstance(x, Tensor) else f"{x!r:.60}"
        raise TypeError(
            f"graph: the step returns {what}, which would be the same in every replay: return tensors on {device}, and "
            "None, in tuples, lists and dicts"
        )
