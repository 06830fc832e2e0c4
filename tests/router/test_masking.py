"""What is shown of a URL, alone or in a text, holds no password, and still says what went wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import URL

from router.masking import mask, mask_within, secrets_of

SENTENCES = (
    "{}",
    "cannot reach {}",
    "{}: refused",
    "of http://127.0.0.1:5000/a?b=c and ({}), no one answers",
)
SECRETS = st.text(st.sampled_from("ab1:@/?#%&;=[]")).map(lambda text: f"(({text}))")


@given(password=SECRETS)
@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_password_inside_a_text_is_masked_whatever_it_holds(sentence: str, password: str) -> None:
    for shown in (
        mask_within(sentence.format(f"postgresql://bob:{password}@db/x")),
        mask(sentence.format(f"postgresql://bob:{password}@db/x")),
        mask_within(sentence.format("postgresql://a:((1))@db/x, https://" + f":{password}@db")),
    ):
        assert "((" not in shown
        assert "))" not in shown


@given(password=SECRETS.map(lambda text: text.translate(dict.fromkeys(map(ord, "&;=")))))
@pytest.mark.parametrize("sentence", SENTENCES)
def test_so_is_a_parameter(sentence: str, password: str) -> None:
    shown = mask_within(sentence.format(f"mysql://db/x?charset=utf8&password={password}"))
    assert "((" not in shown
    assert "))" not in shown


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("postgresql://bob:***@db/x", "postgresql://bob:se/cret@db/x"),
        ("at mysql://db/x?charset=utf8&password=***", "at mysql://db/x?charset=utf8&password=secret"),
        ("mysql://db:***", "mysql://db:3306/x?password=se@cret"),
        ("cannot reach http://bob:***@db: refused", "cannot reach http://bob:se@cret@db: refused"),
        ("/alias?name=***&alias=*** (Connection refused)", "/alias?name=tierwise&alias=champion (Connection refused)"),
        ("no alias at http://127.0.0.1:5000, port 5000", "no alias at http://127.0.0.1:5000, port 5000"),
        ("Registered Model with name=tierwise not found", "Registered Model with name=tierwise not found"),
    ],
)  # fmt: skip
def test_the_rest_of_a_text_stays(expected: str, text: str) -> None:
    assert expected == mask_within(text)


# Alone

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@given(WORDS, WORDS)
def test_a_mask_is_sqlalchemys_where_that_hides_all(user: str, password: str) -> None:
    url = URL.create("postgresql+psycopg", user, password, "host", 5432, "db")
    whole = url.render_as_string(hide_password=False)
    assert url.render_as_string(hide_password=True) == mask(whole)


@given(password=st.text(st.sampled_from("ab:@/?#%&=[] \n"), min_size=1).map(lambda text: f"(({text}))"))
@pytest.mark.parametrize(
    "form",
    [
        "postgresql://me:{}@host/db",
        "http://:{}@host",
        "mysql://host/db?charset=utf8&password={}",
        "mssql+pyodbc:///?odbc_connect={}&driver=x",
    ],
)
def test_a_password_is_masked_even_where_it_was_not_encoded(form: str, password: str) -> None:
    if "?" in form:
        password = password.replace("&", "").replace("=", "")
    shown = mask(form.format(password))
    assert "((" not in shown
    assert "))" not in shown
    assert password in secrets_of(form.format(password))


def test_a_mask_leaves_what_is_harmless() -> None:
    for url in (
        "sqlite:////srv/mlflow.db",
        "postgresql://me@host/db?host=/tmp/x&sslmode=require",
        "http://127.0.0.1:5000",
        "databricks",
    ):
        assert url == mask(url)
        assert [] == secrets_of(url)
