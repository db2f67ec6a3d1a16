"""Options from a file: which source wins, what is refused and how, and what --print-config tells."""

import tomllib

import pytest
from test_cli import assert_clean_error, jobs

from jobs.masking import is_secret, masked

SOURCES = ("command line", "environment", "file", "default")
CHUNKS = dict(zip(SOURCES, (1000, 1001, 1002, 2560), strict=True))


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "night.toml"
        path.write_text(text)
        return path

    return write


def printed(*arguments, command="analyze", config=None, **environment):
    done = jobs(*(["--config", config] if config else []), command, *arguments, "--print-config", **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def line_of(text, key):
    (found,) = [line for line in text.splitlines() if line.removeprefix("# ").startswith((f"{key} =", f"{key} is"))]
    return found


@pytest.mark.parametrize(("higher", "lower"), [(a, b) for i, a in enumerate(SOURCES) for b in SOURCES[i + 1 :]])
def test_each_source_wins_over_each_lower_one(file, higher, lower):
    given = {higher, lower}
    arguments = ["--chunk-tokens", CHUNKS["command line"]] if "command line" in given else []
    environment = {"REVIEW_DIGEST_ANALYZE_CHUNK_TOKENS": str(CHUNKS["environment"])} if "environment" in given else {}
    config = file(f"[analyze]\nchunk-tokens = {CHUNKS['file']}\n") if "file" in given else None
    text = printed(*arguments, config=config, **environment)
    assert tomllib.loads(text)["analyze"]["chunk-tokens"] == CHUNKS[higher]
    assert f"# {higher}" in line_of(text, "chunk-tokens")


def test_an_origin_names_the_variable_and_the_file_with_its_key(file):
    config = file('[analyze]\nchunk_tokens = 1002\nstrengths = "single"\n')
    text = printed(config=config, REVIEW_DIGEST_ANALYZE_ORDER="fifo", VLLM_USE_PRIORITY_QUEUE="false")
    assert line_of(text, "chunk-tokens").endswith(f"# file {config}: [analyze] chunk_tokens")
    assert line_of(text, "order").endswith("# environment REVIEW_DIGEST_ANALYZE_ORDER")
    assert line_of(text, "use-priority-queue") == "use-priority-queue = false # environment VLLM_USE_PRIORITY_QUEUE"
    assert line_of(text, "strengths").startswith('strengths = "single"')
    assert line_of(text, "limit") == "# limit is not set"


@pytest.mark.parametrize("command", ["analyze", "plan", "expand-queries", "compare", "evaluate", "attack"])
def test_what_is_printed_can_be_given_back(file, command):
    arguments = ["--engine-option", "max_num_seqs=32", "--engine-option", 'a="b"\\', "--model", 'my "own" model # 1']
    first = printed(*arguments, command=command)
    again = printed(command=command, config=file(first))
    assert tomllib.loads(first) == tomllib.loads(again)
    assert tomllib.loads(first)[command]["engine-option"] == ["max_num_seqs=32", 'a="b"\\']
    assert "file" in line_of(again, "model")


def test_printing_needs_no_input_and_starts_nothing(tmp_path):
    done = jobs("analyze", "--output", tmp_path / "out", "--print-config")
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "out").exists()


def test_printing_refuses_what_the_command_would_refuse(tmp_path):
    assert_clean_error(jobs("analyze", "--limit", "0", "--print-config"), 2, "--limit")


def test_a_plan_takes_the_files_options_of_analyze_and_its_own_before_them(file):
    config = file('[analyze]\norder = "fifo"\nlimit = 5\nmax-failed = "5%"\n[plan]\nlimit = 7\n')
    found = tomllib.loads(printed(command="plan", config=config))["plan"]
    assert (found["order"], found["limit"]) == ("fifo", 7)
    assert "[analyze] order" in line_of(printed(command="plan", config=config), "order")


def test_secrets_are_masked_and_a_mask_is_never_a_value():
    text = printed("--model", "https://hush5@host/model", "--engine-option", "max_num_seqs=32")
    assert "hush" not in text
    assert "***" in line_of(text, "model")
    assert "max_num_seqs=32" in line_of(text, "engine-option")
    assert "model" not in tomllib.loads(text)["analyze"]


@pytest.mark.parametrize("option", ["hf_token=hush", 'hf_overrides={"api_key": "hush"}', 'additional_config={"a": [{"password": "hush"}]}'])
def test_secrets_among_engine_options_are_refused_and_not_repeated(option):
    done = jobs("analyze", "reviews.parquet", "--engine-option", option)
    assert done.returncode == 2
    assert "secrets do not belong there" in done.stderr
    assert "hush" not in done.stderr


