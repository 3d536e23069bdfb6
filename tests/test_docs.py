"""The site of `docs/`: it builds without a warning, holds what its pages link to, and fetches nothing."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

for needed in ("mkdocs", "material", "mkdocs_awesome_nav"):
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed (extra docs)", allow_module_level=True)

ROOT = Path(__file__).parents[1]
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src", "object": "data"}
"""What a browser fetches by itself, and where its address stands; of <link>, but for the canonical address, `href`."""


class Fetches(HTMLParser):
    """Addresses that a page fetches when it is opened."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        address = given.get(FETCHED.get(tag, ""))
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            address = given.get("href")
        if address:
            self.found.append(address)


def build(config: Path, out: Path) -> subprocess.CompletedProcess[str]:
    # The variable silences Material's notice of its own future, which is no warning of these pages.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config), "--site-dir", str(out)]
    return subprocess.run(command, cwd=config.parent, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The site, and what its building said."""
    out = tmp_path_factory.mktemp("docs") / "site"
    done = build(ROOT / "mkdocs.yml", out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout + done.stderr


def pages(site: Path) -> dict[str, str]:
    return {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}


def test_no_warning(built: tuple[Path, str]) -> None:
    _, said = built
    assert not re.findall(r"(?im)^.*\b(?:warning|error|deprecat\w+)\b.*$", said)


def test_every_page_of_the_docs_is_reached_from_the_front_page(built: tuple[Path, str]) -> None:
    site, _ = built
    links = re.findall(r'href="([^"#]+)', (site / "index.html").read_text(encoding="utf-8"))
    expected = {path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    expected = {page.replace("README.html", "index.html") for page in expected} - {"index.html"}
    assert not expected - set(links)


def test_nothing_is_fetched_from_elsewhere(built: tuple[Path, str]) -> None:
    site, _ = built
    fetched = {name: [a for a in Fetches(page).found if urlsplit(a).netloc] for name, page in pages(site).items()}
    assert not {name: addresses for name, addresses in fetched.items() if addresses}
    sheets = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert not re.findall(r"(?:@import|url\()\s*[\"']?(?:https?:)?//[^)\"']*", sheets)


def test_links_and_pictures_lead_to_files_of_the_site(built: tuple[Path, str]) -> None:
    site, _ = built
    for name, page in pages(site).items():
        if name == "404.html":  # its links are from the server's root
            continue
        for address in re.findall(r'(?:href|src)="?([^"\s>]+)', page):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or not parts.path:
                continue
            assert (site / Path(name).parent / unquote(parts.path)).resolve().exists(), f"{name}: {address}"


def test_a_file_beside_the_docs_that_a_page_names_is_published_as_text(built: tuple[Path, str]) -> None:
    site, _ = built
    assert 'href="source/runs/gsm8k_smollm2.sh.txt"' in (site / "gsm8k.html").read_text(encoding="utf-8")
    source = (ROOT / "runs" / "gsm8k_smollm2.sh").read_bytes()
    assert (site / "source" / "runs" / "gsm8k_smollm2.sh.txt").read_bytes() == source


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[x](nowhere.md)", "nowhere.md"),
        ("[x](../runs/nowhere.sh)", "../runs/nowhere.sh"),
        ("[x](index.md#nowhere)", "nowhere"),
        ("[x](../../outside.txt)", "../../outside.txt"),
    ],
)
def test_a_link_that_leads_nowhere_stops_the_build(tmp_path: Path, text: str, message: str) -> None:
    repository = tmp_path / "repository"
    (repository / "docs").mkdir(parents=True)
    (tmp_path / "outside.txt").write_text("not of the repository\n")
    for name in ("mkdocs.yml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/site.py"):
        (repository / name).write_bytes((ROOT / name).read_bytes())
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        (repository / name).write_text("# A page\n")
    (repository / "docs" / "index.md").write_text("# Front page\n\n[fine](../README.md)\n")
    assert build(repository / "mkdocs.yml", tmp_path / "fine").returncode == 0
    (repository / "docs" / "index.md").write_text(f"# Front page\n\n{text}\n")
    done = build(repository / "mkdocs.yml", tmp_path / "site")
    assert done.returncode == 1
    assert message in done.stderr
