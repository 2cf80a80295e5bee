"""What a public name's docstring owes its reader, read off the source without importing it.

A name is public where no part of its dotted name starts with an underscore; functions within functions, dunder
methods, overloads and setters are left out.
"""

import ast
import re
from collections.abc import Iterator

ARRAYS = re.compile(r"\b(Tensor|ndarray|Volume|Fields|Grid|Features)\b")
"""What annotations call an array, or a thing made of arrays."""

SIDE = r"(?:\.\.\.|\*?\w+(?:[+*/]\w+)*)"
SHAPE = re.compile(
    rf"\((?=[^()]*(?:[A-Z0-9*]|\.\.\.)){SIDE}\s*,\s*(?:{SIDE}(?:\s*,\s*{SIDE})*,?)?\s*\)|\bscalar|any shape|same shape"
)
"""A list of counts in parentheses such as (B, 1, H, W) or (R,), or words for it."""

UNIT = re.compile(r"\b(mm|HU|rad|deg|degrees|keV|pixels?|px|voxels?|unitless|bool|boolean|indices)\b")
RANGE = re.compile(r"\d ?(?:to|\.\.) ?\d|[<>]=? ?-?\d|\[\d[\d.]*, \d")

FORMULA = re.compile(
    r"""[ΣΠ∫√∂]                                                 # a sum, product, integral, root, derivative
    |\b(?:exp|log|sqrt|tanh|sigmoid|softplus)\s*\(              # a function of something
    |[\w)\]'`]\s=\s[^\n=]*[\w)](?:\s-\s|\s?[+*/^|]\s?)[\w(|]  # a name equals what an operator makes of others
    |\^\(|\w\^\d\s?[-+*/]                                      # a root, or a power that something is done with
    |\|[^|\n]+\|\s*/                                          # a size over another""",
    re.VERBOSE,
)
"""What counts as a formula: mathematical signs and functions, and equations with an operator."""


def offences(source: str, module: str) -> list[str]:
    """One line for each thing that a module's public names leave unsaid."""
    found = []
    for name, node in public(ast.parse(source), module):
        check = of_class if isinstance(node, ast.ClassDef) else of_function
        found += [f"{name}: {message}" for message in check(node)]
    return found


def public(parent: ast.AST, name: str) -> Iterator[tuple[str, ast.AST]]:
    """The public functions, classes and methods below a module or class, with their dotted names."""
    for node in ast.iter_child_nodes(parent):
        if isinstance(node, ast.If | ast.Try):
            yield from public(node, name)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if is_described_elsewhere(node):
                continue
            yield f"{name}.{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{name}.{node.name}")


def decorators(node) -> list[str]:
    return [ast.unparse(part.func if isinstance(part, ast.Call) else part) for part in node.decorator_list]


def is_described_elsewhere(node) -> bool:
    return any(name.split(".")[-1] in ("overload", "setter") for name in decorators(node))


def of_function(node) -> Iterator[str]:
    text, taken = ast.get_docstring(node) or "", parameters(node)
    is_kernel = "triton.jit" in decorators(node)  # of pointers; `launch` describes what it is launched with
    if not is_kernel:
        yield from untyped(taken)
        yield from untyped({"the return": node.returns})
    yield from of_text(text, [*taken.values(), node.returns])
    if text and not (is_command(taken) or is_kernel):
        yield from unnamed(text, taken)


def is_command(taken: dict[str, ast.expr | None]) -> bool:
    """Whether each parameter is described beside its type, as an option is: the docstring is then a command's help."""
    kinds = [ast.unparse(kind) for kind in taken.values() if kind is not None]
    return bool(kinds) and all(kind.startswith(("Annotated[", "o.", "Run")) for kind in kinds)


def of_class(node: ast.ClassDef) -> Iterator[str]:
    text, taken = ast.get_docstring(node) or "", made_of(node)
    yield from untyped(taken)
    yield from of_text(text, list(taken.values()))
    if text:
        yield from unnamed(text, taken)


def untyped(taken: dict[str, ast.expr | None]) -> Iterator[str]:
    yield from (f"{name} has no type" for name, kind in taken.items() if kind is None)


def of_text(text: str, kinds: list[ast.expr | None]) -> Iterator[str]:
    """What a docstring lacks for the types that it speaks of."""
    if not text:
        yield "has no docstring"
        return
    arrays = [kind for kind in kinds if kind is not None and ARRAYS.search(ast.unparse(kind))]
    if arrays and not any(pattern.search(text) for pattern in (SHAPE, UNIT, RANGE)):
        yield f"states neither shape nor unit nor range of {ast.unparse(arrays[0])}"
    if FORMULA.search(without_examples(text)) and "Source" not in text:
        yield "states a formula without a Source"


def without_examples(text: str) -> str:
    return re.sub(r"^[ \t]*>>>.*(\n[ \t]*\S.*)*", "", text, flags=re.MULTILINE)


def unnamed(text: str, taken: dict) -> Iterator[str]:
    """What an Args section leaves out, where two or more parameters ask for one."""
    if len(taken) < 2:
        return
    named = args_of(text)
    if named is None:
        yield f"takes {len(taken)} parameters and has no Args"
    else:
        yield from (f"Args does not name {name}" for name in taken if name not in named)


def args_of(text: str) -> set[str] | None:
    """The names that the Args section describes; several may share a line. None where there is no section."""
    match = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)*)", text, re.MULTILINE)
    if match is None:
        return None
    lines = [line for line in match[1].splitlines() if line.strip()]
    indent = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    heads = [re.match(rf" {{{indent}}}([\w*`][\w*`, ]*):", line) for line in lines]
    return {name.strip(" *`") for head in heads if head for name in head[1].split(",")}


def parameters(node) -> dict[str, ast.expr | None]:
    """Names and annotations of what a function takes, without self, cls and the context of an autograd function."""
    spec = node.args
    taken = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, *(extra for extra in (spec.vararg, spec.kwarg) if extra)]
    return {arg.arg: arg.annotation for arg in taken if arg.arg not in ("self", "cls", "ctx")}


def made_of(node: ast.ClassDef) -> dict[str, ast.expr | None]:
    """Names and annotations of what a class is made of: of its `__init__`, else of its fields."""
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            return parameters(part)
    is_record = "dataclass" in " ".join(decorators(node)) or "NamedTuple" in map(ast.unparse, node.bases)
    if not is_record:
        return {}
    fields = [part for part in node.body if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)]
    return {part.target.id: part.annotation for part in fields if is_given(part)}


def is_given(field: ast.AnnAssign) -> bool:
    text = ast.unparse(field)
    return not field.target.id.startswith("_") and "ClassVar" not in text and "init=False" not in text
