"""The rewrite rules for dates, telephone numbers, money, ranges, times, quantities and decimals in English.

Specific rules come before general ones. Whole numbers stay digits; spell_out.Speller replaces them last. Each pattern
has a bounded length or consumes all of the run that it begins in, so that a rule takes linear time for any text.
"""

from __future__ import annotations

from . import dates_and_amounts, groups_and_ranges, number_words, units_and_signs
from .abbreviation_tables import DOTTED_UNITS, MONTHS, STATE_CODES
from .rewrite_rules import END, HYPHEN, INT, NUMBER, START, RewriteRules, any_of, word_set, words_and_signs

_MONTH = any_of(units_and_signs.MONTHS)
_ANY_MONTH = any_of((*MONTHS, *units_and_signs.MONTHS))
_DOLLARS = {"USD": "$", "AUD": "A$", "CAD": "C$", "NZD": "NZ$", "HKD": "HK$", "SGD": "S$"}
_UNIT = any_of(units_and_signs.UNITS)
_LONG_UNIT = any_of(unit for unit in units_and_signs.UNITS if unit.isalpha() and (len(unit) > 1 or unit == "m"))
_PER = rf"(?:\s?/\s?(?P<per>{_UNIT}|{any_of(units_and_signs.PER)}){END})?"
_MAGNITUDE = (
    r"(?P<magnitude>(?i:k|mn|m|bn|b|tn|mm| mn| m| bn| thousand| million| billion| trillion| lakh| crore)"
    r"(?![A-Za-z0-9]))?"
)
_LETTER = "(?i:k|mn|m|bn|b|tn|thousand|million|billion|trillion)"
_HALF = r"(?:\s?(?P<half>[AaPp])(?:\.\s?[Mm]\.?|[Mm])(?![A-Za-z]))"
_CODES = any_of(key for key in units_and_signs.CURRENCIES if key.isalpha())
_LETTERED_SIGNS = any_of(key for key in units_and_signs.CURRENCIES if key[0].isalpha() and not key.isalpha())
_BARE_SIGNS = any_of(key for key in units_and_signs.CURRENCIES if not key[0].isalpha())
_SIGN = rf"(?P<currency>(?<![A-Za-z]){_LETTERED_SIGNS}|{_BARE_SIGNS})"
_MONEY_SIGNS = frozenset(sign for key in units_and_signs.CURRENCIES for sign in key if not sign.isalpha())
_MONEY_CODES = frozenset(key for key in units_and_signs.CURRENCIES if key.isalpha())
_HALVES = word_set("a p A P am pm AM PM Am Pm aM pM")
_AMOUNT = rf"(?P<number>{NUMBER}|\.\d{{1,2}}(?!\d))"
# What may follow the first number of a range: 9am-5pm, 5%-10%, $1M-$2M, 1st-3rd, 20s-30s.
_SUFFIX = (
    rf"(?:\s?(?:[AaPp]\.?[Mm]\.?|{_UNIT})|st|nd|rd|th|[kKMB]|bn|'s|[²³]| (?:hundred|thousand|million|billion|trillion))"
)
# Numbers with a decimal comma, which need a currency or a unit to be recognised.
_WHOLE = r"(?P<whole>\d{1,3}(?:\.\d{3}){1,4}|\d{1,15})"
_MEASURE = r"(?:[%‰°]|km|kg|cm|mm|mg|ml|[kMGT]B|[kMG]Hz|kWh?|mph)"
# The beginning of the first group in a row of groups of digits.
_ALONE = rf"{START}(?<!\d )(?<!\) )"
_PHONE = "|".join(
    (
        r"\+\d{1,15}(?:[ .-]?\(\d{1,15}\)|(?:[ .-]|(?<=\)))\d{1,15}){0,6}",
        r"(?:(?<!\w)1[ -]?)?\(\d{2,5}\)[\s-]?\d{2,4}(?:[-. ]\d{2,4}){1,3}",
        rf"{START}(?:1[-. ])?\d{{3}}([-. ])\d{{3}}\1\d{{4}}",
        rf"{START}0\d{{2,4}} \d{{3,4}} \d{{3,4}}|{START}0\d{{4}} \d{{6}}|{START}0\d(?: \d\d){{4}}",
        rf"{START}\d{{1,7}}(?:-\d{{1,7}}){{2,6}}",
        rf"{START}\d{{3}}-\d{{4}}",
    )
)

