"""What a diagram stands for, in words and in the letters of the theory."""

from functools import lru_cache

from gradnoise.diagrams import Diagram

_WORDS = {
    "(0)()": "loss at the start: l",
    "(0-1)(01)": "squared gradient, plain descent: G.G",
    "(0-1-2)(01-12)": "descent slows as the slope changes along the path: GHG",
    "(01-2)(01-12)": "noise that grows or shrinks along the descent: (1/2) G.grad(tr C)",
    "(0-1-2)(02-12)": "curvature along the step: GHG",
    "(01-2)(02-12)": "gradient noise lifts the loss through curvature: C:H",
    "(0-1-2-3)(01-12-23)": "slope changes twice along the path: GHHG",
    "(01-2-3)(01-12-23)": "noise gradient, passed on through curvature: (1/2)(HG).grad(tr C)",
    "(0-12-3)(01-12-23)": "noise in the curvature, met twice along the path: k(h,h) G G",
    "(02-1-3)(01-12-23)": "gradient and curvature noise of one example, a step between: k(g,h) H G",
    "(012-3)(01-12-23)": "one example met three times along the path: k(g,h,h) G",
    "(0-1-2-3)(01-13-23)": "slope change along the path times curvature: GHHG",
    "(01-2-3)(01-13-23)": "noise gradient times curvature: (1/2)(HG).grad(tr C)",
    "(02-1-3)(01-13-23)": "gradient noise through squared curvature: C:HH",
    "(0-12-3)(01-13-23)": "curvature noise met by gradient noise: k(h,g) G H",
    "(012-3)(01-13-23)": "one example's gradient, curvature and gradient again: k(g,h,g) H",
    "(0-1-2-3)(02-12-23)": "curvature changes along the path, met at a step: J G G G",
    "(01-2-3)(02-12-23)": "gradient noise feels how curvature changes: C:J G",
    "(02-1-3)(02-12-23)": "gradient and third derivative of one example: k(g,j) G G",
    "(012-3)(02-12-23)": "one example's gradient twice and its third derivative: k(g,g,j) G",
    "(0-1-2-3)(03-13-23)": "curvature changes along the path: J G G G",
    "(01-2-3)(03-13-23)": "gradient noise times changing curvature: C:J G",
    "(012-3)(03-13-23)": "skewness of the gradient noise: S:J",
    "(01)(01)": "gradient noise of the training examples, the leading part of the gap: tr C",
}
_DERIVATIVES = ("loss", "gradient", "curvature", "third derivative", "fourth derivative")
_MOMENTS = {2: "covariance", 3: "third cumulant", 4: "fourth cumulant"}


def meaning(diagram: Diagram) -> str:
    """One line that says what a diagram is made of.

    >>> meaning(Diagram.parse("(01-2)(02-12)"))
    'gradient noise lifts the loss through curvature: C:H'
    >>> meaning(Diagram.parse("(012)(02-12)"))
    'third cumulant of gradient, gradient and curvature at the root'
    """
    return _known().get(diagram) or _in_general(diagram)


@lru_cache(maxsize=1)
def _known() -> dict[Diagram, str]:
    return {Diagram.parse(written): words for written, words in _WORDS.items()}


def _in_general(diagram: Diagram) -> str:
    return ", times ".join(_part(diagram, part) for part in sorted(diagram.parts, key=lambda part: (-len(part), part)))


def _part(diagram: Diagram, part: tuple[int, ...]) -> str:
    names = [_derivative(diagram.degree(node)) + (" at the root" if node == diagram.root else "") for node in part]
    if len(names) == 1:
        return f"mean {names[0]}"
    kind = _MOMENTS.get(len(names), f"cumulant of order {len(names)}")
    return f"{kind} of {', '.join(names[:-1])} and {names[-1]}"


def _derivative(degree: int) -> str:
    return _DERIVATIVES[degree] if degree < len(_DERIVATIVES) else f"derivative of order {degree}"
