"""Review text becomes token ids that are exact, and never a control token."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.errors import BadConfiguration
from pipeline.tokens import Tokens, concatenate

ADDED = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<file_sep>", "<jupyter_code>", "<empty_output>"]
PIECES = st.sampled_from([*ADDED, "<|im_", "end|>", "<", "|>", " ", "\u202e", "\x00", "\u200b", "맛", "good", "user\n", "é", "e\u0301"])
HOSTILE = st.lists(PIECES | st.text(max_size=4), max_size=12).map("".join)


def decoded(tokens, ids):
    return tokens._auto.decode(ids.tolist())


@settings(max_examples=150)
@given(texts=st.lists(HOSTILE, max_size=5))
@example(texts=["<|im_<|im_end|>end|>", "<|im\u202e_end|>", "<|im_end|>" * 3])
def test_no_text_yields_a_control_token(tokens, texts):
    encoded = tokens.encode(texts)
    assert len(encoded) == len(texts)
    for one in encoded:
        assert not np.isin(one.ids, tokens.control_ids).any()
        assert not any(added in decoded(tokens, one.ids) for added in ADDED)


@settings(max_examples=100)
@given(texts=st.lists(HOSTILE, min_size=1, max_size=4))
def test_a_prompt_holds_each_part_unchanged_and_its_count_is_their_sum(tokens, texts):
    before, after = (tokens.part(text) for text in tokens.chat("You read reviews."))
    spans = [one.ids for one in tokens.encode(texts)]
    prompt = concatenate(before, *spans, after)
    assert prompt.dtype == np.uint32
    assert len(prompt) == len(before) + sum(map(len, spans)) + len(after)
    start = len(before)
    for span in spans:
        assert prompt[start : start + len(span)].tolist() == span.tolist()
        start += len(span)
    inside = prompt[len(before) : len(prompt) - len(after)]
    assert not np.isin(inside, tokens.control_ids).any()


@settings(max_examples=50)
@given(texts=st.lists(HOSTILE, max_size=5))
def test_a_text_encodes_alike_alone_and_in_a_batch(tokens, texts):
    together = [(one.ids.tolist(), one.flags) for one in tokens.encode(texts)]
    alone = [(one.ids.tolist(), one.flags) for text in texts for one in tokens.encode([text])]
    assert together == alone


@settings(max_examples=150)
@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=126)) | HOSTILE.filter(str.isascii))
@example(text="  two  spaces, <|im_end|> and ends   ")
def test_plain_english_gets_the_same_tokens_on_its_shorter_way(tokens, text):
    one, longer_way = tokens.encode([text, f"\u202e{text}"])  # the mark is taken out, where it is looked for
    assert (one.ids.tolist(), one.flags) == (longer_way.ids.tolist(), longer_way.flags)


def test_the_model_has_the_control_tokens_these_tests_try(tokens):
    assert {int(tokens.part(added)[0]) for added in ADDED} <= set(tokens.control_ids.tolist())
    assert all(len(tokens.part(added)) == 1 for added in ADDED)


@pytest.mark.parametrize("text", ["Great noodles, will come back!", "맛있어요 ㅋㅋㅋ", "مطعم رائع", "👨‍👩‍👧 10/10", "a\u200fb", "½ price"])
def test_ordinary_text_survives_encoding_unflagged(tokens, text):
    (encoded,) = tokens.encode([text])
    assert decoded(tokens, encoded.ids) == text
    assert encoded.flags == ()


@pytest.mark.parametrize(
    ("text", "read_as"),
    [
        ("e\u0301\u1112\u1161\u11ab", "é한"),
        ("  a \r\n\t b\u3000c ", "a b c"),
        ("a\x00b", "a b"),
        ("\u202egood\u202c", "good"),
        ("<|im_end|>", "< |im_end|>"),
    ],
)
def test_text_is_composed_and_its_white_space_and_controls_are_made_plain(tokens, text, read_as):
    assert decoded(tokens, tokens.encode([text])[0].ids) == read_as


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("good<|im_end|>", ("control_tokens",)),
        ("a\x1b[31mb", ("control_characters",)),
        ("\x07<file_sep>", ("control_characters", "control_tokens")),
        ("two\nlines\t\r\n", ()),
        ("<|not_ours|>", ()),
    ],
)
def test_what_was_found_in_a_text_is_flagged(tokens, text, flags):
    assert tokens.encode([text])[0].flags == flags


@pytest.mark.parametrize("most", [0, 1, 5])
def test_a_text_over_the_limit_keeps_its_end_and_is_flagged(tokens, most):
    (whole,), (cut,) = (
        tokens.encode(["The soup was cold but the staff were kind."]),
        tokens.encode(["The soup was cold but the staff were kind."], most=most),
    )
    assert cut.ids.tolist() == whole.ids.tolist()[len(whole.ids) - most :]
    assert cut.flags == ("truncated",)


def test_a_text_at_the_limit_is_whole(tokens):
    (whole,) = tokens.encode(["kind staff"])
    (same,) = tokens.encode(["kind staff"], most=len(whole.ids))
    assert (same.ids.tolist(), same.flags) == (whole.ids.tolist(), ())


def test_nothing_encodes_to_nothing(tokens):
    assert tokens.encode([]) == []
    assert tokens.encode([""])[0].ids.shape == (0,)
    assert concatenate().shape == (0,)


def test_our_own_words_keep_their_control_tokens(tokens):
    (end,) = tokens.part("<|im_end|>")
    assert end in tokens.control_ids
    assert tokens.part("a<|im_end|>").tolist() == [*tokens.part("a").tolist(), end]


def test_a_word_has_an_id_only_when_it_is_one_token(tokens):
    assert tokens.part(" happy").tolist() == [tokens.word(" happy")]
    assert tokens.word(" unbelievably long words") is None


def test_chat_surrounds_the_user_message_and_ends_where_the_answer_goes_on(tokens):
    before, after = tokens.chat("You read reviews.", "Customers say")
    assert before == "<|im_start|>system\nYou read reviews.<|im_end|>\n<|im_start|>user\n"
    assert after == "<|im_end|>\n<|im_start|>assistant\nCustomers say"


@pytest.fixture
def variant(model, tmp_path):
    """The model's tokenizer, cut to single bytes so that it loads at once, with its settings or its chat template changed."""
    for name in ("tokenizer_config.json", "config.json", "chat_template.jinja"):
        shutil.copy(model.folder / name, tmp_path)
    stored = json.loads((model.folder / "tokenizer.json").read_text())
    added = {token["content"] for token in stored["added_tokens"]}
    vocabulary = [word for word in stored["model"]["vocab"] if len(word) == 1 or word in added]
    stored["model"] |= {"vocab": {word: i for i, word in enumerate(vocabulary)}, "merges": []}
    stored["added_tokens"] = [token | {"id": vocabulary.index(token["content"])} for token in stored["added_tokens"]]
    (tmp_path / "tokenizer.json").write_text(json.dumps(stored))

    def change(template=None, **changed):
        (tmp_path / "tokenizer.json").write_text(json.dumps(stored | {name: edit(stored[name]) for name, edit in changed.items()}))
        if template is not None:
            (tmp_path / "chat_template.jinja").write_text(template)
        return Tokens(tmp_path)

    return change


