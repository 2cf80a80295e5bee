"""How Sphinx builds these pages: `make docs`. Pictures and the API reference are made from the code first."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT)]

import nerp  # noqa: E402

project = "nerp"
author = "the authors of nerp"
copyright = "the authors of nerp; Apache-2.0"
version = release = nerp.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["made/imports.md"]  # part of architecture.md
default_role = "literal"  # docstrings mark code with one backtick
pygments_style = "friendly"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autosummary_generate = False  # reference.py writes the pages
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = ["Source"]
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"nerp {version}"
html_show_sphinx = False
html_copy_source = False


def make(app) -> None:
    """Write what the pages show but nobody writes by hand, into `made/`."""
    import architecture
    import pictures
    import reference

    out = HERE / "made"
    out.mkdir(exist_ok=True)
    pictures.draw(out)
    architecture.draw(out / "architecture.png")
    (out / "imports.md").write_text(architecture.table())
    reference.write(out / "api")


def setup(app) -> None:
    """Sphinx calls this."""
    from docstrings import as_rst, with_colons

    app.connect("builder-inited", make)
    app.connect("autodoc-process-docstring", as_rst, priority=400)  # before napoleon, at 500
    app.connect("autodoc-process-docstring", with_colons, priority=600)
