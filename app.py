"""What `streamlit run app.py` starts: pages, web routes and the engine's life in one process."""
from __future__ import annotations

import streamlit as st

from engine.web.console import lifespan, middleware, routes
from pages.parts import mishap, reload

app = st.App(
    "pages/parts/frame.py", routes=routes(), middleware=middleware(reload=reload.MESSAGE), lifespan=lifespan, on_script_error=mishap.shown,
)
