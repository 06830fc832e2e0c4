"""The page of the service in a real browser, against a real server: what it shows, and that it shows it to anyone.

Run by `make test-browser`, as the page of a report is.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from served import serve
from test_report_page import CONTRAST, SPILLING, THEMES

from router import Decision, Policy, Reason, Router
from router.policy import OBJECTIVES, PRESETS

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "models" / "default"
PAGE = (ROOT / "router" / "serving" / "page.html").read_text(encoding="utf-8")
WIDTHS = (1440, 980, 390, 320)
PATIENCE_S = 30.0  # for what takes milliseconds, on a machine that does other things
PROMPT = "Name three rivers that flow into the Black Sea, the longest first."

each_width = pytest.mark.parametrize("width", WIDTHS)
each_theme = pytest.mark.parametrize("theme", THEMES)


def wait_for(look: Callable[[], Any], what: str) -> Any:
    """Return what `look` returns, once it is neither None, False nor empty."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.02)
    return pytest.fail(f"waited {PATIENCE_S:.0f} s for {what}")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server without keys; not to be stopped."""
    with serve("--model", str(MODEL), "--log", "json") as url:
        yield f"{url}/"


@pytest.fixture(scope="module")
def router() -> Router:
    return Router.load(MODEL)


def show(browser: Any, url: str, width: int = 1440, theme: str = "light", *, motion: str = "reduce") -> None:
    """Open the page, and wait until it knows the tiers."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    features = {"prefers-color-scheme": theme, "prefers-reduced-motion": motion}
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": "screen", "features": [{"name": name, "value": value} for name, value in features.items()]},
    )
    browser.get_log("browser")
    browser.get(url)
    asked = "return performance.getEntriesByType('resource').some(e => e.responseEnd > 0)"
    wait_for(lambda: browser.execute_script(asked), "the page to ask for the tiers")


