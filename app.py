"""What `streamlit run app.py` starts: pages, web routes and the engine's life in one process."""
from __future__ import annotations

import sys

try:
    import streamlit as st

    from engine.web.console import lifespan, middleware, routes
    from pages.parts import held, mishap, reload
except ModuleNotFoundError as missing:
    sys.exit(f"error: {sys.executable} has no package {missing.name}. Start the console with `make run` or `.venv/bin/python -m engine serve`.")

if __name__ == "__main__":
    sys.exit("error: nothing is started by this file alone. Start the console with `make run` or `python -m engine serve`.")

app = st.App(
    "pages/parts/frame.py", routes=routes(), middleware=middleware(reload=reload.MESSAGE, too_long=reload.TOO_LONG, held=held.by_visit),
    lifespan=lifespan, on_script_error=mishap.shown,
)
