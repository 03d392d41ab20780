from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.core.plan import CodeLimits, Files, JobName, LogRules, Node, Plan, Process, Transfers
from launcher.core.redact import (
    MASK,
    by_line,
    is_secret,
    mask,
    mask_argv,
    mask_chunks,
    plan_secrets,
    redact,
    secret_values,
    spellings,
    to_json,
    written_secrets,
)

PIECES = [
    *("a", "ab", "://", ":", "/", "@", " ", "\n", "aab@b", "http://u:p@", "http", "https://", "http://token@"),
    *("?", "&", "Signature=", "?X-Amz-Signature=", "&x-amz-security-token=", "abababab", "$a", "'"),
]


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("password", "correct-horse", True),
        ("DB_PASSWORD", "correct-horse", True),
        ("dbPasswd", "correct-horse", True),
        ("HF_TOKEN", "hf_abcdefgh", True),
        ("AWS_SECRET_ACCESS_KEY", "abcdefgh", True),
        ("api-key", "abcdefgh", True),
        ("apiKey", "abcdefgh", True),
        ("private_key", "abcdefgh", True),
        ("credentials", "abcdefgh", True),
        ("client_secret", "abcdefgh", True),
        ("max_tokens", "51200000", False),
        ("token", "512.00000", False),
        ("token", "short", False),
        ("monkey", "abcdefgh", False),
        ("sort_key", "abcdefgh", False),
        ("key", "abcdefgh", False),
        ("token_file", "/run/secrets/t", False),
        ("", "abcdefgh", False),
    ],
)
def test_a_secret_is_told_by_its_name_and_that_it_could_be_one(name: str, value: str, secret: bool) -> None:  # noqa: FBT001
    assert is_secret(name, value) is secret


def test_secret_values_are_found_longest_first() -> None:
    options = [("token", "abcdefgh"), ("password", "abcdefghij"), ("lr", "0.1")]
    assert secret_values(options, ["known-secret", "tiny"]) == ("known-secret", "abcdefghij", "abcdefgh")


def test_the_secrets_that_a_script_holds_are_found() -> None:
    text = "export DB_PASSWORD='correct-horse'\ncurl --token s3cretvalue http://h\nNAME=plain"
    assert written_secrets(text) == ("correct-horse", "s3cretvalue")


def test_urls_lose_their_passwords() -> None:
    assert (
        mask("see https://me:pw@host/x and http://host/a@b", ()) == f"see https://me:{MASK}@host/x and http://host/a@b"
    )


def test_a_plan_is_redacted_by_its_own_secrets_and_the_known_ones() -> None:
    env = {"HF_TOKEN": "hf_abcdefgh", "URL": "http://me:pw@h/hf_abcdefgh", "MINE": "known-secret"}
    process = Process(
        rank=0, local_rank=0, argv=("python", "--api_key=abcdefgh", "abcdefgh", "--flag"), env=env, cwd="/"
    )
    plan = plan_with(process)
    assert plan_secrets(plan) == ("hf_abcdefgh", "abcdefgh")
    assert plan_secrets(plan, ["known-secret"]) == ("known-secret", "hf_abcdefgh", "abcdefgh")
    (shown,) = redact(plan, ["known-secret"]).processes
    assert shown.argv == ("python", f"--api_key={MASK}", MASK, "--flag")
    assert shown.env == {"HF_TOKEN": MASK, "URL": f"http://me:{MASK}@h/{MASK}", "MINE": MASK}


def test_secrets_inside_a_command_are_found() -> None:
    text = "A_TOKEN=topsecret1 python t.py --api_key 'topsecret2' --password=topsecret3 --quiet --token topsecret4"
    text += " --lr 0.00000001 && echo x=1"
    process = Process(rank=0, local_rank=0, argv=("bash", "-c", text), env={}, cwd="/")
    assert plan_secrets(plan_with(process)) == ("topsecret1", "topsecret2", "topsecret3", "topsecret4")


@pytest.mark.parametrize(
    "text",
    [
        "A_TOKEN='topsecret1'",
        "run --set=api_key=topsecret1 --set=lr=1",
        "--api_key topsecret1",
        """echo '{"api_key": "topsecret1"}'""",
        r"""echo "{\"api_key\": \"topsecret1\"}" """,
    ],
)
def test_a_secret_is_found_however_it_is_assigned(text: str) -> None:
    assert [value.rstrip("\\") for value in written_secrets(text)] == ["topsecret1"]


@pytest.mark.parametrize("text", ["A_TOKEN= python-is-here", "--api_key; cd somewhere-else", "a token is needed-here"])
def test_what_assigns_nothing_hides_nothing(text: str) -> None:
    assert written_secrets(text) == ()