# Rules that normalise the notations which NUMBERS matches. They are applied before NUMBERS collects its tokens.
_SPELLINGS = (
    (word_set("Rs"), r"(?<![A-Za-z])Rs\.?\s?(?=\d)", "₹"),
    (word_set("CHF"), r"(?<=CHF)(\s?\d[\d',]{0,18})\.-{1,2}(?!\d)", r"\1"),
    (
        word_set("USD AUD CAD NZD HKD SGD"),
        rf"(?<![A-Za-z])({any_of(_DOLLARS)})\s?\$(?=\.?\d)",
        lambda match: _DOLLARS[match.group(1)],
    ),
    (",", rf"{START}\d{{1,2}}(?:,\d\d){{1,5}},\d{{3}}(?![\d,])", groups_and_ranges.lakhs),
    (_HALVES, rf"{START}(\d{{1,2}})\.([0-5]\d)(?={_HALF.replace('?P<half>', '')})", r"\1:\2"),
    (HYPHEN, rf"{START}(\d{{1,2}})a-(\d{{1,2}})p{END}", r"\1am-\2pm"),
    (word_set("Z"), r"(?<=\d:\d\d:\d\d)(\.\d{1,9})?Z(?![A-Za-z0-9])", r"\1 UTC"),
    (
        "+-",
        r"(?:(?<=\d:\d\d:\d\d)|(?<=T\d\d:\d\d))(\.\d{1,9})? ?([+-])(\d\d):?(\d\d)(?![\d:])",
        dates_and_amounts.offset,
    ),
    (HYPHEN, rf"{START}(\d{{1,2}})-({_ANY_MONTH})-(\d{{4}})(?![\d-])", dates_and_amounts.day_month_year),
    (
        words_and_signs((*MONTHS, *units_and_signs.MONTHS)),
        rf"{START}0([1-9]) (?=Jan|Feb|Ma[ry]|Apr|Ju[nl]|Aug|Sep|Oct|Nov|Dec)",
        r"\1 ",
    ),
    ("/", r"(?<![\w/.,])(\d{1,2})/(\d{1,3})(?:rds?|ths?)(?![\w/])", r"\1/\2"),
    ("/", r"(?<=\d)/-(?!\w)", ""),
    ("/", rf"{START}(?<!/)(0[1-9]|1[0-2])/((?:19|20)\d\d)(?![\w/-])", dates_and_amounts.month_year),
    (HYPHEN, r"(?<![\w/.,-])([1-9]\d?)-(?=[1-9]/(?:2|3|4|8|16|32)(?![\d/]))", r"\1 "),
    (HYPHEN, r"(?<=number )(\d\d)-(?=\d{4}(?![\d-]))", r"\1 "),
    ("×", r"(?<=\d{3})×(?=\d{3,4}(?!\s?=)(?!\d))", " by "),
    ("/", rf"{START}(\d{{1,2}}\.\d{{1,2}})/(5|10|20|100)(?![\w/]|\.\d)", r"\1 out of \2"),
    ("/", r"(?<=[A-Za-z])/(?=\d{2,3}\s?(?:km|g|ml|mL)(?![A-Za-z]))", " per "),
    (HYPHEN, rf"{START}\d{{5}}-\d{{4}}(?![\d-]){END}", groups_and_ranges.postal),
    (STATE_CODES, r"(?<=[ ,][A-Z]{2} )\d{5}(?=[\s.,;:)]|$)(?!\.\d|,\d)", groups_and_ranges.postal),
)

