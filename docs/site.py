"""MkDocs hooks: the repository's root pages on the site, and links of pages to files beside `docs/`.

Pages are written for a reader of the repository: `../runs/x.sh` is a file there. The site has no repository behind it, so a file
that a page names is published with the site, as text, and root pages such as README.md are pages of it.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "project.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Where pages of the repository's root stand on the site."""
LINK = re.compile(r"(?<=\]\()(?P<path>[^\s()#:]+)(?=[#)])")
"""The path of a relative link."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the root pages."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of the repository into links of the site; of one that leads nowhere MkDocs warns."""
    here = page.file.src_uri
    source = next((root for root, name in PAGES.items() if name == here), f"docs/{here}")

    def on_site(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link["path"]))
        if path in PAGES:
            target = PAGES[path]
        elif path.startswith("docs/"):
            target = path.removeprefix("docs/")
        elif (ROOT / path).is_file() and not path.startswith("../"):
            target = f"source/{path}.txt"  # a browser shows it, and no .md is taken for a page
            if files.get_file_from_path(target) is None:
                files.append(File.generated(config, target, abs_src_path=str(ROOT / path)))
        else:
            return link["path"]
        return get_relative_url(target, here)

    return LINK.sub(on_site, markdown)
