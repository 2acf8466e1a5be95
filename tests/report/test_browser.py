"""The page in Chromium, at desktop and phone width: figures have a size, the console is clean, nothing overflows."""

import os
import shutil
from pathlib import Path

import pytest

import gradnoise as gn
from report.synthetic import results_tree

pytestmark = pytest.mark.browser

DESKTOP, PHONE = 1280, 390
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-client-side-phishing-detection",
    "--no-first-run",
    "--metrics-recording-only",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
SIZES = """
return [...document.querySelectorAll("[data-figure]")].map((figure) => {
  const drawn = figure.querySelector("svg.main-svg");
  const box = drawn ? drawn.getBoundingClientRect() : { width: 0, height: 0 };
  const shown = figure.querySelectorAll(".scatterlayer .trace path, .scatterlayer .trace use").length;
  const titles = [...figure.querySelectorAll(".xtitle, .ytitle")].map((t) => t.textContent);
  return { id: figure.id, width: box.width, height: box.height, shown, titles };
});
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    return gn.write_report(results_tree(), tmp_path_factory.mktemp("page") / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        told = "chromium and chromedriver are not installed (Debian: chromium, chromium-driver)"
        pytest.fail(told) if os.environ.get("GRADNOISE_REQUIRE_BROWSER") else pytest.skip(told)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


def opened(browser, address: str, width: int, scheme: str = "light"):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    browser.get(address)
    return browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_figures_are_drawn_the_console_is_clean_and_nothing_overflows(browser, address, width, scheme):
    page = opened(browser, address, width, scheme)
    figures = page.execute_script(SIZES)
    assert len(figures) == 7
    for figure in figures:
        assert figure["width"] > 0.7 * (width - 100 if width == PHONE else 1000), figure
        assert figure["height"] > 200, figure
        assert figure["shown"] >= 2, figure
        assert all(figure["titles"]), figure
    assert page.get_log("browser") == []
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_every_button_draws_something_and_keeps_the_console_clean(browser, address, width):
    page = opened(browser, address, width)
    buttons = page.execute_script("return document.querySelectorAll('input[type=radio]').length")
    assert buttons >= 3 + 5 + 3 + 2 + 2 + 3
    for place in range(buttons):
        page.execute_script("document.querySelectorAll('input[type=radio]')[arguments[0]].click()", place)
        assert all(figure["shown"] for figure in page.execute_script(SIZES))
    assert page.get_log("browser") == []
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_a_choice_of_target_shows_its_table(browser, address):
    page = opened(browser, address, DESKTOP)
    page.execute_script("document.querySelector('input[name=diagram-target][value=gap]').click()")
    shown = page.execute_script(
        "return [...document.querySelectorAll('[data-choice]')].filter((t) => !t.hidden).map((t) => t.dataset.value)"
    )
    assert shown == ["gap"]


def test_colours_follow_the_scheme(browser, address):
    papers = {
        opened(browser, address, DESKTOP, s).execute_script("return getComputedStyle(document.body).backgroundColor")
        for s in ("light", "dark")
    }
    assert len(papers) == 2


def test_a_hostile_name_runs_nothing(browser, tmp_path: Path):
    hostile = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    tree = results_tree(problem=hostile, sampling=hostile)
    place = gn.write_report(tree, tmp_path / "hostile.html")
    page = opened(browser, place.as_uri(), DESKTOP)
    assert page.execute_script("return document.title").startswith("<img")
    assert page.get_log("browser") == []