@pytest.mark.parametrize("word", ["a", "-", "--a", "a-", "A9_"])
def test_a_command_with_a_long_word_is_looked_through_in_time(word: str) -> None:
    text = f"{word * 500_000} --api_key topsecret2"
    process = Process(rank=0, local_rank=0, argv=("bash", "-c", text), env={}, cwd="/")
    assert plan_secrets(plan_with(process)) == ("topsecret2",)


def test_a_document_is_masked_throughout_and_always_encodable() -> None:
    text = to_json({"a": ["x abcdefgh", {"b": ("odd \udcff", 1, None)}]}, ["abcdefgh"])
    assert json.loads(text) == {"a": [f"x {MASK}", {"b": ["odd \udcff", 1, None]}]}


def plan_with(process: Process) -> Plan:
    return Plan(
        job=JobName(id="i", name="n", label="l"),
        node=Node(index=0, count=1, host="h"),
        root="/",
        folders=(),
        code=None,
        inputs=(),
        outputs=(),
        processes=(process,),
        packages="/p",
        scratch=None,
        pip_index=(),
        files=Files(
            log="l",
            run_json="r",
            events="e",
            plan="p",
            staged="s",
            uploads="u",
            roll="o",
            termination=None,
            report=None,
        ),
        log_target=None,
        limits=CodeLimits(),
        logs=LogRules(),
        grace=1,
        stop_after=None,
        transfers=Transfers(most=1),
        in_use="warn",
        language="en",
        warnings=(),
    )


def test_an_argv_keeps_its_shape() -> None:
    argv = ("python", "a.py", "--api_key=abcdefgh", "--lr=1", "--url=x-abcdefgh-y", "--flag")
    masked = ("python", "a.py", f"--api_key={MASK}", "--lr=1", f"--url=x-{MASK}-y", "--flag")
    assert mask_argv(argv, ["abcdefgh"]) == masked


def test_a_stream_without_secrets_passes_untouched() -> None:
    chunks = [b"a", b"", b"b"]
    assert b"".join(mask_chunks(chunks, ())) == b"ab"
    assert list(mask_chunks([], [b"abcdefgh"])) == []


@given(
    st.lists(st.text("ab", min_size=8, max_size=12), min_size=1, max_size=3),
    st.lists(st.text("abx", max_size=20), max_size=6),
    st.lists(st.integers(1, 9), max_size=60),
)
def test_a_secret_in_a_stream_is_masked_wherever_the_chunks_end(
    secrets: list[str], between: list[str], sizes: list[int]
) -> None:
    text = "-".join((*between, *secrets)).encode()
    chunks, at = [], 0
    for size in sizes:
        chunks.append(text[at : at + size])
        at += size
    chunks.append(text[at:])
    values = [each.encode() for each in secrets]
    masked_text = b"".join(mask_chunks(chunks, values))
    assert not [value for value in values if value in masked_text]
    assert masked_text == mask(text.decode(), secrets).encode()


@pytest.mark.parametrize("cut", range(30))
def test_a_longer_secret_is_not_lost_to_a_shorter_one_that_it_begins_with(cut: int) -> None:
    text = b"xx abcdefghTOPSECRETTAIL yy"
    masked_text = b"".join(mask_chunks([text[:cut], text[cut:]], [b"abcdefghTOPSECRETTAIL", b"abcdefgh"]))
    assert masked_text == f"xx {MASK} yy".encode()


@given(
    st.lists(st.sampled_from(PIECES), max_size=14),
    st.lists(st.text("ab:/@ ", min_size=1, max_size=6), max_size=2),
    st.lists(st.integers(1, 6), max_size=60),
)
def test_a_stream_is_masked_as_the_whole_is(pieces: list[str], secrets: list[str], sizes: list[int]) -> None:
    text = "".join(pieces)
    secrets.sort(key=len, reverse=True)
    chunks, at = [], 0
    for size in sizes:
        chunks.append(text[at : at + size].encode())
        at += size
    chunks.append(text[at:].encode())
    masked_text = b"".join(mask_chunks(chunks, [each.encode() for each in secrets]))
    assert masked_text == mask(text, secrets).encode()


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(0, 4200), st.integers(100, 9000), st.booleans())
def test_a_long_url_is_masked_as_far_as_a_stream_can_hold_it_back(
    user: int,
    password: int,
    size: int,
    ended: bool,  # noqa: FBT001
) -> None:
    text = b"x" * 5000 + b" https://" + b"u" * user + b":" + b"p" * password + b"@host" * ended + b" " + b"y" * 5000
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    masked_text = b"".join(mask_chunks(chunks, ()))
    hidden = ended and user <= 255 and 0 < password <= 4096
    assert masked_text == (text.replace(b"p" * password, MASK.encode(), 1) if hidden and password > 1 else masked_text)
    assert (b"p" * max(password, 2) in masked_text) is (password > 1 and not hidden)


