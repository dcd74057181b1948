"""Where TensorFlow would put the operations of a traced function on a machine with one GPU.

TensorFlow's package for processors has the registry of the GPU's kernels, too: which types each
takes, and which of its tensors stay in the host's memory. The rules are those of TensorFlow's
`core/framework/memory_types.cc` and of its kernel lookup: the GPU's kernel, else the one for any
device; nodes that call functions have 32-bit integers, strings and resources on the host.
"""

import dataclasses
import functools
from collections.abc import Collection, Iterator

import tensorflow as tf
from tensorflow.python.framework import function_def_to_graph, kernels

# The graph's own inputs: what is not a kernel's.
_INPUTS = {"Placeholder", "_Arg"}
_CALLS = {"PartitionedCall", "StatefulPartitionedCall", "SymbolicGradient"}
_LOOPS = {"While", "StatelessWhile"}
_BRANCHES = {"If", "StatelessIf", "Case", "StatelessCase"}
# Python's interpreter computes these, on whatever device they are.
_PYTHON = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
_FEW = 16  # whole numbers: a shape, seeds, the corners of a window


@dataclasses.dataclass(frozen=True)
class Copy:
    """A tensor that its maker leaves in one memory, and its reader wants in the other.

    Attributes:
        to_host: bool, whether from the device to the host.
        maker, reader: types of the operations; "output" where a function gives it back.
        dtype: tf.DType.
        shape: tf.TensorShape.
        where: str, the reader's name and the functions it is in.
    """

    to_host: bool
    maker: str
    reader: str
    dtype: tf.DType
    shape: tf.TensorShape
    where: str

    @property
    def is_small(self) -> bool:
        """One number; or whole numbers, few or one for each image."""
        sides = self.shape.as_list() if self.shape.rank is not None else [None, None]
        if not sides:
            return True
        if self.dtype.is_floating:
            return False
        count = tf.TensorShape(sides[sides[0] is None :]).num_elements()
        return count is not None and count <= (1 if sides[0] is None else _FEW)

    def __str__(self):
        direction = "device to host" if self.to_host else "host to device"
        return (
            f"{self.where}: {self.dtype.name} {self.shape} of {self.maker} goes from {direction} "
            f"for {self.reader}"
        )


def graphs(graph: tf.Graph, on_host: Collection[str] = ()) -> Iterator[tuple[str, tf.Graph, bool]]:
    """A graph and all that its operations call, however deep.

    Args:
        graph: of a concrete function, say.
        on_host: as of `misplaced`.

    Yields:
        (path, graph, is_on_host): path is "" for the graph itself, else the operations and
        attributes that lead there; is_on_host says whether one of `on_host` is among them.
    """
    library = {f.signature.name: f for f in graph.as_graph_def().library.function}
    seen, waiting = set(), [("", graph, False)]
    while waiting:
        path, graph, inside = waiting.pop()
        yield path, graph, inside
        for op in graph.get_operations():
            for attribute, name in _functions(op):
                is_on_host = inside or not _names(op).isdisjoint(on_host)
                if (name, is_on_host) not in seen:
                    seen.add((name, is_on_host))
                    called = function_def_to_graph.function_def_to_graph(library[name])
                    waiting.append((f"{path}{op.name}.{attribute}/", called, is_on_host))


def misplaced(graph: tf.Graph, on_host: Collection[str] = ()) -> list[str]:
    """What would not run on a GPU, one line for each operation.

    Args:
        graph: of a concrete function.
        on_host: operations that may be without a GPU's kernel, and what they call with them, but
            for Python's: their types, or "TYPE of string" for those that handle strings alone.
    """
    found = []
    for path, inner, is_on_host in graphs(graph, on_host):
        for op in inner.get_operations():
            where = f"{path}{op.name} ({op.type})"
            if "CPU" in op.device.upper():
                found.append(f"{where} is pinned to {op.device}")
            if op.type in _PYTHON:
                found.append(f"{where} is computed by Python")
            elif not (is_on_host or _has_place(op) or _names(op) & set(on_host)):
                found.append(f"{where} has no kernel of a GPU for {_types(op)}")
    return found


