"""Numbers as readers expect them."""

import math

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
THIN = "\N{NARROW NO-BREAK SPACE}"


def number(value: float | None, digits: int = 2) -> str:
    """Fixed digits, a true minus, thousands apart; a dash where there is none.

    >>> number(-1234.5, 1) == f"{MINUS}1{THIN}234.5", number(None) == DASH
    (True, True)
    """
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:,.{digits}f}"
    text = text.removeprefix("-") if float(text.replace(",", "")) == 0 else text
    return text.replace("-", MINUS).replace(",", THIN)


def signed(value: float | None, digits: int = 2) -> str:
    """As `number`, with a plus where it is positive.

    >>> signed(0.5)
    '+0.50'
    """
    text = number(value, digits)
    return f"+{text}" if text[0].isdigit() and float(text.replace(THIN, "")) > 0 else text


def percent(value: float | None, digits: int = 1) -> str:
    """A share in percent.

    >>> percent(0.5) == f"50.0{THIN}%"
    True
    """
    if value is None or not math.isfinite(value):
        return DASH
    return f"{number(100 * value, digits)}{THIN}%"


def count(value: float | None) -> str:
    """A whole number."""
    return number(value, 0)


def plural(value: int, noun: str, nouns: str | None = None) -> str:
    """A count with its noun.

    >>> plural(1, "class", "classes"), plural(2, "unit")
    ('1 class', '2 units')
    """
    return f"{count(value)} {noun if value == 1 else nouns or noun + 's'}"


def probability(value: float | None) -> str:
    """A p-value, at most two digits that mean anything.

    >>> probability(0.0196), probability(0.5)
    ('.020', '.50')
    """
    if value is None:
        return DASH
    return f"{value:.{3 if value < 0.1 else 2}f}".removeprefix("0")
