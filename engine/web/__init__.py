"""The web layer in Starlette: routes and middleware that stand beside the pages."""