_WRITTEN_OUT = (
    (None, r"(?:(?<=\d)\.)?\d{16,}|(?<![\d,])\d{1,3}(?:,\d{3}){5,}(?!\d)", dates_and_amounts.flood),
    (None, rf"{START}0[xX]([0-9A-Fa-f]{{1,16}}){END}", dates_and_amounts.hexadecimal),
    ("-/", rf"{START}(\d{{4}})-(\d\d)-(\d\d)(?:T(?=\d\d:)|(?!\d))", dates_and_amounts.iso_date),
    ("-/", rf"{START}(\d{{4}})/(\d\d)/(\d\d)(?![/\d])", dates_and_amounts.iso_date),
    ("/", rf"{START}(\d{{1,2}})/(\d{{1,2}})/(\d{{4}}|\d\d)(?![/\d])", dates_and_amounts.slash_date),
    (".", rf"{START}(\d{{4}})\.(\d\d)\.(\d\d)(?!\.?\d)", dates_and_amounts.iso_date),
    (".", rf"{START}(\d{{1,2}})\.(\d{{1,2}})\.(\d{{4}})(?![\d])(?!\.\d)", dates_and_amounts.dotted_date),
    (HYPHEN, rf"{START}(\d{{1,2}})-(\d{{1,2}})-(\d{{4}})(?![\d-])", dates_and_amounts.slash_date),
    (
        None,
        rf"{START}\d{{4}} \d{{6}} \d{{5}}(?! ?\d)|{START}\d{{4}}(?: \d{{4}}){{2,7}}(?: \d{{1,3}})?(?! ?\d)",
        groups_and_ranges.card,
    ),
    (
        None,
        rf"{_ALONE}\d{{1,3}}(?: \d{{3}}){{1,4}}(?!\d)(?![ -]\d)(?:,\d{{1,2}}(?!,?\d))?",
        groups_and_ranges.spaced_groups,
    ),
    ("'_", rf"{START}\d{{1,3}}(?:(?:'\d{{3}}){{1,4}}|(?:_\d{{3}}){{1,4}})(?![\d'_])", groups_and_ranges.with_commas),
    ("-", rf"{START}1-8\d\d-(?=[A-Z])", groups_and_ranges.toll_free),
    (None, rf"(?:{_PHONE})(?![\d-]){END}", dates_and_amounts.phone),
    # 4-4-2, 9-1-1 and 50-50 are not ranges.
    (
        HYPHEN,
        rf"{START}(?:\d{{1,3}}(?:-\d{{1,3}}){{2,5}}|50-50)(?![\d-]){END}",
        lambda match: match.group().replace("-", " "),
    ),
    (HYPHEN, r"(?<=Boeing \d{3})-(?=\d)", " "),
    (",", rf"{_SIGN}\s?{_WHOLE},(?P<fraction>\d{{2}}|-)(?!\d|,\d)", groups_and_ranges.with_point),
    (
        _MONEY_CODES,
        rf"(?<![A-Za-z])(?P<currency>{_CODES})\s?{_WHOLE},(?P<fraction>\d{{2}})(?!\d|,\d)",
        groups_and_ranges.with_point,
    ),
    (
        ",",
        rf"{START}{_WHOLE},(?P<fraction>\d{{1,2}})(?=\s?(?:[€£]|{_CODES}{END}|{_MEASURE}))",
        groups_and_ranges.with_point,
    ),
    ("€", rf"(?<=€){START}\d{{1,3}}(?:\.\d{{3}}){{1,4}}(?![.,]?\d)", groups_and_ranges.with_commas),
    (".", rf"{START}\d{{1,3}}(?:\.\d{{3}}){{2,4}}(?!\d)(?!\.\d)", groups_and_ranges.dotted_groups),
)

