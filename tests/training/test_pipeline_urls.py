"""What is shown of a URL holds no password, however it was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import URL

from training.pipeline.urls import mask, secrets_of

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
