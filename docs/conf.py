"""Sphinx: `make docs`, or  sphinx -W -b html docs docs/_build/html  with the extra "docs"."""

from docutils import nodes
from latex2mathml.converter import convert

import fastsoftmax

project = "fastsoftmax"
author = copyright = "fastsoftmax contributors"
version = release = fastsoftmax.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
default_role = "py:obj"
highlight_language = "none"
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
autodoc_typehints = "none"
# The pages are built without the libraries that these modules are for.
autodoc_mock_imports = ["dask", "torch", "fastsoftmax._torch_operators"]

myst_enable_extensions = ["deflist", "dollarmath", "colon_fence", "attrs_inline"]
myst_heading_anchors = 3

copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

# Formulas become MathML when the pages are built: nothing is fetched to read them.
html_math_renderer = "mathml"

html_theme = "furo"
html_title = f"fastsoftmax {release}"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0b6e4f", "color-brand-content": "#0b6e4f"},
    "dark_css_variables": {"color-brand-primary": "#58c99b", "color-brand-content": "#58c99b"},
}
pygments_style = "friendly"
pygments_dark_style = "monokai"


def setup(app):
    app.add_html_math_renderer("mathml", (inline_formula, None), (displayed_formula, None))
    app.connect("doctree-read", strip_blank_ends)
    app.connect("include-read", relink)


def inline_formula(translator, node):
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def displayed_formula(translator, node):
    translator.body.append(f'<div class="math">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def relink(app, path, docname, source):
    """ARCHITECTURE.md and its like are included as they are; their links are the repository's."""
    source[0] = (
        source[0]
        .replace("](ARCHITECTURE.md)", "](internals.md)")
        .replace("](docs/", "](")
        .replace("[Makefile](Makefile)", "Makefile")
        .replace("](docs/", "](")
    )


def strip_blank_ends(app, doctree):
    """Doctest wants an empty line before the end of a block; readers need not see it."""
    for block in doctree.findall(nodes.literal_block):
        text = block.astext().rstrip()
        block.rawsource, block.children = text, [nodes.Text(text)]