_RANGES = (
    (HYPHEN, r"(?<![A-Za-z0-9-])([A-Z])(\d{1,4})-(?=\1\d)", r"\1\2 to "),
    ("'", r"(?<![\w'.])([3-8])'(\d|1[01])(?![\w'\"])", r"\1 feet \2"),
    ("'", r"(?<![\w'.])(\d{1,3})'-(\d{1,3})'(?!\w)", r"\1 to \2 feet"),
    (
        "'",
        r"(?<![\w'.])(\d{1,3})'(?=\s?[xX×]\s?\d|\s(?:by|tall|long|wide|deep|high|above|below)\b)"
        r"|(?<=[xX×] )(\d{1,3})'(?!\w)|(?<=\d'[xX×])(\d{1,3})'(?!\w)",
        lambda match: match.group()[:-1] + " feet",
    ),
    (
        "xX×",
        r"(?:(?<=[\d\"])|(?<=feet))\s?[xX×]\s?"
        r"(?=\d{1,5}(?:\.\d{1,3})?(?:\"|[\s-]?(?:feet|in|inch|inches|ft|m|cm|mm|km|px|pixels|g|kg|ml|[GTM]B)(?![A-Za-z])))",
        " by ",
    ),
    (
        "-",
        rf"{_SIGN}(?P<low>{NUMBER})(?:(?P<first>{_LETTER})-|-(?:(?P=currency)(?={NUMBER}\s?{_LETTER}(?![A-Za-z])))?)"
        rf"(?P<number>{NUMBER}){_MAGNITUDE}{_PER}",
        dates_and_amounts.money_range,
    ),
    ("=", r"(?<=\d)-(?=\d{1,15}(?:\.\d{1,15})?\s?=)", " minus "),
    ("-", r"(?:(?<=noon)|(?<=midnight))-(?=\d)", " to "),
    ("/", r"(?<=\d) / (?=\d)", " divided by "),
    ("-", rf"{START}({NUMBER}{_SUFFIX}?)-(?=(?:[A-Z]{{1,2}}[$¥])?[$£€¥₹]?\d)", r"\1 to "),
    ("-", rf"(?<=\d) ?- ?(?={_MONTH}(?![A-Za-z]))", " to "),
    ("-", r"(?<=[\dA-Za-z%°.]) - (?=[$£€¥₹]?\.?\d)", groups_and_ranges.spaced_hyphen),
    ("~", r"(?<=[\dA-Za-z%°]) ?~ ?(?=[$£€¥₹]?\.?\d)", groups_and_ranges.tilde),
    ("~", r"(?<!\w)~\s?(?=[$£€¥₹]?\.?\d)", "about "),
    ("^", r"(?<=[A-Za-z0-9)])\^2(?!\d)", " squared"),
    ("^", r"(?<=[A-Za-z0-9)])\^3(?!\d)", " cubed"),
    ("*^", r"(?<=\d)\*\*(?=-?\d)|(?<=[A-Za-z0-9)])\^(?=[-A-Za-z0-9(])", " to the power of "),
    (None, rf"{START}({NUMBER})[eE]\+?(-?\d{{1,3}}){END}", r"\1 times 10 to the power of \2"),
    ("-", r"([$£€¥])-(?=\.?\d)", r" minus \1"),
    ("-", r"(?<![A-Za-z0-9.)%\"'-])-(?=[$£€¥]?\.?\d)", " minus "),
)

