"""Which reviews talk to a language model instead of about a meal: a flag for a person to look at, never a change of a result.

Rules are easily evaded, so nothing relies on them: what keeps a review in its place is how prompts are built (`tokens.py`,
`tasks/prompts.py`). They are matched on a copy of the text in which the usual disguises are undone, and narrow on purpose: "ignore the bad
reviews", "the POS system: slow" and "they act as a family" are what guests write.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from dataclasses import dataclass

MOST = 20_000
"""Characters that are looked at, from the end: a longer review is cut to its end before any model sees it."""

_ORDERS = r"(?:instructions?|prompts?|directives?|guidelines|commands?|system message)"
_MODEL = r"(?:ai|llm|gpt|chatgpt|chatbot|language model|classifier|summari[sz]er)"
_LABEL = r"(?:positive|negative|neutral|satisfied|unhappy|happy)"
_ORDERS_KO = r"(?:지시|명령|지침|프롬프트|규칙)"
_ENDING, _WORDS_KO = r"\S{0,8}\s?", r"(?:\S{1,12}\s){0,3}"
_LABEL_KO = r"(?:긍정|부정|중립|만족|불만족|최고|최악)"


@dataclass(frozen=True, slots=True)
class Rule:
    """What is looked for. `cues`: strings of which every match holds one; looking for them first is 2.8 times as fast."""

    name: str
    cues: tuple[str, ...]
    pattern: re.Pattern[str]


def _rule(name: str, cues: str, *patterns: str) -> Rule:
    return Rule(name, tuple(cues.split("|")), re.compile("|".join(patterns)))


RULES = (
    _rule(
        "sets instructions aside",
        "ignore|disregard|forget|override|bypass",
        r"\b(?:ignore|disregard|forget|override|bypass)\s(?:\w+\s){0,3}(?:previous|prior|above|earlier|preceding|all|your|system)\s"
        rf"(?:\w+\s){{0,2}}{_ORDERS}\b",
    ),
    _rule(
        "asks for the prompt",
        "instruction|prompt|directive|guideline|command|message",
        r"\b(?:system|hidden|initial) (?:prompt|instructions?|message)\b",
        rf"\b(?:reveal|repeat|print|output|show|leak)\s(?:\w+\s){{0,6}}(?:your|the|above)\s(?:\w+\s)?{_ORDERS}\b",
    ),
    _rule(
        "gives a role",
        "you are now|pretend that you|stay in character|from now on",
        r"\byou are now (?:an? )?(?:\w*gpt|\w*ai|assistant|model|bot|dan)\b|\bpretend that you\b|\bstay in character\b",
        r"\bfrom now on,? (?:you|respond|answer|reply|output)\b",
    ),
    _rule(
        "speaks to a model",
        " ai|ai:|ai :|ai\n:|llm|gpt|chatbot|language model|classifier|summar|in your output",
        rf"\b(?:note|message|attention|memo|instructions?) (?:to|for) (?:the |any |an? )?{_MODEL}\b|\bas an? {_MODEL}\b|\b{_MODEL}\s?:",
        r"\bin your (?:summary|summaries|output)\b|\bwhen you summari[sz]e\b",
    ),
    _rule(
        "orders an answer",
        "only|exactly|solely|nothing but|positive|negative|neutral|happy|satisfied|guest|customer"
        "|answer is|answer must be|label is|label must be",
        r"\b(?:respond|reply|answer|output|return|say)\s(?:with\s)?(?:only|exactly|solely|nothing but)"
        rf"(?:\s(?:with|in|this|the|json|[\"']?{_LABEL})\b|\s?[:\"'])",
        r"\bonly (?:respond|output|answer) (?:with|in)\b|\b(?:correct|final|only|right) (?:correct )?(?:answer|label) (?:is|must be)\b",
        rf"\b(?:treat|mark|label|classify|tag|count)\s(?:\w+\W{{1,3}}){{1,8}}[\"']?{_LABEL}\b",
        rf"\b(?:answer|output)[:\s]+[\"']?{_LABEL}\b",
        r"\bsay (?:\w+ ){0,3}(?:customer|guest) (?:felt|was)\b",
    ),
    _rule(
        "forges our wording",
        "the customer felt|guest praises|end of |beginning of |start of |sentiment|label|감성|라벨|정답|리뷰 끝",
        r"\bthe customer felt\b|\bthis guest praises\b|\b(?:end|beginning|start) of (?:the )?(?:reviews?|prompt|data|input)\b|\b리뷰 끝",
        rf"\b(?:sentiment|label|감성|라벨|정답)\"?\s?[:=]\s?[\"']?(?:{_LABEL}\b|{_LABEL_KO})",
    ),
    _rule("forges numbering", "[", r"(?:^|\n)\s?\[\d{1,3}\]\s.*\n\s?\[\d{1,3}\]\s"),
    _rule(
        "forges a chat",
        "<|[|##|system|assistant|user|developer|시스템|어시스턴트",
        r"<\|\w+\|>|\[/?inst\]|<</?sys>>|<(?:start|end)_of_turn>|</?s>",
        r"#{2,}\s?(?:instructions?|system|response|input|지시|답변|명령)\b",
        r"(?:^|\n|[.!?*>]\s?|<!--\s?)(?:system|assistant|user|developer|시스템|어시스턴트)\s?:",
    ),
    _rule(
        "forges an answer",
        "{|\"|'|```",
        r"\{\s?[\"'][^\"'\n]{1,30}[\"']\s?:|[\"'](?:sentiment|label|summary|strengths?|score|감성|라벨|요약)[\"']\s?:|```",
    ),
    _rule("holds markup", "<|javascript:|![", r"<(?:script|iframe|img|svg|object)\b|\bjavascript:|!\[[^\]\n]*\]\("),
    _rule(
        "sets instructions aside, in Korean",
        "지시|명령|지침|프롬프트|규칙|메시지",
        rf"(?:이전|위|앞|기존|모든|시스템|받은){_ENDING}{_WORDS_KO}{_ORDERS_KO}{_ENDING}{_WORDS_KO}(?:무시|잊|따르지\s?마|공개|출력)",
        rf"시스템\s?(?:프롬프트|메시지|지시|명령)|{_ORDERS_KO}[을를]\s?{_WORDS_KO}(?:공개|출력|보여)",
    ),
    _rule(
        "gives a role, in Korean",
        "부터|역할에",
        r"(?:너는|넌|당신은)\s?(?:이제|지금)부터|(?:이제|지금)부터\s?(?:너는|넌|당신은)|역할에\s?충실",
    ),
    _rule(
        "orders an answer, in Korean",
        "긍정|부정|중립|만족|최고|최악|라고만|로만|했다고|출력|json만|요약",
        rf"{_LABEL_KO}(?:이|적)?(?:으로|로|이라고|라고)만?\s?{_WORDS_KO}(?:분류|출력|대답|답하|답해|표시|판정)",
        r"(?:라고|로)만\s?(?:대답|답하|답해|출력)|(?:그대로|단어를)\s?출력|했다고\s?(?:답하|답해|써|쓰|덧붙|요약)|json만",
        rf"(?:요약에|식당을?\s?요약){_ENDING}{_WORDS_KO}{_WORDS_KO}(?:쓰시오|쓰고|적으세요|써라)",
    ),
    _rule("speaks to a model, in Korean", "에게|모델|님아|야", r"(?:\bai|인공지능|언어\s?모델|챗봇|챗gpt)\s?(?:에게|모델|님아|야)\s?[:,]?"),
)

_CUES = [(cue, rule) for rule in RULES for cue in rule.cues]
_ASCII_CUES = [(cue, rule) for cue, rule in _CUES if cue.isascii()]  # no other can stand in a text of ASCII
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u115f\u1160\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff]+")
_TAG = re.compile("[\U000e0020-\U000e007e]")  # invisible doubles of ASCII
_FOREIGN, _WORD = re.compile("[\u0370-\u052f]"), re.compile(r"\w+")
_LOOKALIKE = str.maketrans("аеорсухіјѕԁћоαορνт", "aeopcyxijsdhoaopvt")
_TURNED = re.compile("[\u202d\u202e]")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{32,}={0,2}")


def instruction_like(text: str) -> str | None:
    """The name of the first rule that the review matches, None for an ordinary one."""
    for reading in _readings(text):
        for cue, rule in _ASCII_CUES if reading.isascii() else _CUES:
            if cue in reading and rule.pattern.search(reading):
                return rule.name
    return None


def _readings(text: str) -> list[str]:
    """The text as it stands, backwards where an override turns it round, and what base64 in it says."""
    text = text[-MOST:]
    readings = [text] if text.isascii() or not _TURNED.search(text) else [text, text[::-1]]
    readings += filter(None, map(_decoded, _BASE64.findall(text)))
    return [_single_spaced(reading.casefold() if reading.isascii() else _undisguised(reading)) for reading in readings]


def _single_spaced(text: str) -> str:
    """White space as one space or one line end, so that no pattern has to try how much of it there is."""
    return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())


def _undisguised(text: str) -> str:
    text = _TAG.sub(lambda tag: chr(ord(tag[0]) - 0xE0000), text)
    text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).casefold()
    return _WORD.sub(lambda word: _latin(word[0]), text) if _FOREIGN.search(text) else text


def _latin(word: str) -> str:
    """A word of Latin letters and such as only look like them, in Latin letters; any other as it is."""
    read = word.translate(_LOOKALIKE)
    return read if read.isascii() else word


def _decoded(run: str) -> str | None:
    """What base64 says, None where that is no text."""
    try:
        said = base64.b64decode(run).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return said if said.isprintable() else None
