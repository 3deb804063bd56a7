"""The wording of dates, times, telephone numbers, money, quantities and fractions in English.

Each public function takes the match of a rule in number_rules.py and returns its replacement, which may be the matched
text unchanged."""

from __future__ import annotations

import re

from . import number_words, units_and_signs
from .abbreviation_tables import COMPASS, MONTHS
from .sentence_ends import ends_sentence


def flood(match: re.Match[str]) -> str:
    """A run of digits that is too long for a number: read digit by digit."""
    return f" {'point ' if match.group().startswith('.') else ''}{number_words.digits(match.group())} "


def iso_date(match: re.Match[str]) -> str:
    """2024-05-24 and 2024/05/24: year, month, day."""
    return _date(match, *match.group(1, 2, 3))


def slash_date(match: re.Match[str]) -> str:
    """05/24/2024: the month comes first, as in the United States, unless the first number is above 12."""
    first, second, year = match.group(1, 2, 3)
    if len(year) == 2:
        year = f"{'19' if int(year) > 69 else '20'}{year}"
    return _date(match, year, second, first) if int(first) > 12 else _date(match, year, first, second)


def dotted_date(match: re.Match[str]) -> str:
    """24.05.2024: day, month, year."""
    return _date(match, match.group(3), match.group(2), match.group(1))


def day_month_year(match: re.Match[str]) -> str:
    """05-May-2024."""
    day, month, year = match.groups()
    return f"{int(day)} {MONTHS.get(month, month)} {number_words.year(year)}"


def month_year(match: re.Match[str]) -> str:
    """05/2024."""
    return f"{units_and_signs.MONTHS[int(match.group(1)) - 1]} {number_words.year(match.group(2))}"


def offset(match: re.Match[str]) -> str:
    """The offset from UTC after a time: +02:00."""
    fraction, sign, hours, minutes = match.groups()
    if not int(hours + minutes):
        return f"{fraction or ''} UTC"
    spoken = f"{fraction or ''} {'plus' if sign == '+' else 'minus'} {int(hours)} hour{'' if int(hours) == 1 else 's'}"
    return f"{spoken} {minutes} minutes" if int(minutes) else spoken


def month_day(match: re.Match[str]) -> str:
    """May 5, at the end of a phrase or before a year."""
    return f"{match.group(1)} {number_words.ordinal(match.group(2))}" if int(match.group(2)) <= 31 else match.group()


def _date(match: re.Match[str], year: str, month: str, day: str) -> str:
    if not (1 <= int(month) <= 12 and 1 <= int(day) <= 31):
        return match.group()
    return f"{units_and_signs.MONTHS[int(month) - 1]} {number_words.ordinal(day)}, {number_words.year(year)} "


def time(match: re.Match[str]) -> str:
    """A time of day, with seconds and am or pm if present: 7:05, 19:30:15, 7 p.m."""
    hour, minute, second, part, half = map(match.groupdict().get, ("hour", "minute", "second", "part", "half"))
    if int(hour) > 24 or (int(hour) == 24 and minute != "00"):
        return match.group()
    hour = str(int(hour))
    second = None if second == "00" and not part else second
    spoken = number_words.cardinal(hour)
    if minute and int(minute):
        spoken += f" oh {number_words.cardinal(minute[1])}" if minute[0] == "0" else f" {number_words.cardinal(minute)}"
    elif minute and not half:
        spoken = "midnight" if int(hour) in (0, 24) else f"{spoken} hundred" if int(hour) > 12 else f"{spoken} o'clock"
    if second:
        amount = number_words.decimal(f"{int(second)}.{part}" if part else str(int(second)))
        spoken += f" and {amount} second" + ("s" if part or int(second) != 1 else "")
    if half:
        spoken += f" {half.lower()} m" + sentence_period(match)
    return spoken


