"""Secrets out of texts that others will read: credentials in addresses, values under names of keys and passwords."""

from __future__ import annotations

import re

MASK = "***"
SECRET = frozenset({"key", "apikey", "token", "password", "passwd", "passphrase", "secret", "credential", "credentials", "auth", "sas"})
"""Words of a name whose value nobody should read: `hf_token` and `apiKey` have one, `max_prompt_tokens` has none."""
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")
_USER = re.compile(r"(?<=://)[^/\s'\"]*@")
_QUERY = re.compile(r"(://[^\s'\"?#]*)[?#][^\s'\"]*")
_PAIR = re.compile(r"([\w.-]+)=([^\s'\"&]+)")
_FIELD = re.compile(r"""(["'])([\w.-]+)\1(\s*:\s*)("[^"]*"|'[^']*'|[^\s,}]+)""")


def is_secret(name: str) -> bool:
    """Whether what goes by this name is to be kept to oneself."""
    return not SECRET.isdisjoint(word.lower() for word in _WORD.findall(name))


def masked(text: str) -> str:
    """The text with MASK in place of user, password, query and fragment of every address in it, and of what follows the name of a secret
    in NAME=VALUE and in JSON. A presigned address carries its signature in the query; a `?` of a pattern in an address is taken for one."""
    text = _QUERY.sub(rf"\1?{MASK}", _USER.sub(f"{MASK}@", text))
    text = _PAIR.sub(lambda pair: f"{pair[1]}={MASK}" if is_secret(pair[1]) else pair[0], text)
    return _FIELD.sub(lambda field: f'{field[1]}{field[2]}{field[1]}{field[3]}"{MASK}"' if is_secret(field[2]) else field[0], text)