def element(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def press(browser: Any, *keys: str, holding: str | None = None) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    actions = ActionChains(browser)
    if holding:
        actions.key_down(holding)
    actions.send_keys(*keys)
    if holding:
        actions.key_up(holding)
    actions.perform()


def answer(browser: Any) -> str:
    """Return the tier shown, once there is one."""
    return str(wait_for(lambda: element(browser, "#tier").text, "a decision"))


def complaint(browser: Any) -> str:
    return str(wait_for(lambda: element(browser, "#error").text, "an error"))


def type_and_route(browser: Any, prompt: str) -> None:
    element(browser, "#prompt").send_keys(prompt)
    element(browser, "#send").click()


def write(browser: Any, selector: str, value: str) -> None:
    """Put a value into a field at once, as pasting does."""
    browser.execute_script(
        "const e = document.querySelector(arguments[0]); e.value = arguments[1];"
        "e.dispatchEvent(new Event('input', { bubbles: true }));",
        selector,
        value,
    )


def set_policy(browser: Any, **fields: str) -> None:
    wait_for(lambda: element(browser, "#ceiling").tag_name == "select", "the tiers to choose from")
    for name, value in fields.items():
        write(browser, f"#{name}", value)


def open_details(browser: Any) -> None:
    browser.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")


def decision_of(router: Router, prompt: str, policy: Policy | None = None, **other: Any) -> dict[str, Any]:
    """Return a decision in the form of the service's answer, with some of it replaced."""
    tiers = [tier.name for tier in router.tiers]
    return {"request_id": "0-1", **router.route(prompt, policy).to_dict(), "tiers": tiers, **other}


def display(browser: Any, decision: dict[str, Any]) -> None:
    browser.execute_script("show(arguments[0], { prompt: '' }, 1.25)", decision)


CUT = """
return [...document.body.querySelectorAll('*')].filter(e => {
  const r = e.getBoundingClientRect(), style = getComputedStyle(e);
  if (r.width < 2 || style.overflowX === 'visible' || e.matches('.track, textarea')) return false;
  return e.scrollWidth > e.clientWidth + 1;
}).map(e => e.tagName + '#' + e.id);
"""


def assert_nothing_spills(browser: Any, width: int) -> None:
    assert width == browser.execute_script("return innerWidth")
    assert width >= browser.execute_script("return document.documentElement.scrollWidth")
    assert [] == browser.execute_script(SPILLING)
    assert [] == browser.execute_script(CUT)


@each_width
@each_theme
def test_the_page_fits_loads_nothing_and_has_no_complaints(
    browser: Any, server: str, width: int, theme: str
) -> None:
    show(browser, server, width, theme)
    assert_nothing_spills(browser, width)
    type_and_route(browser, PROMPT)
    answer(browser)
    open_details(browser)
    assert_nothing_spills(browser, width)
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert {f"{server}v1/model", f"{server}v1/route"} == set(loaded)
    assert [] == browser.get_log("browser")


@each_width
def test_long_and_hostile_names_are_text_and_fit(
    browser: Any, server: str, router: Router, width: int
) -> None:
    show(browser, server, width)
    hostile = "<img src=x onerror=document.title='smuggled'>"
    names = [hostile, "n" * 120, "top"]
    long = "provider/" + "m" * 200
    display(
        browser,
        decision_of(router, PROMPT, tiers=names, tier=names[1], index=1, model=long, request_id="9" * 128),
    )
    open_details(browser)
    assert_nothing_spills(browser, width)
    assert hostile in element(browser, "#tiers").text
    assert 0 == browser.execute_script("return document.images.length")
    assert "tierwise" == browser.title
    assert [] == browser.get_log("browser")


@pytest.mark.parametrize(
    "prompt", [PROMPT, "Prove that the sum of two odd numbers is even.", "Γειά σου, κόσμε 👋 <b>"]
)
def test_a_click_shows_the_decision_of_the_library(
    browser: Any, server: str, router: Router, prompt: str
) -> None:
    show(browser, server)
    write(browser, "#prompt", prompt)
    element(browser, "#send").click()
    expected = router.route(prompt)
    assert expected.tier == answer(browser)
    assert_shown(browser, router, expected)


def assert_shown(browser: Any, router: Router, expected: Decision) -> None:
    """Hold all that is shown against a decision."""
    top = expected.tier_cost_usd[-1]
    assert expected.model == element(browser, "#model").text
    assert expected.model_id == element(browser, "#model-id").text
    words = browser.execute_script("return REASONS[arguments[0]]", expected.reason.value)
    assert words == element(browser, "#reason").text
    assert words in element(browser, "#status").get_attribute("textContent")
    saved = 100 * (top - expected.expected_cost_usd) / top
    assert (f"{saved:.1f}%" if saved else "0%") == element(browser, "#saving").text
    assert f"{expected.novelty:.2f}" == element(browser, "#novelty").text
    assert len(element(browser, "#request-id").text) > 2
    assert element(browser, "#round-trip").text.endswith(" ms")
    rows = browser.find_elements("css selector", "#tiers tbody tr")
    assert len(router.tiers) == len(rows)
    for k, (row, tier) in enumerate(zip(rows, router.tiers, strict=True)):
        assert tier.name in row.text
        assert tier.model in row.text
        assert f"{100 * expected.p_pass[k]:.1f}%" in row.text
        assert (k == expected.index) == ("chosen" in row.text)
        shown = [cell.text for cell in row.find_elements("css selector", ".number")]
        assert float(shown[1].replace("$", "").replace(",", "")) == pytest.approx(
            1000 * expected.tier_cost_usd[k], rel=0.06
        )
        fill = row.find_element("css selector", ".fill").size["width"]
        track = row.find_element("css selector", ".track").size["width"]
        assert fill / track == pytest.approx(expected.p_pass[k], abs=0.02)


def test_examples_are_routed_at_a_click(browser: Any, server: str, router: Router) -> None:
    show(browser, server)
    buttons = browser.find_elements("css selector", ".examples button")
    assert 2 <= len(buttons)
    for button in buttons:
        button.click()
        prompt = element(browser, "#prompt").get_property("value")
        sent = wait_for(
            lambda p=prompt: p in element(browser, "#sent").get_attribute("textContent"),
            "the example's answer",
        )
        assert sent
        assert router.route(prompt).tier == answer(browser)


@pytest.mark.parametrize("modifier", ["CONTROL", "META"])
def test_a_prompt_is_routed_by_keyboard_alone(
    browser: Any, server: str, router: Router, modifier: str
) -> None:
    from selenium.webdriver.common.keys import Keys

    show(browser, server)
    press(browser, Keys.TAB)
    assert "prompt" == browser.switch_to.active_element.get_attribute("id")
    press(browser, *PROMPT)
    press(browser, Keys.ENTER, holding=getattr(Keys, modifier))
    assert router.route(PROMPT).tier == answer(browser)
    assert "prompt" == browser.switch_to.active_element.get_attribute("id")
    assert PROMPT == element(browser, "#prompt").get_property("value")


def test_tabs_reach_everything_in_order_and_show_where_they_are(browser: Any, server: str) -> None:
    from selenium.webdriver.common.keys import Keys

    show(browser, server, 390)
    type_and_route(browser, PROMPT)
    answer(browser)
    set_policy(browser)
    open_details(browser)
    there = browser.execute_script(
        "return [...document.querySelectorAll('a, button, input, select, summary, textarea, [tabindex]')]"
        ".filter(e => e.getBoundingClientRect().width > 0).map(e => e.id || e.textContent.trim())"
    )
    assert {"prompt", "send", "floor", "ceiling", "max_cost_usd", "slice", *OBJECTIVES} <= set(there)
    element(browser, "#prompt").send_keys("")  # takes the focus
    reached = []
    for _ in there:
        name, style, width = browser.execute_script(
            "const e = document.activeElement, s = getComputedStyle(e);"
            "return [e.id || e.textContent.trim(), s.outlineStyle, s.outlineWidth]"
        )
        reached.append(name)
        assert ("solid", "3px") == (style, width), name
        press(browser, Keys.TAB)
    assert there == reached


def test_every_field_has_a_name_and_the_page_has_landmarks(browser: Any, server: str) -> None:
    show(browser, server)
    open_details(browser)
    fields = browser.find_elements("css selector", "textarea, input, select")
    assert 7 <= len(fields)
    for field in fields:
        if field.is_displayed():
            assert field.accessible_name
            assert field.accessible_name != field.get_attribute("placeholder")
    for landmark in ("header", "main", "footer", "h1"):
        assert 1 == len(browser.find_elements("css selector", landmark)), landmark
    assert "en" == element(browser, "html").get_attribute("lang")
    assert "polite" == element(browser, "#status").get_attribute("aria-live")


def test_every_reason_has_a_sentence_of_its_own(browser: Any, server: str, router: Router) -> None:
    show(browser, server)
    words = browser.execute_script("return REASONS")
    assert {reason.value for reason in Reason} == set(words)
    assert len(words) == len(set(words.values()))
    for reason, sentence in words.items():
        assert sentence.endswith(".")
        display(browser, decision_of(router, PROMPT, reason=reason))
        assert sentence == element(browser, "#reason").text


def test_a_policy_is_sent_and_summed_up(browser: Any, server: str, router: Router) -> None:
    show(browser, server)
    assert "the model’s own" == element(browser, "#policy-summary").text
    names = [tier.name for tier in router.tiers]
    set_policy(browser, max_regret="0.1", floor=names[1])
    assert f"max regret 0.1, floor {names[1]}" == element(browser, "#policy-summary").text
    prompt = "Translate into French: the invoice is due on Friday."
    type_and_route(browser, prompt)
    expected = router.route(prompt, Policy(max_regret=0.1, floor=names[1]))
    assert expected.tier == answer(browser)
    assert_shown(browser, router, expected)
    sent = json.loads(element(browser, "#sent").get_attribute("textContent"))
    assert {"prompt": prompt, "policy": {"max_regret": 0.1, "floor": names[1]}} == sent
    received = json.loads(element(browser, "#received").get_attribute("textContent"))
    assert expected.reason.value == received["reason"]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_promise_is_picked_by_name(browser: Any, server: str, router: Router, preset: str) -> None:
    show(browser, server)
    set_policy(browser, preset=preset)
    assert f"preset {preset}" == element(browser, "#policy-summary").text
    type_and_route(browser, PROMPT)
    expected = router.route(PROMPT, Policy(preset=preset))
    assert expected.tier == answer(browser)
    assert_shown(browser, router, expected)


def test_two_promises_are_one_too_many(browser: Any, server: str) -> None:
    show(browser, server)
    set_policy(browser, preset="safe", budget="0.001")
    type_and_route(browser, PROMPT)
    assert "found budget and preset; keep one" in complaint(browser)
    assert "preset" == browser.switch_to.active_element.get_attribute("id")


def test_the_services_own_policy_is_said(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("min_quality = 0.95\n", encoding="utf-8")
    with serve("--model", str(MODEL), "--policy", str(path)) as url:
        show(browser, f"{url}/")
        set_policy(browser)
        assert "the service’s own: min quality 0.95" == element(browser, "#policy-summary").text
        set_policy(browser, epsilon="1")
        assert "epsilon 1" == element(browser, "#policy-summary").text


def test_a_cost_limit_is_explained(browser: Any, server: str, router: Router) -> None:
    show(browser, server)
    set_policy(browser, max_cost_usd="0.0002", epsilon="0")
    prompt = "Write a Python function that returns the longest palindrome in a string, with tests."
    type_and_route(browser, prompt)
    expected = router.route(prompt, Policy(max_cost_usd=0.0002, epsilon=0.0))
    assert Reason.COST is expected.reason
    assert expected.tier == answer(browser)
    assert_shown(browser, router, expected)


def test_a_refused_policy_is_a_sentence_at_its_field(browser: Any, server: str, router: Router) -> None:
    show(browser, server)
    type_and_route(browser, PROMPT)
    answer(browser)
    names = [tier.name for tier in router.tiers]
    set_policy(browser, floor=names[-1], ceiling=names[0])
    element(browser, "#send").click()
    said = complaint(browser)
    assert f"floor {names[-1]} is dearer than ceiling {names[0]}" in said
    assert said.endswith(".")
    assert "alert" == element(browser, "#error").get_attribute("role")
    assert "floor" == browser.switch_to.active_element.get_attribute("id")
    assert "true" == element(browser, "#floor").get_attribute("aria-invalid")
    assert not element(browser, "#result").is_displayed()
    set_policy(browser, ceiling="")
    element(browser, "#send").click()
    assert names[-1] == answer(browser)
    assert "" == element(browser, "#error").text
    assert element(browser, "#floor").get_attribute("aria-invalid") is None


@pytest.mark.parametrize(
    ("value", "said"), [("lots", "found lots"), ("0,05", "found 0,05"), ("2", "found 2")]
)
def test_a_number_that_is_none_is_said_to_be(browser: Any, server: str, value: str, said: str) -> None:
    show(browser, server)
    set_policy(browser, max_regret=value)
    type_and_route(browser, PROMPT)
    assert said in complaint(browser)
    assert "max_regret" == browser.switch_to.active_element.get_attribute("id")


@pytest.mark.parametrize("prompt", ["", "  \n "])
def test_an_empty_prompt_is_asked_for_and_not_sent(browser: Any, server: str, prompt: str) -> None:
    show(browser, server)
    type_and_route(browser, prompt)
    assert "Type a prompt first, or try an example." == complaint(browser)
    assert "prompt" == browser.switch_to.active_element.get_attribute("id")
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert f"{server}v1/route" not in loaded


@each_theme
def test_all_text_has_contrast(browser: Any, server: str, theme: str) -> None:
    show(browser, server, 1440, theme)
    open_details(browser)
    assert [] == browser.execute_script(CONTRAST)
    element(browser, "#send").click()
    complaint(browser)
    assert [] == browser.execute_script(CONTRAST)
    type_and_route(browser, PROMPT)
    answer(browser)
    browser.execute_script("document.getElementById('key-row').hidden = false")
    assert [] == browser.execute_script(CONTRAST)
    browser.execute_script("document.querySelector('h1').style.color = '#777'")
    assert ["H1. "] == [found[:4] for found in browser.execute_script(CONTRAST)]


def test_the_themes_differ(browser: Any, server: str) -> None:
    grounds = []
    for theme in THEMES:
        show(browser, server, 1440, theme)
        grounds.append(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert "rgb(255, 255, 255)" == grounds[0]
    assert grounds[0] != grounds[1]


def test_nothing_moves_for_who_asked_for_that(browser: Any, server: str, router: Router) -> None:
    durations = []
    for motion in ("reduce", "no-preference"):
        show(browser, server, motion=motion)
        display(browser, decision_of(router, PROMPT))
        durations.append(
            browser.execute_script(
                "return getComputedStyle(document.querySelector('.fill')).transitionDuration"
            )
        )
    assert "0s" == durations[0]
    assert "0s" != durations[1]


def test_the_prompt_grows_with_its_text_up_to_a_part_of_the_window(browser: Any, server: str) -> None:
    show(browser, server)
    heights = []
    for lines in (1, 16, 4000):
        write(browser, "#prompt", "line\n" * lines)
        heights.append(element(browser, "#prompt").size["height"])
    assert heights[0] < heights[1] < heights[2] <= 0.61 * 900


def test_a_decision_below_the_fold_is_brought_into_view(browser: Any, server: str) -> None:
    show(browser, server, 390)
    open_details(browser)
    type_and_route(browser, PROMPT)
    answer(browser)
    top = browser.execute_script("return document.getElementById('tier').getBoundingClientRect().top")
    assert 0 <= top < 450


def test_a_prompt_larger_than_the_server_takes_is_refused_in_words(browser: Any, server: str) -> None:
    show(browser, server)
    write(browser, "#prompt", "long " * 300_000)
    element(browser, "#send").click()
    assert "1,048,576 bytes" in complaint(browser)


def test_a_server_that_stopped_is_said_to_have(browser: Any) -> None:
    with serve("--model", str(MODEL), "--log", "json") as url:
        show(browser, f"{url}/")
        type_and_route(browser, PROMPT)
        answer(browser)
    element(browser, "#send").click()
    said = complaint(browser)
    assert "The server does not answer." in said
    assert "tierwise serve" in said
    assert not element(browser, "#result").is_displayed()
    assert "Route" == element(browser, "#send").text


def test_behind_a_prefix_the_page_works_and_a_broken_proxy_is_said_to_be(
    browser: Any, server: str, router: Router
) -> None:
    with proxied(server) as (url, faults):
        show(browser, url)
        type_and_route(browser, PROMPT)
        assert router.route(PROMPT).tier == answer(browser)
        loaded = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
        assert {f"{url}v1/model", f"{url}v1/route"} == set(loaded)
        for status, said in (
            (502, "The answer was 502,"),
            (200, "This page cannot read the server’s answer."),
        ):
            faults.append((status, b"<h1>Bad gateway</h1>" if status == 502 else b'{"tiers": 3}'))
            element(browser, "#send").click()
            wait_for(lambda said=said: said in complaint(browser), said)
            assert not element(browser, "#result").is_displayed()


@contextmanager
def proxied(server: str) -> Iterator[tuple[str, list[tuple[int, bytes]]]]:
    """A proxy under a path of its own, and a list of what it answers in place of the server, for a time."""
    prefix = "/router/"
    faults: list[tuple[int, bytes]] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.forward()

        def do_POST(self) -> None:
            self.forward()

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, headers, content = 404, [], b""
            if self.path.startswith(prefix):
                with closing(HTTPConnection(urlsplit(server).netloc, timeout=PATIENCE_S)) as connection:
                    path = self.path.removeprefix(prefix.rstrip("/"))
                    connection.request(self.command, path, body or None, dict(self.headers.items()))
                    answered = connection.getresponse()
                    status, headers, content = answered.status, answered.getheaders(), answered.read()
            if faults:
                status, content = faults[-1]
                headers = [("content-length", str(len(content)))]
            self.send_response_only(status)
            for header in headers:
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_port}{prefix}", faults
        finally:
            proxy.shutdown()
            thread.join()


def test_a_server_with_keys_asks_for_one(browser: Any, tmp_path: Path, router: Router) -> None:
    from selenium.webdriver.common.keys import Keys

    key = "a-key-of-sixteen-or-more"
    (tmp_path / "keys").write_text(f"{key}\n", encoding="utf-8")
    keys = ("--keys", str(tmp_path / "keys"))
    with serve("--model", str(MODEL), "--log", "json", *keys) as url:
        show(browser, f"{url}/")
        field = element(browser, "#key")
        wait_for(field.is_displayed, "the field for a key")
        assert "password" == field.get_attribute("type")
        type_and_route(browser, PROMPT)
        assert "key" in complaint(browser)
        assert "key" == browser.switch_to.active_element.get_attribute("id")
        for wrong in ("wrong-key-wrong-key", "ключ-ключ-ключ-ключ"):
            field.clear()
            before = complaint(browser)
            field.send_keys(wrong, Keys.ENTER)
            wait_for(lambda old=before: complaint(browser) != old, "another complaint")
            assert "key" == browser.switch_to.active_element.get_attribute("id")
        field.clear()
        field.send_keys(key, Keys.ENTER)
        assert router.route(PROMPT).tier == answer(browser)
        assert_shown(browser, router, router.route(PROMPT))
        assert "select" == element(browser, "#floor").tag_name
        stored = "return [localStorage.length, sessionStorage.length, document.cookie]"
        assert [0, 0, ""] == browser.execute_script(stored)
        assert key not in browser.execute_script("return document.documentElement.outerHTML")


def test_the_policy_of_the_page_forbids_what_might_be_smuggled_in(browser: Any, server: str) -> None:
    show(browser, server)
    browser.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.smuggled = 1'; document.body.append(s);"
        "const i = new Image(); i.src = 'https://example.invalid/x.png'; document.body.append(i);"
    )
    assert browser.execute_script("return window.smuggled === undefined")
    wait_for(
        lambda: any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser")),
        "the browser to refuse it",
    )


def test_the_file_holds_one_script_one_style_and_relative_addresses() -> None:
    assert 1 == PAGE.count("<script") == PAGE.count("<script>\n")
    assert 1 == PAGE.count("<style") == PAGE.count("<style>\n")
    for absent in ("innerHTML", " style=", "onclick", "://", 'href="/', 'ask("/', "eval("):
        assert absent not in PAGE, absent