def sentence_period(match: re.Match[str]) -> str:
    """Return "." if the match ends with a period that also ends the sentence, else ""."""
    if not match.group().endswith("."):
        return ""
    text, end = match.string, match.end()
    return "." if ends_sentence(text[max(end - 64, 0) : end], text[end : end + 64]) else ""


def phone(match: re.Match[str]) -> str:
    """Telephone and other numbers in groups of digits. Few digits and ranges of round numbers are left unchanged."""
    groups = re.findall(r"\d+", match.group())
    if sum(map(len, groups)) < 7 or (len(groups) == 2 and all(group.endswith("0") for group in groups)):
        return match.group()
    plus = "plus " if match.group().startswith("+") else ""
    return plus + ", ".join(number_words.digits(group) for group in groups)


def money(match: re.Match[str]) -> str:
    """An amount of money: $5.20, £3m, 5 EUR, $4/kg."""
    spoken = _amount(*match.group("number", "currency"), (match.groupdict().get("magnitude") or "").strip().lower())
    per = match.group("per")
    glued = match.string[match.end() : match.end() + 1].isalpha()
    return f"{spoken} per {_each(per)}" if per else spoken + " " * glued


def money_range(match: re.Match[str]) -> str:
    """Two amounts with a common sign or magnitude: $5-10, £1-2 million, $1.2-$1.5 billion, €5m-10m."""
    low, number, currency = match.group("low", "number", "currency")
    magnitude, per = (match.group("magnitude") or "").strip().lower(), match.group("per")
    if match.group("first"):
        first = f"{number_words.decimal(low)} {units_and_signs.MAGNITUDES[match.group('first').lower()]}"
        return f"{first} to {_amount(number, currency, magnitude)}" + (f" per {_each(per)}" if per else "")
    first = _amount(low, currency, "") if not magnitude and "." in low + number else number_words.decimal(low)
    return f"{first} to {_amount(number, currency, magnitude)}" + (f" per {_each(per)}" if per else "")


def _each(unit: str) -> str:
    return units_and_signs.UNITS.get(unit, (unit,))[0]


def _amount(number: str, currency: str, magnitude: str) -> str:
    one, many, hundredth = units_and_signs.CURRENCIES[currency]
    whole, _, fraction = number.partition(".")
    if magnitude:
        return f"{number_words.decimal(number)} {units_and_signs.MAGNITUDES[magnitude]} {many}"
    if fraction and (len(fraction) != 2 or not hundredth):
        return f"{number_words.decimal(number)} {many}"
    whole = whole or "0"
    amount = f"{number_words.cardinal(whole)} {one if _is_one(whole) else many}"
    if not fraction.strip("0"):
        return amount
    coin = hundredth if fraction == "01" else "pence" if hundredth == "penny" else number_words.plural(hundredth)
    small = f"{number_words.cardinal(str(int(fraction)))} {coin}"
    return f"{amount} and {small}" if whole.strip("0,") else small


def spoons(match: re.Match[str]) -> str:
    """Spoons in recipes: 1 T. sugar, 2 t. salt."""
    number, unit = match.groups()
    one, many = units_and_signs.UNITS["tbsp" if unit == "T" else "tsp"]
    return f"{number} {one if _is_one(number) else many}"


def magnitude(match: re.Match[str]) -> str:
    """A number with a magnitude and no currency: 10k, 3.5M. Apartment 5B is left unchanged."""
    if re.search(
        r"(?:Apartment|Room|Suite|Unit|Flat|Gate|Seat|Section) $",
        match.string[max(match.start() - 12, 0) : match.start()],
    ):
        return match.group()
    return f"{number_words.decimal(match.group(1))} {units_and_signs.MAGNITUDES[match.group(2).lower()]}"


def _is_one(number: str) -> bool:
    return number.replace(",", "") == "1"


def quantity(match: re.Match[str]) -> str:
    """A number and its unit: 5 km, 3 m², 80 km/h."""
    number, unit, power, per = match.group("number", "unit", "power", "per")
    one, many = units_and_signs.UNITS[unit]
    name = one if _is_one(number) else many
    if power:
        name = f"{'square' if power in '2²' else 'cubic'} {name}"
    if per:
        name += f" per {_each(per)}"
    # Whole numbers stay digits here; Speller replaces them last.
    return f"{number_words.decimal(number) if '.' in number else number} {name}"