@pytest.mark.parametrize(
    "arguments", [["s3://me:hush@b/x"], ["x.parquet", "--queries", "s3://b/q?sig=hush"], ["x", "--output", "s3://me:hush@b/x"]]
)
def test_credentials_in_an_address_are_refused_and_not_repeated(arguments):
    done = jobs("analyze", *arguments)
    assert done.returncode == 78
    assert "hush" not in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[analyze]\nlimt = 5", ["[analyze] limt: no such option", "did you mean limit?"]),
        ("[analyze]\nchunk_token = 5", ["chunk_token", "did you mean chunk-tokens?"]),
        ("[analyze]\nprint-config = true", ["print-config", "no such option"]),
        ("[analize]\nlimit = 5", ["[analize]", "did you mean analyze?"]),
        ("[expand_queries]\nlimit = 5", ["did you mean expand-queries?"]),
        ("[zzz]\n", ["[zzz]", "there are analyze, merge, plan"]),
        ("limit = 5", ["limit: stands in no command's table"]),
        ("[store.prune]\nolder-thn = '5d'", ["[store.prune] older-thn", "did you mean older-than?"]),
        ("[store.prun]\n", ["[store.prun]", "did you mean prune?"]),
        ("[analyze]\nlimit = 5\n[analyze.deeper]\n", ["[analyze] deeper"]),
        ('[analyze]\nlimit = "5"', ["[analyze] limit: has to be a whole number, found a text"]),
        ("[analyze]\nlimit = true", ["limit: has to be a whole number, found a boolean"]),
        ("[analyze]\nlimit = 5.0", ["limit: has to be a whole number, found a number"]),
        ("[analyze]\nforce = 1", ["force: has to be true or false, found a whole number"]),
        ("[analyze]\norder = 5", ["order: has to be a text in quotes, found a whole number"]),
        ("[analyze]\ndate = true", ["date: has to be a text in quotes, found a boolean"]),
        ('[analyze]\nrestaurant = "a"', ["restaurant: has to be a list", "found a text"]),
        ("[analyze]\nslo = [[]]", ["slo: has to be a list of which each is a text in quotes, found a list"]),
        ("[analyze]\nchunk-tokens = 600\nchunk_tokens = 700", ["chunk_tokens: is there twice"]),
        ("[analyze]\nlimit = 0", ["[analyze] limit: 0 is not in the range"]),
        ('[analyze]\norder = "magic"', ["[analyze] order: 'magic' is not one of"]),
        ('[analyze]\nslo = ["soon"]', ["[analyze] slo: 'soon' is no service level"]),
        ("[analyze", ["is not TOML"]),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_file_table_and_key(file, text, words):
    config = file(text)
    assert_clean_error(jobs("--config", config, "analyze", "reviews.parquet"), 2, str(config), *words)


def test_a_file_that_is_no_text_is_told(tmp_path):
    (tmp_path / "night.toml").write_bytes(b"\xff\xfe\x00")
    assert_clean_error(jobs("--config", tmp_path / "night.toml", "analyze", "reviews.parquet"), 2, "is not TOML")


def test_a_wrong_value_in_the_environment_is_told_with_its_variable():
    assert_clean_error(jobs("analyze", "x", REVIEW_DIGEST_ANALYZE_LIMIT="many"), 2, "REVIEW_DIGEST_ANALYZE_LIMIT", "'many'")
    assert_clean_error(jobs("plan", "x", REVIEW_DIGEST_ANALYZE_STRENGTHS="many"), 2, "REVIEW_DIGEST_ANALYZE_STRENGTHS", "'many'")


def test_a_secret_of_the_wrong_kind_is_not_shown(file):
    done = jobs("--config", file('[analyze]\nengine-option = "hf_token=hush"'), "analyze", "reviews.parquet")
    assert_clean_error(done, 2, "engine-option: has to be a list")
    assert "hush" not in done.stderr


def test_moments_and_numbers_of_toml_are_read_as_they_would_be_typed(file):
    config = file(
        "[analyze]\ndate = 2026-11-20\nsince = 2026-11-01T06:00:00+09:00\nstop-at = 05:45:00\nmax-failed = 5\nrestaurant = [1024]\n"
    )
    found = tomllib.loads(printed(config=config))["analyze"]
    assert (found["date"], found["since"], found["stop-at"]) == ("2026-11-20", "2026-11-01T06:00:00+09:00", "05:45:00")
    assert (found["max-failed"], found["restaurant"]) == ("5", ["1024"])


def test_an_option_has_one_name_in_help_file_and_environment():
    assert "REVIEW_DIGEST_ANALYZE_STRENGTHS" in jobs("analyze", "--help").stdout
    assert tomllib.loads(printed(REVIEW_DIGEST_ANALYZE_STRENGTHS="single"))["analyze"]["strengths"] == "single"


@pytest.mark.parametrize("name", ["hf_token", "apiKey", "API_KEY", "aws-secret-access-key", "password", "sas", "AUTH"])
def test_names_of_secrets(name):
    assert is_secret(name)


@pytest.mark.parametrize("name", ["max_prompt_tokens", "chunk-tokens", "tokenizer", "max_num_batched_tokens", "keyboard", "author"])
def test_names_that_are_none(name):
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/key.parquet", "s3://bucket/key.parquet"),
        ("s3://me:hush@bucket/key", "s3://***@bucket/key"),
        ("s3://me:h@u:sh@bucket/key", "s3://***@bucket/key"),
        ("https://host/x?X-Amz-Signature=hush and https://host/y#hush", "https://host/x?*** and https://host/y?***"),
        ("hf_token=hush, max_num_seqs=32", "hf_token=*** max_num_seqs=32"),
        ('{"api_key": "hush", "size": 5}', '{"api_key": "***", "size": 5}'),
        ("someone@example.org wrote", "someone@example.org wrote"),
    ],
)
def test_secrets_in_texts(text, expected):
    assert masked(text) == expected
