"""What requests cost, and a purse that is never overdrawn."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alignx.chat.prices import Price, Purse, find_price
from alignx.errors import DataError, SettingsError

HEAD = "model,input,output,currency,as_of\n"
CHEAP = Price(2.0, 8.0, "USD", "2026-06-21")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.csv"


def test_a_thousand_tokens_in_and_a_hundred_out_by_hand() -> None:
    assert CHEAP.of(1000, 100) == pytest.approx(0.002 + 0.0008)
    assert str(CHEAP) == "2 and 8 USD a million tokens in and out, as of 2026-06-21"


def test_every_price_of_the_package_is_dated_and_positive() -> None:
    for model in ("gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini", "gpt-5", "gpt-5-nano"):
        price = find_price(model, None)
        assert price is not None
        assert 0 < price.input < price.output
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", price.as_of)
        assert price.currency == "USD"


def test_a_dated_name_has_the_price_of_its_model_and_of_no_other() -> None:
    assert find_price("gpt-4.1-mini-2025-04-14", None) == find_price("gpt-4.1-mini", None)
    assert find_price("gpt-4.1-2025-04-14", None) == find_price("gpt-4.1", None) != find_price("gpt-4.1-mini", None)
    for unknown in (
        "gpt-4.1-maxi",
        "gpt-4.1-2-turbo",
        "gpt-4.12",
        "my-gpt-4.1",
        "gpt-4.1-",
        "gpt-4.1-2025-04-14-mini",
        "",
        "m",
    ):
        assert find_price(unknown, None) is None, unknown


def test_a_listed_date_goes_before_its_model(path: Path) -> None:
    path.write_text(HEAD + "a,1,2,EUR,2026-01-01\na-2025-01-01,5,6,EUR,2026-01-01\n", encoding="utf-8-sig")
    found = {name: find_price(name, path) for name in ("a", "a-0613", "a-2025-01-01", "gpt-4o")}
    assert {name: price and price.input for name, price in found.items()} == {
        "a": 1.0, "a-0613": 1.0, "a-2025-01-01": 5.0, "gpt-4o": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"columns are None, expected model, input, output, currency, as_of"),
        ("model,price\nm,1\n", r"columns are \['model', 'price'\]"),
        (HEAD + "m,free,1,USD,2026-01-01\n", r"mine.csv:2: input is 'free', output '1', expected prices"),
        (HEAD + "m,-1,1,USD,2026-01-01\n", r"mine.csv:2: input is '-1'"),
        (HEAD + "m,nan,1,USD,2026-01-01\n", r"mine.csv:2: input is 'nan'"),
        (HEAD + "a,1,1,USD,2026-01-01\nm,0,15,0,60,USD,2026-01-01\n", r"mine.csv:3: expected 5 fields"),
        (HEAD + "m,1,1\n", r"mine.csv:2: expected 5 fields"),
        (HEAD + ",1,1,USD,2026-01-01\n", r"mine.csv:2: expected 5 fields, the model's name among them"),
        (HEAD + "m,1,1,USD,2026-01-01\nm,2,2,USD,2026-01-01\n", r"mine.csv:3: m is listed twice"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_with_the_place(path: Path, text: str, said: str) -> None:
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        find_price("m", path)


def test_a_list_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(DataError, match=r"mine.csv: cannot read the prices: .*No such file"):
        find_price("m", path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot read the prices"):
        find_price("m", path)


def test_money_is_set_aside_and_comes_back() -> None:
    purse = Purse(Price(1_000_000, 0, "USD", "today"), 10.0, spent=3.0)
    assert purse.promise(5, 0) == 5.0
    assert purse.promise(3, 0) is None  # 3 + 5 + 3 > 10
    assert purse.waits
    purse.settle(5.0, 1.0)
    assert not purse.waits
    assert purse.spent == 4.0
    assert purse.promise(6, 0) == 6.0
    assert purse.promise(0, 0) == 0.0


def test_without_a_limit_everything_is_allowed_and_without_a_price_no_limit_is() -> None:
    free = Purse(None, None)
    assert (free.promise(10**9, 10**9), free.cost(10**9, 10**9)) == (0.0, 0.0)
    dear = Purse(CHEAP, None)
    assert dear.promise(10**12, 0) == 2_000_000.0
    with pytest.raises(SettingsError, match=r"--max-cost: the model has no known price; give one with --prices FILE"):
        Purse(None, 1.0)


@given(
    st.floats(1e-9, 1e6),
    st.floats(0, 100),
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 500), st.floats(0, 1), st.booleans()), max_size=60),
)
def test_a_purse_is_never_overdrawn_whatever_order_requests_end_in(
    price: float, limit: float, requests: list[tuple[int, int, float, bool]]
) -> None:
    purse = Purse(Price(price, 4 * price, "USD", "today"), limit)
    open_promises: list[tuple[float, float]] = []
    for prompt, reply, share, ends in requests:
        promised = purse.promise(prompt, reply)
        if promised is not None:
            open_promises.append((promised, promised * share))
        if ends and open_promises:
            purse.settle(*open_promises.pop(len(open_promises) // 2))
        assert purse.waits == bool(open_promises)
        assert purse.spent <= limit * (1 + 1e-9)
    for promised, paid in open_promises:
        purse.settle(promised, paid)
    assert purse.spent <= limit * (1 + 1e-9)
    assert not purse.waits