_AMOUNTS = (
    (
        ":",
        rf"{START}(?P<hour>\d{{1,2}}):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d)(?:[.,](?P<part>\d{{1,9}}))?)?(?!\d|:\d){_HALF}?",
        dates_and_amounts.time,
    ),
    (_HALVES, rf"{START}(?P<hour>\d{{1,2}}){_HALF}", dates_and_amounts.time),
    (_MONEY_SIGNS, rf"{_SIGN}\s?{_AMOUNT}{_MAGNITUDE}{_PER}", dates_and_amounts.money),
    (
        _MONEY_CODES,
        rf"(?<![A-Za-z])(?P<currency>{_CODES})\s?(?P<number>{NUMBER}){_MAGNITUDE}{_PER}",
        dates_and_amounts.money,
    ),
    (
        _MONEY_SIGNS | _MONEY_CODES,
        rf"{START}(?P<number>{NUMBER}){_MAGNITUDE}\s?(?P<currency>{any_of(units_and_signs.CURRENCIES)}){END}{_PER}",
        dates_and_amounts.money,
    ),
    ("/", rf"{START}24/7(/365)?{END}", lambda match: match.group().replace("/", " ")),
    ("/", r"(?<![\w/.,$£€])1/(10{3,6})(?![\w/])", lambda match: "one " + number_words.ordinal(match.group(1))),
    ("/", rf"{START}9/11{END}", "9 11"),
    (
        "/",
        rf"(?<![\w/.,$£€])(\d{{1,3}}\s)?(\d{{1,3}})/(\d{{1,3}})(?![\w/])(?!\.\d)"
        rf"(?:\s(?:(?P<dotted>{any_of(DOTTED_UNITS)})\.(?![A-Za-z0-9])|(?P<unit>{_LONG_UNIT}){END})|(?P<inch>\")(?!\w))?",
        dates_and_amounts.fraction,
    ),
    ("m", rf"{START}(\d{{1,3}})\s?m\s?(?=\d{{1,2}}(?:\.\d{{1,9}})?s{END})", dates_and_amounts.minutes),
    ("h", r"(?<=\d)h\s?(\d{1,2})m(?![A-Za-z0-9])", r" hours \1 minutes"),
    ("s", rf"{START}(10{{1,3}})s(?= of\b)", groups_and_ranges.tens),
    ("s", rf"(?<![A-Za-z0-9_,.])(')?((?:1\d|20)\d0|[1-9]0)'?s{END}", groups_and_ranges.decade),
    (
        words_and_signs(units_and_signs.MONTHS),
        rf"({_MONTH}) (\d{{1,2}})(?=, ?\d{{4}}|[.,;:!?]|$| to [A-Z])(?![.,:]\d)",
        dates_and_amounts.month_day,
    ),
    (
        word_set("st nd rd th ST ND RD TH"),
        rf"{START}(?P<number>{INT})(?:st|nd|rd|th|ST|ND|RD|TH){END}",
        dates_and_amounts.ordinal,
    ),
    (
        "°",
        r"(?<=\d°)(?:\s?(\d{1,2})'(?:\s?(\d{1,2})(?:\"|''))?)?(?:\s?([NSEW])(?![A-Za-z]))?",
        dates_and_amounts.arc,
    ),
    (word_set("in"), r"(?<=\d)\s?(ft\.?|feet|foot) ?(\d{1,2}) ?in\.?(?=[\s,;:!?)]|$)", r" \1 \2 inches"),
    ("'", r"(\d)'\s?(\d{1,2})(?:\"|'')", r"\1 feet \2"),
    ('"', r"(?<=\d)\"(?!\w)", dates_and_amounts.inches),
    (word_set("sq cu fl"), r"(\d\s?)(sq|cu|fl)\.\s(?=ft|mi|oz|m|km)", r"\1\2 "),
    (word_set("T t"), rf"{START}({NUMBER}) ([Tt])\.(?= (?!rex)[a-z])", dates_and_amounts.spoons),
    ("p", rf"{START}([1-9]\d?)p{END}(?! (?:video|film|mode|at))", r"\1 pence"),
    (
        "m",
        rf"{START}({NUMBER})\s?m(?= (?:people|users|followers|subscribers|views|viewers|downloads|customers|jobs|homes|"
        r"households|copies|units|barrels|children|workers|voters|tonnes|tons|years)\b)",
        r"\1 million",
    ),
    (
        DOTTED_UNITS,
        rf"{START}(?P<number>{NUMBER})[\s-]?(?P<unit>{any_of(DOTTED_UNITS)}|(?:sq|cu) ft|fl oz|sq mi)\.(?![A-Za-z0-9])",
        dates_and_amounts.dotted_quantity,
    ),
    (
        words_and_signs(units_and_signs.UNITS),
        rf"{START}(?P<number>{NUMBER})\s?(?P<unit>{_UNIT})(?P<power>[23²³])?{END}{_PER}",
        dates_and_amounts.quantity,
    ),
    (HYPHEN, rf"{START}({NUMBER})-({_LONG_UNIT}){END}", dates_and_amounts.compound),
    (word_set("k M B bn tn"), rf"{START}({NUMBER})(k|M|B(?! [A-Z])|bn|tn){END}", dates_and_amounts.magnitude),
)

_REST = (
    ("xX", r"(?<=\d)\s?[xX]\s?(?=\d)", " by "),
    (None, r"(?<=\d)[xX](?=\s[a-z]{2}|[.,;:!?)]|$)", " times"),
    (None, r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])", " "),
    (".", rf"{START}\d{{1,15}}(?:\.\d{{1,15}}){{2,8}}(?!\d)", dates_and_amounts.version),
    (".", rf"{START}{INT}\.\d{{1,15}}(?!\d)", dates_and_amounts.decimal),
    (".", r"(?<![\w.])\.\d{1,15}(?!\d)", dates_and_amounts.decimal),
    (":", r"(?<=\d):(?=\d)", " to "),
    ("*", r"(?<=\d) ?\* ?(?=\d)", " times "),
    ("#", r"#(?=\d)", "number "),
)

SPELLINGS = RewriteRules(*_SPELLINGS)
NUMBERS = RewriteRules(*_WRITTEN_OUT, *_RANGES, *_AMOUNTS, *_REST)
