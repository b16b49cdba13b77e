"""MkDocs: links that leave docs/ become links into the repository, where they must exist."""

import logging
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<=\]\()((?:\.\./)+)([^)#\s]+)")

log = logging.getLogger("mkdocs.hooks.links")


def on_page_markdown(markdown, page, config, files):
    """Called by MkDocs for each page."""
    folder = (ROOT / "docs" / page.file.src_uri).parent

    def replaced(match):
        path = (folder / match[0]).resolve()
        if not path.exists():
            log.warning("%s: %s does not exist", page.file.src_uri, match[0])
        if path.is_relative_to(ROOT / "docs"):
            return match[0]
        return f"{config['repo_url']}/blob/main/{path.relative_to(ROOT)}"

    return LINK.sub(replaced, markdown)