def test_a_password_in_a_stream_is_masked_when_a_secret_covers_the_begin_of_its_url() -> None:
    chunks = [b"see http://me", b":p", b"w@host and x", b"://", b"you", b":", b"word", b"@", b"h"]
    masked_text = b"".join(mask_chunks(chunks, [b"http://me"]))
    assert masked_text == f"see {MASK}:{MASK}@host and x://you:{MASK}@h".encode()


def test_secrets_that_overlap_over_chunks_are_masked_as_one() -> None:
    assert b"".join(mask_chunks([b"--abcdefgh", b"ijkl--"], [b"abcdefgh", b"efghijkl"])) == f"--{MASK}--".encode()


def test_each_line_of_a_secret_is_one_where_something_stands_between_them() -> None:
    secret = b"-----BEGIN KEY-----\r\nMIIEvQIBADAN\nBg=\n-----END KEY-----\n"
    secrets = by_line([b"abcdefgh", secret])
    assert secrets == (b"abcdefgh", secret, b"-----BEGIN KEY-----", b"MIIEvQIBADAN", b"-----END KEY-----")
    assert by_line([b"short"]) == (b"short",)


def test_secrets_that_overlap_are_masked_as_one() -> None:
    assert mask("--abcdefghijkl--", ["abcdefgh", "efghijkl"]) == f"--{MASK}--"


def test_a_secret_is_known_however_a_program_spells_it() -> None:
    secret = "pa'ss\\\\word\"quoted\nsecond line\té"
    hidden = spellings([secret])
    for said in (secret, repr(secret), json.dumps(secret), json.dumps(secret, ensure_ascii=False)):
        assert "quoted" not in mask(f"it is {said}.", hidden)
    assert mask("only second line\té of it", hidden) == f"only {MASK} of it"
    assert spellings(["plain-secret"]) == ("plain-secret",)


TOKEN = "sesame-open-1"


@pytest.mark.parametrize(
    "text",
    [
        "clone https://{}@host/x",
        "clone HTTP://{}@host:80/x",
        'url="https://b.host/k?AccessKeyId=A&Expires=1&Signature={}"',
        "https://b.host/k?X-Amz-Signature={}&X-Amz-Expires=1",
        "https://b.host/k?x-amz-security-token={} and more",
        "https://b.host/k?a=1&amp;X-Obs-Security-Token={}'",
        "<https://b.host/k?X-Amz-Algorithm=A&X-Amz-Signature={}>",
    ],
)
def test_urls_lose_what_opens_their_place(text: str) -> None:
    assert mask(text.format(TOKEN), ()) == text.format(MASK)
    for cut in range(len(text.format(TOKEN))):
        chunks = [text.format(TOKEN)[:cut].encode(), text.format(TOKEN)[cut:].encode()]
        assert b"".join(mask_chunks(chunks, ())) == text.format(MASK).encode()


@pytest.mark.parametrize(
    "text",
    [
        "ssh://git@host/x",
        "git@host:x",
        "see http://host?q=a@b and http://host/a@b",
        "<http://host>, me@host",
        "https://$TOKEN@host and https://${TOKEN}@host and https://$(cat f)@host",
        "https://h/?Signature=$SIGNATURE&X-Amz-Signature=${SIGNATURE}",
        "https://h/?Signature=short&Signatures=long-enough",
        "Signature=sesame-open-1",
        f"https://{MASK}@host/?Signature={MASK}",
    ],
)
def test_what_opens_nothing_stays(text: str) -> None:
    assert mask(text, ()) == text


def test_a_signature_is_masked_as_far_as_a_stream_can_hold_it_back() -> None:
    text = b"https://h/?X-Amz-Signature=" + b"a" * 5000 + b" " + b"y" * 300
    whole_text = mask(text.decode(), ()).encode()
    assert whole_text.count(b"a") < 1000
    for size in (1, 7, 64, 1000, 4099, 9000):
        chunks = [text[at : at + size] for at in range(0, len(text), size)]
        assert b"".join(mask_chunks(chunks, ())) == whole_text


def test_a_known_secret_before_a_signature_does_not_hide_it() -> None:
    text = f"https://h/?abcdefgh&Signature={TOKEN} z"
    for cut in range(len(text)):
        masked_text = b"".join(mask_chunks([text[:cut].encode(), text[cut:].encode()], [b"abcdefgh&Signat"]))
        assert TOKEN.encode() not in masked_text
        assert masked_text == mask(text, ["abcdefgh&Signat"]).encode()


@pytest.mark.parametrize("word", ["://", "http://", "?", "&Signature=", "?X-Amz-Signature=a", "http://a", "https://a?"])
def test_a_text_of_nothing_but_beginnings_is_masked_in_time(word: str) -> None:
    text = word * (1_000_000 // len(word))
    assert MASK not in mask(text, ())
    chunks = [text[at : at + 65536].encode() for at in range(0, len(text), 65536)]
    assert b"".join(mask_chunks(chunks, ())) == text.encode()
