"""A report as one page that needs nothing beside it."""

import base64
import html
import re
from collections.abc import Mapping

_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ max-width: 68rem; margin: 2rem auto; padding: 0 1rem;
  font: 16px/1.5 system-ui, sans-serif; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto;
  font-variant-numeric: tabular-nums; font-size: 0.9rem; }}
th, td {{ padding: 0.25rem 0.7rem; border-bottom: 1px solid #8885;
  white-space: nowrap; }}
img {{ max-width: 100%; height: auto; background: white; }}
</style>
<body>
"""


def page(text: str, pictures: Mapping[str, bytes]) -> str:
    """The page of a report in Markdown.

    Args:
      text: the report.
      pictures: PNGs by the names that the text shows them under.
    """
    import markdown

    title = text.partition("\n")[0].lstrip("# ")
    # Names of photos and systems are anybody's: no HTML of theirs is taken.
    body = markdown.markdown(
        html.escape(text, quote=False), extensions=["tables"]
    )

    def inline(match: re.Match[str]) -> str:
        data = base64.b64encode(pictures[html.unescape(match[1])]).decode()
        return f'src="data:image/png;base64,{data}"'

    body = re.sub(r'src="([^"]*)"', inline, body)
    return _HEAD.format(title=html.escape(title)) + body + "\n"
