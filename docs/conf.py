"""Sphinx configuration: MyST pages whose examples are executed at every build."""

import os

import medframe

project = "medframe"
author = "the medframe developers"
copyright = author
version = release = medframe.__version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "deflist"]
nb_render_markdown_format = "gfm"  # tables, too: the default shows them as lines of bars
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
os.environ.setdefault("OMP_NUM_THREADS", "2")
exclude_patterns = ["_build", "jupyter_execute"]
html_theme = "furo"
html_title = "medframe"
html_static_path = ["images"]
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
suppress_warnings = ["mystnb.unknown_mime_type", "myst-nb.lexer"]


def setup(app):
    """Docstrings are plain text with shapes such as (C, *spatial) and sizes such as |P| in them, not markup."""

    def plain(*arguments):
        lines = arguments[-1]
        lines[:] = [line.replace("*", "\\*").replace("|", "\\|") for line in lines]

    app.connect("autodoc-process-docstring", plain, priority=400)