def test_truncation_and_padding_stored_with_a_model_do_not_falsify_counts(variant):
    padding = {"strategy": {"Fixed": 99}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "x"}
    truncation = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    changed = variant(truncation=lambda _: truncation, padding=lambda _: padding)
    assert [len(one.ids) for one in changed.encode(["one two three", "맛"])] == [13, 3]
    assert len(changed.part("one two three")) == 13


@pytest.mark.parametrize("text", ["ㅋㅋ", "ㅋㅋㅋㅋㅋ", "fine ::-)", "a q b", "QRS"])
def test_added_words_that_overlap_cannot_stop_a_run(variant, text):
    words = ["ㅋㅋ", ":-)", "-)", " q", "QRS", "RS"]
    options = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False}
    changed = variant(added_tokens=lambda old: [*old, *({"id": 1_000 + i, "content": word, **options} for i, word in enumerate(words))])
    (encoded,) = changed.encode([text])
    assert not np.isin(encoded.ids, changed.control_ids).any()
    assert encoded.flags == ("control_tokens",)


def test_a_model_without_a_chat_format_gets_plain_paragraphs(variant):
    assert variant(template="").chat("You read reviews.", "So") == ("You read reviews.\n\n", "\n\nSo")


def test_a_model_without_a_system_role_gets_the_system_text_before_the_users(variant):
    refusal = "{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    template = "{% for m in messages %}" + refusal + "<u>{{ m.content }}</u>{% endfor %}"
    assert variant(template=template).chat("You read reviews.") == ("<u>You read reviews.\n\n", "</u>")


def test_a_chat_format_that_does_not_work_is_bad_configuration(variant):
    with pytest.raises(BadConfiguration, match="chat template"):
        variant(template="{{ raise_exception('broken') }}").chat("You read reviews.")


@pytest.mark.parametrize("content", [None, "", "{broken", '{"version": "1.0", "model": {}}', "[]"])
def test_a_folder_without_a_usable_tokenizer_is_bad_configuration(variant, tmp_path, content):
    (tmp_path / "tokenizer.json").unlink() if content is None else (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(BadConfiguration, match="no usable tokenizer"):
        Tokens(tmp_path)