def copies(graph: tf.Graph, on_host: Collection[str] = ()) -> list[Copy]:
    """The tensors that go from one memory to the other, each time the function is called.

    Args:
        graph: of a concrete function.
        on_host: as of `misplaced`.
    """
    found = {}  # A tensor with several readers goes once.
    for path, inner, is_on_host in graphs(graph, on_host):
        if is_on_host:
            continue
        for op in inner.get_operations():
            inputs, _ = _on_host(op)
            for tensor, wanted in zip(op.inputs, inputs, strict=True):
                if _is_copied(tensor, wanted):
                    copy = _copy(tensor, wanted, op.type, path + op.name)
                    found.setdefault((path, tensor.name, wanted), copy)
        for tensor in inner.outputs if path else ():
            if _is_copied(tensor, _by_type(tensor)):
                copy = _copy(tensor, _by_type(tensor), "output", path)
                found.setdefault((path, tensor.name, copy.to_host), copy)
    return list(found.values())


def _is_copied(tensor, wanted_on_host):
    _, outputs = _on_host(tensor.op)
    if outputs[tensor.value_index] == wanted_on_host:
        return False
    # A constant is put where its readers are.
    return tensor.op.type != "Const" or any(map(_has_place, tensor.consumers()))


def _copy(tensor, to_host, reader, where):
    return Copy(to_host, tensor.op.type, reader, tensor.dtype, tensor.shape, where)


def _functions(op):
    """(attribute, name) of each function that an operation calls."""
    for attribute in op.op_def.attr:
        value = op.node_def.attr[attribute.name]
        if attribute.type == "func":
            yield attribute.name, value.func.name
        elif attribute.type == "list(func)":
            for function in value.list.func:
                yield attribute.name, function.name


def _names(op):
    """What an operation is called in lists: its type, and "TYPE of string" where that is so."""
    strings = any("string" in names for _, names in _types(op))
    return {op.type, f"{op.type} of string"} if strings else {op.type}


def _types(op):
    """The types of an operation: ((attribute, (type, ...)), ...)."""
    found = []
    for attribute in op.op_def.attr:
        value = op.node_def.attr[attribute.name]
        if attribute.type == "type":
            found.append((attribute.name, (tf.as_dtype(value.type).name,)))
        elif attribute.type == "list(type)":
            names = (tf.as_dtype(each).name for each in value.list.type)
            found.append((attribute.name, tuple(sorted(set(names)))))
    return tuple(found)


def _has_place(op):
    return op.type in _INPUTS or _kernel(op) is not None


def _kernel(op):
    return _registered(op.type, _types(op))


@functools.cache
def _registered(op_type, types):
    """The kernel of a GPU for an operation of these types, a KernelDef; None without one."""
    of_type = dict(types)
    fitting = [
        kernel
        for kernel in kernels.get_registered_kernels_for_op(op_type).kernel
        if not kernel.label  # those with one are for who asks for them
        and all(
            set(of_type.get(constraint.name, ("",)))
            <= {tf.as_dtype(each).name for each in constraint.allowed_values.list.type}
            for constraint in kernel.constraint
        )
    ]
    for device in ("GPU", "DEFAULT"):
        own = [kernel for kernel in fitting if kernel.device_type == device]
        if own:
            return max(own, key=lambda kernel: kernel.priority)
    return None


def _by_type(tensor):
    """Whether a function takes or gives such a tensor on the host."""
    return tensor.dtype.base_dtype in (tf.int32, tf.string, tf.resource)


def _on_host(op):
    """([whether on the host, for each input], [the same for each output])."""
    if op.type in _INPUTS | _CALLS | _LOOPS | _BRANCHES:
        inputs = [_by_type(tensor) for tensor in op.inputs]
        if op.type in _BRANCHES:
            inputs[0] = True  # which branch
        return inputs, [_by_type(tensor) for tensor in op.outputs]
    kernel = _kernel(op)
    if kernel is None:
        return [True] * len(op.inputs), [True] * len(op.outputs)
    return (
        _marked(op, op.op_def.input_arg, op.inputs, kernel),
        _marked(op, op.op_def.output_arg, op.outputs, kernel),
    )


def _marked(op, arguments, tensors, kernel):
    """Whether each tensor is of an argument that the kernel has on the host."""
    names = []
    for argument in arguments:
        count = 1
        if argument.number_attr:
            count = op.node_def.attr[argument.number_attr].i
        elif argument.type_list_attr:
            count = len(op.node_def.attr[argument.type_list_attr].list.type)
        names += [argument.name] * count
    always = (tf.string, tf.resource)
    return [
        name in kernel.host_memory_arg or tensor.dtype.base_dtype in always
        for name, tensor in zip(names, tensors, strict=True)
    ]