def dotted_quantity(match: re.Match[str]) -> str:
    """A quantity whose unit is written with a period: 5 ft. 10 in. tall."""
    number, unit = match.group("number", "unit")
    one, many = units_and_signs.UNITS.get(unit) or units_and_signs.DOTTED[unit]
    named = f"-{one}" if "-" in match.group() else f" {one if _is_one(number) else many}"
    return (number_words.decimal(number) if "." in number else number) + named + sentence_period(match)


def minutes(match: re.Match[str]) -> str:
    """The minutes before seconds: 1m 30s."""
    return f"{match.group(1)} minute{'' if _is_one(match.group(1)) else 's'} "


def inches(match: re.Match[str]) -> str:
    """A double quote after a number: read as inches, unless it closes a quotation."""
    before = match.string[max(match.start() - 100, 0) : match.end() - 1]
    return match.group() if '"' in re.sub(r"\d\"", "", before) else " inches"


def arc(match: re.Match[str]) -> str:
    """The minutes, seconds and compass point after degrees: 52°30'15"N."""
    minute, second, compass = match.groups()
    spoken = (f" {minute} minutes" if minute else "") + (f" {second} seconds" if second else "")
    return spoken + (f" {COMPASS[compass].lower()}" if compass else "")


def compound(match: re.Match[str]) -> str:
    """A quantity as an adjective: a 5-km run."""
    number, unit = match.groups()
    return f"{number_words.decimal(number) if '.' in number else number}-{units_and_signs.UNITS[unit][0]}"


def hexadecimal(match: re.Match[str]) -> str:
    """A hexadecimal number: 0xFF."""
    return "zero x " + " ".join(number_words.digits(sign) or sign for sign in match.group(1).upper())


def _names(unit: str) -> tuple[str, ...]:
    return units_and_signs.UNITS.get(unit) or units_and_signs.DOTTED.get(unit, ("", ""))


def fraction(match: re.Match[str]) -> str:
    """A fraction with its unit. A double quote after it means inches, unless it closes a quotation."""
    if match.group("inch") and inches(match) == match.group():
        return _fraction(match, "") + '"'
    return _fraction(match, match.group("unit") or match.group("dotted") or ("in" if match.group("inch") else ""))


def _fraction(match: re.Match[str], unit: str) -> str:
    whole, top, bottom = match.group(1), int(match.group(2)), int(match.group(3))
    one, many = (f" {name}{sentence_period(match)}" if name else "" for name in _names(unit))
    if top == bottom > 1 and not whole:
        return f"{top} {'' if top in (20, 50) else 'out of '}{bottom}{many}"
    if not 0 < top < bottom or (bottom > 10 and bottom not in (16, 32, 64, 100)):
        return f"{match.group(1) or ''}{match.group(2)} over {match.group(3)}{many}"
    name = {2: "half", 4: "quarter"}.get(bottom) or number_words.ordinal(str(bottom))
    if top > 1:
        name = "halves" if bottom == 2 else number_words.plural(name)
    if not whole:
        return f"{number_words.cardinal(str(top))} {name}{one}"
    article = "an" if name.startswith("eighth") else "a"
    count = article if top == 1 else number_words.cardinal(str(top))
    return f"{number_words.cardinal(whole.strip())} and {count} {name}{many}"


def ordinal(match: re.Match[str]) -> str:
    """An ordinal in digits: 21st."""
    return number_words.ordinal(match.group("number"))


def decimal(match: re.Match[str]) -> str:
    """A number with a fraction: 3.14."""
    return number_words.decimal(match.group())


def version(match: re.Match[str]) -> str:
    """A version number: 1.2.3."""
    return " point ".join(match.group().split("."))
